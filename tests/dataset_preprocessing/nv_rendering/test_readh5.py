"""What readh5.py says and draws of files of views."""

import json
import re

import h5py
import numpy as np
import pytest
from made_views import made_views
from PIL import Image

from dataset_preprocessing.nv_rendering import view_checks
from dataset_preprocessing.nv_rendering.view_checks import faults
from dataset_preprocessing.nv_rendering.view_sheets import with_arrows
from dataset_preprocessing.nv_rendering.view_writer import Layout, pack, write_part
from l2cs.drawing import ARROW_COLOUR
from l2cs.view_files import ViewFile

SCRIPT = "dataset_preprocessing/nv_rendering/readh5.py"
LAYOUT = Layout(48)


@pytest.fixture
def folder(tmp_path):
    """The folder of a run: full/p00.h5 with two sources of two views each."""
    parts = [(row, tmp_path / f"{row}.part") for row in (0, 1)]
    for row, path in parts:
        views = made_views(LAYOUT, 2, row) | {name: np.tile(np.eye(3), (2, 1, 1)) for name in (
            "rotation_matrix", "face_mat_norm")}  # fmt: skip
        write_part(path, LAYOUT, row, [views])
    pack(tmp_path / "run/full/p00.h5", LAYOUT, parts, {"made_by": "a test", "person": "p00", "views_per_source": 2})
    return tmp_path / "run"


def test_rows_are_counted_and_pictures_are_written(folder, run_script):
    done = run_script(SCRIPT, f"--data_dir={folder}", "--samples=3", f"--json={folder.parent / 'r.json'}")
    assert done.code == 0, done.stderr
    for key in ("face_gaze", "face_mask", "landmarks_norm", "variant"):
        assert f"number of {key}:  4\n" in done.stdout
    samples = folder / "samples"
    names = sorted(path.name for path in samples.iterdir())
    pitch, yaw = np.degrees(made_views(LAYOUT, 2, 0)["face_head_pose"][1, 1:])
    assert f"image_p00_1_{pitch:.1f}_{yaw:.1f}.jpg" in names and f"mask_p00_1_{pitch:.1f}_{yaw:.1f}.jpg" in names
    assert len(names) == 8 and {"sheet.png", "histograms.png"} <= set(names)
    assert Image.open(samples / "sheet.png").size == (4 * 112, 2 * 112)
    report = json.loads((folder.parent / "r.json").read_text())
    assert report["p00.h5"]["rows"] == 4 and report["p00.h5"]["faults"] == []
    gaze = np.degrees(np.concatenate([made_views(LAYOUT, 2, row)["face_gaze"] for row in (0, 1)]))
    assert report["gaze"]["mean"] == [round(float(value), 2) for value in gaze.mean(axis=0)]


@pytest.mark.parametrize(
    "angles, where",
    [((0, 0.5), (0, -1)), ((0, -0.5), (0, 1)), ((0.5, 0), (-1, 0)), ((-0.5, 0), (1, 0))],
    ids=["left", "right", "up", "down"],
)  # fmt: skip
def test_arrows_point_where_the_angles_say(angles, where):
    picture = with_arrows(np.zeros((100, 100, 3), np.uint8), np.array(angles))
    middle = np.argwhere((picture == ARROW_COLOUR).all(axis=2)).mean(axis=0) - 49.5
    assert np.allclose(middle / np.abs(middle).max(), where, atol=0.1)


def spoil(folder, name, rows):
    with h5py.File(folder / "full/p00.h5", "a") as file:
        file[name][:] = rows


@pytest.mark.parametrize(
    "name, rows, said",
    [
        ("rotation_matrix", np.tile(np.diag([1.0, 1, -1]), (4, 1, 1)), "rotation_matrix: row 0 is no rotation"),
        ("pj_landmarks_norm", np.full((4, 68, 2), np.nan), "pj_landmarks_norm: a number near row 0 is not finite"),
        ("face_patch", np.zeros((4, 48, 48, 3)), "face_patch: 4 of 4 pictures are black"),
        ("view", np.zeros(4), "2 of 4 rows are views that an earlier row has"),
    ],
)  # fmt: skip
def test_the_check_finds_what_is_wrong(folder, name, rows, said):
    with ViewFile(folder / "full/p00.h5") as file:
        assert not list(faults(file))
    spoil(folder, name, rows)
    with ViewFile(folder / "full/p00.h5") as file:
        (found,) = faults(file)
    assert re.search(said, found)


@pytest.mark.parametrize("views", [0, "many"])
def test_a_number_of_views_that_is_none_is_named(folder, views):
    with h5py.File(folder / "full/p00.h5", "a") as file:
        file.attrs["views_per_source"] = views
    with ViewFile(folder / "full/p00.h5") as file:
        assert [line for line in faults(file) if "views_per_source is" in line]


def test_a_view_that_stands_far_from_its_double_is_found(folder, monkeypatch):
    spoil(folder, "source_row", np.zeros(4))
    monkeypatch.setattr(view_checks, "AT_ONCE", 2)
    with ViewFile(folder / "full/p00.h5") as file:
        assert list(faults(file)) == ["2 of 4 rows are views that an earlier row has"]


def test_angles_beyond_the_histograms_are_counted(folder, run_script, tmp_path):
    spoil(folder, "face_gaze", np.array([[0, 2], [0, -1.6], [0, 1.5], [0, 0]]))
    done = run_script(SCRIPT, f"--data_dir={folder}", "--samples=0", "--json=report.json")
    assert done.code == 0 and "the gaze of 2 rows is turned beyond 90 degrees" in done.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["gaze"]["beyond_90"] == 2 and report["head"]["beyond_90"] == 0


def test_what_is_wrong_ends_the_script_with_one_line(folder, run_script):
    spoil(folder, "face_gaze", np.full((4, 2), 5.0))
    done = run_script(SCRIPT, f"--data_dir={folder / 'full'}", "--samples=0")
    assert done.code == 2 and "p00.h5: face_gaze of row 0 is [5.0, 5.0], which are no angles" in done.stderr
    assert done.stderr.count("\n") == 1 and not (folder / "full/samples").exists()


def test_damaged_and_missing_files_are_one_line(folder, run_script):
    path = folder / "full/p00.h5"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    for data_dir, said in ((folder, "is damaged or not whole"), (folder / "none", "no such file or folder")):
        done = run_script(SCRIPT, f"--data_dir={data_dir}")
        assert done.code == 2 and said in done.stderr and done.stderr.count("\n") == 1
    assert not (folder / "samples").exists()
