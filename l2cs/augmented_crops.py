"""Augmentation of face crops for small networks: a generator's pictures are softer, noisier and off-centre."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F


@dataclass(frozen=True)
class Augmentation:
    """Ranges of the random changes. Pixels and blur refer to the image as stored, before it is resized."""

    mirror: bool = True
    shift_px: float = 2.0
    zoom: float = 0.06
    blur_sigma_px: float = 1.2
    noise: float = 0.06  # standard deviation, of [-1, 1]
    brightness: float = 0.2
    contrast: float = 0.25
    tint: float = 0.1


def augment(images, angles, settings: Augmentation, generator: torch.Generator):
    """Images [B, 3, S, S] in [-1, 1] and angles [B, 2] (yaw, pitch) -> the same, changed; every image in its own way.

    All draws come from `generator` (a CPU one, so that every device trains on the same numbers). Mirroring changes
    yaw's sign; no other change moves the gaze.
    """
    n, device = len(images), images.device

    def uniform(*shape, low=-1.0, high=1.0):
        return (torch.rand(n, *shape, generator=generator) * (high - low) + low).to(device)

    flip = (uniform() > 0) & settings.mirror
    images = torch.where(flip[:, None, None, None], images.flip(3), images)
    angles = torch.stack([torch.where(flip, -angles[:, 0], angles[:, 0]), angles[:, 1]], dim=1)

    images = _move(images, settings.shift_px * uniform(2), 1 + settings.zoom * uniform())
    images = gaussian_blur(images, settings.blur_sigma_px * uniform(low=0.0))

    gain = (1 + settings.contrast * uniform(1)) * (1 + settings.tint * uniform(3))
    lift = settings.brightness * uniform(1) + settings.tint * uniform(3)
    images = images * gain[:, :, None, None] + lift[:, :, None, None]
    noise = torch.randn(images.shape, generator=generator).to(device)
    images = images + settings.noise * uniform(1, 1, 1, low=0.0) * noise
    return images.clamp(-1, 1), angles


def _move(images, shift_px, zoom):
    """Shifts [B, 2] in pixels (x, y) and scales [B] about the centre; the border is repeated."""
    theta = torch.zeros(len(images), 2, 3, device=images.device)
    theta[:, 0, 0] = theta[:, 1, 1] = 1 / zoom
    theta[:, :, 2] = shift_px * 2 / images.shape[-1]
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def gaussian_blur(images: torch.Tensor, sigma_px: torch.Tensor, radius: int = 3) -> torch.Tensor:
    """Gaussian blur with one sigma [B] per image, separable, borders repeated."""
    n, channels = images.shape[:2]
    offsets = torch.arange(-radius, radius + 1, device=images.device)
    kernel = torch.exp(-0.5 * (offsets / sigma_px.clamp(min=1e-2)[:, None]) ** 2)
    kernel = (kernel / kernel.sum(dim=1, keepdim=True)).repeat_interleave(channels, dim=0)
    x = F.pad(images, [radius] * 4, mode="replicate").reshape(
        1, n * channels, *(s + 2 * radius for s in images.shape[2:])
    )
    x = F.conv2d(x, kernel[:, None, :, None], groups=n * channels)
    x = F.conv2d(x, kernel[:, None, None, :], groups=n * channels)
    return x.reshape(images.shape)
