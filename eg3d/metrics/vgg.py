"""VGG16, the detector of precision and recall: the second layer with 4096 outputs, after its ReLU."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models import vgg16

from eg3d.metrics.detectors import Detector
from eg3d.metrics.network_file import filled, read_state

SIDE, FEATURES = 224, 4096
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet, as torchvision's weights expect
AFTER = (3, 8, 15, 22, 29)  # places in `features` of the ReLUs before each pooling: relu1_2, 2_2, 3_3, 4_3, 5_3
NOTE = "torchvision's VGG16, not NVIDIA's file: compare only with numbers of the same detector"


class Vgg16(nn.Module):
    """uint8 [N, 3, H, W] -> [N, 4096]; names of torchvision's state dict, whose last layer is left out."""

    def __init__(self):
        super().__init__()
        whole = vgg16(weights=None, init_weights=False)
        self.features, self.classifier = whole.features, whole.classifier[:5]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = images.float() / 255
        if x.shape[-2:] != (SIDE, SIDE):
            x = F.interpolate(x, (SIDE, SIDE), mode="bilinear", align_corners=False, antialias=True)
        x = (x - x.new_tensor(MEAN).view(-1, 1, 1)) / x.new_tensor(STD).view(-1, 1, 1)
        return self.classifier(self.features(x).flatten(1))

    def maps(self, x: torch.Tensor) -> list[torch.Tensor]:
        """x [N, 3, H, W] in [-1, 1], of its own size -> the maps that LPIPS compares (Zhang et al. 2018b)."""
        x = (x / 2 + 0.5 - x.new_tensor(MEAN).view(-1, 1, 1)) / x.new_tensor(STD).view(-1, 1, 1)
        found = []
        for place, layer in enumerate(self.features[: AFTER[-1] + 1]):
            x = layer(x)
            if place in AFTER:
                found.append(x)
        return found


def load_vgg_network(path: Path) -> tuple[Vgg16, str]:
    """(network, SHA-256) of torchvision's state dict (vgg16-397923af.pth); ValueError, one line, for another file."""
    state, digest = read_state(path, "VGG16")
    for name in ("classifier.6.weight", "classifier.6.bias"):  # of the classes, which no one looks at
        state.pop(name, None)
    return filled(Vgg16, state, path, "torchvision's VGG16"), digest


def load_vgg(path: Path, device="cpu") -> Detector:
    """The detector of that network."""
    network, digest = load_vgg_network(path)
    return Detector("vgg16-torchvision", network, FEATURES, digest, device, note=NOTE)
