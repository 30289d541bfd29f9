"""Layers with spectral normalisation (Miyato et al. 2018), by one vector or in GazeAnimation's published form.

The weight, as a matrix W [k k in, out], is divided by an estimate of its largest singular value. A call in training
mode makes one power iteration, as published; a call in evaluation mode makes none.
"""

import torch
import torch.nn.functional as F
from torch import nn

FORMS = ("vector", "rows")  # rows: as published, where every output channel iterates a vector of its own


class _Spectral:
    """sn_u [1, k k in], or [out, k k in] in the form of rows. axes: of W, in those of the layer's weight."""

    sn_u: torch.Tensor

    def _begin(self, form: str, *axes: int) -> None:
        self._axes = axes
        columns = self.weight.shape[axes[-1]]
        inputs = self.weight.numel() // columns
        self.register_buffer("sn_u", self.weight.new_empty(columns if form == "rows" else 1, inputs).normal_())

    def _divided(self) -> torch.Tensor:
        matrix = self.weight.permute(self._axes).flatten(0, -2)
        sigma, u = iterated(matrix, self.sn_u)
        if self.training:
            with torch.no_grad():
                self.sn_u.copy_(u)
        return self.weight / sigma


class SpectralConv(_Spectral, nn.Conv2d):
    """A convolution that halves the side."""

    def __init__(self, before: int, after: int, form: str):
        super().__init__(before, after, 4, 2, 1)
        self._begin(form, 2, 3, 1, 0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._conv_forward(x, self._divided(), self.bias)


class SpectralDeconv(_Spectral, nn.ConvTranspose2d):
    """A transposed convolution that doubles the side. The last axis of its W is the input, as in TensorFlow."""

    def __init__(self, before: int, after: int, form: str):
        super().__init__(before, after, 4, 2, 1)
        self._begin(form, 2, 3, 1, 0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.conv_transpose2d(x, self._divided(), self.bias, self.stride, self.padding)


class SpectralLinear(_Spectral, nn.Linear):
    """A fully connected layer."""

    def __init__(self, before: int, after: int, form: str):
        super().__init__(before, after)
        self._begin(form, 1, 0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self._divided(), self.bias)


def iterated(matrix: torch.Tensor, u: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """W [K, out], u [n, K] -> (sigma, the next u): one power iteration of each row, and the mean of their estimates.

    The rows begin apart, so the mean of many is low until all have come near. Gradients pass through W alone.
    """
    with torch.no_grad():
        v = F.normalize(u @ matrix, dim=1)
        u = F.normalize(v @ matrix.T, dim=1)
    return ((u @ matrix) * v).sum(1).mean(), u
