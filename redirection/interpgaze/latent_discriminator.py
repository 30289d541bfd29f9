"""The discriminator of features: are they those of a true patch, and which attributes have they?"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn

WIDTH = 256


class Verdict(NamedTuple):
    """real [B, n]: outputs whose mean is the critic's value; attributes: logits [B, length] of each group."""

    real: torch.Tensor
    attributes: list[torch.Tensor]


class LatentDiscriminator(nn.Module):
    """D: features [B, C, 8, 8] -> `Verdict`; 8 -> 4 -> 2 -> 1 by convolutions."""

    def __init__(self, channels: int, lengths: Sequence[int], width: int = WIDTH):
        super().__init__()

        def normed(conv: nn.Module) -> list[nn.Module]:
            return [conv, nn.InstanceNorm2d(width, affine=True), nn.LeakyReLU(0.2)]

        layers = normed(nn.Conv2d(channels, width, 1))
        for _ in range(2):
            layers += normed(nn.Conv2d(width, width, 4, stride=2, padding=1))
        self.model = nn.Sequential(*layers, nn.Conv2d(width, width, 2))
        self.ifReal = nn.Conv2d(width, width, 1)  # published name
        self.attr_branches = nn.ModuleList(nn.Conv2d(width, length, 1) for length in lengths)

    def forward(self, features: torch.Tensor) -> Verdict:
        x = self.model(features)
        return Verdict(self.ifReal(x).flatten(1), [head(x).flatten(1) for head in self.attr_branches])
