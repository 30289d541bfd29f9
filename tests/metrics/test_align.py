import math

import pytest
import torch

from eg3d.metrics.align import TEMPLATE, align, similarity, usable


def turned(points, angle, scale, shift):
    c, s = scale * math.cos(angle), scale * math.sin(angle)
    return points @ torch.tensor([[c, s], [-s, c]]) + torch.tensor(shift)


def test_template_is_insightfaces_counted_from_the_pixels_edge():
    assert TEMPLATE[2].tolist() == pytest.approx([56.5252, 72.2366])
    left, right, nose, mouth_left, mouth_right = TEMPLATE.tolist()  # of the image, as every source of points has them
    assert left[0] < nose[0] < right[0] and mouth_left[0] < nose[0] < mouth_right[0]
    assert max(left[1], right[1]) < nose[1] < min(mouth_left[1], mouth_right[1])


def test_crop_of_a_face_that_lies_at_the_template_is_the_picture_itself():
    images = torch.rand(2, 3, 112, 112) * 2 - 1
    assert (align(images, TEMPLATE.expand(2, -1, -1)) - images).abs().max() < 1e-4


def test_a_rotated_and_scaled_face_comes_back_to_the_template():
    moved = torch.stack([turned(TEMPLATE, 0.5, 2.3, [40.0, -7.0]), turned(TEMPLATE, -2.0, 0.4, [3.0, 90.0])])
    forward = similarity(moved, TEMPLATE)
    back = moved @ forward[:, :, :2].mT + forward[:, None, :, 2]
    assert (back - TEMPLATE).abs().max() < 1e-4


def test_similarity_never_mirrors():
    mirrored = TEMPLATE * torch.tensor([-1.0, 1.0])
    linear = similarity(mirrored[None], TEMPLATE)[0, :, :2]
    assert torch.linalg.det(linear) > 0


def test_a_bright_spot_at_an_eye_lands_on_the_templates_eye():
    points = turned(TEMPLATE, 0.3, 0.5, [20.0, 10.0])[None]
    images = -torch.ones(1, 3, 96, 96)
    x, y = (points[0, 0] - 0.5).round().long().tolist()  # pixel whose centre is nearest
    images[0, :, y, x] = 1
    crop = align(images, points)[0, 0]
    row, column = divmod(int(crop.argmax()), 112)
    assert math.hypot(column + 0.5 - TEMPLATE[0, 0], row + 0.5 - TEMPLATE[0, 1]) < 2.0  # two crop pixels per pixel


def test_outside_the_picture_is_black():
    crop = align(torch.ones(1, 3, 112, 112), TEMPLATE[None] + 200.0)
    assert (crop == -1).all()


def test_other_sizes_scale_the_template():
    images = torch.rand(1, 3, 56, 56) * 2 - 1
    assert (align(images, TEMPLATE[None] / 2, 56) - images).abs().max() < 1e-4


def test_points_that_are_missing_outside_or_all_in_one_place_are_no_face():
    good = TEMPLATE.clone()
    missing, outside, point = good.clone(), good - 500, good * 0.001 + 50
    missing[3, 1] = torch.nan
    assert usable(torch.stack([good, missing, outside, point]), 112, 112).tolist() == [True, False, False, False]
