"""The similarity that takes points in space to other points, in closed form (Umeyama 1991), differentiable."""

from typing import NamedTuple

import torch


class Similarity(NamedTuple):
    """x -> scale * rotation @ x + shift: scale [N], rotation [N, 3, 3] (proper), shift [N, 3]."""

    scale: torch.Tensor
    rotation: torch.Tensor
    shift: torch.Tensor

    def __call__(self, points: torch.Tensor) -> torch.Tensor:
        """Points [N, K, 3] or [K, 3] -> [N, K, 3]."""
        return self.scale[:, None, None] * (points @ self.rotation.mT) + self.shift[:, None]


def umeyama(source: torch.Tensor, target: torch.Tensor) -> Similarity:
    """The similarity that takes points `source` nearest to `target`, in least squares, without a reflection.

    Args: each [N, K, 3] or [K, 3]; float64 inside. The source must not lie in one line.
    """
    source, target = torch.broadcast_tensors(
        *(p.double() if p.ndim == 3 else p.double()[None] for p in (source, target))
    )
    mean_source, mean_target = source.mean(dim=1), target.mean(dim=1)
    a, b = source - mean_source[:, None], target - mean_target[:, None]
    products = b.mT @ a
    rotation = nearest_rotation(products)
    scale = (rotation * products).sum(dim=(1, 2)) / a.square().sum(dim=(1, 2))
    return Similarity(scale, rotation, mean_target - scale[:, None] * (rotation @ mean_source[..., None])[..., 0])


def nearest_rotation(matrices: torch.Tensor) -> torch.Tensor:
    """The proper rotations [N, 3, 3] nearest to matrices [N, 3, 3], as to the mean of two rotations."""
    u, s, vh = torch.linalg.svd(matrices)
    signs = torch.ones_like(s)
    signs[:, 2] = torch.linalg.det(u @ vh).sign().detach()
    return (u * signs[:, None]) @ vh


def mean_shape(shapes: torch.Tensor, rounds: int = 5) -> torch.Tensor:
    """The mean [K, 3] of shapes [N, K, 3] that are moved, turned and scaled to it (generalised Procrustes analysis)."""
    mean = shapes[0].double()
    for _ in range(rounds):
        mean = umeyama(shapes, mean)(shapes.double()).mean(dim=0)
    return mean
