"""Squares in pictures, turned and of any size: what face networks look at, and the way back from what they find there.

Pixels: x right, y down, the first pixel spans 0..1.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F

SAMPLES = 2  # each pixel of a cut is the mean of 2 x 2 looks into the picture, as squares are mostly made smaller


class Squares(NamedTuple):
    """One square for each of N pictures: centre [N, 2] and side [N] in pixels; angle [N] in radians.

    The angle is that from the picture's x axis to the square's, positive toward y (clockwise as one sees it).
    """

    centre: torch.Tensor
    side: torch.Tensor
    angle: torch.Tensor

    def axes(self) -> torch.Tensor:
        """[N, 2, 2]: the square's x and y axes, each as long as a side, as columns in the picture."""
        c, s = self.angle.cos() * self.side, self.angle.sin() * self.side
        return torch.stack([torch.stack([c, -s], dim=1), torch.stack([s, c], dim=1)], dim=1)


def cut(images: torch.Tensor, squares: Squares, side: int) -> torch.Tensor:
    """Images [N, 3, H, W] in [-1, 1] -> what lies in the squares, [N, 3, side, side]; black outside the picture.

    Each picture in its own way, so a batch changes nothing. Gradients reach the images.
    """
    height, width = images.shape[2:]
    steps = (torch.arange(side * SAMPLES, device=images.device) + 0.5) / (side * SAMPLES) - 0.5
    grid = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), dim=-1).reshape(1, -1, 2)
    places = grid @ squares.axes().mT + squares.centre[:, None]
    places = 2 * places / torch.tensor([width, height], device=images.device) - 1
    looks = F.grid_sample(images.float() + 1, places.unflatten(1, (side * SAMPLES,) * 2), align_corners=False)
    return F.avg_pool2d(looks, SAMPLES) - 1


def placed(points: torch.Tensor, squares: Squares) -> torch.Tensor:
    """Points [N, K, 2 or 3] as fractions of the square's side -> in pixels of the picture; z keeps its direction."""
    flat = (points[..., :2] - 0.5) @ squares.axes().mT + squares.centre[:, None]
    return torch.cat([flat, points[..., 2:] * squares.side[:, None, None]], dim=2)


def round_points(points: torch.Tensor, left: torch.Tensor, right: torch.Tensor, factor: float) -> Squares:
    """The squares round points [N, K, 2]: their boxes, `factor` times as large, turned so that the eyes are level.

    Args: left, right: [N, 2], the eye at the image's left and the other.
    """
    along = right - left
    angle = torch.atan2(along[:, 1], along[:, 0])
    unturned = Squares(torch.zeros_like(left), torch.ones_like(angle), angle).axes()
    level = points @ unturned  # coordinates along the turned axes
    low, high = level.amin(dim=1), level.amax(dim=1)
    centre = (unturned @ ((low + high) / 2)[..., None])[..., 0]
    return Squares(centre, factor * (high - low).amax(dim=1), angle)
