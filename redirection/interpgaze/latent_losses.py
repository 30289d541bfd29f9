"""The losses of InterpGaze, one number for each logged name (Controllable Continuous Gaze Redirection, section 3.3).

Features F = E(x) [B, C, h, w]; M are mixed features. `discrim_gan` and `discrim_gp` are those of WGAN-GP (Gulrajani et
al. 2017); the penalty differentiates the sum of D's outputs, not their mean.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import nn

from redirection.interpgaze.latent_discriminator import LatentDiscriminator
from redirection.interpgaze.vgg_encoder import VggFeatures

Losses = dict[str, torch.Tensor]


def label_loss(logits: Sequence[torch.Tensor], labels: Sequence[torch.Tensor]) -> torch.Tensor:
    """Binary cross-entropy, summed over all attributes of all groups, per sample."""
    total = sum(F.binary_cross_entropy_with_logits(z, a, reduction="sum") for z, a in zip(logits, labels, strict=True))
    return total / len(logits[0])


def reconstruction(drawn: torch.Tensor, x: torch.Tensor, perceptual: VggFeatures | None, prefix: str) -> Losses:
    """`*_mse` between patches [B, 3, S, S], and, if there is a network, `*_per` between their relu3_1."""
    losses = {f"{prefix}_mse": F.mse_loss(drawn, x)}
    if perceptual is not None:
        with torch.no_grad():
            wanted = perceptual(x)[0]
        losses[f"{prefix}_per"] = F.mse_loss(perceptual(drawn)[0], wanted)
    return losses


def eye_error(drawn: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference of patches [B, 3, S, S], the more, the nearer to the middle, where the eye is.

    Not published. Squares alone leave the edge of an iris blurred, and most of a patch is skin.
    """
    side = torch.linspace(-1, 1, x.shape[-1], device=x.device)
    weight = torch.exp(-((side[:, None] / 0.35) ** 2) - (side[None] / 0.6) ** 2)
    return ((drawn - x).abs() * (weight / weight.mean())).mean()


def gradient_penalty(critic: LatentDiscriminator, real: torch.Tensor, mixed: torch.Tensor, u: torch.Tensor):
    """mean((|grad of S at z| - 1)^2) at z = u F + (1 - u) M; S is the sum of D's outputs; u [B] in [0, 1]."""
    u = u.view(-1, 1, 1, 1)
    z = (u * real + (1 - u) * mixed).detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(critic(z).real.sum(), z, create_graph=True)
    return (gradient.flatten(1).norm(dim=1) - 1).square().mean()


def critic_losses(
    critic: LatentDiscriminator,
    real: torch.Tensor,
    mixed: torch.Tensor,
    labels: Sequence[torch.Tensor],
    u: torch.Tensor,
    legacy_heads_on_mixed: bool = False,
) -> Losses:
    """Of D, on features without gradients. The heads learn the labels from real features.

    legacy_heads_on_mixed: as published, where the heads look at mixed features and are told the source's labels.
    """
    of_real, of_mixed = critic(real), critic(mixed)
    return {
        "discrim_gan": of_mixed.real.mean() - of_real.real.mean(),
        "discrim_gp": gradient_penalty(critic, real, mixed, u),
        "discrim_cls": label_loss((of_mixed if legacy_heads_on_mixed else of_real).attributes, labels),
    }


def mixing_losses(critic: LatentDiscriminator, mixed: torch.Tensor, labels: Sequence[torch.Tensor]) -> Losses:
    """Of E and C: mixed features look real, and have the attributes that the control vector says."""
    verdict = critic(mixed)
    return {"enc_int_gan": -verdict.real.mean(), "enc_int_cls": label_loss(verdict.attributes, labels)}


def arrival_loss(controller: Callable, source: torch.Tensor, reference: torch.Tensor, branches: int) -> Losses:
    """Of C alone: all branches together, at 1, reach the reference."""
    source, reference = source.detach(), reference.detach()
    arrived = controller(source, reference, source.new_ones(len(source), branches))
    return {"enc_int_all": F.mse_loss(arrived, reference)}


def distillation(transform: nn.Module, features: torch.Tensor, wanted: torch.Tensor, name: str) -> Losses:
    """The encoder's features, seen through KG, are still those of the teacher (`wanted`, relu5_1 of VGG-19)."""
    return {name: F.mse_loss(transform(features), wanted)}
