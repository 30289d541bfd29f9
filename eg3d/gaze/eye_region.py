"""`--gaze-mask`: the gaze term may change what lies round the eyes, and nothing else.

The paper leaves this for future work: its term reaches every pixel, so it may also turn heads or recolour hair to
please the gaze network. Here the term sees the whole picture, but its gradient is let through only where the *surface*
that a pixel shows lies near an eye, in world space. The surface comes from the generator's own depth; the eyes stand
at the landmarks of the frontal picture, as deep as the generator's own surface is there.
"""

import torch
import torch.nn.functional as F

from eg3d.geometry.cameras import split_label
from eg3d.geometry.rays import camera_rays


@torch.no_grad()
def eye_centres(G, ws, landmarks, draws, noise_mode="random") -> torch.Tensor:
    """Where a generator's eyes are: [N, 2, 3] in world space.

    The rays that look for their depth run parallel to the z axis.

    Args:
        ws: [N, num_ws, w_dim], whose planes `G.synthesis(..., cache_backbone=True)` has just kept.
        draws, noise_mode: those that the planes were made with.
        landmarks: (x, y) of the eye at +x in a frontal view, world units; the other is its mirror image.
    """
    x, y = landmarks
    distance = G.orbit.radius
    origins = torch.tensor([[-x, y, distance], [x, y, distance]], device=ws.device).expand(len(ws), 2, 3)
    directions = torch.tensor([0.0, 0.0, -1.0], device=ws.device).expand(len(ws), 2, 3)
    return origins + G.kept_depth(ws, origins, directions, draws, noise_mode)[..., None] * directions


def soft_region(depth, cameras, centres, radius: float) -> torch.Tensor:
    """How near to an eye the surface in each pixel is: exp(-(distance / radius)^2 / 2), 1 at an eye's centre.

    Args: depth [N, 1, R, R] along the rays, cameras [N, 25], centres [N, K, 3], radius in world units.
    Returns: [N, 1, R, R], without gradient.
    """
    side = depth.shape[-1]
    origins, directions = camera_rays(*split_label(cameras.to(depth.dtype)), side)
    points = origins + depth.detach().flatten(1)[..., None] * directions  # [N, R R, 3]
    squared = (points[:, :, None] - centres[:, None]).square().sum(dim=-1).amin(dim=-1)
    return torch.exp(-squared / (2 * radius**2)).reshape(-1, 1, side, side)


def gated(images, region) -> torch.Tensor:
    """The same images [N, C, H, W]; gradients that pass back through them are multiplied by region [N, 1, R, R]."""
    region = F.interpolate(region, size=images.shape[-2:], mode="bilinear", align_corners=False)
    return images * region + (images * (1 - region)).detach()
