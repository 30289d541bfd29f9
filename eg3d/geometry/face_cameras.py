"""Where the camera of EG3D's labels stands when a face is fitted to a crop (docs/published_defects.md, P-2)."""

import torch

from eg3d.geometry.cameras import FFHQ_FOCAL, FFHQ_RADIUS, intrinsics_matrix, make_label
from eg3d.geometry.landmarks import WORLD_OFFSET, WORLD_PER_DM

HEAD_CENTRE = (0.0, 0.0, 0.175)
CAMERA_DISTANCE_DM = 10.0


def face_labels(rotation: torch.Tensor, translation: torch.Tensor | None = None, mode: str = "orig") -> torch.Tensor:
    """Labels [N, 25] of cameras with cam2world rotations [N, 3, 3] that see the standard face at a translation.

    Args:
        translation: [N, 3], Deep3DFaceRecon's, in decimetres; None: the face is where its crop expects it.
        mode: what the camera's distance is counted from, orig: the world's origin, or cor: the head's centre. Released
            FFHQ labels are `orig`; the rotation is the same in both, and the two must never be mixed.
    """
    rotation = rotation.double()
    towards = rotation.new_tensor([0, 0, -CAMERA_DISTANCE_DM]).expand(len(rotation), 3)
    towards = towards if translation is None else towards + translation.to(rotation)
    axes = rotation * rotation.new_tensor([1, -1, -1])  # columns: the camera's right, up and back
    position = WORLD_PER_DM * -(axes @ towards[..., None])[..., 0] + rotation.new_tensor(WORLD_OFFSET)
    centre = rotation.new_tensor(HEAD_CENTRE if mode == "cor" else (0.0, 0.0, 0.0))
    position = centre + FFHQ_RADIUS * torch.nn.functional.normalize(position - centre, dim=1)
    return labels_at(rotation, position)


def labels_at(rotation: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
    """Labels [N, 25], float32, of FFHQ cameras with rotations [N, 3, 3] at positions [N, 3]."""
    pose = torch.eye(4).to(rotation).repeat(len(rotation), 1, 1)
    pose[:, :3, :3], pose[:, :3, 3] = rotation, position
    return make_label(pose, intrinsics_matrix(FFHQ_FOCAL)).float()
