"""IResNet, the network of ArcFace (Deng et al. 2019, section 3.1; He et al. 2016, pre-activation blocks).

Names and shapes of the parameters are those of insightface's `backbone.pth` files, 18 to 100 layers. The same class
in small serves the embedded world.
"""

from dataclasses import dataclass

import torch
from torch import nn

PUBLISHED = {  # name: blocks per layer
    "r18": (2, 2, 2, 2),
    "r34": (3, 4, 6, 3),
    "r50": (3, 4, 14, 3),
    "r100": (3, 13, 30, 3),
}
CROP = 112  # px, of every aligned face


@dataclass(frozen=True)
class Architecture:
    """All that is needed to build a network and feed it square crops of `input_size` pixels."""

    blocks: tuple[int, ...]
    widths: tuple[int, ...] = (64, 128, 256, 512)
    input_size: int = CROP
    embedding: int = 512
    stem_stride: int = 1

    def __post_init__(self):
        numbers = (*self.blocks, *self.widths, self.input_size, self.embedding, self.stem_stride)
        if not all(type(number) is int and 1 <= number <= 4096 for number in numbers):
            raise ValueError(f"IResNet with sizes {numbers}: all must be integers from 1 to 4096")
        if len(self.blocks) != 4 or len(self.widths) != 4 or max(self.blocks) > 64 or self.stem_stride > 2:
            raise ValueError(f"IResNet with blocks {self.blocks}, widths {self.widths}: not four layers of known kind")

    @property
    def name(self) -> str:
        """`r50`, or `small-16-32-64-128` for networks that were never published."""
        for name, blocks in PUBLISHED.items():
            if self == Architecture(blocks):
                return name
        return "-".join(["small", *map(str, self.widths)])

    @property
    def features(self) -> int:
        """Numbers that reach the last layer."""
        side = -(-self.input_size // self.stem_stride)
        for _ in self.blocks:
            side = -(-side // 2)
        return self.widths[-1] * side * side


class Block(nn.Module):
    """x -> bn3(conv2(prelu(bn2(conv1(bn1(x)))))) + shortcut(x); nothing is activated after the sum."""

    def __init__(self, inputs: int, width: int, stride: int):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.prelu = nn.PReLU(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.downsample = None
        if stride != 1 or inputs != width:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        return self.bn3(self.conv2(y)) + (x if self.downsample is None else self.downsample(x))


class IResNet(nn.Module):
    """Crops [N, 3, S, S] in [-1, 1], RGB -> embeddings [N, D], not normalised."""

    def __init__(self, architecture: Architecture):
        super().__init__()
        self.architecture, widths = architecture, architecture.widths
        self.conv1 = nn.Conv2d(3, widths[0], 3, architecture.stem_stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.prelu = nn.PReLU(widths[0])
        inputs = widths[0]
        for k, (count, width) in enumerate(zip(architecture.blocks, widths, strict=True)):
            layer = [Block(inputs if i == 0 else width, width, 2 if i == 0 else 1) for i in range(count)]
            self.add_module(f"layer{k + 1}", nn.Sequential(*layer))
            inputs = width
        self.bn2 = nn.BatchNorm2d(inputs)
        self.fc = nn.Linear(architecture.features, architecture.embedding)
        self.features = nn.BatchNorm1d(architecture.embedding)
        self.features.weight.requires_grad_(False)  # stays 1, as published

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.prelu(self.bn1(self.conv1(x)))
        x = self.bn2(self.layer4(self.layer3(self.layer2(self.layer1(x)))))
        return self.features(self.fc(x.flatten(1)))
