"""Similarities in space in closed form."""

import torch

from eg3d.faces.similarity import mean_shape, nearest_rotation, umeyama
from eg3d.metrics.pose import rotation_of_angles

DRAWS = torch.Generator().manual_seed(0)
ANGLES = torch.tensor([[0.2, -0.7, 0.1], [-0.4, 1.2, 0.9], [3.0, 0.1, -2.5]])


def turned(points: torch.Tensor):
    """Points [K, 3] under three known similarities: (scale [3], rotation [3, 3, 3], shift [3, 3], points [3, K, 3])."""
    scale = torch.tensor([2.0, 0.3, 1.0]).double()
    rotation = rotation_of_angles(ANGLES) * torch.tensor([1, -1, -1])  # proper, like all cameras
    shift = torch.tensor([[1.0, 2, 3], [0, 0, -5], [7, 0, 0]]).double()
    return scale, rotation, shift, scale[:, None, None] * (points @ rotation.mT) + shift[:, None]


def shape(k: int = 7) -> torch.Tensor:
    return torch.randn(k, 3, generator=DRAWS).double()


def test_known_scale_rotation_and_shift_are_found_again():
    points = shape()
    *truth, moved = turned(points)
    found = umeyama(points, moved)
    for a, b in zip(found, truth, strict=True):
        torch.testing.assert_close(a, b)
    torch.testing.assert_close(found(points), moved)


def test_no_reflection_is_used_even_where_one_fits_exactly():
    points = shape()
    found = umeyama(points, points * torch.tensor([-1, 1, 1]))
    assert torch.linalg.det(found.rotation)[0] > 0.99


def test_no_other_similarity_fits_noisy_points_better():
    points = shape(20)
    noisy = turned(points)[-1] + 0.2 * torch.randn(3, 20, 3, generator=DRAWS).double()
    scale, rotation, shift = (value.clone().requires_grad_() for value in umeyama(points, noisy))
    axis = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)  # small turns
    skew = torch.stack([torch.stack([0 * axis[:, 0], -axis[:, 2], axis[:, 1]], 1),
                        torch.stack([axis[:, 2], 0 * axis[:, 0], -axis[:, 0]], 1),
                        torch.stack([-axis[:, 1], axis[:, 0], 0 * axis[:, 0]], 1)], 1)  # fmt: skip
    seen = scale[:, None, None] * (points @ (rotation + skew @ rotation).mT) + shift[:, None]
    gradients = torch.autograd.grad((seen - noisy).square().sum(), (scale, shift, axis))
    assert max(gradient.abs().max() for gradient in gradients) < 1e-9  # at the least sum of squares


def test_the_similarity_is_differentiable_in_the_points():
    points, target = shape(), turned(shape())[-1][:1].requires_grad_()
    assert torch.autograd.gradcheck(lambda t: tuple(umeyama(points, t)), (target,))


def test_the_mean_of_two_rotations_lies_half_way():
    half = rotation_of_angles(torch.tensor([[0.0, 0.3, 0.0], [0.0, 0.5, 0.0], [0.0, 0.4, 0.0]]))
    torch.testing.assert_close(nearest_rotation(half[:1] + half[1:2]), half[2:])


def test_the_mean_of_one_shape_in_many_places_is_that_shape():
    points = shape()
    mean = mean_shape(turned(points)[-1])
    torch.testing.assert_close(umeyama(mean, points)(mean)[0], points)
