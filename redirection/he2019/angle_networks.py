"""Generator and discriminator of He et al. 2019 (Photo-Realistic Monocular Gaze Redirection Using GANs, section 3).

Names of the modules are those of the published TensorFlow variables (`redirection.tensorflow_names`). Patches are RGB
in [-1, 1]; an angle is (H / 15, V / 10), both in degrees, H negated for mirrored patches.
"""

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import nn

RESIDUALS, WIDTH, WIDEST = 6, 64, 1024
UNITS_DEG = (15.0, 10.0)  # of H and V


class _Conv(nn.Sequential):
    """One convolution, in a scope of its own as there."""

    def __init__(self, before: int, after: int, kernel: int, stride: int = 1, padding: int = 0, bias: bool = False):
        super().__init__(OrderedDict(conv2d=nn.Conv2d(before, after, kernel, stride, padding, bias=bias)))


def _norm(channels: int) -> nn.InstanceNorm2d:
    return nn.InstanceNorm2d(channels, eps=1e-5, affine=True)


def _start(network: nn.Module) -> None:
    """Weights N(0, 0.02), as published; what is added starts at 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and not module.weight.is_meta:
            nn.init.normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


class AngleGenerator(nn.Module):
    """G: patch [B, 3, S, S] in [-1, 1], angle [B, 2] that is wanted -> patch [B, 3, S, S] in [-1, 1]."""

    def __init__(self, width: int = WIDTH, residuals: int = RESIDUALS):
        super().__init__()
        self.residuals = residuals
        self.conv2d_input, self.in_input = _Conv(3 + 2, width, 7, padding=3), _norm(width)
        for i in range(2):
            self.add_module(f"conv2d_{i}", _Conv(width << i, width << i + 1, 4, 2, 1))
            self.add_module(f"in_conv_{i}", _norm(width << i + 1))
        for i in range(residuals):
            for part in "ab":
                self.add_module(f"conv_res_{part}_{i}", _Conv(width * 4, width * 4, 3, padding=1))
                self.add_module(f"in_res_{part}_{i}", _norm(width * 4))
        for i in range(2):
            before, after = width * 4 >> i, width * 2 >> i
            self.add_module(f"deconv_{i}", nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False))
            self.add_module(f"in_decon_{i}", _norm(after))
        self.output = _Conv(width, 3, 7, padding=3)
        _start(self)

    def forward(self, x: torch.Tensor, angle: torch.Tensor) -> torch.Tensor:
        x = torch.cat([x, angle[:, :, None, None].expand(-1, -1, *x.shape[-2:])], 1)
        x = F.relu(self.in_input(self.conv2d_input(x)))
        for i in range(2):
            x = self._layer(f"conv2d_{i}", f"in_conv_{i}", x).relu()
        for i in range(self.residuals):
            inner = self._layer(f"conv_res_a_{i}", f"in_res_a_{i}", x).relu()
            x = x + self._layer(f"conv_res_b_{i}", f"in_res_b_{i}", inner)
        for i in range(2):
            x = self._layer(f"deconv_{i}", f"in_decon_{i}", x).relu()
        return torch.tanh(self.output(x))

    def _layer(self, conv: str, norm: str, x: torch.Tensor) -> torch.Tensor:
        return getattr(self, norm)(getattr(self, conv)(x))


class AngleDiscriminator(nn.Module):
    """D: patch [B, 3, S, S] -> realness [B, 1, s, s], whose mean counts, and its estimate of the angle [B, 2]."""

    def __init__(self, size: int = 64, width: int = WIDTH):
        super().__init__()
        self.depth, before = 5, 3
        for i in range(self.depth):
            self.add_module(f"conv_{i}", _Conv(before, before := min(width << i, WIDEST), 4, 2, 1, bias=True))
        kernel = size >> self.depth
        self.conv_logit_gan = _Conv(before, 1, kernel, padding=1)
        self.conv_logit_reg = _Conv(before, 2, kernel)
        _start(self)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        for i in range(self.depth):
            x = F.leaky_relu(getattr(self, f"conv_{i}")(x), 0.01)
        return self.conv_logit_gan(x), self.conv_logit_reg(x).flatten(1)
