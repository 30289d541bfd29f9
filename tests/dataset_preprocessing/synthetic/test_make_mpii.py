"""make_mpii.py: photos of a world in MPIIFaceGaze's layout; what its files say is what was rendered."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dataset_preprocessing.nv_rendering import mpii_layout
from dataset_preprocessing.synthetic import webcam
from dataset_preprocessing.synthetic.webcam import SOURCES, Webcam, draw_shot, write_photos
from eg3d.world.photograph import photograph, read_shots, truth_of
from l2cs.normalization import head_angles, normalization, roll_of

SCRIPT = "dataset_preprocessing/synthetic/make_mpii.py"
SMALL = Webcam(people=2, photos=3, size=(160, 120), seed=5)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mpii")
    assert write_photos(folder, SMALL) == 6
    return folder


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_every_number_of_the_files_is_that_of_the_rendered_photo(made):
    shots = read_shots(made / "world.json")
    assert mpii_layout.people(made) == ["p00", "p01"] and len(shots) == 6
    cameras = []
    for person in ("p00", "p01"):
        camera = mpii_layout.camera_of(made, person)
        cameras.append(camera)
        rows, sources = mpii_layout.read_person(made, person), mpii_layout.read_sources(made / SOURCES, person)
        assert [row.name for row in rows] == [f"{person}/day01/000{n}.jpg" for n in (1, 2, 3)]
        for row, source in zip(rows, sources, strict=True):
            shot, truth = shots[row.name], truth_of(shots[row.name])
            with Image.open(made / row.name) as photo:
                assert photo.size == (160, 120)
                assert np.abs(np.asarray(photo).astype(float) - photograph(shot)).mean() < 2  # JPEG
            np.testing.assert_array_equal(np.ravel(shot.matrix), camera.matrix.ravel())
            np.testing.assert_array_equal(shot.lens, camera.distortion)
            np.testing.assert_array_equal(source.camera.matrix, camera.matrix)
            np.testing.assert_allclose(source.landmarks, truth.landmarks)
            np.testing.assert_array_equal(row.landmarks6, np.rint(truth.landmarks[[36, 39, 42, 45, 48, 54]]))
            np.testing.assert_allclose(row.translation, truth.translation, atol=6e-4)
            np.testing.assert_allclose(row.centre, truth.centre, atol=6e-4)
            for target, least in ((source.gaze_target, 1e-9), (row.gaze_target, 1e-5)):
                gaze = target - truth.centre
                np.testing.assert_allclose(gaze / np.linalg.norm(gaze), truth.gaze, atol=least)
            assert source.file_name == row.name and row.eye in ("left", "right")
    assert np.abs(cameras[0].matrix - cameras[1].matrix).max() > 0.5, "each person has a camera of its own"
    assert np.abs(cameras[0].distortion).max() > 0.01


def test_head_poses_are_within_what_was_asked_for_and_fill_it():
    asked = replace(SMALL, yaw=30.0, pitch=10.0, roll=4.0)
    angles, rolls, distances = [], [], []
    for photo in range(40):
        shot, _ = draw_shot(asked, 0, photo)
        truth = truth_of(shot)
        seen = normalization(np.reshape(shot.matrix, (3, 3)), truth.rotation, truth.centre)
        angles.append(np.degrees(head_angles(seen.head(truth.rotation))))
        level = np.cross([0, 1, 0], truth.centre)
        rolls.append(np.degrees(np.arcsin(truth.rotation[:, 0] @ np.cross(truth.centre, level) / np.linalg.norm(
            np.cross(truth.centre, level)))))  # fmt: skip
        distances.append(np.linalg.norm(truth.centre))
        assert abs(roll_of(seen.head(truth.rotation))) < 1e-6
        points = truth.landmarks
        assert (points > 0).all() and (points < [160, 120]).all()
    pitch, yaw = np.abs(angles).max(axis=0)
    assert 7 < pitch < 10.5 and 24 < yaw < 30.5 and 2 < np.abs(rolls).max() < 4.5
    assert 440 < min(distances) < 520 and 680 < max(distances) < 760


def test_gaze_targets_can_lie_on_a_screen_below_the_camera():
    shown = replace(SMALL, gaze="screen")
    rows = []
    for photo in range(8):
        shot, screen = draw_shot(shown, 1, photo)
        row, _ = webcam.rows_of(shown, 1, photo, shot, screen)
        assert np.abs(row.gaze_target - screen).max() < 1e-6
        assert abs(row.gaze_target[2]) < 1e-6 and 0 < row.gaze_target[1] < 210 and abs(row.gaze_target[0]) < 175
        gaze = row.gaze_target - row.centre
        np.testing.assert_allclose(gaze / np.linalg.norm(gaze), truth_of(shot).gaze, atol=1e-12)
        rows.append(row.screen)
    assert (np.array(rows) >= 0).all() and (np.array(rows) <= (1920, 1080)).all() and np.ptp(rows, axis=0).min() > 100


def test_a_photo_that_is_missing_is_made_again_and_nothing_else(run_script_in, made):
    before = contents(made)
    path = made / "p01" / "day01" / "0002.jpg"
    path.unlink()
    others = {photo: photo.stat().st_mtime_ns for photo in made.rglob("*.jpg")}
    options = ("--people=2", "--photos=3", "--size=160x120", "--seed=5")
    code, out, err = run_script_in(made.parent, SCRIPT, f"--outdir={made}", *options)
    assert code == 0 and "6 photos of 2 people" in out and "(1 new)" in out, err
    assert contents(made) == before
    assert others == {photo: photo.stat().st_mtime_ns for photo in others} and len(others) == 5


def test_a_folder_of_another_set_is_refused(run_script, made):
    before = contents(made)
    code, out, err = run_script(SCRIPT, f"--outdir={made}", "--people=2", "--photos=3", "--size=160x120")
    assert (code, out) == (2, "") and err.count("\n") == 1 and "holds photos of seed 5 and not 0" in err
    assert contents(made) == before


@pytest.mark.parametrize("options, reason", [
    (["--size=160"], "--size=160: must be WIDTHxHEIGHT"),
    (["--size=9999x100"], "must be WIDTHxHEIGHT"),
    (["--outdir=."], "holds other files; give a new or empty folder"),
])  # fmt: skip
def test_bad_input_is_one_line_and_leaves_nothing(run_script, tmp_path, options, reason):
    (tmp_path / "mine.txt").write_text("keep")
    code, out, err = run_script(SCRIPT, "--outdir=set", *options)
    assert code == 2 and out == "" and err.count("\n") == 1 and reason in err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("text, reason", [("{", "is not JSON"), ("[1]", "is not of a set"), ("{}", "is not of a set")])
def test_a_damaged_file_of_the_set_is_one_line(tmp_path, text, reason):
    (tmp_path / "world.json").write_text(text)
    with pytest.raises(ValueError, match=reason):
        write_photos(tmp_path, SMALL)


def test_what_cannot_be_photographed_is_said(monkeypatch):
    monkeypatch.setattr(webcam, "MOST_ATTEMPTS", 3)
    monkeypatch.setattr(webcam, "DISTANCE", (60.0, 70.0))
    with pytest.raises(ValueError, match="no photo of p00 was found in 3 tries"):
        draw_shot(SMALL, 0, 0)


@pytest.mark.slow
@pytest.mark.parametrize("world", ["cartoons", "people"])
def test_photos_do_not_depend_on_the_number_of_workers(tmp_path, world, makehuman_data):
    asked = replace(SMALL, world=world, photos=5)
    for workers in (1, 3):
        write_photos(tmp_path / str(workers), asked, workers)
    assert contents(tmp_path / "1") == contents(tmp_path / "3")


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_files(tmp_path):
    options = [f"--{name}" for name in ("people=2", "photos=12", "size=320x240", "workers=2")]
    root = Path(__file__).resolve().parents[3]
    start = [sys.executable, str(root / SCRIPT), *options]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    whole = tmp_path / "whole"
    subprocess.run([*start, f"--outdir={whole}"], env=environment, check=True, capture_output=True)
    cut, kills = tmp_path / "cut", 0
    for seen in (2, 9, 30):
        running = subprocess.Popen([*start, f"--outdir={cut}"], env=environment, stderr=subprocess.DEVNULL)
        while running.poll() is None and len(list(cut.rglob("*.jpg"))) < seen:
            time.sleep(0.02)
        kills += running.poll() is None
        running.send_signal(signal.SIGKILL)
        running.wait()
        for path in cut.rglob("[0-9]*.jpg"):
            Image.open(path).load()
    assert kills >= 2
    subprocess.run([*start, f"--outdir={cut}"], env=environment, check=True, capture_output=True)
    left = {name: data for name, data in contents(cut).items() if not Path(name).name.startswith(".")}
    assert left == contents(whole)
    assert json.loads((cut / "world.json").read_text())["settings"]["photos"] == 12
