"""The encoder: VGG-19 (Simonyan & Zisserman 2015) up to relu5_1; and what looks at pictures by the same layers.

Names of the parameters are those of the published files: `model.features_1.conv1_1.weight`. Everything also exists
narrower, for networks trained from scratch. Features are 8 x 8 whatever the side of a patch, as the published ones of
128 px are: smaller patches pass fewer of the last poolings.
"""

from collections import OrderedDict
from pathlib import Path

import torch
from torch import nn

from eg3d.metrics.network_file import read_state

# name -> channels, of the convolutions of each block; "pool" halves the side
BLOCKS = {
    "features_1": (("conv1_1", 64), ("conv1_2", 64), "pool1", ("conv2_1", 128), ("conv2_2", 128), "pool2",
                   ("conv3_1", 256)),
    "features_2": (("conv3_2", 256), ("conv3_3", 256), ("conv3_4", 256), "pool3", ("conv4_1", 512)),
    "features_3": (("conv4_2", 512), ("conv4_3", 512), ("conv4_4", 512), "pool4", ("conv5_1", 512)),
}  # fmt: skip
WIDTH = 512  # channels of the features
SIDE, POOLS = 8, 4  # side of the features of a patch of the published size, which all poolings halve
NARROWEST = 16  # channels of any layer
TORCHVISION = (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28)  # where these convolutions stand in its `features`


def narrowed(channels: int, divisor: int) -> int:
    """Channels of a layer in networks that are so many times narrower."""
    return max(NARROWEST, channels // divisor)


class VggFeatures(nn.Module):
    """The first `blocks` blocks of VGG-19: x [B, 3, S, S] -> relu3_1, relu4_1, relu5_1, at S/4, S/8 and S/16.

    pools: how many of the poolings there are, from the first on.
    """

    def __init__(self, divisor: int = 1, blocks: int = len(BLOCKS), pools: int = POOLS):
        super().__init__()
        before = 3
        for name, layers in list(BLOCKS.items())[:blocks]:
            parts: OrderedDict[str, nn.Module] = OrderedDict()
            for layer in layers:
                if isinstance(layer, str):
                    if int(layer.removeprefix("pool")) <= pools:
                        parts[layer] = nn.MaxPool2d(2)
                else:
                    conv = nn.Conv2d(before, before := narrowed(layer[1], divisor), 3, padding=1)
                    parts[layer[0]], parts[layer[0].replace("conv", "relu")] = conv, nn.ReLU()
            self.add_module(name, nn.Sequential(parts))
        for module in self.modules():  # 13 convolutions without norms: PyTorch's own start would shrink everything
            if isinstance(module, nn.Conv2d) and not module.weight.is_meta:
                nn.init.kaiming_normal_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        outputs = []
        for block in self.children():
            outputs.append(x := block(x))
        return outputs


class Encoder(nn.Module):
    """E: normalised patches [B, 3, S, S] -> features [B, 512 / divisor, s, s], not negative; s = S / 2^pools."""

    def __init__(self, divisor: int = 1, pools: int = POOLS):
        super().__init__()
        self.model = VggFeatures(divisor, pools=pools)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(x)[-1]


def vgg19_state(path: Path) -> dict[str, torch.Tensor]:
    """The state dict of `VggFeatures` from torchvision's VGG-19 (vgg19-dcbb9e9d.pth), a file of the user's.

    Errors: ValueError, one line, for another file; OSError if it cannot be read.
    """
    stored, _ = read_state(path, "VGG-19")
    with torch.device("meta"):
        own = VggFeatures().state_dict()
    names = [f"features.{i}.{part}" for i in TORCHVISION for part in ("weight", "bias")]
    for name, value in zip(names, own.values(), strict=True):
        if name not in stored or stored[name].shape != value.shape or not stored[name].isfinite().all():
            raise ValueError(f"{path}: no '{name}' of shape {list(value.shape)}; give torchvision's VGG-19")
    return {mine: stored[name].float() for mine, name in zip(own, names, strict=True)}


def frozen_vgg(state: dict[str, torch.Tensor], blocks: int = len(BLOCKS)) -> VggFeatures:
    """VGG-19 that no training changes. 3 blocks: the teacher; 1 block: the perceptual network, relu3_1."""
    network = VggFeatures(blocks=blocks)
    network.load_state_dict({name: state[name] for name in network.state_dict()})
    return network.eval().requires_grad_(False)
