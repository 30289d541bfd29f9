"""Plane features -> colour features and density: a small shared network (EG3D, section 4.1; spec section 3.3)."""

import torch
import torch.nn.functional as F
from torch import nn

from eg3d.models.layers import FullyConnectedLayer


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

    def forward(self, features):
        first, _, last = self.net
        hidden = F.softplus(_apply(first, features))
        out = _apply(last, hidden)
        colors = torch.sigmoid(out[:, 1:]) * (1 + 2 * 0.001) - 0.001  # margins: mip-NeRF's saturation fix
        return colors, out[:, 0]


def _apply(layer, x):
    """A linear layer on channels-first data [N, C, P]."""
    weight, bias = layer.weight * layer.weight_gain, layer.bias * layer.bias_gain
    return torch.baddbmm(bias[None, :, None], weight[None].expand(len(x), -1, -1), x)
