"""Deep3DFaceRecon's regressor (Deng et al. 2019): ResNet-50 and seven parallel 1x1 convolutions, 257 coefficients.

Names and shapes are those of the published `epoch_20.pth`. A camera needs only the rotation and the translation, so
there is no morphable model and no rasteriser here.
"""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn
from torchvision.models import resnet50

from eg3d.metrics.network_file import filled, read_state

INPUT = 224
SLICES = {"identity": 80, "expression": 64, "texture": 80, "angles": 3, "lighting": 27, "shift": 2, "depth": 1}
STATE_KEY = "net_recon"  # the published file also holds the optimiser


class Fit(NamedTuple):
    """angles [N, 3] (pitch, yaw, roll) in radians; translation [N, 3] in decimetres."""

    angles: torch.Tensor
    translation: torch.Tensor


class ReconNet(nn.Module):
    """Crops [N, 3, 224, 224] in [0, 1], RGB, without mean or deviation -> coefficients [N, 257]."""

    def __init__(self):
        super().__init__()
        self.backbone = resnet50(weights=None)
        self.backbone.fc = nn.Identity()
        self.final_layers = nn.ModuleList(nn.Conv2d(2048, size, 1) for size in SLICES.values())

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        features = self.backbone(crops)[:, :, None, None]
        return torch.cat([layer(features) for layer in self.final_layers], dim=1).flatten(1)

    def fit(self, crops: torch.Tensor) -> Fit:
        """What a camera needs of the coefficients."""
        parts = dict(zip(SLICES, self(crops).split(list(SLICES.values()), dim=1), strict=True))
        return Fit(parts["angles"], torch.cat([parts["shift"], parts["depth"]], dim=1))


def load_recon(path: Path, device="cpu") -> tuple[ReconNet, str]:
    """The regressor with a user's weights, frozen, and the file's SHA-256. Only tensors are read, no code is run."""
    state, sha256 = read_state(path, "Deep3DFaceRecon", STATE_KEY)
    if "backbone.fc.weight" in state:
        raise ValueError(f"{path}: is the variant with one last layer (backbone.fc); the published seven are needed")
    return filled(ReconNet, state, path, "Deep3DFaceRecon's ResNet-50").float().to(device), sha256
