"""Boxes round both eyes of a face: where they are, what they cover, and the eyes cut out of them.

Dual In-painting Model for Unsupervised Gaze Correction and Animation in the Wild (Zhang et al. 2020), section 3.
Boxes are [B, 2, 4]: the eye that is left in the picture, then the other one; each top, left, bottom, right in pixels.
A box covers the pixels from top up to, not including, bottom. It may reach beyond the picture; there it covers nothing.
"""

import torch
import torch.nn.functional as F

PUBLISHED_SIZE, PUBLISHED_BOX = 256, (50, 30)  # side of a picture; width and height of a box
CROP_PART = 4  # the side of an eye crop is this part of a picture's


def boxes_around(eyes: torch.Tensor, width: float | torch.Tensor, height: float | torch.Tensor) -> torch.Tensor:
    """eyes [B, 4]: x and y of the left eye, x and y of the right one; width, height [B] or one number -> [B, 2, 4]."""
    x, y = eyes.double().view(-1, 2, 2).unbind(-1)
    half_width, half_height = (torch.as_tensor(n, device=x.device).double().view(-1, 1) / 2 for n in (width, height))
    return torch.stack([y - half_height, x - half_width, y + half_height, x + half_width], -1).trunc().float()


def mask_of(boxes: torch.Tensor, size: int) -> torch.Tensor:
    """[B, 2, 4] -> [B, 1, size, size]: 1 inside the boxes, 0 elsewhere."""
    at = torch.arange(size, device=boxes.device)
    top, left, bottom, right = boxes.unsqueeze(-1).unbind(2)  # each [B, 2, 1]
    rows, columns = (at >= top) & (at < bottom), (at >= left) & (at < right)  # [B, 2, size]
    return (rows[..., None] & columns[..., None, :]).any(1, keepdim=True).float()


def eye_crops(pictures: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    """[B, 3, S, S], [B, 2, 4] -> [B, 6, S/4, S/4]: the left crop, then the right one, resampled bilinearly.

    The corner pixels of a crop lie at the corners of its box, as those of a resized picture do; 0 beyond the picture.
    """
    size = pictures.shape[-1]
    side = size // CROP_PART
    steps = torch.arange(side, device=boxes.device, dtype=torch.float32) / (side - 1)
    top, left, bottom, right = (boxes / size * (size - 1)).unsqueeze(-1).unbind(2)
    y, x = top + steps * (bottom - top), left + steps * (right - left)  # [B, 2, side], in pixels
    grid = torch.stack(
        [x[..., None, :].expand(-1, -1, side, -1), y[..., None].expand(-1, -1, -1, side)], -1
    )  # [B, 2, side, side, (x, y)]
    inside = ((grid >= 0) & (grid <= size - 1)).all(-1)
    grid = (grid / (size - 1) * 2 - 1).flatten(0, 1)
    crops = F.grid_sample(pictures.repeat_interleave(2, 0), grid, align_corners=True, padding_mode="border")
    return (crops * inside.flatten(0, 1).unsqueeze(1)).view(len(boxes), -1, side, side)


def both_eyes(crops: torch.Tensor) -> torch.Tensor:
    """[B, 6, s, s] -> [2B, 3, s, s]: left and right crop of each face in turn."""
    return crops.reshape(-1, 3, *crops.shape[-2:])


def mirrored_eyes(eyes: torch.Tensor, size: int) -> torch.Tensor:
    """Eye positions [B, 4] in the mirrored picture: the eye that was left is the right one there."""
    lx, ly, rx, ry = eyes.unbind(-1)
    return torch.stack([size - rx, ry, size - lx, ly], -1)
