"""What all networks of GazeAnimation are made of (Zhang et al. 2020, supplement): convolutions, norms, codes, start."""

import math

import torch
from torch import nn


def conv7(before: int, after: int) -> nn.Conv2d:
    return nn.Conv2d(before, after, 7, padding=3)


def conv4(before: int, after: int) -> nn.Conv2d:
    """Halves the side."""
    return nn.Conv2d(before, after, 4, 2, 1)


def deconv4(before: int, after: int) -> nn.ConvTranspose2d:
    """Doubles the side."""
    return nn.ConvTranspose2d(before, after, 4, 2, 1)


def norm(channels: int) -> nn.InstanceNorm2d:
    return nn.InstanceNorm2d(channels, eps=1e-5, affine=True)


def flat(x: torch.Tensor) -> torch.Tensor:
    """[B, C, h, w] -> [B, h w C]: the channel runs fastest, as in the published weights."""
    return x.permute(0, 2, 3, 1).flatten(1)


def unflat(x: torch.Tensor, side: int) -> torch.Tensor:
    """[B, side side C] -> [B, C, side, side]; undoes `flat`."""
    return x.unflatten(1, (side, side, -1)).permute(0, 3, 1, 2)


def start(network: nn.Module) -> None:
    """Weights from a normal distribution cut off at two deviations, variance 2 / fan-in; scales N(1, 0.02)."""
    for module in network.modules():
        if getattr(module, "weight", None) is None or module.weight.is_meta:
            continue
        if isinstance(module, nn.InstanceNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)
        elif isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            # what is cut off narrows the distribution to 0.88 of its deviation
            std = math.sqrt(2 / module.weight[0].numel()) / 0.87962566103423978
            nn.init.trunc_normal_(module.weight, std=std, a=-2 * std, b=2 * std)
            nn.init.zeros_(module.bias)
