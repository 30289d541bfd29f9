"""Which way a surface faces, from the depth of its pixels."""

import torch
import torch.nn.functional as F

from eg3d.geometry.cameras import split_label
from eg3d.geometry.rays import camera_rays


def normals(depth: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Depth along the rays [N, 1, R, R], cameras [N, 25] -> normals [N, 3, R, R] in [-1, 1], as colours.

    Red grows to the right of the picture, green upward, blue toward the camera: what faces it is light blue.
    """
    side = depth.shape[-1]
    pose, intrinsics = split_label(labels.float())
    origins, directions = camera_rays(pose, intrinsics, side)  # [N, R R, 3], row by row
    points = origins + directions * depth.flatten(1)[..., None].float()
    points = ((points - origins) @ pose[:, :3, :3]).mT.unflatten(2, (side, side))  # in camera axes: [N, 3, R, R]
    padded = F.pad(points, (1, 1, 1, 1), mode="replicate")
    across = padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]
    down = padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]
    facing = F.normalize(torch.linalg.cross(down, across, dim=1), dim=1)  # y is down, z away from the camera
    return facing * facing.new_tensor([1.0, -1.0, -1.0]).reshape(1, 3, 1, 1)
