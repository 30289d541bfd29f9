"""Vertices of the face: golden choice, and an independent test of points in polygons."""

import numpy as np
import pytest
from nv_golden import GOLDEN

from dataset_preprocessing.nv_rendering.face_mask import face_vertices, in_crop, inside


def test_golden_choice():
    outline = in_crop(GOLDEN["mask_outline"], GOLDEN["crop_params"])
    chosen = face_vertices(GOLDEN["mask_vertices"], GOLDEN["crop_landmarks68"], outline)
    np.testing.assert_array_equal(chosen, GOLDEN["mask_index"])


def test_only_points_inside_are_inside_whatever_the_polygons_direction():
    from matplotlib.path import Path

    state = np.random.RandomState(0)
    angle = np.linspace(0, 2 * np.pi, 27, endpoint=False)
    polygon = np.stack([np.cos(angle), np.sin(angle)], axis=1) * state.uniform(0.4, 1.0, (27, 1))
    points = state.uniform(-1, 1, (2000, 2))
    expected = Path(polygon).contains_points(points)
    assert 300 < expected.sum() < 1500
    np.testing.assert_array_equal(inside(points, polygon), expected)
    np.testing.assert_array_equal(inside(points, polygon[::-1]), expected)


def test_the_meshs_own_landmarks_are_an_outline_and_none_inside_is_one_line():
    landmarks = np.zeros((68, 3))
    angle = np.linspace(0, np.pi, 17)
    landmarks[:17, :2] = np.stack([60 - 50 * np.cos(angle), 60 + 50 * np.sin(angle)], axis=1)
    landmarks[17:27, 0], landmarks[17:27, 1] = np.linspace(15, 105, 10), 40
    points = np.array([[60, 70, -5], [60, 70, 5], [2, 2, -5], [60, 45, -1e-3]])  # beyond the cheek; outside
    np.testing.assert_array_equal(face_vertices(points, landmarks), [0, 3])
    with pytest.raises(ValueError, match="no vertex of the mesh"):
        face_vertices(points + [500, 0, 0], landmarks)
