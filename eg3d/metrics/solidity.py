"""Is a generated head a solid, varied head? Three measures of frontal depth and of turned views.

They judge the embedded base generator (issue: nose nearer than the cheeks, views that agree with their depth, varied
faces) and are compared with the same measures of the rendered heads.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from eg3d.geometry.cameras import split_label

# Where nose tip and cheeks are in a frontal view of each embedded world, image coordinates (x, y) of 0..1: means of
# the projected landmarks of 48 heads of the split "test" (30; half-way from jaw 2 or 14 to the nostril 31 or 35).
NOSE_TIP = {"embedded": (0.500, 0.613), "people": (0.500, 0.512)}
CHEEKS = {"embedded": ((0.328, 0.649), (0.672, 0.649)), "people": ((0.313, 0.549), (0.687, 0.549))}
WINDOW = 0.05  # half side of the square looked at, of the image's side


@dataclass(frozen=True)
class Solidity:
    """Means over heads.

    nose_relief: how much nearer the nose tip is than the cheeks, world units.
    warp_psnr_db: a frontal view moved by its depth to the side views, against the rendering there, dB.
    spread: standard deviation between heads, mean over pixels, in units of [-1, 1].
    """

    nose_relief: float
    warp_psnr_db: float
    spread: float


def nose_relief(depth: torch.Tensor, world: str = "embedded") -> torch.Tensor:
    """Depth of the cheeks minus that of the nose tip: frontal depth [N, 1, H, W] along the rays -> [N]."""
    size = depth.shape[-1]

    def window(x, y):
        left, top = round((x - WINDOW) * size), round((y - WINDOW) * size)
        side = max(round(2 * WINDOW * size), 1)
        return depth[:, 0, top : top + side, left : left + side].flatten(1)

    cheeks = torch.stack([window(*at).median(dim=1).values for at in CHEEKS[world]]).mean(dim=0)
    return cheeks - window(*NOSE_TIP[world]).amin(dim=1)


def warp(image, depth, source_label, target_label, oversampling: int = 3):
    """Moves pictures to another camera by their own depth (forward splatting, nearest surface first).

    Args:    image [N, 3, H, W], depth [N, 1, H, W] along the ray, labels [N, 25]
    Returns: warped [N, 3, H, W], covered [N, 1, H, W] (bool): where a source pixel landed.
    """
    n, _, size, _ = image.shape
    fine = size * oversampling
    # Depth is repeated, not interpolated: between a face and what is behind it there is no surface.
    image_fine = F.interpolate(image, size=(fine, fine), mode="bilinear")
    depth_fine = F.interpolate(depth, size=(fine, fine))
    cam2world, intrinsics = split_label(source_label)
    from_x, from_y = _pixel_directions(intrinsics, fine)
    directions = F.normalize(torch.stack([from_x, from_y, torch.ones_like(from_x)], dim=-1), dim=-1)  # [N, M, 3]
    points = directions * depth_fine.reshape(n, -1, 1)
    world = points @ cam2world[:, :3, :3].mT + cam2world[:, None, :3, 3]
    cam2world, intrinsics = split_label(target_label)
    local = (world - cam2world[:, None, :3, 3]) @ cam2world[:, :3, :3]
    x = intrinsics[:, 0, 0, None] * local[..., 0] / local[..., 2] + intrinsics[:, 0, 2, None]
    y = intrinsics[:, 1, 1, None] * local[..., 1] / local[..., 2] + intrinsics[:, 1, 2, None]
    column, row = (x * size).floor().long(), (y * size).floor().long()
    inside = (column >= 0) & (column < size) & (row >= 0) & (row < size)
    # Of all points that land in a pixel, those at its nearest surface count, equally.
    where = torch.where(inside, row * size + column, size * size)
    away = local.norm(dim=-1)
    nearest = torch.full((n, size * size + 1), math.inf).scatter_reduce(1, where, away, "amin")
    front = (inside & (away <= nearest.gather(1, where) + 0.03)).float()
    weight = torch.zeros(n, size * size + 1).scatter_add(1, where, front)
    colors = image_fine.flatten(2) * front[:, None]
    total = torch.zeros(n, 3, size * size + 1).scatter_add(2, where[:, None].expand(-1, 3, -1), colors)
    warped = (total / weight.clamp(min=1)[:, None])[..., :-1].reshape(n, 3, size, size)
    return warped, (weight[:, :-1] > 0).reshape(n, 1, size, size)


def warp_psnr_db(image, depth, label, turned_image, turned_label) -> torch.Tensor:
    """How well pictures moved by their depth match the pictures there, over covered pixels: [N] dB (peak 2)."""
    warped, covered = warp(image, depth, label, turned_label)
    error = ((warped - turned_image).square() * covered).sum(dim=(1, 2, 3)) / (3 * covered.sum(dim=(1, 2, 3)))
    return 10 * torch.log10(4 / error.clamp(min=1e-10))


def spread(images: torch.Tensor) -> float:
    """Standard deviation between heads [N, 3, H, W], mean over pixels and channels."""
    return images.std(dim=0).mean().item()


def measure(image, depth, label, turned: list[tuple[torch.Tensor, torch.Tensor]], world: str = "embedded") -> Solidity:
    """All three of N heads.

    Args: frontal image [N, 3, H, W], depth [N, 1, H, W], labels [N, 25]; turned: (image, labels) of each side view.
    """
    psnr = [warp_psnr_db(image, depth, label, other, other_label).mean() for other, other_label in turned]
    return Solidity(nose_relief(depth, world).mean().item(), torch.stack(psnr).mean().item(), spread(image))


def _pixel_directions(intrinsics, size):
    """Camera-space x / z and y / z [N, size*size] of the pixel centres."""
    centres = (torch.arange(size, device=intrinsics.device) + 0.5) / size
    v, u = (t.reshape(1, -1) for t in torch.meshgrid(centres, centres, indexing="ij"))
    y = (v - intrinsics[:, 1, 2, None]) / intrinsics[:, 1, 1, None]
    x = (u - intrinsics[:, 0, 2, None] - intrinsics[:, 0, 1, None] * y) / intrinsics[:, 0, 0, None]
    return x, y
