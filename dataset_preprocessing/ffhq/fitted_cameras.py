"""Fits of a face -> EG3D's camera labels (docs/published_defects.md, P-2: what is kept)."""

import torch

from eg3d.geometry.cameras import FFHQ_FOCAL, FFHQ_PIVOT, FFHQ_RADIUS, intrinsics_matrix, make_label
from eg3d.geometry.landmarks import WORLD_OFFSET, WORLD_PER_DM
from eg3d.metrics.pose import FLIP, rotation_of_angles

MODES = ("orig", "cor")  # what a camera's distance is counted from: the world's origin, or the head's centre
HEAD_CENTRE = (0.0, 0.0, 0.175)
CAMERA_DISTANCE_DM = 10.0


def fitted_labels(angles: torch.Tensor, translation: torch.Tensor, mode: str = "orig") -> torch.Tensor:
    """Deep3DFaceRecon's angles [N, 3] in rad and translation [N, 3] in decimetres -> labels [N, 25].

    Released FFHQ labels are `orig`; the rotation is the same in both, and the two must never be mixed.
    """
    rotation = rotation_of_angles(angles)
    towards = translation.double() - torch.tensor([0, 0, CAMERA_DISTANCE_DM], dtype=torch.float64)
    position = -((rotation @ FLIP) @ towards[..., None])[..., 0]
    position = WORLD_PER_DM * position + torch.tensor(WORLD_OFFSET, dtype=torch.float64)
    centre = torch.tensor(HEAD_CENTRE if mode == "cor" else (0.0, 0.0, 0.0), dtype=torch.float64)
    position = centre + FFHQ_RADIUS * torch.nn.functional.normalize(position - centre, dim=1)
    return _labels(rotation, position)


def lookat_labels(angles: torch.Tensor) -> torch.Tensor:
    """Rotations alone, angles [N, 3] -> labels [N, 25] of cameras at EG3D's radius that look at its pivot.

    For the embedded world, whose cameras all do.
    """
    rotation = rotation_of_angles(angles)
    pivot, forward = torch.tensor(FFHQ_PIVOT, dtype=torch.float64), rotation[:, :, 2]
    along = forward @ pivot  # |pivot - d forward| = radius, solved for the camera in front
    distance = along + (along.square() - pivot @ pivot + FFHQ_RADIUS**2).sqrt()
    return _labels(rotation, pivot - distance[:, None] * forward)


def _labels(rotation: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
    pose = torch.eye(4, dtype=torch.float64).repeat(len(rotation), 1, 1)
    pose[:, :3, :3], pose[:, :3, 3] = rotation, position
    return make_label(pose, intrinsics_matrix(FFHQ_FOCAL)).float()
