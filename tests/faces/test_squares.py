"""Squares in pictures: what is cut, and the way back."""

import math

import pytest
import torch

from eg3d.faces.squares import Squares, cut, placed, round_points


def squares(*rows) -> Squares:
    """(x, y, side, angle) of each."""
    x, y, side, angle = torch.tensor(rows, dtype=torch.float32).T
    return Squares(torch.stack([x, y], dim=1), side, angle)


def test_points_of_a_turned_square_by_hand():
    # turned by a quarter, clockwise as one sees it: its right is the picture's down, its down the picture's left
    corners = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0.5, 0.5, 0.1]]])
    found = placed(corners, squares((10, 20, 8, math.pi / 2)))
    expected = torch.tensor([[[14.0, 16, 0], [14, 24, 0], [6, 16, 0], [10, 20, 0.8]]])
    torch.testing.assert_close(found, expected)


def test_a_square_over_whole_pixels_is_their_mean():
    image = torch.rand(1, 3, 12, 16) * 2 - 1
    found = cut(image, squares((8, 6, 8, 0)), 4)
    torch.testing.assert_close(found, torch.nn.functional.avg_pool2d(image[:, :, 2:10, 4:12], 2), atol=1e-5, rtol=0)


def test_a_quarter_turn_is_a_rotated_picture():
    image = torch.rand(1, 3, 16, 16) * 2 - 1
    straight, turned = (cut(image, squares((8, 8, 16, angle)), 8) for angle in (0, math.pi / 2))
    torch.testing.assert_close(turned, straight.rot90(1, (2, 3)), atol=1e-5, rtol=0)


def test_what_lies_outside_is_black_and_gradients_reach_the_image():
    image = torch.ones(1, 3, 8, 8, requires_grad=True)
    found = cut(image, squares((0, 4, 8, 0)), 4)
    assert found[..., 0].max() == -1 and found[..., -1].min() == 1
    found.sum().backward()
    assert image.grad[0, 0, 4, 1] > 0


def test_each_picture_is_cut_by_its_own_square():
    images = torch.rand(2, 3, 16, 16)
    both = squares((8, 8, 7, 0.3), (5, 9, 12, -1.0))
    alone = cut(images[1:], Squares(*(part[1:] for part in both)), 6)
    assert torch.equal(cut(images, both, 6)[1:], alone)


@pytest.mark.parametrize("angle", [0.0, 0.4, -2.0])
def test_a_square_round_points_has_their_box_in_its_own_axes(angle):
    truth = squares((40, 50, 30, angle))
    inside = torch.tensor([[[0.0, 0.25, 0], [1.0, 0.75, 0], [0.2, 0.4, 0], [0.8, 0.4, 0]]])  # 30 wide and 15 high
    points = placed(inside, truth)[..., :2]
    found = round_points(points, points[:, 2], points[:, 3], 1.5)
    torch.testing.assert_close(found.side, torch.tensor([45.0]))
    torch.testing.assert_close(found.centre, truth.centre)
    torch.testing.assert_close(found.angle, torch.tensor([angle]))
