"""FaceMesh's points as a surface: no gap, no fold on the mean face, and the 68 landmarks where they are known."""

from collections import Counter

import numpy as np
import pytest

from eg3d.faces import mesh_surface
from eg3d.faces.face_mesh import EYE_CORNERS, MOUTH
from eg3d.faces.mesh_surface import OF_68, fine_surface, mean_points, triangles

MIRRORED = [*range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31, 45, 44, 43, 42, 47, 46, 39, 38,
            37, 36, 41, 40, 54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65]  # fmt: skip


def ends_of(faces: np.ndarray) -> Counter:
    """How many faces have each edge, whose ends are in order."""
    return Counter(tuple(sorted(edge)) for a, b, c in faces.tolist() for edge in ((a, b), (b, c), (c, a)))


def normals_of(points: np.ndarray, faces: np.ndarray) -> np.ndarray:
    a, b, c = (points[faces[:, k]] for k in range(3))
    return np.cross(b - a, c - a)


def test_the_triangles_are_one_sheet_through_all_points_with_one_border():
    faces, ends = triangles(), ends_of(triangles())
    assert len(faces) == 898 and set(faces.ravel().tolist()) == set(range(468))
    border = [edge for edge, count in ends.items() if count == 1]
    assert set(ends.values()) == {1, 2} and len(border) == 36
    assert len(faces) - len(ends) + 468 == 1  # Euler: a disc
    # The border is the oval of the face: it goes round everything else.
    middle = mean_points()[:, :2].mean(axis=0)
    around = np.unwrap(np.sort([np.arctan2(*(mean_points()[a, :2] - middle)) for a, _ in border]))
    assert np.diff(around).max() < 0.6


def test_neighbours_go_round_the_same_way_and_look_out_of_the_head():
    faces = triangles()
    ways = Counter((int(a), int(b)) for face in faces for a, b in zip(face, np.roll(face, -1), strict=True))
    assert max(ways.values()) == 1  # each edge is walked once in each direction
    normals = normals_of(mean_points(), faces)
    area = np.linalg.norm(normals, axis=1)
    assert area[normals[:, 2] > 0].sum() > 0.9 * area.sum()  # all but the rim and the underside of nose and lips
    upside_down = mean_points() * (1, -1, -1)  # OpenCV's axes: a rotation, so normals still leave the head
    assert (normals_of(upside_down, faces)[:, 2] < 0).mean() > 0.9


def test_the_finer_surface_is_the_same_surface_without_gaps():
    fine, ends = fine_surface(), ends_of(fine_surface().faces)
    assert (fine.corners[:468, 0] == np.arange(468)).all() and (fine.shares[:468, 0] == 1).all()
    assert np.abs(fine.shares.sum(axis=1) - 1).max() < 1e-12 and fine.shares.min() >= 0
    assert set(ends.values()) == {1, 2}  # a vertex in the middle of a neighbour's edge would make a gap
    assert len(fine.corners) - len(ends) + len(fine.faces) == 1
    places = fine.vertices(mean_points())
    before, after = (
        np.linalg.norm(normals_of(*mesh), axis=1).sum() for mesh in ((mean_points(), triangles()), (places, fine.faces))
    )
    assert abs(after / before - 1) < 1e-9
    longest = max(np.linalg.norm(places[a] - places[b]) for a, b in ends)
    assert longest <= mesh_surface.EDGE_MM / 100
    assert 20_000 < len(places) < 60_000  # as fine as a published mesh


def test_vertices_follow_the_points():
    fine = fine_surface()
    moved = mean_points() @ np.array([[1.1, 0.2, 0], [0, 0.9, -0.3], [0.1, 0, 1]]) + (3, 4, 5)
    expected = fine.vertices(mean_points()) @ np.array([[1.1, 0.2, 0], [0, 0.9, -0.3], [0.1, 0, 1]]) + (3, 4, 5)
    assert np.abs(fine.vertices(moved) - expected).max() < 1e-9


def test_the_68_landmarks_are_different_points_in_mirrored_pairs():
    assert len(OF_68) == len(set(OF_68)) == 68
    points = mean_points()[list(OF_68)]
    assert np.abs(points * (-1, 1, 1) - points[MIRRORED]).max() < 0.03  # dm; the mean face is not quite symmetric
    assert [OF_68[k] for k in (36, 39, 45, 42)] == [*EYE_CORNERS[0], *EYE_CORNERS[1]]
    assert (OF_68[48], OF_68[54]) == MOUTH


@pytest.mark.slow  # loads MakeHuman's data
@pytest.mark.usefixtures("packaged_networks", "makehuman_data")
def test_the_68_landmarks_lie_where_those_of_a_known_head_do():
    import torch

    from eg3d.faces.face_mesh import FaceMesh
    from eg3d.faces.mesh_pose import framed_face
    from eg3d.world.rendered_sets import camera_label
    from eg3d.world.worlds import world_of

    world = world_of("people")
    head = world.render(world.draw("features", 4), camera_label(0.1, 0.05), (0, 0, 1), 256)
    picture = torch.from_numpy(head.rgb).permute(2, 0, 1)[None].float() / 127.5 - 1
    found = FaceMesh().find(picture, framed_face(1, 256, "cpu")).points[0, list(OF_68), :2].numpy()
    mm = 90 / np.linalg.norm(head.landmarks[36] - head.landmarks[45])
    off = mm * np.linalg.norm(found - head.landmarks, axis=1)
    assert off[17:].mean() < 5 and off[:17].mean() < 10 and off.max() < 18
