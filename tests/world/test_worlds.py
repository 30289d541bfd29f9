"""The registry of worlds: what a world is asked for, and that nobody needs the packages of another one."""

import ast
import io
import zipfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eg3d.data.opening import WORLD_OF
from eg3d.world import rendered_sets, worlds
from eg3d.world.cartoon.heads import SETTING
from eg3d.world.rendered_sets import _DRAWS, camera_label, make_sample, vector_to_head_angles
from eg3d.world.worlds import WORLDS, world_of
from groundwork.places import DATA_SET


def test_every_world_is_a_data_set_and_says_its_own_name():
    assert sorted(WORLD_OF.values()) == sorted(WORLDS) and DATA_SET.names == set(WORLD_OF)
    assert world_of("cartoons").name == "cartoons" and world_of("cartoons") is world_of("cartoons")


def test_what_cartoons_need_imports_nothing_of_another_world():
    """Inside functions it may: then only who asks for people needs their package."""
    folder = Path(worlds.__file__).parent
    for file in [*folder.glob("*.py"), *folder.glob("cartoon/*.py")]:
        for node in ast.parse(file.read_text()).body:
            assert not isinstance(node, ast.ImportFrom) or "human" not in node.module, f"{file.name}: {node.module}"


def test_a_person_in_another_setting_keeps_what_makes_a_person():
    cartoons = world_of("cartoons")
    one, other = cartoons.draw("test", 0), cartoons.draw("test", 1)
    moved = cartoons.vary(one, other)
    for name in vars(one):
        assert getattr(moved, name) == getattr(other if name in SETTING else one, name), name


@pytest.mark.parametrize("yaw", [-0.3, 0.3])
def test_irises_are_where_the_gaze_leaves_the_eyeballs(yaw):
    cartoons = world_of("cartoons")
    person, label = cartoons.draw("test", 3), camera_label(yaw, 0.1)
    rendered = cartoons.render(person, label, (0.15, 0.05, 1.0), 128)
    dark = rendered.eye_mask & (rendered.rgb.mean(axis=2) < 130)
    rows, columns = np.nonzero(dark)
    for x, y in rendered.irises:
        near = np.hypot(columns + 0.5 - x, rows + 0.5 - y) < 12
        assert np.hypot(columns[near].mean() + 0.5 - x, rows[near].mean() + 0.5 - y) < 1.0
    assert rendered.irises[0, 0] < rendered.irises[1, 0]


def test_a_size_that_is_left_out_is_the_worlds():
    assert make_sample(0, "gaze", "test", 0).rendered.rgb.shape == (64, 64, 3)


@pytest.fixture(scope="module")
def people():
    if find_spec("anny") is None:  # importing it would import much else
        pytest.skip("the package anny is not installed: make people")
    return world_of("people")


def test_people_are_rendered_as_cartoons_are(people, tmp_path, monkeypatch):
    sample = make_sample(0, "gaze", "test", 0, size=32, world="people")
    assert sample.rendered.rgb.shape == (32, 32, 3) and sample.rendered.irises.shape == (2, 2)
    again = make_sample(0, "gaze", "test", 0, size=32, world="people")
    assert np.array_equal(sample.rendered.rgb, again.rendered.rgb)
    monkeypatch.setattr(rendered_sets, "CACHE", tmp_path)
    path = rendered_sets.world_faces(1, world="people", size=32, progress=False)
    with zipfile.ZipFile(path) as archive:
        truth = np.load(io.BytesIO(archive.read("truth.npz")))
        picture = np.asarray(Image.open(io.BytesIO(archive.read("img00000000.png"))))
    face = make_sample(0, "faces", "faces", 0, size=32, world="people").rendered
    assert np.array_equal(picture, face.rgb) and np.allclose(truth["irises"], face.irises)
    other = rendered_sets.world_faces(1, size=32, progress=False)  # never the same file
    with zipfile.ZipFile(other) as archive:
        assert archive.read("img00000000.png") != rendered_sets.png_bytes(face.rgb)


def test_a_persons_views_share_the_head_and_not_light_clothes_or_expression(people):
    one, other = people.draw("test", 0), people.draw("test", 1)
    moved = people.vary(one, other)
    assert moved.setting == other.setting and moved.outfit.cloth == other.outfit.cloth
    assert moved.outfit.frame == one.outfit.frame and (moved.shape, moved.hair) == (one.shape, one.hair)
    label, ahead = camera_label(0.0, 0.0), (0.0, 0.0, 1.0)
    first, second = (people.render(one, label, gaze, 32).landmarks for gaze in (ahead, (0.01, 0.0, 1.0)))
    assert np.abs(first[48:60] - second[48:60]).max() > 0.1  # the mouth moves from picture to picture
    assert np.array_equal(first, people.render(one, label, ahead, 32).landmarks)


def test_no_gaze_of_people_leaves_the_range_of_their_eyes(people):
    for index in range(20):
        rng = np.random.default_rng(index)
        label, gaze, _ = _DRAWS["faces"](rng, people.draw("test", index), people)
        yaw, pitch = vector_to_head_angles(gaze)
        assert abs(yaw) <= people.eye_range[0] + 1e-6 and abs(pitch) <= people.eye_range[1] + 1e-6
