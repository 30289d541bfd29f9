"""What the discriminator is shown: pairs of a full image and a raw one of the rays' resolution (EG3D, section 4.3).

Both can be blurred, which training does at its start. Augmentation follows: `augment_pipe.py`.
"""

import math

import torch

from eg3d.ops.resize import filtered_resizing
from eg3d.ops.upfirdn2d import filter2d


def blur(images: torch.Tensor, sigma_px: float) -> torch.Tensor:
    """Blurs images [N, C, H, W]; separable taps 2^-(i/sigma)^2 up to 3 sigma, as published."""
    radius = math.floor(3 * sigma_px)
    if radius == 0:
        return images
    taps = (
        (torch.arange(-radius, radius + 1, dtype=torch.float32, device=images.device) / sigma_px).square().neg().exp2()
    )
    return filter2d(images, taps / taps.sum())


def real_pair(real: torch.Tensor, raw_resolution: int, filter_mode, sigma_px: float) -> dict[str, torch.Tensor]:
    """Real images [N, 3, H, W] as `image`, and shrunk to the rays' resolution as `image_raw`."""
    raw = filtered_resizing(real, raw_resolution, mode=filter_mode)
    return {"image": blur(real, sigma_px), "image_raw": blur(raw, sigma_px)}


def fake_pair(fake: dict[str, torch.Tensor], sigma_px: float, blur_raw: bool) -> dict[str, torch.Tensor]:
    """Generated images. The published `image_raw` stays sharp (docs/published_defects.md, D-13)."""
    raw = fake["image_raw"]
    return {"image": blur(fake["image"], sigma_px), "image_raw": blur(raw, sigma_px) if blur_raw else raw}
