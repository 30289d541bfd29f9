"""Camera labels -> rays, and where rays cross the volume."""

import torch
import torch.nn.functional as F


def camera_rays(cam2world, intrinsics, resolution: int):
    """One ray through the centre of every pixel of a resolution x resolution image.

    Args:    cam2world [N, 4, 4], intrinsics [N, 3, 3] normalised by the image size
    Returns: origins [N, M, 3], unit directions [N, M, 3] in world space; ray m = row * resolution + column
    """
    n = len(cam2world)
    centres = (torch.arange(resolution, device=cam2world.device, dtype=cam2world.dtype) + 0.5) / resolution
    v, u = (t.reshape(1, -1) for t in torch.meshgrid(centres, centres, indexing="ij"))
    fx, fy, cx, cy, skew = (intrinsics[:, i, j, None] for i, j in ((0, 0), (1, 1), (0, 2), (1, 2), (0, 1)))
    y = (v - cy) / fy
    x = (u - cx - skew * y) / fx
    in_camera = torch.stack([x, y, torch.ones_like(x)], dim=-1)  # [N, M, 3]
    directions = F.normalize(in_camera @ cam2world[:, :3, :3].mT, dim=-1)
    return cam2world[:, None, :3, 3].expand(n, resolution**2, 3), directions


def box_bounds(origins, directions, box_warp: float):
    """Where rays enter and leave the cube of side `box_warp` round the origin (slab method).

    Args:    origins, directions [N, M, 3]
    Returns: near, far [N, M, 1] >= 0, hit [N, M, 1]. Rays that miss get the range of those that hit, so that sampling
             stays finite; the renderer gives them no weight (the published code set their far end to a near one, D-04).
    """
    tiny = torch.finfo(directions.dtype).tiny ** 0.5
    safe = torch.where(directions.abs() < tiny, torch.full_like(directions, tiny), directions)
    t0, t1 = (-box_warp / 2 - origins) / safe, (box_warp / 2 - origins) / safe
    near = torch.minimum(t0, t1).amax(dim=-1, keepdim=True).clamp(min=0)
    far = torch.maximum(t0, t1).amin(dim=-1, keepdim=True)
    hit = far > near
    if not hit.all():
        low = near[hit].min() if hit.any() else near.new_tensor(0.0)
        high = far[hit].max() if hit.any() else near.new_tensor(1.0)
        near, far = torch.where(hit, near, low), torch.where(hit, far, high)
    return near, far, hit
