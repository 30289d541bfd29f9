"""Embree called directly gives what the package's own classes give."""

import numpy as np
import pytest

from eg3d.world import embree, raycast

pytestmark = pytest.mark.skipif(embree.library() is None, reason="embreex carries no Embree 4 here")

CORNERS = np.array([[-1, -1, 0], [1, -1, 0], [0, 1, 0], [-1, -1, -1], [1, -1, -1], [0, 1, -1]], np.float32)
TWO = np.array([[3, 4, 5], [0, 1, 2]], np.int32)  # the second one is nearer


def test_a_ray_meets_the_nearer_of_two_triangles_where_geometry_says():
    toward = np.array([[0, 0, -1], [0, 0, 1], [0.2, 0, -1]]) / np.sqrt([[1], [1], [1.04]])
    triangle, distance, u, v = embree.Mesh(CORNERS, TWO).first_hits(np.array([0, 0, 2.0]), np.float32(toward))
    assert triangle.tolist() == [1, -1, 1]
    np.testing.assert_allclose(distance, [2, np.inf, 2 * np.sqrt(1.04)], rtol=1e-6)
    np.testing.assert_allclose(u[[0, 2]], [0.25, 0.45], atol=1e-6)  # of the corner at (1, -1)
    np.testing.assert_allclose(v[[0, 2]], [0.5, 0.5], atol=1e-6)


@pytest.mark.parametrize("count", [1, 15, 16, 17, 1000])
def test_any_number_of_rays_agrees_with_the_packages_own_classes(count):
    rng = np.random.default_rng(count)
    vertices = rng.normal(0, 0.5, (900, 3)).astype(np.float32)
    faces = rng.integers(0, 900, (400, 3)).astype(np.int32)
    directions = rng.normal(0, 0.2, (count, 3)) - [0, 0, 1]
    directions = (directions / np.linalg.norm(directions, axis=1, keepdims=True)).astype(np.float32)
    origin = np.array([0, 0, 3], np.float32)
    expected = raycast.cast_embree(vertices, faces, origin, directions)
    triangle, distance, u, v = embree.Mesh(vertices, faces).first_hits(origin, directions)
    assert (triangle == expected.triangle).mean() > 0.99  # rays through an edge may take either side
    same = (triangle == expected.triangle) & (triangle >= 0)
    np.testing.assert_allclose(distance[same], expected.distance[same], atol=1e-5)
    np.testing.assert_allclose(np.stack([u, v], 1)[same], expected.weights[same, 1:], atol=1e-3)


def test_a_mesh_does_not_depend_on_arrays_that_change_later():
    vertices, faces = CORNERS.copy(), TWO.copy()
    mesh = embree.Mesh(vertices, faces)
    vertices += 100
    faces[:] = 0
    assert mesh.first_hits(np.array([0, 0, 2.0]), np.float32([[0, 0, -1]]))[0].tolist() == [1]


def test_without_the_library_the_packages_own_classes_draw(monkeypatch):
    monkeypatch.setattr(embree, "library", lambda: None)
    label = np.concatenate([np.diag([1, -1, -1, 1.0]).ravel(), [1, 0, 0.5, 0, 1, 0.5, 0, 0, 1]])
    label[11] = 2
    seen = raycast.Scene(CORNERS, TWO).cast(label, 4)[2]
    assert set(seen.triangle.tolist()) == {-1, 1}
