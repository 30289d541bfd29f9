"""Tones of painted boxes, fitted to the face round them: what differs along a box's border is taken out smoothly."""

import torch
import torch.nn.functional as F

RIM = 2  # px inside the border that are compared
SMOOTH = 0.3  # of a side: over so much of it differences are averaged, so that lashes at the border count little
DARKEST = 0.05  # added to light from 0 to 1
MOST = 0.4  # largest change, a natural logarithm
MOST_SHARPER = 0.5  # times what a blur takes, added
BRIGHTEST = 0.98  # quantile


def toned(before: torch.Tensor, after: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    """Faces [B, 3, S, S] as they were and as painted, boxes [B, 2, 4] -> the painted ones with the tones of before.

    Ratios along the four edges are carried inward by a Coons patch (Coons 1967): a seam has nothing to show. They are
    ratios, so that a pupil stays dark whatever the skin needs.
    """
    out, size = after.clone(), after.shape[-1]
    for face in range(len(after)):
        for left, top, right, bottom in boxes[face].int().clamp(0, size).tolist():
            if right - left > 2 * RIM and bottom - top > 2 * RIM:
                window = (face, slice(None), slice(top, bottom), slice(left, right))
                gain = coons(_light(before[window]).log() - _light(after[window]).log()).clamp(-MOST, MOST).exp()
                own = _light(after[window])
                most = torch.maximum(own, _brightest(_light(before[window])))
                out[window] = (torch.minimum(own * gain, most) - DARKEST) * 2 - 1
    return out


def sharpened(before: torch.Tensor, after: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    """Painted faces whose boxes have as much fine detail as before: what a blur takes from them is added again.

    Of light alone. Fine detail of colour goes: transposed convolutions paint specks of colour, and eyes have none.
    """
    out, size = after.clone(), after.shape[-1]
    fine_before, fine_after = _fine_light(before), _fine_light(after)
    calm = blurred(after)
    calm = calm + (after - calm).mean(1, keepdim=True)
    for face in range(len(after)):
        for left, top, right, bottom in boxes[face].int().clamp(0, size).tolist():
            if right > left and bottom > top:
                window = (face, slice(None), slice(top, bottom), slice(left, right))
                lacks = fine_before[window].square().mean() / fine_after[window].square().mean().clamp(min=1e-8)
                out[window] = calm[window] + (lacks.sqrt() - 1).clamp(0, MOST_SHARPER) * fine_after[window]
    return out.clamp(-1, 1)


def _fine_light(faces: torch.Tensor) -> torch.Tensor:
    """[B, 3, S, S] -> [B, 1, S, S]: what a blur takes of the mean of the colours."""
    return (faces - blurred(faces)).mean(1, keepdim=True)


def blurred(faces: torch.Tensor) -> torch.Tensor:
    """Faces [B, 3, S, S] through a narrow Gaussian."""
    taps = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], device=faces.device) / 16
    kernel = (taps[:, None] * taps).expand(faces.shape[1], 1, 5, 5)
    return F.conv2d(F.pad(faces, (2, 2, 2, 2), mode="replicate"), kernel, groups=faces.shape[1])


def _light(face: torch.Tensor) -> torch.Tensor:
    """[-1, 1] -> above 0."""
    return (face + 1) / 2 + DARKEST


def _brightest(light: torch.Tensor) -> torch.Tensor:
    """What nearly all of a box stays below, so that what is enlarged never glows."""
    return light.flatten(1).quantile(BRIGHTEST, dim=1)[:, None, None]


def coons(difference: torch.Tensor) -> torch.Tensor:
    """[3, h, w] -> the smooth surface [3, h, w] through the means of its rims."""
    top, bottom = _averaged(difference[:, :RIM].mean(1)), _averaged(difference[:, -RIM:].mean(1))  # [3, w]
    left, right = _averaged(difference[:, :, :RIM].mean(2)), _averaged(difference[:, :, -RIM:].mean(2))  # [3, h]
    height, width = difference.shape[1:]
    v = torch.linspace(0, 1, height, device=difference.device)[None, :, None]
    u = torch.linspace(0, 1, width, device=difference.device)[None, None]

    def corner(row: torch.Tensor, column: torch.Tensor) -> torch.Tensor:
        return ((row + column) / 2)[:, None, None]

    lines = (1 - v) * top[:, None] + v * bottom[:, None] + (1 - u) * left[..., None] + u * right[..., None]
    twice = (1 - v) * ((1 - u) * corner(top[:, 0], left[:, 0]) + u * corner(top[:, -1], right[:, 0]))
    twice = twice + v * ((1 - u) * corner(bottom[:, 0], left[:, -1]) + u * corner(bottom[:, -1], right[:, -1]))
    return lines - twice


def _averaged(rim: torch.Tensor) -> torch.Tensor:
    """[3, n] -> the same, averaged along it."""
    reach = max(1, round(rim.shape[1] * SMOOTH / 2))
    wide = F.pad(rim[None], (reach, reach), mode="replicate")
    return F.avg_pool1d(wide, 2 * reach + 1, stride=1)[0]
