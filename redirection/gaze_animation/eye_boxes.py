"""Boxes round both eyes of a face: where they are, what they cover, and the eyes cut out of them.

Dual In-painting Model for Unsupervised Gaze Correction and Animation in the Wild (Zhang et al. 2020), section 3.
Boxes are [B, 2, 4]: the eye that is left in the picture, then the other one; each left, top, right, bottom in whole
pixels. A box covers the pixels from left up to, not including, right. Beyond the picture it covers nothing.
"""

import numpy as np
import torch
import torch.nn.functional as F

from redirection.gaze_animation.level_faces import SIDE, boxes_of

CROP_PART = 4  # the side of an eye crop is this part of a picture's


def boxes_around(eyes: torch.Tensor, box: tuple[float, float] | None = None, size: int = SIDE) -> torch.Tensor:
    """Eyes [B, 2, 2] (x, y) in px of pictures of `size` -> [B, 2, 4], corners cut off toward 0, as published.

    box: width and height in px, as published; None: by the distance of the eyes.
    """
    return torch.from_numpy(np.trunc(boxes_of(eyes.cpu().numpy(), box, size))).float().to(eyes.device)


def mask_of(boxes: torch.Tensor, size: int) -> torch.Tensor:
    """[B, 2, 4] -> [B, 1, size, size]: 1 inside the boxes, 0 elsewhere."""
    at = torch.arange(size, device=boxes.device)
    left, top, right, bottom = boxes.unsqueeze(-1).unbind(2)  # each [B, 2, 1]
    rows, columns = (at >= top) & (at < bottom), (at >= left) & (at < right)  # [B, 2, size]
    return (rows[..., None] & columns[..., None, :]).any(1, keepdim=True).float()


def eye_crops(pictures: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    """[B, 3, S, S], [B, 2, 4] -> [B, 6, S/4, S/4]: the left crop, then the right one, resampled bilinearly.

    The corner pixels of a crop lie at the corners of its box, as those of a resized picture do; 0 beyond the picture.
    """
    size = pictures.shape[-1]
    side = size // CROP_PART
    steps = torch.arange(side, device=boxes.device, dtype=torch.float32) / (side - 1)
    left, top, right, bottom = (boxes / size * (size - 1)).unsqueeze(-1).unbind(2)
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
