"""The embedded pose and landmark network: a picture of the embedded world -> five points and the head's rotation.

It takes the place of Deep3DFaceRecon and of a landmark detector there. Angles are Deep3DFaceRecon's (`metrics.pose`).
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from eg3d.geometry.landmarks import POINTS
from eg3d.metrics.iresnet import Architecture, IResNet


class FaceReading(NamedTuple):
    """points [N, 5, 2] as a fraction of the side; angles [N, 3] (pitch, yaw, roll) in radians."""

    points: torch.Tensor
    angles: torch.Tensor


class FaceReader(nn.Module):
    """Images [N, 3, H, W] in [-1, 1] -> FaceReading. A small IResNet with one linear layer on top."""

    def __init__(self, architecture: Architecture):
        super().__init__()
        self.architecture = architecture
        self.trunk = IResNet(architecture)
        self.prelu = nn.PReLU(architecture.embedding)
        self.head = nn.Linear(architecture.embedding, 2 * POINTS + 3)

    def forward(self, images: torch.Tensor) -> FaceReading:
        size, x = self.architecture.input_size, images.float()
        if tuple(x.shape[2:]) != (size, size):
            x = F.interpolate(x, (size, size), mode="bilinear", antialias=True)
        out = self.head(self.prelu(self.trunk(x)))
        return FaceReading(0.5 + out[:, : 2 * POINTS].unflatten(1, (POINTS, 2)), out[:, 2 * POINTS :])
