"""Glasses and clothes: who wears them, and that they sit on the head and the shoulders."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from eg3d.world.human.outfit import FRAMES, GARMENTS, Outfit, cloth_paint, frame_paint

pytestmark = pytest.mark.usefixtures("makehuman_data")


@cache
def person(index: int, frame: str = "none", garment: str = "tee"):
    from eg3d.world.human.person import Person

    who = Person.draw("test", index)
    return replace(who, outfit=replace(who.outfit, frame=frame, garment=garment))


@cache
def head(index: int):
    from eg3d.world.human.head_shape import human_head

    return human_head(person(index))


def depth_of_skin(index: int, places: np.ndarray) -> np.ndarray:
    """How far the foremost skin or eyeball at the x and y of places [P, 3] lies in front of them: -inf for none."""
    corners = head(index).vertices[head(index).faces].astype(np.float64)
    low, high = corners[..., :2].min(axis=1), corners[..., :2].max(axis=1)
    first = np.full(len(places), -np.inf)
    for k, place in enumerate(places[:, :2]):
        for f in np.flatnonzero(((low <= place) & (high >= place)).all(axis=1)):
            shares = np.linalg.lstsq(np.vstack([corners[f, :, :2].T, np.ones(3)]), [*place, 1], rcond=None)[0]
            if (shares > -1e-9).all():
                first[k] = max(first[k], shares @ corners[f, :, 2])
    return first - places[:, 2]


@pytest.mark.parametrize("frame", FRAMES)
def test_rims_stand_before_the_eyes_and_clear_the_skin(frame):
    from eg3d.world.human.glasses import glasses

    index = FRAMES.index(frame)
    who = person(index, frame)
    right, left, bridge, *temples = glasses(who.outfit, head(index))
    for rim, eye in ((right, 0), (left, 1)):
        centre = head(index).eye_centres[eye]
        turn = np.arctan2(*(rim.vertices[:, :2] - centre[:2]).T)
        assert (np.histogram(turn, 8, (-np.pi, np.pi))[0] > 0).all()  # all round the eye
        assert (depth_of_skin(index, rim.vertices[::11]) < 0).all()
    assert (depth_of_skin(index, bridge.vertices[::5]) < 0.003).all()  # of 0.4 for the head
    ears = [temple.vertices[-1] for temple in temples]
    assert ears[0][0] * ears[1][0] < 0 and all(abs(ear[0]) > 0.17 and ear[2] < 0.05 for ear in ears)


def test_about_one_of_eight_wears_glasses_and_no_frame_is_rare():
    rng = np.random.default_rng(0)
    people = [Outfit.draw(rng, 0.5, age, (0, 0, 1)) for age in np.random.default_rng(1).uniform(18, 75, 2000)]
    share = np.mean([outfit.frame != "none" for outfit in people])
    assert 0.09 < share < 0.16
    assert {outfit.frame for outfit in people} == {"none", *FRAMES} and {o.garment for o in people} == set(GARMENTS)


@pytest.mark.parametrize("garment", GARMENTS)
def test_a_garment_covers_the_shoulders_and_leaves_the_face_bare(garment):
    from eg3d.world.human.garments import garments

    who = person(GARMENTS.index(garment), garment=garment)
    mesh = head(GARMENTS.index(garment))
    pieces = garments(who.outfit, mesh)
    cloth = np.concatenate([piece.vertices for piece in pieces])
    chin = mesh.landmarks[8]
    assert cloth[cloth[:, 2] > chin[2] - 0.05][:, 1].max(initial=-1) < chin[1] + 0.02
    x = np.abs(mesh.rest[:, 0])
    shoulders = (mesh.rest[:, 1] > 5.2) & (mesh.rest[:, 1] < 5.45) & (x > 0.5) & (x < 1.8)
    cover = pieces[0].vertices
    away = np.sqrt(((mesh.vertices[shoulders][:, None] - cover) ** 2).sum(-1)).min(axis=1)
    assert shoulders.sum() > 20 and away.max() < 0.05
    outward = ((cover - cover.mean(axis=0)) * pieces[0].normals).sum(axis=1)
    assert (outward > 0).mean() > 0.9


def test_mirrored_clothes_and_glasses_are_a_mirror_image():
    from eg3d.world.human.garments import garments
    from eg3d.world.human.glasses import glasses
    from eg3d.world.human.head_shape import human_head

    who = person(2, "cat", "shirt")
    twin = human_head(who.mirrored())

    def points(outfit, mesh):
        return np.concatenate([piece.vertices for piece in (*glasses(outfit, mesh), *garments(outfit, mesh))])

    one, other = points(who.outfit, head(2)), points(who.outfit.mirrored(), twin) * [-1, 1, 1]
    gap = np.sqrt(((one[::7, None] - other[None]) ** 2).sum(-1)).min(axis=1)
    assert gap.max() < 2e-3 and np.quantile(gap, 0.9) < 5e-4  # of 0.4 for the head


def test_paint_of_cloth_and_frames_is_keyed_by_place_alone():
    outfit = replace(person(0).outfit, stripes=10.0, cloth=(0.5, 0.1, 0.1), second=(0.1, 0.1, 0.5), metal=False)
    rng = np.random.default_rng(3)
    coords = np.column_stack([rng.uniform(-2, 2, (200, 2)), np.zeros(200)]).astype(np.float32)
    paint = cloth_paint(outfit, coords, 0.01)
    assert paint.min() > 0 and 0.3 < (paint[:, 2] > paint[:, 0]).mean() < 0.7  # stripes
    np.testing.assert_array_equal(cloth_paint(outfit, coords[50:60], 0.01), paint[50:60])
    assert cloth_paint(outfit, coords, 10.0).std() < paint.std()
    frames = frame_paint(outfit, coords)
    assert frames.std(axis=0).max() > 0 and frame_paint(replace(outfit, metal=True), coords).std(axis=0).max() < 1e-6


def test_a_dressed_head_has_the_bare_one_first_and_every_part():
    from eg3d.world.human.dressing import dressed
    from eg3d.world.human.head_shape import CLOTHES, GLASSES, HAIR, LASH

    who = person(1, "round")
    who = replace(who, hair=replace(who.hair, style="short", length=0.5, thickness=0.1))
    bare = head(1)
    mesh = dressed(who, bare)
    count = len(bare.vertices)
    np.testing.assert_array_equal(mesh.vertices[:count], bare.vertices)
    np.testing.assert_array_equal(mesh.coords[:count], bare.rest)
    np.testing.assert_array_equal(mesh.faces[: len(bare.faces)], bare.faces)
    assert set(np.unique(mesh.part)) >= {LASH, HAIR, GLASSES, CLOTHES}
    assert mesh.faces.max() == len(mesh.vertices) - 1 and len(mesh.part) == len(mesh.faces)
    length = np.linalg.norm(mesh.tangents, axis=1)
    assert not length[:count].any() and length.max() == pytest.approx(1, abs=1e-3)
