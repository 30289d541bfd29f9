"""Eyes as balls: only what lies between the lids moves, only in depth, and onto a ball behind the lids."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from dataset_preprocessing.nv_rendering import mesh_eyes
from dataset_preprocessing.nv_rendering.mesh_eyes import LIDS, between_lids, head_axes, with_balls
from eg3d.faces.face_mesh import EYE_CORNERS
from eg3d.faces.iris_gaze import EYE_CENTRE, RADIUS_PER_WIDTH
from eg3d.faces.mesh_pose import DEPTH
from eg3d.faces.mesh_surface import fine_surface, mean_points

PX = 200.0  # px of a decimetre
FACE = PX * mean_points() * (1, -1, -1) + (320, 240, 0)  # as the network would see it, but for its depth


@pytest.fixture(scope="module")
def moved() -> tuple[np.ndarray, np.ndarray]:
    """Vertices of the mean face, before and after."""
    vertices = fine_surface().vertices(FACE)
    return vertices, with_balls(vertices, FACE, np.eye(3))


def test_lids_are_rings_of_the_mesh_round_each_eye():
    for lids, (outer, inner) in zip(LIDS, EYE_CORNERS, strict=True):
        assert lids[0] == outer and lids[8] == inner and len(set(lids)) == 16
        points = mean_points()[list(lids)]
        steps = np.linalg.norm(points - np.roll(points, -1, axis=0), axis=1)
        assert steps.max() < 0.08  # dm: neighbours
        upper, lower = points[9:16, 1], points[1:8, 1][::-1]
        assert (upper > lower).all()


def test_what_lies_between_the_lids_is_inside_their_edge_and_never_on_it():
    from matplotlib.path import Path

    places = fine_surface().vertices(mean_points())
    for inside, lids in zip(between_lids(), LIDS, strict=True):
        edge = Path(mean_points()[list(lids), :2])
        assert len(inside) > 300 and not set(inside) & set(lids)
        assert edge.contains_points(places[inside, :2], radius=1e-9).mean() > 0.97  # at the corners the edge is folded
        others = np.setdiff1d(np.arange(len(places)), inside)
        ring = mean_points()[list(lids), :2]
        ring = np.concatenate([ring + share * (np.roll(ring, -1, axis=0) - ring) for share in np.linspace(0, 1, 20)])
        within = others[edge.contains_points(places[others, :2])]
        assert cKDTree(ring).query(places[within, :2])[0].max() < 0.01  # dm; what is inside is on the edge


def test_only_depths_between_the_lids_change(moved):
    before, after = moved
    changed = np.flatnonzero((before != after).any(axis=1))
    assert set(changed) <= set(np.concatenate(between_lids())) and len(changed) > 600
    assert (before[:, :2] == after[:, :2]).all()


def test_they_lie_on_a_ball_as_large_as_the_eye_is_wide_says(moved):
    _, after = moved
    for inside, (outer, inner) in zip(between_lids(), EYE_CORNERS, strict=True):
        radius = RADIUS_PER_WIDTH * np.linalg.norm(FACE[outer] - FACE[inner])
        assert 11 < 100 * radius / PX < 13.5  # mm
        front = after[inside][np.argsort(after[inside, 2])[:200]]
        # The ball through them, in least squares: |p|^2 = 2 c p + (r^2 - |c|^2).
        middle = front.mean(axis=0)
        p = front - middle
        solution = np.linalg.lstsq(np.c_[2 * p, np.ones(len(p))], (p**2).sum(axis=1), rcond=None)[0]
        found = np.sqrt(solution[3] + (solution[:3] ** 2).sum())
        assert abs(found / radius - 1) < 1e-6
        centre, between = middle + solution[:3], (FACE[outer] + FACE[inner]) / 2
        assert centre[2] > front[:, 2].max()  # farther away than its surface
        assert np.abs(centre[:2] - between[:2] - (0, -EYE_CENTRE.up * radius)).max() < 1e-5


def test_a_face_that_is_nearer_has_the_same_eyes_nearer(moved):
    before, after = moved
    shifted = with_balls(before + (5, 6, -40), FACE + (5, 6, -40), np.eye(3))
    assert np.abs(shifted - after - (5, 6, -40)).max() < 1e-9
    larger = with_balls(3 * before, 3 * FACE, np.eye(3))
    assert np.abs(larger - 3 * after).max() < 1e-9


def test_the_axes_of_a_turned_head_are_its_rotation():
    from scipy.spatial.transform import Rotation

    turn = Rotation.from_euler("YXZ", [25, -10, 5], degrees=True).as_matrix()
    as_read = (FACE - (320, 240, 0)) @ turn.T / (1, 1, DEPTH)
    assert np.abs(head_axes(as_read) - turn).max() < 1e-6
    assert mesh_eyes.head_axes(as_read)[2, 2] > 0.8
