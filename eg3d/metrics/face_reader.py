"""The embedded pose and landmark network: a picture of the embedded world -> five points and the head's rotation.

It takes the place of Deep3DFaceRecon and of a landmark detector there. Angles are Deep3DFaceRecon's (`metrics.pose`).
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from eg3d.geometry.landmarks import POINTS
from eg3d.metrics.iresnet import Architecture, IResNet

MIRRORED = [1, 0, 2, 4, 3]  # which point becomes which in a mirror


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


def mirrored_points(points: torch.Tensor) -> torch.Tensor:
    """The points [N, 5, 2], fractions of the side, of the mirrored picture."""
    return points[:, MIRRORED] * points.new_tensor([-1, 1]) + points.new_tensor([1, 0])


def read_twice(reader: FaceReader, images: torch.Tensor) -> tuple[FaceReading, torch.Tensor]:
    """(reading of `images`, by how much that of the mirrored ones differs).

    The second is [N], RMS over the five points, as a fraction of the side: small for a face, large for most else.
    """
    reading, other = reader(images), reader(images.flip(3))
    return reading, (reading.points - mirrored_points(other.points)).square().sum(dim=2).mean(dim=1).sqrt()
