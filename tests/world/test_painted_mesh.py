"""The true mesh of a head: the same surface without a gap, the renderer's colours, eyes that look along the gaze."""

from functools import cache

import numpy as np
import pytest

from eg3d.world import raycast
from eg3d.world.painted_mesh import true_mesh
from eg3d.world.photograph import FLIP, millimetres, person_of, pose_of, posed, truth_of
from eg3d.world.render import BARE, EYE_AT_LEFT
from eg3d.world.worlds import world_of

GAZE = np.array([0.35, -0.12, 0.93])


@pytest.fixture(params=["cartoons", "people"])
def world(request, makehuman_data):
    return request.param


def shot_of(world: str, gaze=GAZE, setting=2):
    """240 x 240 px, without distortion; nearly all of it is head."""
    whose = dict(world=world, split="test", person=4, setting=setting, gaze=gaze / np.linalg.norm(gaze))
    camera = dict(matrix=(480.0, 0, 119.5, 0, 480, 119.5, 0, 0, 1), lens=(0.0,) * 5, width=240, height=240)
    turn = np.array([[0.98, 0, 0.199], [0, 1, 0], [-0.199, 0, 0.98]])
    return posed(turn, np.array([0.0, 10, 520]), **whose, **camera)


@cache
def mesh_of(world: str):
    return true_mesh(shot_of(world))


@cache
def canvas_of(world: str):
    shot = shot_of(world)
    return world_of(world).canvas(person_of(shot), shot.label, shot.gaze)


def areas(vertices, faces):
    a, b, c = (np.asarray(vertices, np.float64)[faces[:, k]] for k in range(3))
    return np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2


def edges(faces):
    return np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)


def test_the_finer_mesh_is_the_same_surface_without_a_gap(world):
    mesh, canvas, shot = mesh_of(world), canvas_of(world), shot_of(world)
    scale = millimetres(world, shot.split, shot.person)
    assert areas(mesh.vertices, mesh.faces).sum() == pytest.approx(
        scale**2 * areas(canvas.vertices, canvas.faces).sum()
    )
    # A side that only one of its two triangles halves would leave sides that belong to one triangle, inside the mesh.
    lengths = []
    for vertices, faces in ((mesh.vertices, mesh.faces), (scale * np.asarray(canvas.vertices, float), canvas.faces)):
        ends, uses = np.unique(edges(faces), axis=0, return_counts=True)
        rim = ends[uses == 1]
        lengths.append(np.linalg.norm(vertices[rim[:, 0]] - vertices[rim[:, 1]], axis=1).sum())
    assert lengths[0] == pytest.approx(lengths[1])
    normals = [np.cross(v[f[:, 1]] - v[f[:, 0]], v[f[:, 2]] - v[f[:, 0]]).sum(axis=0) for v, f in (
        (mesh.vertices, mesh.faces), (scale * np.asarray(canvas.vertices, float) @ FLIP, canvas.faces))]  # fmt: skip
    np.testing.assert_allclose(*normals, atol=1e-3 * np.abs(normals).max() + 1e-3)
    assert 10_000 < len(mesh.vertices) < 90_000


def test_a_picture_of_the_mesh_is_the_renderers(world):
    shot, mesh = shot_of(world), mesh_of(world)
    picture = world_of(world).render(person_of(shot), shot.label, shot.gaze, shot.side)
    scale = millimetres(world, shot.split, shot.person)
    scene = raycast.Scene((mesh.vertices @ FLIP / scale).astype(np.float32), mesh.faces)
    hits = scene.cast(np.array(shot.label), shot.side)[2]
    hit = hits.triangle >= 0
    seen = np.einsum("pk,pkc->pc", hits.weights[hit], mesh.colours[mesh.faces[hits.triangle[hit]]].astype(float))
    difference = np.abs(seen - picture.rgb.reshape(-1, 3)[hit])
    assert np.median(difference) <= 1.5 and difference.mean() < 5
    on_eye = picture.eye_mask.ravel()[hit]  # irises, crisp
    assert on_eye.sum() > 100 and difference[on_eye].mean() < 10


def test_irises_of_the_mesh_lie_along_the_gaze(world):
    gaze = (-0.3, 0.2, 0.9)
    mesh = true_mesh(shot_of(world, np.array(gaze)), even_light=True)  # no lamp is mirrored in the eyes
    np.testing.assert_allclose(mesh.gaze, FLIP @ (gaze / np.linalg.norm(gaze)), atol=1e-12)
    for eye in (0, 1):
        directions = mesh.vertices[mesh.part == EYE_AT_LEFT + eye] - mesh.eye_centres[eye]
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        brightest = mesh.colours[mesh.part == EYE_AT_LEFT + eye].max(axis=1)
        iris = directions[brightest < 0.5 * np.percentile(brightest, 90)]
        # The middle between the ends of a round patch, along each axis, points to its middle.
        middle = iris.max(axis=0) + iris.min(axis=0)
        off = np.degrees(np.arccos(middle @ mesh.gaze / np.linalg.norm(middle)))
        assert off < 0.7, off  # vertices are 0.3 mm apart there, which is one degree
        behind = directions @ mesh.gaze < -0.3
        assert behind.sum() > 20 and brightest[behind].min() > 90, "the back of the ball is white, no second iris"


def test_the_gaze_in_the_photo_is_that_of_the_pupils_of_the_mesh(world):
    shot, mesh = shot_of(world), mesh_of(world)
    rotation, translation = pose_of(shot)
    np.testing.assert_allclose(truth_of(shot).gaze, rotation @ mesh.gaze, atol=1e-12)
    np.testing.assert_allclose(truth_of(shot).model, mesh.landmarks, atol=1e-4)
    assert translation[2] == pytest.approx(520)


def test_even_light_does_not_depend_on_the_lamps_of_the_photo():
    def skin(setting, even_light):
        mesh = true_mesh(shot_of("cartoons", setting=setting), even_light, detail=0.2)
        bare = mesh.part == BARE
        sides = [mesh.colours[bare & (mesh.vertices[:, 0] * side > 30)].mean() for side in (-1, 1)]
        return mesh.colours[bare], abs(sides[0] - sides[1])

    np.testing.assert_array_equal(skin(2, True)[0], skin(3, True)[0])
    assert skin(2, True)[1] < 1 and skin(2, False)[1] > 5, "the lamp is at one side"


def test_detail_makes_a_finer_mesh():
    coarse, fine = (len(true_mesh(shot_of("cartoons"), detail=detail).vertices) for detail in (0.2, 0.4))
    assert coarse < 0.8 * fine
