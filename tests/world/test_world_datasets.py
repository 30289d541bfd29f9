"""Data sets of the embedded world: determinism, truth, biases and file layouts."""

import io
import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from eg3d.gaze.term import gaze_target
from eg3d.geometry.cameras import check_labels
from eg3d.world import rendered_sets as datasets
from eg3d.world.cartoon.heads import EYE_MAX_PITCH, EYE_MAX_YAW, Identity
from eg3d.world.worlds import world_of


def rotation_of(label: np.ndarray) -> np.ndarray:
    return label[:16].reshape(4, 4)[:3, :3].astype(float)


def drawn(kind: str, count: int):
    """(label, gaze_head, to_camera, identity) of `count` places, without rendering."""
    for index in range(count):
        identity = Identity.draw("test", index)
        yield *datasets._DRAWS[kind](np.random.default_rng(index), identity, world_of("cartoons")), identity


def test_two_runs_write_the_same_bytes_and_a_longer_set_begins_the_same(tmp_path):
    for name, count in (("a.zip", 4), ("b.zip", 4), ("c.zip", 6)):
        datasets.write_faces(tmp_path / name, count, seed=3)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert {info.date_time for info in archive.infolist()} == {datasets.ZIP_TIME}  # no time of day in the bytes
    with zipfile.ZipFile(tmp_path / "a.zip") as short, zipfile.ZipFile(tmp_path / "c.zip") as long:
        for index in range(4):
            assert short.read(f"img{index:08d}.png") == long.read(f"img{index:08d}.png")


def test_another_seed_gives_other_people():
    a, b = (datasets.make_sample(0, "faces", "faces", seed) for seed in (0, 1))
    assert a.identity != b.identity and not np.array_equal(a.rendered.rgb, b.rendered.rgb)


@pytest.mark.slow
def test_the_number_of_processes_changes_nothing():
    many = list(datasets.samples("faces", "test", 500, 0))
    for index in (0, 31, 32, 499):
        alone = datasets.make_sample(index, "faces", "test", 0)
        assert np.array_equal(many[index].rendered.rgb, alone.rendered.rgb)
        assert np.array_equal(many[index].label, alone.label)


def test_face_zip_has_the_published_layout_and_the_truth(tmp_path):
    datasets.write_faces(tmp_path / "faces.zip", 5)
    with zipfile.ZipFile(tmp_path / "faces.zip") as archive:
        labels = json.loads(archive.read("dataset.json"))["labels"]
        truth = np.load(io.BytesIO(archive.read("truth.npz")))
        images = [np.asarray(Image.open(io.BytesIO(archive.read(name)))) for name, _ in labels]
    assert [name for name, _ in labels] == [f"img{i:08d}.png" for i in range(5)]
    check_labels(torch.tensor([label for _, label in labels]), "faces.zip")
    assert all(image.shape == (64, 64, 3) for image in images)
    for index, (_, label) in enumerate(labels):
        sample = datasets.make_sample(index, "faces", "faces", 0)
        assert np.array_equal(np.array(label, np.float32), sample.label)  # nothing lost in the text
        assert np.array_equal(images[index], sample.rendered.rgb)
        mask = np.unpackbits(truth["eye_mask"][index])[: 64 * 64].reshape(64, 64).astype(bool)
        assert np.array_equal(mask, sample.rendered.eye_mask) and mask.any()
        assert np.allclose(truth["gaze_head"][index], sample.gaze_head)
        assert np.allclose(truth["irises"][index], sample.rendered.irises)
    assert truth["landmarks"].shape == (5, 68, 2) and truth["gaze_cam"].shape == (5, 2)
    assert list(truth["identity"]) == [0, 1, 2, 3, 4] and str(truth["split"]) == "faces"


@pytest.mark.parametrize("kind", ["faces", "gaze"])
def test_recorded_angles_are_the_gaze_in_the_camera_frame(kind):
    for index in range(6):
        sample = datasets.make_sample(index, kind, "test", 0, size=16)
        yaw, pitch = sample.gaze_cam
        direction = np.array([-np.cos(pitch) * np.sin(yaw), -np.sin(pitch), -np.cos(pitch) * np.cos(yaw)])
        assert np.allclose(rotation_of(sample.label) @ direction, sample.gaze_head, atol=1e-5)
        assert np.isclose(np.linalg.norm(sample.gaze_head), 1)


def test_four_of_five_faces_look_at_the_camera():
    near, far, to_camera = [], [], 0
    for label, gaze, biased, identity in drawn("faces", 500):
        to_eye = label[[3, 7, 11]] - identity.eye_centres.mean(axis=0)
        angle = np.degrees(np.arccos(np.clip(gaze @ to_eye / np.linalg.norm(to_eye), -1, 1)))
        (near if biased else far).append(angle)
        to_camera += biased
    assert 0.74 < to_camera / 500 < 0.86
    assert 4.5 < np.sqrt(np.mean(np.square(near)) / 2) < 6.5  # 5 degrees on each axis; the range clips a few
    assert np.mean(far) > 20


def test_face_cameras_are_spread_as_in_ffhq():
    labels = np.stack([label for label, *_ in drawn("faces", 500)])
    yaw = np.arctan2(labels[:, 3], labels[:, 11])
    elevation = np.arcsin(labels[:, 7] / 2.7)
    assert 0.30 < yaw.std() < 0.40 and abs(yaw.mean()) < 0.05
    assert 0.08 < elevation.std() < 0.11  # sigma 0.15 of a parameter that is pi/2 times the elevation
    assert np.abs(yaw).max() <= 1.0 + 1e-6


@pytest.mark.parametrize("kind", ["faces", "gaze"])
def test_eyes_never_turn_beyond_their_range(kind):
    gaze = np.stack([g for _, g, *_ in drawn(kind, 300)])
    yaw, pitch = datasets.vector_to_head_angles(gaze)
    assert np.abs(yaw).max() <= EYE_MAX_YAW + 1e-6 and np.abs(pitch).max() <= EYE_MAX_PITCH + 1e-6
    assert np.abs(yaw).max() > 0.7 and np.abs(pitch).max() > 0.4


def test_gaze_sets_do_not_tell_the_gaze_by_the_head_pose():
    rows = []
    for label, gaze, *_ in drawn("gaze", 600):
        rotation = rotation_of(label)
        rows.append((*datasets.vector_to_camera_angles(gaze @ rotation), np.arctan2(-rotation[2, 0], -rotation[2, 2])))
    yaw, pitch, head_yaw = np.array(rows).T
    assert abs(np.corrcoef(yaw, head_yaw)[0, 1]) < 0.6  # the eyes' range leaves some; a fixed gaze would give 1
    assert abs(np.corrcoef(pitch, head_yaw)[0, 1]) < 0.15
    level = np.abs(head_yaw) < 0.3
    assert abs(np.corrcoef(yaw[level], head_yaw[level])[0, 1]) < 0.35
    assert np.abs(yaw).max() > 0.8


def test_eyes_that_turn_little_look_near_the_lens_often_so_that_heads_say_less_of_the_gaze():
    """People's eyes: with uniform gaze the slope of the gaze on the head's yaw is 0.8, and pictures without eyes would
    do to find it."""
    narrow = replace(world_of("cartoons"), eye_range=(0.6, 0.4))
    found = {}
    for share in (0.0, 0.5):
        rows = []
        for index in range(600):
            world, rng = replace(narrow, near_lens=share), np.random.default_rng(index)
            label, gaze, _ = datasets._draw_gaze(rng, None, world)
            rotation = rotation_of(label)
            yaw, pitch = datasets.vector_to_head_angles(gaze)
            assert abs(yaw) <= 0.6 + 1e-6 and abs(pitch) <= 0.4 + 1e-6
            rows.append(
                (np.arctan2(-rotation[2, 0], -rotation[2, 2]), datasets.vector_to_camera_angles(gaze @ rotation)[0])
            )
        found[share] = abs(np.polyfit(*np.array(rows).T, 1)[0])
    assert found[0.0] > 0.7 and found[0.5] < 0.5


def test_angle_conversions_invert_each_other():
    yaw, pitch = np.array([-0.8, 0.0, 0.5]), np.array([0.3, -0.4, 0.1])
    for there, back in (
        (datasets.head_angles_to_vector, datasets.vector_to_head_angles),
        (datasets.camera_angles_to_vector, datasets.vector_to_camera_angles),
    ):
        assert np.allclose(back(there(yaw, pitch)), (yaw, pitch))
    assert np.allclose(datasets.head_angles_to_vector(0.0, 0.0), (0, 0, 1))
    assert datasets.head_angles_to_vector(0.3, 0.2)[0] > 0 and datasets.head_angles_to_vector(0.3, 0.2)[1] > 0
    left_and_up = datasets.camera_angles_to_vector(0.3, 0.2)  # OpenCV axes: x right, y down, z away
    assert left_and_up[0] < 0 and left_and_up[1] < 0 and left_and_up[2] < 0


def test_gaze_set_has_the_gazehub_layout(tmp_path):
    datasets.write_gaze(tmp_path / "set", 20, split="gaze-judge")
    names, heads = [], []
    for part, count in (("train", 16), ("val", 2), ("test", 2)):
        header, *lines = (tmp_path / "set" / "Label" / f"{part}.label").read_text().splitlines()
        assert header == "Face Left Right Origin 3DGaze 2DGaze 2DHead" and len(lines) == count
        for line in lines:
            face, _, _, _, vector, angles, head = line.split(" ")
            x, y, z = map(float, vector.split(","))
            yaw, pitch = map(float, angles.split(","))
            assert np.allclose((np.arctan2(x, -z), np.arcsin(y)), (yaw, pitch), atol=1e-4)  # Gaze360's own rule
            assert (tmp_path / "set" / "Image" / face).is_file()
            names.append(face)
            heads.append([float(number) for number in head.split(",")])
    assert len(set(names)) == 20
    target = gaze_target(torch.from_numpy(datasets.gaze_samples("gaze-judge", 20)[2]))  # eyes along the face
    assert np.allclose(heads, torch.stack(target, dim=1), atol=1e-5)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["set"]


def test_gaze_samples_match_the_written_set_and_can_hide_the_eyes(tmp_path):
    images, angles, labels = datasets.gaze_samples("test", 3, seed=1)
    assert images.shape == (3, 64, 64, 3) and images.dtype == np.uint8
    assert angles.shape == (3, 2) and labels.shape == (3, 25)
    hidden, same_angles, _ = datasets.gaze_samples("test", 3, seed=1, eyes="painted")
    assert np.array_equal(angles, same_angles) and not np.array_equal(images, hidden)
    datasets.write_gaze(tmp_path / "set", 10, seed=1, split="test")
    assert np.array_equal(images[0], np.asarray(Image.open(tmp_path / "set/Image/train/00000000.png")))


def test_embedded_faces_are_rendered_once(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "CACHE", tmp_path)
    path = datasets.world_faces(3, seed=5, progress=False)
    before = path.stat().st_mtime_ns
    assert datasets.world_faces(3, seed=5, progress=False) == path and path.stat().st_mtime_ns == before
    assert datasets.world_faces(4, seed=5, progress=False) != path
    assert len(list(tmp_path.iterdir())) == 2


def test_a_set_that_fails_leaves_nothing_behind(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError("disk full")
        yield

    monkeypatch.setattr(datasets, "samples", fail)
    for write, name in ((datasets.write_faces, "faces.zip"), (datasets.write_gaze, "set")):
        with pytest.raises(OSError, match="disk full"):
            write(tmp_path / name, 4)
    assert not list(tmp_path.iterdir())


def test_some_heads_to_learn_from_have_no_eyes_and_then_say_nothing(monkeypatch):
    """Else a network of people, whose eyes are small, reads the head's turn off a face without eyes."""
    monkeypatch.setattr(datasets, "world_of", lambda name: replace(world_of(name), eyeless=3))
    for split, hides in (("gaze-loss", True), ("gaze-judge", True), ("test", False)):
        for index in range(4):
            sample = datasets.make_sample(index, "gaze", split, seed=0, size=32)
            hidden = hides and index % 3 == 0
            eyes = "painted" if hidden else "open"
            rendered = world_of("cartoons").render(
                Identity.draw(split, sample.identity), sample.label, sample.gaze_head, 32, eyes
            )
            assert (rendered.rgb == sample.rendered.rgb).all()
            assert (sample.gaze_cam == 0).all() == hidden
