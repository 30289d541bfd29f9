"""Pictures of eyes compared: with the truth, outside the lids, and the colour of the iris."""

import numpy as np
import torch
import torch.nn.functional as F

from redirection.eye_patches import SIDE_OVER_RADIUS, EyeSquare

IRIS_OVER_LIDS = 0.39  # radius of an iris over that of the circle round the lids: 5.9 mm of 15
RING = (0.5, 0.95)  # part of the iris's radius whose colour counts: neither pupil nor edge
SIGMA, WINDOW = 1.5, 11  # of SSIM, pixels
CHUNK = 128  # patches at once; two thousand would need gigabytes


def psnr(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """dB [N] of uint8 [N, 3, S, S]; at most 99, for equal pictures."""
    error = (a.float() - b.float()).square().mean(dim=(1, 2, 3)) / 255**2
    return (-10 * error.clamp(min=1e-12).log10()).clamp(max=99)


def ssim(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Structural similarity [N] of uint8 [N, 3, S, S] (Wang et al. 2004), mean over channels."""
    return torch.cat([_ssim(*parts) for parts in zip(a.split(CHUNK), b.split(CHUNK), strict=True)])


def _ssim(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    x, y = a.double() / 255, b.double() / 255
    at = torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2
    taps = torch.exp(-0.5 * (at / SIGMA) ** 2)
    height, width = (_filter_rows(taps / taps.sum(), side) for side in x.shape[-2:])

    def mean(z):  # by products of matrices: convolutions of doubles are slow
        return height @ z @ width.T

    mx, my = mean(x), mean(y)
    vx, vy, vxy = mean(x * x) - mx * mx, mean(y * y) - my * my, mean(x * y) - mx * my
    c1, c2 = 0.01**2, 0.03**2
    return (((2 * mx * my + c1) * (2 * vxy + c2)) / ((mx * mx + my * my + c1) * (vx + vy + c2))).mean(dim=(1, 2, 3))


def _filter_rows(taps: torch.Tensor, side: int) -> torch.Tensor:
    """[side - K + 1, side]: each row has the K taps, one place further."""
    rows = torch.zeros(side - len(taps) + 1, side, dtype=taps.dtype)
    for k in range(len(rows)):
        rows[k, k : k + len(taps)] = taps
    return rows


def distance_from_centre(size: int) -> torch.Tensor:
    """[S, S], in pixels."""
    at = torch.arange(size) + 0.5 - size / 2
    return torch.hypot(at[:, None], at[None])


def change_outside_lids(source: torch.Tensor, still: torch.Tensor, moved: torch.Tensor) -> torch.Tensor:
    """Mean change [N], of 255, outside the circle round the lids, after pasting the change from `still` to `moved`.

    Args: uint8 [N, 3, S, S]; still: what the method makes of the source if nothing is to move
    """
    size = source.shape[-1]
    square, outside = EyeSquare(size / 2, size / 2, size, False), distance_from_centre(size) > size / SIDE_OVER_RADIUS
    changes = []
    for one in zip(source, still, moved, strict=True):
        picture, before, after = (np.ascontiguousarray(x.permute(1, 2, 0).numpy()) for x in one)
        change = np.abs(square.paste(picture, before, after).astype(int) - picture)
        changes.append(change[outside.numpy()].mean())
    return torch.tensor(changes)


def iris_colours(patches: torch.Tensor) -> torch.Tensor:
    """Mean RGB [N, 3] of the iris in uint8 [N, 3, S, S]: of a ring in the darkest disc of its size within the lids."""
    return torch.cat([find_irises(part)[1] for part in patches.split(CHUNK)])


def find_irises(patches: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Where that disc is, the pixel (x, y) [N, 2] in its middle, and what `iris_colours` says."""
    size = patches.shape[-1]
    radius = IRIS_OVER_LIDS * size / SIDE_OVER_RADIUS
    reach = int(np.ceil(radius))
    away = distance_from_centre(2 * reach + 1)
    disc, ring = (away <= radius).float(), ((away >= RING[0] * radius) & (away <= RING[1] * radius)).float()
    x = patches.float()
    grey = F.conv2d(x.mean(1, keepdim=True), (disc / disc.sum())[None, None], padding=reach)
    grey = grey.masked_fill(distance_from_centre(size) > size / SIDE_OVER_RADIUS - radius / 2, torch.inf)
    at = grey.flatten(1).argmin(1)
    colours = F.conv2d(x, (ring / ring.sum()).expand(3, 1, -1, -1), padding=reach, groups=3).flatten(2)
    return torch.stack([at % size, at // size], 1), colours.gather(2, at[:, None, None].expand(-1, 3, 1))[:, :, 0]
