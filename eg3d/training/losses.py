"""The terms of the two losses, as pure functions of images, logits and densities.

Each returns one value per sample, [N], unless it says otherwise; the trainer averages, weights and logs them.
"""

import torch
import torch.nn.functional as F
from torch import nn


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
        inputs: the tensors D was given, each [N, ...] with requires_grad. While training blurs its images, these are
            the *blurred* ones, as published: R1 is about D, not about the blur (docs/published_defects.md, D-12).
    Returns: the weighted term [N] and the bare squared norm [N], which is what gets logged.
    """
    gradients = torch.autograd.grad(real_logits.sum(), inputs, create_graph=True)
    squared_norm = sum(g.square().flatten(1).sum(dim=1) for g in gradients)
    return squared_norm * (gamma / 2), squared_norm


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
