"""recon_mpii.py: all photos of MPIIFaceGaze's layout, only what is missing, and one line for what is wrong."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dataset_preprocessing.nv_rendering import reconstructing
from dataset_preprocessing.nv_rendering.mesh_files import Reconstruction, read_reconstruction, write_reconstruction
from dataset_preprocessing.nv_rendering.mpii_layout import Camera, PhotoRow, write_camera, write_person
from dataset_preprocessing.nv_rendering.reconstructing import Photo, view_of
from groundwork.files import REPOSITORY
from groundwork.opencv import opencv

SCRIPT = "dataset_preprocessing/nv_rendering/recon_mpii.py"
CAMERA = Camera(np.array([[200.0, 0, 79.5], [0, 200, 59.5], [0, 0, 1]]), np.array([-0.2, 0.05, 0.001, 0, 0]))
NAMES = ["p00/day01/0001.jpg", "p00/day01/0002.png", "p00/day02/0001.JPG", "p01/day01/0001.jpg"]


def row_of(name: str, six: np.ndarray) -> PhotoRow:
    zero = np.zeros(3)
    return PhotoRow(name, name[:3], six, zero, zero, zero, zero, "left")


@pytest.fixture
def mpii(tmp_path) -> Path:
    """Four small photos of two people, and a folder of meshes for them."""
    root, six = tmp_path / "mpii", np.array([[60, 40], [70, 40], [90, 40], [100, 40], [70, 80], [90, 80]], np.float64)
    for k, name in enumerate(NAMES):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        picture = np.full((120, 160, 3), 40 * k, np.uint8)
        Image.fromarray(picture).save(root / name, "PNG" if name.endswith("png") else "JPEG")
        mesh = Reconstruction(
            np.array([[0.0, 0, k], [10, 0, 2], [0, 10, 3]]), np.full((3, 3), k, np.uint8), np.array([[0, 1, 2]]),
            np.arange(204.0).reshape(68, 3), np.eye(3),
        )  # fmt: skip
        write_reconstruction(tmp_path / "meshes" / Path(name).with_suffix(""), mesh)
    for person in ("p00", "p01"):
        write_person(root, person, [row_of(name, six) for name in NAMES if name.startswith(person)], CAMERA)
    return root


@pytest.fixture
def arguments(mpii, tmp_path) -> list[str]:
    return [f"--mpii_path={mpii}", f"--output_dir={tmp_path / 'out'}", f"--regressor={tmp_path / 'meshes'}",
            "--workers=1"]  # fmt: skip


def written(out: Path) -> list[str]:
    return sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())


def test_each_photo_gets_its_three_files(run_script, arguments, tmp_path):
    ran = run_script(SCRIPT, *arguments)
    assert ran.code == 0 and "4 meshes of 4 photos" in ran.stdout, ran
    stems = [name.rpartition(".")[0] for name in NAMES]
    files = [f"{stem}{ending}" for stem in stems for ending in (".obj", "_lm.txt", "_crop_params.txt")]
    assert written(tmp_path / "out") == sorted([*files, "reconstruction.json"])
    for k, stem in enumerate(stems):
        assert (read_reconstruction(tmp_path / "out" / stem).colours == k).all()


def test_a_second_run_makes_only_what_is_missing(run_script, arguments, tmp_path):
    assert run_script(SCRIPT, *arguments).code == 0
    out = tmp_path / "out"
    (out / "p00/day02/0001.obj").unlink()
    times = {name: (out / name).stat().st_mtime_ns for name in written(out)}
    ran = run_script(SCRIPT, *arguments)
    assert ran.code == 0 and "1 meshes of 4 photos" in ran.stdout and "3 were there" in ran.stdout
    changed = {name for name in written(out) if times.get(name) != (out / name).stat().st_mtime_ns}
    assert changed == {f"p00/day02/0001{end}" for end in (".obj", "_lm.txt", "_crop_params.txt")} | {
        reconstructing.FACTS_FILE
    }


def test_a_damaged_photo_and_one_without_a_face_are_named_and_the_others_go_on(run_script, arguments, mpii, tmp_path):
    (mpii / NAMES[0]).write_bytes((mpii / NAMES[0]).read_bytes()[:200])
    (tmp_path / "meshes/p01/day01/0001.obj").unlink()
    ran = run_script(SCRIPT, *arguments, f"--json={tmp_path / 'numbers.json'}")
    assert ran.code == 0 and "2 meshes of 4 photos" in ran.stdout
    assert f"no mesh of {NAMES[0]}" in ran.stderr and f"no mesh of {NAMES[3]}: there is no mesh" in ran.stderr
    facts = json.loads((tmp_path / "out" / reconstructing.FACTS_FILE).read_text())
    assert list(facts["without a mesh"]) == [NAMES[0], NAMES[3]]
    assert json.loads((tmp_path / "numbers.json").read_text())["failed"] == 2


@pytest.mark.slow  # each process imports PyTorch
def test_several_processes_write_the_same_bytes(run_script, arguments, tmp_path):
    assert run_script(SCRIPT, *arguments).code == 0
    other = [f"--output_dir={tmp_path / 'other'}" if "output" in word else word for word in arguments[:3]]
    assert run_script(SCRIPT, *other, "--workers=3").code == 0
    names = written(tmp_path / "out")
    assert names == written(tmp_path / "other")
    for name in names:
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "other" / name).read_bytes(), name


def test_parts_of_the_output_can_be_left_out(run_script, arguments, tmp_path):
    ran = run_script(SCRIPT, *arguments, "--dump_obj=false", "--dump_pts", "true", "--dump_ply=true", "-m", "cpu")
    assert ran.code == 0 and "--dump_ply=True does nothing here" in ran.stderr
    endings = {name.rpartition("/")[2][4:] for name in written(tmp_path / "out") if "/" in name}
    assert endings == {"_lm.txt", "_crop_params.txt"}
    assert "4 were there" in run_script(SCRIPT, *arguments, "--dump_obj=false").stdout
    assert "4 meshes of 4 photos" in run_script(SCRIPT, *arguments).stdout  # the meshes were missing


@pytest.mark.slow
def test_a_killed_run_leaves_no_half_file_and_the_next_one_ends_it(arguments, mpii, tmp_path):
    big = Reconstruction(
        np.random.default_rng(0).normal(size=(60_000, 3)), np.zeros((60_000, 3), np.uint8),
        np.arange(60_000).reshape(-1, 3), np.zeros((68, 3)), np.eye(3),
    )  # fmt: skip
    for name in NAMES:
        write_reconstruction(tmp_path / "meshes" / Path(name).with_suffix(""), big)
    command = [sys.executable, str(REPOSITORY / SCRIPT), *arguments]
    run = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, start_new_session=True)
    out = tmp_path / "out"
    while run.poll() is None and not list(out.rglob("*.obj")):
        time.sleep(0.01)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    for path in out.rglob("p*/day*/[0-9]*.obj"):
        read_reconstruction(Path(str(path).removesuffix(".obj")))
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(list(out.rglob("p*/day*/[0-9]*.obj"))) == 4


def test_meshes_of_other_settings_are_not_mixed(run_script, arguments, mpii):
    assert run_script(SCRIPT, *arguments).code == 0
    ran = run_script(SCRIPT, *arguments, "--legacy")
    assert ran.code == 2 and "were made with legacy=False, not True" in ran.stderr and ran.stderr.count("\n") == 1


def test_a_run_without_a_mesh_does_not_bind_the_next_one(run_script, arguments, tmp_path):
    (tmp_path / "none").mkdir()
    assert run_script(SCRIPT, *arguments[:2], f"--regressor={tmp_path / 'none'}", "--workers=1").code == 2
    assert written(tmp_path / "out") == ["reconstruction.json"]
    ran = run_script(SCRIPT, *arguments)
    assert ran.code == 0 and ran.stdout.startswith("4 meshes of 4 photos"), ran.stderr


def test_the_photo_loses_its_lens_and_the_landmarks_with_it(mpii):
    dots = np.array([[20, 15], [140, 15], [80, 60], [20, 100], [140, 100], [80, 20]], np.float64)
    pixels = np.zeros((120, 160, 3), np.uint8)
    for x, y in dots.astype(int):
        pixels[y - 2 : y + 3, x - 2 : x + 3] = 255
    path = mpii / "dots.png"
    Image.fromarray(pixels).save(path)
    photo = Photo("dots.png", path, mpii / "dots", CAMERA, dots)
    view = view_of(photo)
    assert np.abs(view.landmarks6 - dots).max() > 1
    for x, y in view.landmarks6:
        around = view.photo[round(y) - 2 : round(y) + 3, round(x) - 2 : round(x) + 3, 0].astype(float)
        assert around.mean() > 150  # the dot went where its landmark went
    # What is left is a pinhole camera: the distortion of the corrected landmarks gives the stored ones back.
    rays = np.c_[view.landmarks6, np.ones(6)] @ np.linalg.inv(CAMERA.matrix).T
    again = opencv().projectPoints(rays, np.zeros(3), np.zeros(3), CAMERA.matrix, CAMERA.distortion)[0][:, 0]
    assert np.abs(again - dots).max() < 0.05
    assert (view_of(photo, distorted=True).photo == pixels).all()


@pytest.mark.parametrize(
    ("break_it", "more", "message"),
    [
        (lambda root: (root / "p00/Calibration/Camera.mat").unlink(), [], "Camera.mat: there is no such file"),
        (lambda root: (root / "p01/p01.txt").write_text(""), [], "p01.txt: has no line"),
        (lambda root: (root / "p00/day01/0001.png").write_bytes(b""), [], "two photos are called p00/day01/0001"),
        (None, ["--regressor=3ddfa"], "needs --ddfa-weights, --ddfa-configs, --triangles; give --ddfa-weights too"),
        (None, ["--bbox_init=two"], "--bbox_init: belongs to --regressor=3ddfa"),
        (None, ["--regressor=world"], "has no world.json, so its photos are not those of make_mpii.py"),
        (None, ["--eyes=flat"], "--eyes: belongs to --regressor=facemesh"),
        (None, ["--regressor=nothing"], "nothing: there is no such folder of meshes"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_nothing_is_written(run_script, arguments, mpii, tmp_path, break_it, more, message):
    if break_it:
        break_it(mpii)
    ran = run_script(SCRIPT, *arguments, *more)
    assert ran.code == 2 and message in ran.stderr and ran.stderr.count("\n") == 1, ran
    assert not (tmp_path / "out").exists() or not written(tmp_path / "out")


def test_a_folder_without_photos_is_one_line(run_script, arguments, mpii):
    for name in NAMES:
        (mpii / name).unlink()
    ran = run_script(SCRIPT, *arguments)
    assert ran.code == 2 and "holds no photos p00/day01/0005.jpg" in ran.stderr


def test_no_mesh_at_all_is_an_error(run_script, arguments, tmp_path):
    for obj in (tmp_path / "meshes").rglob("*.obj"):
        obj.unlink()
    ran = run_script(SCRIPT, *arguments)
    assert ran.code == 2 and "no photo gives a mesh" in ran.stderr


def test_a_camera_without_distortion_changes_no_pixel(mpii):
    write_camera(mpii, "p00", Camera(CAMERA.matrix, np.zeros(5)))
    photo = reconstructing.photos_of(mpii, mpii / "out")[1]
    assert (view_of(photo).photo == np.array(Image.open(mpii / NAMES[1]))).all()
