"""Small disturbances of a picture before the gaze loss looks at it, so that texture cannot fool the gaze network."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F


@dataclass(frozen=True, kw_only=True)
class Jitter:
    """The largest shift, blur, noise and zoom. Each is drawn per image, from 0 to this bound."""

    shift: float = 0.03  # each way, as a fraction of the side
    blur: float = 1 / 64  # sigma as a fraction of the side: 1 px at 64 px
    noise: float = 0.05  # standard deviation, images span [-1, 1]
    zoom: float = 0.0  # larger or smaller, as a fraction of the size

    def __post_init__(self):
        for name in ("shift", "blur", "noise", "zoom"):
            value = getattr(self, name)
            if not 0 <= value <= 0.25:
                raise ValueError(f"the gaze loss's jitter {name} is {value}; use a value from 0 (off) to 0.25")


def disturb(images: torch.Tensor, draws, jitter: Jitter) -> torch.Tensor:
    """Small random shift, zoom, blur and noise of each image [N, 3, H, W]; relative to the size, differentiable."""
    n, _, height, width = images.shape
    u = draws.uniform((n, 4), images.device)
    if jitter.shift > 0 or jitter.zoom > 0:
        theta = torch.eye(2, 3, device=images.device).repeat(n, 1, 1)
        theta[:, :, 2] = (2 * u[:, :2] - 1) * (2 * jitter.shift)  # grid coordinates span 2
        if jitter.zoom > 0:  # drawn only then: trainings without it stay what they were
            zoom = 1 + (2 * draws.uniform((n, 1, 1), images.device) - 1) * jitter.zoom
            theta[:, :, :2] = theta[:, :, :2] * zoom
        grid = F.affine_grid(theta, list(images.shape), align_corners=False)
        images = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    if jitter.blur > 0:
        images = _blur(images, u[:, 2] * jitter.blur * max(height, width), jitter.blur * max(height, width))
    if jitter.noise > 0:
        images = images + u[:, 3, None, None, None] * jitter.noise * draws.normal(images.shape, images.device)
    return images


def _blur(images: torch.Tensor, sigma_px: torch.Tensor, largest_px: float) -> torch.Tensor:
    """Gaussian blur of each image with its own sigma [N], separable; edges repeat."""
    n, channels, height, width = images.shape
    radius = min(math.ceil(3 * largest_px), min(height, width) - 1)
    offsets = torch.arange(-radius, radius + 1, device=images.device)
    kernel = torch.exp(-0.5 * (offsets / sigma_px[:, None].clamp_min(1e-3)).square())
    kernel = (kernel / kernel.sum(dim=1, keepdim=True)).repeat_interleave(channels, dim=0)[:, None]
    x = images.reshape(1, n * channels, height, width)
    x = F.conv2d(F.pad(x, (radius, radius, 0, 0), "replicate"), kernel[:, :, None, :], groups=n * channels)
    x = F.conv2d(F.pad(x, (0, 0, radius, radius), "replicate"), kernel[:, :, :, None], groups=n * channels)
    return x.reshape(images.shape)
