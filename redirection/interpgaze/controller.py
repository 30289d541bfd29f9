"""The controller: moves the features of a source towards those of a reference, each group of attributes by itself."""

import torch
from torch import nn


class Branch(nn.Module):
    """T_k: what a group of attributes adds, from the difference of two features [B, C, h, w]."""

    def __init__(self, width: int):
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(3):
            layers += [nn.Conv2d(width, width, 3, padding=1), nn.ReLU()]
        self.model = nn.Sequential(*layers[:-1])

    def forward(self, difference: torch.Tensor) -> torch.Tensor:
        return self.model(difference)


class Controller(nn.Module):
    """C(F_s, F_t, v) = F_s + sum over k of v_k T_k(F_t - F_s) (Controllable Continuous Gaze Redirection, section 3).

    v = 0 gives F_s back, bit for bit: F_s has no negative zeros, and what is added are zeros.
    """

    def __init__(self, width: int, branches: int):
        super().__init__()
        self.branch = nn.ModuleList(Branch(width) for _ in range(branches))

    def forward(self, source: torch.Tensor, reference: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """source, reference [B, C, h, w], v [B, branches] -> mixed features [B, C, h, w]."""
        difference = reference - source
        moved = source
        for k, branch in enumerate(self.branch):
            moved = moved + v[:, k, None, None, None] * branch(difference)
        return moved
