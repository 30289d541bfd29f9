"""Lamps, backdrop, openness and the light on skin of the world of people."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from eg3d.world import raycast
from eg3d.world.human.lamp_shadow import lamp_shadow
from eg3d.world.human.lamps import FACING, Lamp, Setting, backdrop, develop, linear
from eg3d.world.human.openness import BEND, openness, vertex_areas, vertex_normals
from eg3d.world.human.shading import skin_light

FLIP = np.array([[-1], [1], [1]], np.float32)


def settings(count: int) -> list[Setting]:
    return [Setting.draw(np.random.default_rng(seed)) for seed in range(count)]


def test_a_developed_picture_is_srgb_below_the_knee_and_never_darker_for_more_light():
    grey = np.array([0.02, 0.2, 0.5, 0.75])
    assert np.abs(develop(linear(grey)).astype(float) - grey * 255).max() <= 1
    steps = develop(np.linspace(-0.1, 5, 2000)).astype(int)
    assert (np.diff(steps) >= 0).all() and steps[0] == 0 and steps[-1] == 255


def test_every_setting_is_exposed_for_a_face():
    for setting in settings(40):
        assert 1 <= len(setting.lamps) <= 3
        sky, ground = np.array(setting.sky), np.array(setting.ground)
        light = ground + (sky - ground) * (0.5 + 0.5 * FACING[:, 1:2])
        for lamp in setting.lamps:
            assert np.isclose(np.linalg.norm(lamp.toward), 1)
            light = light + np.clip(FACING @ np.array(lamp.toward), 0, 1)[:, None] * np.array(lamp.colour)
        assert 0.77 < light.mean() < 1.09


def test_the_backdrop_of_a_mirrored_setting_is_the_mirror_image():
    for setting in settings(8):
        assert np.abs(backdrop(setting.mirrored(), 40) - backdrop(setting, 40)[:, ::-1]).max() < 1e-6
        assert setting.mirrored().mirrored().lamps == setting.lamps
    assert len({backdrop(setting, 8).tobytes() for setting in settings(8)}) == 8


def test_a_mirrored_setting_lights_mirrored_skin_alike():
    rng = np.random.default_rng(0)
    normals, towards = (v / np.linalg.norm(v, axis=0) for v in rng.normal(size=(2, 3, 50)).astype("f"))
    paint, (sheen, opened, shadow) = rng.random((2, 3, 50), dtype="f")
    for setting in settings(5):
        light = skin_light(setting, paint, sheen, normals, towards, opened, shadow)
        mirrored = skin_light(setting.mirrored(), paint, sheen, normals * FLIP, towards * FLIP, opened, shadow)
        assert np.abs(light - mirrored).max() < 1e-5


def test_the_main_lamp_alone_casts_shadows_and_hollows_are_dark():
    setting = settings(1)[0]
    ahead = np.array([[0, 0], [0, 0], [1, 1]], np.float32)
    paint, sheen, one = np.full((3, 2), 0.4, np.float32), np.ones(2, np.float32), np.ones(2, np.float32)
    lit, shaded = skin_light(setting, paint, sheen, ahead, ahead, one, np.array([1, 0], np.float32)).T
    assert (lit > shaded).all() and (shaded > 0).all()
    unlit = replace(setting, lamps=(replace(setting.lamps[0], colour=(0.0, 0.0, 0.0)), *setting.lamps[1:]))
    assert np.allclose(skin_light(unlit, paint, sheen, ahead, ahead, one, one)[:, 0], shaded, atol=1e-6)
    open_, hollow = skin_light(setting, paint, sheen, ahead, ahead, np.array([1, 0.1], np.float32), one).T
    assert (hollow < 0.35 * open_).all()


@pytest.mark.parametrize("spread", [0.02, 0.45, 5.0])
def test_what_lies_behind_a_plate_is_in_the_lamps_shadow(spread):
    x = np.array([-0.2, 0.2])
    plate, wall = ([(a, b, z) for b in scale * x for a in scale * x] for z, scale in ((0.3, 1), (0.0, 0.1)))
    beside = [(0.4, 0.4, 0.0), (3.0, -3.0, 0.0)]  # the last one is out of the lamp's picture
    vertices = np.float32(plate + wall + beside)
    faces = np.int32([[0, 1, 2], [1, 3, 2], [4, 5, 6], [5, 7, 6]])
    normals = np.broadcast_to(np.float32([0, 0, 1]), vertices.shape)
    mesh = SimpleNamespace(vertices=vertices, normals=normals)
    share = lamp_shadow(mesh, raycast.Scene(vertices, faces), Lamp((0.0, 0.0, 1.0), (1.0, 1.0, 1.0), spread))
    assert (share[:4] > 0.9).all() and (share[4:8] == 0).all() and (share[8:] == 1).all()


def grid(height) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and faces of the surface z = height(x, y) on [-1, 1]^2, facing +z."""
    n = 41
    y, x = np.meshgrid(np.linspace(-1, 1, n), np.linspace(-1, 1, n), indexing="ij")
    index = np.arange(n * n).reshape(n, n)
    a, b, c, d = (index[i, j].ravel() for i in (np.s_[:-1], np.s_[1:]) for j in (np.s_[:-1], np.s_[1:]))
    faces = np.concatenate([np.stack([a, b, d], 1), np.stack([a, d, c], 1)])
    return np.stack([x, y, height(x, y)], -1).reshape(-1, 3), faces


def open_share(vertices, faces) -> np.ndarray:
    return openness(vertices, vertex_normals(vertices, faces), vertex_areas(vertices, faces))


def test_a_plain_sees_the_whole_sky_and_a_pit_does_not():
    flat = open_share(*grid(lambda x, y: 0 * x))
    assert np.allclose(flat, 1, atol=1e-3)
    vertices, faces = grid(lambda x, y: -np.exp(-(x**2 + y**2) / 0.14))
    pit = open_share(vertices, faces)
    bottom, rim = pit[np.argmin(vertices[:, 2])], pit[np.abs(vertices[:, 0]) > 0.95]
    assert bottom < 0.5 and rim.min() > 0.95


def test_two_walls_cover_what_their_form_factor_says():
    # A point on the floor of an endless right-angled trough of equal sides w, at distance w / 2 from the wall, sees
    # the wall under the share (1 - cos(atan 2)) / 2 of its sky (Hottel's strings).
    n = np.linspace(0.025, 0.975, 20)
    z = np.linspace(-4, 4, 161)
    wall = np.stack(np.meshgrid([0.0], n, z, indexing="ij"), -1).reshape(-1, 3)
    points = np.concatenate([np.array([[0.5, 0, 0]]), wall])
    normals = np.concatenate([np.array([[0.0, 1, 0]]), np.tile([1.0, 0, 0], (len(wall), 1))])
    areas = np.full(len(points), 0.05 * 0.05)
    covered = -np.log(openness(points, normals, areas)[0]) / BEND
    assert covered == pytest.approx((1 - np.cos(np.arctan(2))) / 2, rel=0.03)
