"""Skin and eyeballs of the world of people: paint alone, without a mesh."""

from dataclasses import replace

import numpy as np
import pytest

from eg3d.world.human.complexion import Complexion, skin_paint, skin_vertices
from eg3d.world.human.eyeballs import IRIS_ANGLE, Lids, angles, eye_light, eye_paint
from eg3d.world.human.lamps import Setting

FLIP = np.array([-1, 1, 1])
ANCESTRIES = np.eye(3)


def complexion(seed: int, ancestry=(0.2, 0.3, 0.5), age: float = 40.0, male: float = 0.5) -> Complexion:
    return Complexion.draw(np.random.default_rng(seed), male, age, ancestry)


def places(count: int = 4000) -> np.ndarray:
    """Places about the front of the base mesh."""
    low, high = np.array([(-0.7, 6.2, 0.9), (0.7, 8.0, 1.7)], np.float32)
    return np.random.default_rng(0).uniform(low, high, (count, 3)).astype(np.float32)


def painted(skin: Complexion, rest: np.ndarray, pixel: float = 0.002) -> np.ndarray:
    masks = {name: np.zeros(len(rest), np.float32) for name in ("lips", "lids", "ears")}
    return skin_paint(skin, skin_vertices(skin, rest, masks).T, rest.T, pixel)[0].T


def test_tones_fit_the_ancestry_but_not_slavishly():
    tones = np.array([[complexion(seed, a).tone for seed in range(200)] for a in ANCESTRIES])
    african, asian, caucasian = np.median(tones, axis=1)
    assert african > asian + 0.3 and asian > caucasian + 0.1
    assert (tones.std(axis=1) > 0.06).all() and tones.min() < 0.05 and tones.max() > 0.95


def test_a_darker_tone_reflects_less_of_every_colour_and_all_tones_are_reddish():
    colours = np.array([replace(complexion(0), tone=t, olive=0.0).colour for t in np.linspace(0, 1, 20)])
    assert (np.diff(colours, axis=0) < 0).all()
    assert (colours[:, 0] > colours[:, 1]).all() and (colours[:, 1] > colours[:, 2]).all()
    assert colours.max() < 0.95 and colours.min() > 0.01


@pytest.mark.parametrize("seed", range(4))
def test_mirrored_skin_has_mirrored_spots(seed):
    skin = replace(complexion(seed), freckles=0.5, moles=0.1, spots=0.2)
    rest = places()
    mirrored = painted(skin.mirrored(), rest * FLIP.astype(np.float32))
    assert np.abs(mirrored - painted(skin, rest)).max() < 2e-3
    assert np.abs(painted(skin, rest * FLIP.astype(np.float32)) - painted(skin, rest)).max() > 0.05  # not symmetric


@pytest.mark.parametrize("what", ["freckles", "moles", "spots"])
def test_spots_darken_a_part_of_the_skin(what):
    plain = replace(complexion(1), freckles=0.0, moles=0.0, spots=0.0)
    rest = places(20000)
    ratio = painted(replace(plain, **{what: 0.5}), rest)[:, 1] / painted(plain, rest)[:, 1]
    assert ratio.max() < 1 + 1e-5 and 0.001 < (ratio < 0.95).mean() < 0.4


def test_what_is_finer_than_a_pixel_is_blurred():
    skin = replace(complexion(2), freckles=0.6, mottle=0.0)
    rest = np.array((0.2, 7.0, 1.4), np.float32) + 0.1 * (places(20000) - 4).astype(np.float32) * (1, 0.2, 0.2)
    near, far = (painted(skin, rest.astype(np.float32), pixel)[:, 1] for pixel in (0.003, 0.03))
    assert far.std() < 0.7 * near.std() and abs(far.mean() - near.mean()) < 0.03 * near.mean()


def test_most_irises_are_brown_and_pupils_have_the_size_of_pupils():
    irises = [complexion(seed, tuple(ANCESTRIES[seed % 3])).iris for seed in range(300)]
    brown = np.mean([iris.outer[0] > 1.3 * iris.outer[2] for iris in irises])
    assert 0.55 < brown < 0.9
    pupils = [iris.pupil for iris in irises]
    assert 0.17 <= min(pupils) < 0.19 and 0.22 < max(pupils) <= 0.25


def ball(count: int = 6000) -> np.ndarray:
    d = np.random.default_rng(3).normal(size=(count, 3))
    d[:, 2] = np.abs(d[:, 2])
    return d / np.linalg.norm(d, axis=1, keepdims=True)


@pytest.mark.parametrize("gaze", [(0, 0, 1), (0.5, -0.2, 0.84), (-0.4, 0.3, 0.87)])
def test_pupil_iris_and_sclera_lie_round_the_gaze(gaze):
    gaze = np.asarray(gaze) / np.linalg.norm(gaze)
    iris, direction = complexion(3).iris, ball()
    paint = eye_paint(iris, direction, gaze, 1.0, np.full(len(direction), 0.002))
    angle = angles(direction, gaze)
    assert paint[angle < iris.pupil - 0.01].max() < 0.01
    assert paint[angle > IRIS_ANGLE + 0.05].min() > 0.2
    between = paint[(angle > iris.pupil + 0.05) & (angle < IRIS_ANGLE - 0.06)]
    assert 0.005 < between.mean() < 0.35


def test_the_right_eye_is_the_mirror_image_of_the_left_one():
    iris, direction, gaze = complexion(4).iris, ball(), np.array([0.3, 0.1, 0.95])
    gaze = gaze / np.linalg.norm(gaze)
    soft = np.full(len(direction), 0.01)
    left, right = (
        eye_paint(iris, direction, gaze, 1.0, soft),
        eye_paint(iris, direction * FLIP, gaze * FLIP, -1.0, soft),
    )
    assert np.abs(left - right).max() < 1e-5
    assert np.abs(left - eye_paint(iris, direction * FLIP, gaze * FLIP, 1.0, soft)).max() > 0.01


def test_the_cornea_mirrors_each_lamp_where_the_law_of_reflection_says():
    setting = Setting.draw(np.random.default_rng(5))
    lamp = replace(setting.lamps[0], toward=(0.36, 0.48, 0.8), colour=(1.0, 1.0, 1.0), spread=0.1)
    dark = replace(setting, lamps=(lamp,), sky=(0, 0, 0), ground=(0, 0, 0))
    direction, gaze = ball(200000), np.array([0.0, 0.0, 1.0])
    ahead, one = np.tile(gaze, (len(direction), 1)), np.ones(len(direction))
    light = eye_light(dark, np.zeros((len(direction), 3)), direction, gaze, ahead, one, one)[:, 0]
    on_cornea = angles(direction, gaze) < IRIS_ANGLE - 0.05
    centre = (direction * (light * on_cornea)[:, None]).sum(axis=0) / (light * on_cornea).sum()
    # The cornea's normal there is half-way to the lamp; it is a ball round 0.47 of the radius along the gaze.
    half = np.array([0.36, 0.48, 1.8]) / np.linalg.norm([0.36, 0.48, 1.8])
    along = np.sqrt(1 - 0.47**2 * (half[:2] ** 2).sum()) - 0.47 * half[2]
    expected = 0.47 * gaze + along * half
    assert np.linalg.norm(centre / np.linalg.norm(centre) - expected) < 0.02


def test_the_ball_is_darkest_under_the_upper_lid():
    pitch, yaw = np.array([0, 0.4, 0.4, 0, -0.35, -0.35]), np.array([-0.8, -0.3, 0.3, 0.8, 0.3, -0.3])
    rim = np.stack([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)], axis=1)
    lids = Lids.of(5 + 0.1 * rim, np.full(3, 5.0))
    up, middle, down = lids.openness(np.stack([[0, np.sin(p), np.cos(p)] for p in (0.44, 0.05, -0.3)]))
    assert up < down < middle and up < 0.6 and middle > 0.85


def test_creases_lie_where_they_are_named_and_mirror():
    from eg3d.world.human.creases import Creases, creased

    rest = places(20000)
    rest[:, 2] = 1.3
    deep = Creases(forehead=1.0, fold=1.0, bag=1.0, feet=1.0, side=1, seed=5)
    at, tilt, depth = creased(deep, rest.T)
    assert 0.7 < depth.max() <= 1.0 and 0.03 < (depth > 0.1).mean() < 0.3
    y = rest[at, 1]
    for name, low, high in (("forehead", 7.6, 8.0), ("fold", 6.45, 7.0), ("bag", 7.05, 7.25), ("feet", 7.1, 7.5)):
        one = Creases(**{"forehead": 0.0, "fold": 0.0, "bag": 0.0, "feet": 0.0, "side": 1, "seed": 5, name: 1.0})
        inside = creased(one, rest.T)[2] > 0.2
        assert inside.any() and (y[inside] > low).all() and (y[inside] < high).all()
    flipped = creased(replace(deep, side=-1), (rest * FLIP.astype(np.float32)).T)
    assert np.array_equal(flipped[0], at) and np.abs(flipped[2] - depth).max() < 1e-5
    assert np.abs(flipped[1].T * FLIP - tilt.T).max() < 1e-5
    assert np.abs(creased(deep, (rest * FLIP.astype(np.float32)).T)[2] - depth).max() > 0.2  # not symmetric


def test_a_crease_is_a_valley():
    from eg3d.world.human.creases import Creases, creased

    y = np.linspace(7.05, 7.2, 301, dtype=np.float32)  # across the line below the middle of the left eye
    rest = np.stack([np.full_like(y, 0.3), y, np.full_like(y, 1.3)], axis=1)
    bag = Creases(forehead=0.0, fold=0.0, bag=1.0, feet=0.0, side=1, seed=0)
    _, tilt, depth = creased(bag, rest.T)
    bottom = int(depth.argmax())
    assert (tilt[1, : bottom - 3] >= 0).all() and (tilt[1, bottom + 3 :] <= 0).all() and np.abs(tilt[1]).max() > 0.2


def test_pores_tilt_the_normal_a_little_and_mirror():
    skin, rest = replace(complexion(6), grain=1.0), places()
    coats = np.zeros((4, len(rest)), np.float32)
    tilt = skin_paint(skin, coats, rest.T, 0.003)[2]
    assert 0.015 < tilt.std() < 0.03 and np.abs(tilt.mean(axis=1)).max() < 0.01
    mirrored = skin_paint(skin.mirrored(), coats, (rest * FLIP.astype(np.float32)).T, 0.003)[2]
    assert np.abs(mirrored * [[-1], [1]] - tilt).max() < 1e-6
    far = skin_paint(skin, coats, rest.T, 0.03)[2]
    assert far.std() < 0.5 * tilt.std()
