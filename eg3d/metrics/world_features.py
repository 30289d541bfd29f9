"""The small feature network of the embedded world: pictures of heads -> 64 numbers, for Frechet and kernel distances.

It stands where Inception stands for photos, and its distances are never called FID. How it is trained:
`world/training/fit_features.py`; what it notices: tests/metrics/test_embedded_features.py.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from eg3d.metrics.network_file import filled, load_network
from groundwork.files import WORLD_WEIGHTS
from groundwork.plain import from_plain

FEATURES_FILE, KIND = WORLD_WEIGHTS / "features.safetensors", "features"


@dataclass(frozen=True)
class Architecture:
    """widths: channels of the stem and of each block, multiples of 16; the last is the number of features.

    side: pixels the network looks at.
    """

    widths: tuple[int, ...] = (16, 32, 64, 64)
    side: int = 64


class Block(nn.Module):
    """Two 3x3 convolutions, the first of stride 2, beside a 1x1 shortcut (He et al. 2016)."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride=2, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.shortcut(x))


class FeatureNetwork(nn.Module):
    """uint8 [N, 3, H, W] -> features [N, widths[-1]]: a residual network, then the mean of its last maps.

    Pictures of another size are brought to `side` by an anti-aliased bilinear filter, all alike.
    """

    def __init__(self, architecture: Architecture):
        super().__init__()
        self.architecture = architecture
        widths = architecture.widths
        self.stem = nn.Conv2d(3, widths[0], 3, stride=2, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(widths[0])
        self.blocks = nn.Sequential(*(Block(a, b) for a, b in zip(widths, widths[1:], strict=False)))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.features((images.float() - 128) / 128)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """x [N, 3, H, W] in [-1, 1] -> [N, widths[-1]]."""
        return self.maps(x)[-1].mean(dim=(2, 3))

    def maps(self, x: torch.Tensor) -> list[torch.Tensor]:
        """x [N, 3, H, W] in [-1, 1] -> the maps after the stem and each block, [N, width, side / 2, side / 2] first."""
        side = self.architecture.side
        if x.shape[-2:] != (side, side):
            x = F.interpolate(x, (side, side), mode="bilinear", align_corners=False, antialias=True)
        found = [F.relu(self.bn(self.stem(x)))]
        for block in self.blocks:
            found.append(block(found[-1]))
        return found


def load_feature_network(path: Path = FEATURES_FILE) -> tuple[FeatureNetwork, str]:
    """(network, SHA-256 of the file); ValueError, one line, for another file."""
    stored = load_network(path, KIND)
    architecture = from_plain(Architecture, stored.architecture)
    return filled(lambda: FeatureNetwork(architecture), stored.state, path, f"a {KIND} network"), stored.sha256
