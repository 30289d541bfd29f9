"""make_faces.py and make_gaze.py, as a user runs them."""

import zipfile
from importlib.util import find_spec

import pytest

FACES, GAZE = (f"dataset_preprocessing/synthetic/make_{name}.py" for name in ("faces", "gaze"))


def test_make_faces_writes_a_zip_and_a_contact_sheet(run_script, tmp_path):
    code, out, err = run_script(FACES, "--dest=faces.zip", "--count=3", "--seed=2", "--size=16", "--sheet=sheet.png")
    assert code == 0, err
    with zipfile.ZipFile(tmp_path / "faces.zip") as archive:
        assert len(archive.namelist()) == 5
    assert (tmp_path / "sheet.png").stat().st_size > 10_000 and "3 faces" in out


def test_make_gaze_writes_images_and_labels(run_script, tmp_path):
    code, _, err = run_script(GAZE, "--outdir=set", "--count=10", "--size=32", "--split=test")
    assert code == 0, err
    assert len(list((tmp_path / "set" / "Image").rglob("*.png"))) == 10
    assert len((tmp_path / "set" / "Label" / "test.label").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    "script, options, named",
    [
        (FACES, ["--dest=folder", "--count=1"], ".zip"),
        (FACES, ["--dest=/proc/nowhere/faces.zip", "--count=1"], "/proc/nowhere"),
        (GAZE, ["--outdir=.", "--count=10"], "exists already"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(run_script, tmp_path, script, options, named):
    (tmp_path / "mine.txt").write_text("keep")
    code, out, err = run_script(script, *options)
    assert code == 2 and out == ""
    assert err.startswith("error: ") and err.count("\n") == 1 and named in err
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("script", [FACES, GAZE])
def test_a_world_that_is_not_there_is_refused(run_script, script):
    code, _, err = run_script(script, "--world=dolls", "--sheet=sheet.png")
    assert code == 2 and "'dolls' is not one of 'cartoons', 'people'" in err


@pytest.mark.skipif(find_spec("anny") is None, reason="the package anny is not installed: make people")
def test_the_scripts_render_the_world_that_is_asked_for(run_script, tmp_path):
    for script, first in ((FACES, "img00000000.png"), (GAZE, "set/Image/train/00000000.png")):
        found = []
        for world in ("cartoons", "people"):
            place = "--dest=faces.zip" if script == FACES else "--outdir=set"
            code, _, err = run_script(script, place, "--count=10" if script == GAZE else "--count=1", "--size=16",
                                      f"--world={world}")  # fmt: skip
            assert code == 0, err
            if script == FACES:
                with zipfile.ZipFile(tmp_path / "faces.zip") as archive:
                    found.append(archive.read(first))
            else:
                found.append((tmp_path / first).read_bytes())
                (tmp_path / "set").rename(tmp_path / world)
        assert found[0] != found[1]
