"""The terms of the two losses, as pure functions of images, logits and densities.

Each returns one value per sample, [N], unless it says otherwise; the loop averages, weights and logs them.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from eg3d.ops.resize import filtered_resizing
from eg3d.ops.upfirdn2d import filter2d


def generator_adversarial(fake_logits: torch.Tensor) -> torch.Tensor:
    """Non-saturating loss (Goodfellow et al. 2014): softplus(-D(fake)), logits [N, 1] -> [N]."""
    return F.softplus(-fake_logits).flatten()


def discriminator_fake(fake_logits: torch.Tensor) -> torch.Tensor:
    """softplus(D(fake)), logits [N, 1] -> [N]."""
    return F.softplus(fake_logits).flatten()


def discriminator_real(real_logits: torch.Tensor) -> torch.Tensor:
    """softplus(-D(real)), logits [N, 1] -> [N]."""
    return F.softplus(-real_logits).flatten()


def r1_penalty(
    real_logits: torch.Tensor, inputs: list[torch.Tensor], gamma: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """gamma / 2 * |dD/d inputs|^2 (Mescheder et al. 2018), differentiable in the weights.

    Args:
        real_logits: [N, 1].
        inputs: the tensors D was given, each [N, ...] with requires_grad. With blur on, these are the *blurred* images:
            the published loop differentiates there too (D-12), and R1 is about D, not about the blur.
    Returns: the weighted term [N] and the bare squared norm [N], which is what gets logged.
    """
    gradients = torch.autograd.grad(real_logits.sum(), inputs, create_graph=True)
    squared_norm = sum(g.square().flatten(1).sum(dim=1) for g in gradients)
    return squared_norm * (gamma / 2), squared_norm


def blur(images: torch.Tensor, sigma_px: float) -> torch.Tensor:
    """Blur in front of D, images [N, C, H, W]; separable taps 2^-(i/sigma)^2 up to 3 sigma, as published."""
    radius = math.floor(3 * sigma_px)
    if radius == 0:
        return images
    taps = (
        (torch.arange(-radius, radius + 1, dtype=torch.float32, device=images.device) / sigma_px).square().neg().exp2()
    )
    return filter2d(images, taps / taps.sum())


def real_pair(real: torch.Tensor, raw_resolution: int, filter_mode, sigma_px: float) -> dict[str, torch.Tensor]:
    """Real images [N, 3, H, W] as D sees them: `image`, and `image_raw` shrunk to the rays' resolution."""
    raw = filtered_resizing(real, raw_resolution, mode=filter_mode)
    return {"image": blur(real, sigma_px), "image_raw": blur(raw, sigma_px)}


def fake_pair(fake: dict[str, torch.Tensor], sigma_px: float, blur_raw: bool) -> dict[str, torch.Tensor]:
    """Generated images as D sees them. Published: `image_raw` stays sharp (D-13)."""
    raw = fake["image_raw"]
    return {"image": blur(fake["image"], sigma_px), "image_raw": blur(raw, sigma_px) if blur_raw else raw}


def style_mix(ws: torch.Tensor, other: torch.Tensor, u: torch.Tensor, prob: float) -> torch.Tensor:
    """With probability `prob`, rows from a random cutoff in [1, T) on come from `other`.

    Args: ws, other [N, T, C]; u [N, 2] uniform draws (whether, where).
    """
    rows = ws.shape[1]
    cutoff = 1 + (u[:, 1] * (rows - 1)).long().clamp(max=rows - 2)
    cutoff = torch.where(u[:, 0] < prob, cutoff, rows)
    return torch.where(torch.arange(rows, device=ws.device)[None, :, None] < cutoff[:, None, None], ws, other)


def _sigma(G: nn.Module, points: torch.Tensor, ws: torch.Tensor, draws) -> torch.Tensor:
    # The field ignores the viewing direction; zeros stand for the published random ones.
    return G.sample_mixed(points, torch.zeros_like(points), ws, draws=draws)["sigma"]


def density_smoothness(G, ws, points, shifted, draws=None) -> torch.Tensor:
    """Mean |sigma(x) - sigma(x')| over pairs of near points [N, P, 3]: TV of the density (EG3D, supplement). -> [N]"""
    sigma = _sigma(G, torch.cat([points, shifted], dim=1), ws, draws)
    here, there = sigma.split(points.shape[1], dim=1)
    return (here - there).abs().mean(dim=(1, 2))


def density_monotony(G, ws, points, step: float, detach: bool, draws=None) -> torch.Tensor:
    """10 * mean relu(sigma(front) - sigma(behind)): density must not fall along -z, away from the viewer. -> [N]

    Args: points [N, P, 3]; step: how far behind, world units; detach: hold the front value constant.
    """
    behind = points - points.new_tensor([0.0, 0.0, step])
    sigma_front, sigma_behind = _sigma(G, torch.cat([points, behind], dim=1), ws, draws).split(points.shape[1], dim=1)
    if detach:
        sigma_front = sigma_front.detach()
    return 10 * (sigma_front - sigma_behind).relu().mean(dim=(1, 2))
