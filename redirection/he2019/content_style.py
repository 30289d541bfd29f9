"""What VGG-16 sees in a patch: content and style, against the true picture at the wanted angle.

He et al. 2019, section 3.3; Gatys et al. 2016. The weights are torchvision's, a file of the user's. Without such a
file the small feature network of the embedded world stands for it (`WorldContentStyle`).
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from eg3d.metrics.network_file import read_state
from eg3d.metrics.world_features import FeatureNetwork, load_feature_network

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet
CHANNELS = (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512)
CONTENT, STYLE = 28, (2, 7, 14, 21)  # where conv5_3, and conv1_2, 2_2, 3_3, 4_3, stand among torchvision's `features`


class ContentStyle(nn.Module):
    """drawn, true [B, 3, S, S] in [-1, 1] -> losses "content" and "style".

    legacy_input: as published, where VGG-16 gets the values of -1 to 1 as they are, a hundredth of what it was trained
    with.
    """

    def __init__(self, legacy_input: bool = False):
        super().__init__()
        self.legacy_input, layers, before = legacy_input, [], 3
        for channels in CHANNELS:
            if channels == "M":
                layers.append(nn.MaxPool2d(2))
            else:
                layers += [nn.Conv2d(before, before := channels, 3, padding=1), nn.ReLU()]
        self.features = nn.Sequential(*layers)

    def forward(self, drawn: torch.Tensor, true: torch.Tensor) -> dict[str, torch.Tensor]:
        of_drawn = self._seen(drawn)
        with torch.no_grad():
            of_true = self._seen(true)
        return compared(of_drawn, of_true, CONTENT, STYLE)

    def _seen(self, x: torch.Tensor) -> dict[int, torch.Tensor]:
        if not self.legacy_input:
            x = ((x + 1) / 2 - x.new_tensor(MEAN).view(-1, 1, 1)) / x.new_tensor(STD).view(-1, 1, 1)
        seen = {}
        for at, layer in enumerate(self.features):
            x = layer(x)
            if at - 1 in (CONTENT, *STYLE):  # after the ReLU
                seen[at - 1] = x
        return seen


class WorldContentStyle(nn.Module):
    """The same losses by the embedded world's feature network, frozen, and for our smaller patches.

    A patch is enlarged to the side that the network looks at. At 32 px its strides leave places that few weights see,
    and the generator fills these with coloured dots. Content is compared after the second block, at an eighth of that
    side; style after the stem and both blocks.
    """

    def __init__(self, network: FeatureNetwork):
        super().__init__()
        self.network = network.requires_grad_(False)

    def forward(self, drawn: torch.Tensor, true: torch.Tensor) -> dict[str, torch.Tensor]:
        of_drawn = self._seen(drawn)
        with torch.no_grad():
            of_true = self._seen(true)
        return compared(of_drawn, of_true, 2, (0, 1, 2))

    def _seen(self, x: torch.Tensor) -> list[torch.Tensor]:
        side = self.network.architecture.side
        x = F.interpolate(x, (side, side), mode="bilinear", align_corners=False, antialias=True)
        seen = [F.relu(self.network.bn(self.network.stem(x)))]
        for block in self.network.blocks[:2]:
            seen.append(block(seen[-1]))
        return seen


def compared(of_drawn, of_true, content: int, style: tuple[int, ...]) -> dict[str, torch.Tensor]:
    """Losses of features [B, C, h, w], which a number names: squares of one layer, Gram matrices of several.

    Those of style are divided by the number of features too, as published: they weigh little.
    """
    grams = (F.mse_loss(gram(of_drawn[at]), gram(of_true[at])) / of_drawn[at][0].numel() for at in style)
    return {"content": F.mse_loss(of_drawn[content], of_true[content]), "style": sum(grams)}


def gram(features: torch.Tensor) -> torch.Tensor:
    """[B, C, h, w] -> [B, C, C]: mean product of two channels over the places."""
    flat = features.flatten(2)
    return flat @ flat.transpose(1, 2) / flat.shape[2]


def world_content_style() -> WorldContentStyle:
    """With assets/embedded/features.safetensors, in evaluation mode."""
    return WorldContentStyle(load_feature_network()[0]).eval()


def load_content_style(path: Path, legacy_input: bool = False) -> ContentStyle:
    """With torchvision's VGG-16 (vgg16-397923af.pth), frozen; ValueError, one line, for another file."""
    stored, _ = read_state(path, "VGG-16")
    network = ContentStyle(legacy_input)
    for name, value in (state := network.state_dict()).items():
        if name not in stored or stored[name].shape != value.shape or not stored[name].isfinite().all():
            raise ValueError(f"{path}: no '{name}' of shape {list(value.shape)}; give torchvision's VGG-16")
        state[name] = stored[name].float()
    network.load_state_dict(state)
    return network.eval().requires_grad_(False)
