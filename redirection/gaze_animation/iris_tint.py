"""The colour of painted irises, fitted to that of the eyes as they were: a content code hardly knows it."""

import numpy as np
import torch

from redirection.eye_patches import SIDE_OVER_RADIUS, EyeSquare
from redirection.picture_scores import IRIS_OVER_LIDS, find_irises

PATCH = 48  # px of the patches in which irises are looked for
DARKEST = 12.0  # added to colours of 0 to 255, so that a pupil's noise is no colour
MOST = 0.8  # largest change, a natural logarithm
EDGE = (0.85, 1.15)  # radii of the iris between which the change fades out


def tinted(before: torch.Tensor, after: torch.Tensor, lids: np.ndarray) -> torch.Tensor:
    """One face [1, 3, S, S] in [-1, 1] as it was and as it is painted, lids [2, 6, 2] px -> painted, irises tinted."""
    out, size = after.clone(), after.shape[-1]
    pixels = np.stack(np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5), axis=-1)
    pictures = [((one[0] + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy()
                for one in (before, after)]  # fmt: skip
    for points in lids:
        try:
            square = EyeSquare.of_lids(points, "L")
            patches = np.stack([square.cut(picture, PATCH) for picture in pictures])
        except ValueError:  # too small, or outside: the box stays as it is painted
            continue
        places, colours = find_irises(torch.from_numpy(patches).permute(0, 3, 1, 2))
        centre = np.array(square.corner) + (places[1].numpy() + 0.5) / PATCH * square.side
        radius = IRIS_OVER_LIDS * square.side / SIDE_OVER_RADIUS
        away = np.linalg.norm(pixels - centre, axis=-1) / radius
        weight = torch.from_numpy(np.clip((EDGE[1] - away) / (EDGE[1] - EDGE[0]), 0, 1)).to(after)
        gain = ((colours[0] + DARKEST) / (colours[1] + DARKEST)).log().clamp(-MOST, MOST).exp().to(after)
        light = (out[0] + 1) * 127.5
        out[0] = light * (1 + weight * (gain[:, None, None] - 1)) / 127.5 - 1
    return out.clamp(-1, 1)
