"""Angles of a face -> EG3D's camera labels."""

import torch

from eg3d.geometry.cameras import FFHQ_PIVOT, FFHQ_RADIUS
from eg3d.geometry.face_cameras import face_labels, labels_at
from eg3d.metrics.pose import rotation_of_angles

MODES = ("orig", "cor")  # of `face_labels`


def fitted_labels(angles: torch.Tensor, translation: torch.Tensor, mode: str = "orig") -> torch.Tensor:
    """Deep3DFaceRecon's angles [N, 3] in rad and translation [N, 3] in decimetres -> labels [N, 25]."""
    return face_labels(rotation_of_angles(angles), translation, mode)


def lookat_labels(angles: torch.Tensor) -> torch.Tensor:
    """Rotations alone, angles [N, 3] -> labels [N, 25] of cameras at EG3D's radius that look at its pivot.

    For the embedded world, whose cameras all do.
    """
    rotation = rotation_of_angles(angles)
    pivot, forward = torch.tensor(FFHQ_PIVOT, dtype=torch.float64), rotation[:, :, 2]
    along = forward @ pivot  # |pivot - d forward| = radius, solved for the camera in front
    distance = along + (along.square() - pivot @ pivot + FFHQ_RADIUS**2).sqrt()
    return labels_at(rotation, pivot - distance[:, None] * forward)
