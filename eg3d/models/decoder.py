"""Plane features -> colour features and density: a small shared network (EG3D, section 3)."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from eg3d.models.layers import FullyConnectedLayer
from eg3d.ops.kernels.field_network import FieldWeights
from groundwork.plain import check_above_zero, check_types, check_within

MARGIN = 0.001  # colours reach a little beyond 0 and 1, so that sigmoids need not saturate (mip-NeRF)


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """The hidden layer of the decoder."""

    width: int = 64
    lr_multiplier: float = 1.0

    def __post_init__(self):
        check_types(self)
        check_within("width", self.width, 1)
        check_above_zero("lr_multiplier", self.lr_multiplier)


class OSGDecoder(nn.Module):
    """features [N, C, P] -> colours [N, out, P] in about (0, 1), raw density sigma [N, P]. Ignores view direction."""

    def __init__(self, in_channels=32, out_channels=32, hidden=64, lr_multiplier=1.0):
        super().__init__()
        # Index 1 is the parameter-free softplus of the published container; it keeps the names net.0 and net.2.
        self.net = nn.Sequential(
            FullyConnectedLayer(in_channels, hidden, lr_multiplier=lr_multiplier),
            nn.Softplus(),
            FullyConnectedLayer(hidden, 1 + out_channels, lr_multiplier=lr_multiplier),
        )

    # The same in three parts, for rows [P, C] and without gradients: densities are wanted before colours, and the
    # margins may wait until the colours are summed. `scale` multiplies the features.

    def hidden(self, rows, scale=1.0):
        """rows [P, C] -> [P, hidden]."""
        first = self.net[0]
        weight, bias = first.weight * (first.weight_gain * scale), first.bias * first.bias_gain
        return F.softplus(torch.addmm(bias, rows, weight.t()))

    def density(self, hidden):
        """[P, hidden] -> raw sigma [P]."""
        last = self.net[2]
        return torch.addmv(last.bias[0] * last.bias_gain, hidden, last.weight[0] * last.weight_gain)

    def saturation(self, hidden):
        """[P, hidden] -> colours [P, out] before `with_margins`."""
        last = self.net[2]
        weight, bias = last.weight[1:] * last.weight_gain, last.bias[1:] * last.bias_gain
        return torch.addmm(bias, hidden, weight.t()).sigmoid_()

    @staticmethod
    def with_margins(colors, weight=1.0):
        """Weighted sums of `saturation` -> of colours; weight: the sum of the weights, broadcastable."""
        return colors * (1 + 2 * MARGIN) - MARGIN * weight

    def field_weights(self, planes: int) -> FieldWeights:
        """All numbers for kernels that sum the features of so many planes; differentiable."""
        first, _, last = self.net
        return FieldWeights(
            first.weight * (first.weight_gain / planes), first.bias * first.bias_gain,
            last.weight * last.weight_gain, last.bias * last.bias_gain,
        )  # fmt: skip

    def forward(self, features):
        first, _, last = self.net
        hidden = F.softplus(_apply(first, features))
        out = _apply(last, hidden)
        colors = self.with_margins(torch.sigmoid(out[:, 1:]))
        return colors, out[:, 0]


def _apply(layer, x):
    """A linear layer on channels-first data [N, C, P]."""
    weight, bias = layer.weight * layer.weight_gain, layer.bias * layer.bias_gain
    return torch.baddbmm(bias[None, :, None], weight[None].expand(len(x), -1, -1), x)
