"""Five points of a face -> the 112 px crop that ArcFace networks eat (insightface's template)."""

import torch
import torch.nn.functional as F

from eg3d.metrics.iresnet import CROP

# insightface counts from the centre of the first pixel, we from its edge: half a pixel more.
TEMPLATE = (
    torch.tensor([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]])
    + 0.5
)


def similarity(source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The rotation, scale and shift that take points [N, K, 2] nearest to target [K, 2] or [N, K, 2]: [N, 2, 3].

    Least squares without reflection. With points as complex numbers z, w less their means, the factor is
    sum(conj(z) w) / sum(|z|^2). Points that all coincide give zeros or infinities: see `usable`.
    """
    target = target.to(source).expand_as(source)
    mean, mean_target = source.mean(dim=1), target.mean(dim=1)
    z, w = source - mean[:, None], target - mean_target[:, None]
    size = z.square().sum(dim=(1, 2))
    a = (z * w).sum(dim=(1, 2)) / size
    b = (z[..., 0] * w[..., 1] - z[..., 1] * w[..., 0]).sum(dim=1) / size
    linear = torch.stack([torch.stack([a, -b], dim=-1), torch.stack([b, a], dim=-1)], dim=1)  # [N, 2, 2]
    return torch.cat([linear, (mean_target - (linear @ mean[..., None])[..., 0])[..., None]], dim=2)


def align(
    images: torch.Tensor, points: torch.Tensor, size: int = CROP, template: torch.Tensor | None = None
) -> torch.Tensor:
    """Images [N, 3, H, W] in [-1, 1], points [N, 5, 2] in pixels -> crops [N, 3, size, size], black outside the image.

    template: where the points [5, 2] come to lie in the crop; None: where ArcFace has them.
    Bilinear look-up, as ArcFace networks were trained with; every image in its own way, so the batch changes nothing.
    """
    height, width = images.shape[2:]
    forward = similarity(points.float(), TEMPLATE * (size / CROP) if template is None else template)
    back = torch.linalg.inv(forward[:, :, :2])
    centre = torch.arange(size, device=images.device) + 0.5
    target = torch.stack(torch.meshgrid(centre, centre, indexing="xy"), dim=-1).reshape(1, -1, 2)
    source = (target - forward[:, None, :, 2]) @ back.mT
    grid = 2 * source / torch.tensor([width, height], device=images.device) - 1
    grid = grid.unflatten(1, (size, size))
    return F.grid_sample(images.float() + 1, grid, mode="bilinear", padding_mode="zeros", align_corners=False) - 1


def usable(points: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Bool [N]: which points [N, 5, 2] in pixels make a face. Finite, centred in the image, not all in one place."""
    finite = points.isfinite().flatten(1).all(dim=1)
    points = points.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
    centre = points.mean(dim=1)
    inside = ((centre > 0) & (centre < torch.tensor([width, height], device=points.device))).all(dim=1)
    spread = (points - centre[:, None]).square().sum(dim=2).mean(dim=1).sqrt()
    return finite & inside & (spread > 0.02 * max(height, width))
