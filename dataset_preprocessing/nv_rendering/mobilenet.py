"""3DDFA's regressor: MobileNet-V1 of width 1.0 (Howard et al. 2017, table 1) with 62 outputs (Zhu et al. 2016).

Names and shapes are those of the published `phase1_wpdc_vdc.pth.tar`.
"""

from pathlib import Path

import torch
from torch import nn

from eg3d.metrics.network_file import filled, read_state

INPUT, OUTPUTS = 120, 62
STATE_KEY = "state_dict"  # the published file also holds the optimiser
# Depthwise-separable blocks in order: name, width, stride. The stem has 32 channels and stride 2.
BLOCKS = (
    ("dw2_1", 64, 1), ("dw2_2", 128, 2), ("dw3_1", 128, 1), ("dw3_2", 256, 2), ("dw4_1", 256, 1), ("dw4_2", 512, 2),
    *((f"dw5_{k}", 512, 1) for k in range(1, 6)), ("dw5_6", 1024, 2), ("dw6", 1024, 1),
)  # fmt: skip
STEM = 32


class Separable(nn.Module):
    """A convolution of each channel alone, then one of all channels at each place; both with batch norm and ReLU."""

    def __init__(self, inputs: int, width: int, stride: int):
        super().__init__()
        self.conv_dw = nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False)
        self.bn_dw = nn.BatchNorm2d(inputs)
        self.conv_sep = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn_sep = nn.BatchNorm2d(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.bn_dw(self.conv_dw(x)).relu()
        return self.bn_sep(self.conv_sep(x)).relu()


class MobileNet(nn.Module):
    """Crops [N, 3, 120, 120] -> whitened parameters [N, 62]. Crops are BGR, (v - 127.5) / 128."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, STEM, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(STEM)
        inputs = STEM
        for name, width, stride in BLOCKS:
            self.add_module(name, Separable(inputs, width, stride))
            inputs = width
        self.fc = nn.Linear(inputs, OUTPUTS)

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        x = self.bn1(self.conv1(crops)).relu()
        for name, _, _ in BLOCKS:
            x = getattr(self, name)(x)
        return self.fc(x.mean(dim=(2, 3)))


def load_mobilenet(path: Path, device="cpu") -> tuple[MobileNet, str]:
    """The regressor with a user's weights, frozen, and the file's SHA-256. Only tensors are read, no code is run.

    ValueError, one line, for anything else than the published tensors.
    """
    state, sha256 = read_state(path, "3DDFA", STATE_KEY)
    return filled(MobileNet, state, path, "3DDFA's MobileNet").float().to(device), sha256
