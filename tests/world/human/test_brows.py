"""Brows, beards and lashes: where they are, and that they go with the face."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from eg3d.world.human.brows import BEARDS, BROW_X, BROW_Y, FaceHair, beard_cover, beard_region, brow_cover, painted_hair
from eg3d.world.human.pieces import unit

pytestmark = pytest.mark.usefixtures("makehuman_data")
PIXEL = 0.01  # decimetres


@cache
def person(index: int = 0):
    from eg3d.world.human.person import Person

    return Person.draw("test", index)


@cache
def head(index: int = 0, blink: float = 0.0, jaw: float = 0.0):
    from eg3d.world.human.head_shape import human_head
    from eg3d.world.human.physique import Expression

    return human_head(person(index), None, Expression(blink=blink, jaw=jaw))


def skin():
    """Places on the base mesh [P, 3], closely spaced over the face, and the mask of the lips there [P]."""
    from eg3d.world.human.makehuman import MASKS, head_data

    data = head_data()
    faces, share = data.faces("skin"), np.random.default_rng(0).dirichlet((1, 1, 1), 6)
    rest = np.einsum("sk,fkc->sfc", share, data.vertices[faces]).reshape(-1, 3).astype(np.float32)
    return rest, np.einsum("sk,fk->sf", share, data.masks[faces, MASKS.index("lips")]).reshape(-1)


def test_brows_lie_on_the_landmarks_of_brows_and_nowhere_near_the_eyes():
    mesh = head()
    rest, _ = skin()
    for index in range(12):
        own = replace(person(index).face_hair, density=0.9)
        marks = [17, 18, 19, 20, 21, 22, 23, 24, 25, 26]  # dlib's
        rows = [np.abs(mesh.vertices - mesh.landmarks[mark]).sum(axis=1).argmin() for mark in marks]
        middle = np.interp(np.abs(mesh.rest[rows, 0]), BROW_X, BROW_Y)
        assert np.abs(mesh.rest[rows, 1] - middle).max() < 0.03  # decimetres: within the hairs of a brow
        covered = rest[brow_cover(own, rest, PIXEL) > 0.2]
        assert len(covered) > 40 and (covered[:, 1] > 7.38).all() and (covered[:, 2] > 0.9).all()
        assert (np.abs(covered[:, 0]) > 0.03).all()


def test_mirrored_hair_of_the_face_is_painted_in_a_mirror():
    rest, lips = skin()
    who = replace(person(3), face_hair=replace(person(3).face_hair, beard="full"))
    twin = who.mirrored()
    one = painted_hair(who.hair, who.face_hair, rest, lips, PIXEL)
    other = painted_hair(twin.hair, twin.face_hair, rest * np.array([-1, 1, 1], np.float32), lips, PIXEL)
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    assert (one[0] > 0.5).sum() > 100 and one[0].min() >= 0 and one[0].max() <= 1


@pytest.mark.parametrize("beard", BEARDS)
def test_a_beard_grows_on_the_jaw_and_not_on_lips_nose_or_ears(beard):
    rest, lips = skin()
    own = replace(person().face_hair, beard=beard, stubble=0.0, fullness=1.0)
    cover = beard_cover(own, rest, lips, PIXEL)
    assert (cover[lips > 0.6] < 0.05).all()
    assert (cover[(rest[:, 1] > 6.95) & (np.abs(rest[:, 0]) < 0.5)] < 0.05).all()
    assert (cover[(np.abs(rest[:, 0]) > 0.8) | (rest[:, 2] < 0.4)] == 0).all()
    chin = (np.abs(rest[:, 0]) < 0.08) & (np.abs(rest[:, 1] - 6.42) < 0.05) & (rest[:, 2] > 1.2)
    lip = (np.abs(rest[:, 0]) < 0.12) & (np.abs(rest[:, 1] - 6.80) < 0.025) & (rest[:, 2] > 1.3) & (lips < 0.1)
    assert chin.sum() > 20 and lip.sum() > 5
    assert (cover[chin].mean() > 0.15) == (beard in ("stubble", "goatee", "full"))
    assert (cover[lip].mean() > 0.15) == (beard in ("stubble", "moustache", "goatee", "full"))


def test_a_beard_of_locks_goes_down_with_the_jaw():
    from eg3d.world.human.locks import beard_locks

    own = replace(person().face_hair, beard="full")
    (closed,), (opened,) = beard_locks(own, head()), beard_locks(own, head(jaw=1.0))
    moved = (opened.vertices - closed.vertices)[:, 1]
    assert np.quantile(moved, 0.1) < -0.02 and np.abs(moved).min() < 2e-3  # the chin, not the side of the head
    assert not beard_locks(replace(own, beard="stubble"), head())
    (twin,) = beard_locks(own.mirrored(), mirrored_head())
    np.testing.assert_allclose(twin.vertices * [-1, 1, 1], closed.vertices, atol=2e-4)


@cache
def mirrored_head():
    from eg3d.world.human.head_shape import human_head

    return human_head(person().mirrored())


def test_lashes_stand_on_the_upper_lid_and_close_with_it():
    from eg3d.world.human.lashes import lashes, upper_rims

    open_, closed = head(), head(blink=1.0)
    pieces, shut = lashes(person().face_hair, open_), lashes(person().face_hair, closed)
    for number, piece in enumerate(pieces):
        side = number // 2  # a line of roots and spikes, of the right eye and then of the left one
        centre, radius = open_.eye_centres[side], open_.eye_radius[side]
        rim = open_.vertices[upper_rims()[side]]
        roots = piece.vertices.reshape(-1, 4, 2, 3)[:, 0].mean(axis=1) if number % 2 else piece.vertices[24:]
        away = np.sqrt(((roots[:, None] - rim) ** 2).sum(axis=2)).min(axis=1)
        assert (away < 0.25 * radius).all()
        assert (np.linalg.norm(piece.vertices - centre, axis=1) > radius).all()
        drop = (shut[number].vertices - piece.vertices)[:, 1]
        assert (drop.mean() < -0.3 * radius) and drop.max() < 0.05 * radius
    twins = lashes(person().mirrored().face_hair, mirrored_head())
    spikes = [np.abs(p.vertices[:, 0]).max() for p in (pieces[1], twins[3])]
    assert spikes[0] == pytest.approx(spikes[1], abs=2e-3)


def test_the_hair_of_the_face_suits_sex_age_and_hair():
    rng = np.random.default_rng(0)
    women = [FaceHair.draw(rng, 0.1, 30.0, (0, 0, 1), person(i).hair) for i in range(40)]
    men = [FaceHair.draw(rng, 1.0, 30.0, (0, 0, 1), person(i).hair) for i in range(80)]
    assert {own.beard for own in women} == {"none"} and max(own.stubble for own in women) == 0
    assert {own.beard for own in men} == set(BEARDS)
    blond = replace(person().hair, colour=(0.5, 0.35, 0.15), grey=0.0)
    black = replace(blond, colour=(0.005, 0.004, 0.004))
    bright = [np.mean([FaceHair.draw(rng, 0, 30.0, (0, 0, 1), h).brow for _ in range(20)]) for h in (blond, black)]
    assert bright[0] > 5 * bright[1] and bright[0] < 0.6 * np.mean(blond.colour)


def test_the_region_of_a_beard_is_the_same_on_both_sides():
    rest = np.array([0.0, 6.9, 0.6]) + 0.6 * unit(np.random.default_rng(2).normal(size=(500, 3)))
    twin = rest * np.array([-1, 1, 1])
    np.testing.assert_array_equal(beard_region(rest, np.zeros(500)), beard_region(twin, np.zeros(500)))
