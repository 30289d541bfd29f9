"""Losses of He et al. 2019, section 3.3: adversarial, gaze regression, cycle; and the error of two gaze angles.

WGAN-GP (Gulrajani et al. 2017), where a critic's value is the mean over its map and the penalty differentiates the sum.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from groundwork.plain import check_types
from redirection.he2019.angle_networks import AngleDiscriminator, AngleGenerator
from redirection.he2019.content_style import ContentStyle

Losses = dict[str, torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class CycleWeights:
    """Factors in the two totals; the published ones, but for `paired`, which is ours."""

    penalty: float = 10.0
    regression: float = 5.0
    cycle: float = 50.0
    content: float = 100.0
    style: float = 100.0
    paired: float = 0.0

    def __post_init__(self):
        check_types(self)


def discriminator_losses(
    critic: AngleDiscriminator,
    real: torch.Tensor,
    drawn: torch.Tensor,
    angle: torch.Tensor,
    u: torch.Tensor,
    weights: CycleWeights,
) -> Losses:
    """d_gan, gp, reg_d, and their weighted sum d_total.

    Args: real, drawn [B, 3, S, S], the latter without gradients; angle [B, 2] of real; u [B] in [0, 1]: how real the
    patches are at which the penalty is taken
    """
    realness, estimate = critic(real)
    u = u.view(-1, 1, 1, 1)
    between = (u * real + (1 - u) * drawn).detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(critic(between)[0].sum(), between, create_graph=True)
    losses = {
        "d_gan": critic(drawn)[0].mean() - realness.mean(),
        "gp": (gradient.flatten(1).norm(dim=1) - 1).square().mean(),
        "reg_d": F.mse_loss(estimate, angle),
    }
    total = losses["d_gan"] + weights.penalty * losses["gp"] + weights.regression * losses["reg_d"]
    return losses | {"d_total": total}


def generator_losses(
    generator: AngleGenerator,
    critic: AngleDiscriminator,
    drawn: torch.Tensor,
    source: tuple[torch.Tensor, torch.Tensor],
    target: tuple[torch.Tensor, torch.Tensor],
    weights: CycleWeights,
    seen: ContentStyle | None = None,
) -> Losses:
    """g_gan, reg_g, cycle; with VGG-16 content and style, with a factor paired; and their weighted sum g_total.

    Args: drawn = generator(source patch, target angle); source, target: patch [B, 3, S, S] and angle [B, 2] of one
    person; the target's patch is the true picture
    """
    realness, estimate = critic(drawn)
    losses = {
        "g_gan": -realness.mean(),
        "reg_g": F.mse_loss(estimate, target[1]),
        "cycle": F.l1_loss(generator(drawn, source[1]), source[0]),
    }
    total = losses["g_gan"] + weights.regression * losses["reg_g"] + weights.cycle * losses["cycle"]
    if seen is not None:
        losses |= (more := seen(drawn, target[0]))
        total = total + weights.content * more["content"] + weights.style * more["style"]
    if weights.paired:
        losses["paired"] = F.l1_loss(drawn, target[0])
        total = total + weights.paired * losses["paired"]
    return losses | {"g_total": total}


def angular_error_deg(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Angle between two gazes [..., 2], each (yaw, pitch) in degrees -> degrees [...]."""

    def vector(angle: torch.Tensor) -> torch.Tensor:
        t, p = angle.deg2rad().unbind(-1)
        return torch.stack([p.cos() * t.sin(), p.sin(), p.cos() * t.cos()], -1)

    return (vector(a) * vector(b)).sum(-1).clamp(-1, 1).arccos().rad2deg()
