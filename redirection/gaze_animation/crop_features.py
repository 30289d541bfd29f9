"""What a network sees in eye crops: the user's VGG-16, or the small network that is shipped, which knows drawn heads.

Zhang et al. 2020, section 3: content and style. The small one stands where VGG-16 stands for photos, and its numbers
cannot be compared with those of VGG-16.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from eg3d.metrics.world_features import FeatureNetwork, load_feature_network
from redirection.he2019.content_style import CHANNELS, ContentStyle, gram, load_content_style
from redirection.sorted_table import is_table
from redirection.tensorflow_checkpoint import TensorflowCheckpoint
from redirection.tensorflow_names import fill_from_variables

EMBEDDED, NONE = "embedded", "none"
SLIM = {nn.Conv2d: {"weight": "weights", "bias": "biases"}, nn.Module: {}}
SIDE = 64  # px to which crops are enlarged for the small network


class WorldContentStyle(nn.Module):
    """drawn, true [N, 3, s, s] in [-1, 1] -> losses "content" and "style", as `ContentStyle` gives them.

    Content: of the first two blocks, since eyes are small. Style: of the stem and these.
    """

    def __init__(self, network: FeatureNetwork):
        super().__init__()
        self.network = network.eval().requires_grad_(False)

    def forward(self, drawn: torch.Tensor, true: torch.Tensor) -> dict[str, torch.Tensor]:
        of_drawn = self._seen(drawn)
        with torch.no_grad():
            of_true = self._seen(true)
        pairs = list(zip(of_drawn, of_true, strict=True))
        style = sum(F.mse_loss(gram(a), gram(b)) / a[0].numel() for a, b in pairs)
        return {"content": sum(F.mse_loss(a, b) for a, b in pairs[1:]) / len(pairs[1:]), "style": style}

    def _seen(self, x: torch.Tensor) -> list[torch.Tensor]:
        if x.shape[-1] < SIDE:
            x = F.interpolate(x, (SIDE, SIDE), mode="bilinear", align_corners=False)
        seen = [F.relu(self.network.bn(self.network.stem(x)))]
        for block in self.network.blocks[:2]:
            seen.append(block(seen[-1]))
        return seen


def load_crop_features(name: str, legacy_input: bool = False) -> nn.Module | None:
    """Of EMBEDDED, NONE or a file with VGG-16's weights. Errors: ValueError, one line, or OSError."""
    if name == NONE:
        return None
    if name == EMBEDDED:
        return WorldContentStyle(load_feature_network()[0])
    path = Path(name)
    return slim_content_style(path, legacy_input) if is_table(path) else load_content_style(path, legacy_input)


def slim_content_style(path: Path, legacy_input: bool = False) -> ContentStyle:
    """With a VGG-16 checkpoint of TensorFlow-Slim, frozen. Errors: ValueError, one line."""
    variables, network = TensorflowCheckpoint(path), ContentStyle(legacy_input)
    for conv, name in zip((m for m in network.features if isinstance(m, nn.Conv2d)), slim_names(), strict=True):
        scope, leaf = name.rsplit("/", 1)
        try:
            fill_from_variables(nn.ModuleDict({leaf: conv}), scope, variables, SLIM)
        except ValueError as error:
            raise ValueError(f"{path}: {error}; give VGG-16") from None
    return network.eval().requires_grad_(False)


def slim_names() -> list[str]:
    """Scopes of the 13 convolutions."""
    names, block, number = [], 1, 0
    for channels in CHANNELS:
        block, number = (block + 1, 0) if channels == "M" else (block, number + 1)
        if number:
            names.append(f"vgg_16/conv{block}/conv{block}_{number}")
    return names
