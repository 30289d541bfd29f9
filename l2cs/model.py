"""L2CS-Net: a ResNet trunk with one binned head for yaw and one for pitch (Abdelrahman et al. 2022).

Names and shapes of the parameters are those of the published weight files. `fc_yaw_gaze` is the *first* output and is
yaw: the published scripts call it "pitch" because they also swap the label columns. tests/l2cs/test_mirror.py holds the
check that tells the two apart.
"""

import math
from dataclasses import dataclass

import torch
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from l2cs.decode import binning_of
from l2cs.preprocess import WINDOWS

BLOCKS = {"basic": BasicBlock, "bottleneck": Bottleneck}
PUBLISHED = {  # name: block, blocks per layer
    "ResNet18": ("basic", (2, 2, 2, 2)),
    "ResNet34": ("basic", (3, 4, 6, 3)),
    "ResNet50": ("bottleneck", (3, 4, 6, 3)),
    "ResNet101": ("bottleneck", (3, 4, 23, 3)),
    "ResNet152": ("bottleneck", (3, 8, 36, 3)),
}
PUBLISHED_WIDTHS = (64, 128, 256, 512)
PUBLISHED_INPUT = 448
MOST_BLOCKS, WIDEST, LARGEST_INPUT = 64, 4096, 4096  # far beyond every network; a damaged file must not build for hours


@dataclass(frozen=True)
class Architecture:
    """All that is needed to build a network and feed it.

    stem: "imagenet" is ResNet's (7x7 stride 2, then max-pool: a quarter of the side). "small" is for small pictures,
    where an iris is 4 pixels wide: one 3x3 convolution with stride 2 and no pooling.
    window: a name in WINDOWS; what lies outside is cut off, so that life-size eyes can be looked at in more pixels.
    input_size: of the whole picture, in pixels, before that cut.
    """

    block: str
    blocks: tuple[int, ...]
    widths: tuple[int, ...] = PUBLISHED_WIDTHS
    bins: int = 90
    stem: str = "imagenet"
    input_size: int = PUBLISHED_INPUT
    window: str = "all"

    def __post_init__(self):
        binning_of(self.bins)
        if self.block not in BLOCKS or self.stem not in ("imagenet", "small"):
            raise ValueError(f"gaze network with block '{self.block}' and stem '{self.stem}': unknown kind")
        if self.window not in WINDOWS:
            raise ValueError(f"gaze network with window '{self.window}': must be {' or '.join(WINDOWS)}")
        numbers = (*self.blocks, *self.widths, self.bins, self.input_size)
        if not all(type(number) is int for number in numbers):
            raise ValueError(f"gaze network with sizes {numbers}: all must be integers")
        if len(self.blocks) != 4 or len(self.widths) != 4 or min(self.blocks + self.widths) < 1:
            raise ValueError(
                f"gaze network with blocks {self.blocks} and widths {self.widths}: four of each are needed"
            )
        if max(self.blocks) > MOST_BLOCKS or max(self.widths) > WIDEST:
            raise ValueError(f"gaze network with blocks {self.blocks} and widths {self.widths}: far too large")
        if not 16 <= self.input_size <= LARGEST_INPUT:
            raise ValueError(f"gaze network with input size {self.input_size}: 16 to {LARGEST_INPUT} pixels are needed")

    @classmethod
    def published(cls, name: str, bins: int = 90) -> "Architecture":
        """One of the published ResNets; an unknown name is an error (the original fell back to ResNet50)."""
        if name not in PUBLISHED:
            raise ValueError(f"unknown architecture '{name}'; choose one of {', '.join(PUBLISHED)} or small")
        block, blocks = PUBLISHED[name]
        return cls(block, blocks, bins=bins)

    @classmethod
    def small(cls, width: int = 16, input_size: int = 64, bins: int = 90, window: str = "all") -> "Architecture":
        """One basic block per layer and `width` channels in the first, doubling; for the embedded world."""
        if width < 16 or width % 16:
            raise ValueError(f"width {width}: must be a multiple of 16")
        return cls("basic", (1, 1, 1, 1), tuple(width * k for k in (1, 2, 4, 8)), bins, "small", input_size, window)

    @property
    def name(self) -> str:
        """`ResNet50`, or `small-16-32-64-128` for networks that were never published."""
        for name, shape in PUBLISHED.items():
            if shape == (self.block, self.blocks) and self.widths == PUBLISHED_WIDTHS and self.stem == "imagenet":
                return name
        return "-".join([self.stem, *map(str, self.widths)])


class L2CS(nn.Module):
    """Network input [N, 3, H, W] of `preprocess` -> logits of yaw [N, bins], logits of pitch [N, bins].

    `finetune` adds the linear layer `fc_finetune`, which no computation uses but every published file contains.
    """

    def __init__(self, architecture: Architecture, finetune: bool = True):
        super().__init__()
        self.architecture = architecture
        block, widths = BLOCKS[architecture.block], architecture.widths
        self._channels = widths[0]
        imagenet = architecture.stem == "imagenet"
        kernel = 7 if imagenet else 3
        self.conv1 = nn.Conv2d(3, widths[0], kernel, stride=2, padding=kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1) if imagenet else nn.Identity()
        for i, (count, width) in enumerate(zip(architecture.blocks, widths, strict=True)):
            self.add_module(f"layer{i + 1}", self._layer(block, width, count, stride=1 if i == 0 else 2))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        features = widths[-1] * block.expansion
        self.fc_yaw_gaze = nn.Linear(features, architecture.bins)
        self.fc_pitch_gaze = nn.Linear(features, architecture.bins)
        if finetune:
            self.fc_finetune = nn.Linear(features + 3, 3)
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and not module.weight.is_meta:
                fan_out = math.prod(module.kernel_size) * module.out_channels
                nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))

    def _layer(self, block, width: int, count: int, stride: int) -> nn.Sequential:
        out, downsample = width * block.expansion, None
        if stride != 1 or self._channels != out:
            shortcut = nn.Conv2d(self._channels, out, 1, stride=stride, bias=False)
            downsample = nn.Sequential(shortcut, nn.BatchNorm2d(out))
        layers = [block(self._channels, width, stride, downsample)]
        layers += [block(out, width) for _ in range(count - 1)]
        self._channels = out
        return nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        x = self.avgpool(x).flatten(1)
        return self.fc_yaw_gaze(x), self.fc_pitch_gaze(x)
