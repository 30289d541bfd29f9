"""Whole runs on a made-up set: labels that are true, the same bytes however they are made, kills, and bad input."""

import functools
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from made_mpii import MIDDLE, RADII, write_made_set, write_supplement
from PIL import Image

from dataset_preprocessing.nv_rendering import mpii_layout, source_views, view_run
from dataset_preprocessing.nv_rendering.source_views import choice_of, materials, placed, sources_of, views_of
from dataset_preprocessing.nv_rendering.view_run import render_all
from dataset_preprocessing.nv_rendering.view_settings import VARIANTS, read_settings
from l2cs.normalization import angular_error, rotation_matrix, rotation_of, vectors_of
from l2cs.view_files import ViewFile

REPOSITORY = Path(__file__).resolve().parents[3]
MAIN = "dataset_preprocessing/nv_rendering/main.py"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """config_path.yaml of two people with three photos each."""
    return write_made_set(tmp_path_factory.mktemp("set"))


@pytest.fixture
def copy(made, tmp_path):
    """A copy to spoil."""
    shutil.copytree(made.parent, tmp_path / "set")
    return tmp_path / "set" / made.name


@pytest.fixture(scope="module")
def done(made, tmp_path_factory):
    """The folder of a finished run."""
    folder = tmp_path_factory.mktemp("done")
    render_all(read_settings(made), folder, seed=3, tell=lambda line: None)
    return folder


@pytest.fixture
def drawn_once(monkeypatch):
    """Views that were drawn once are not drawn again, for tests that are about files."""
    monkeypatch.setattr(source_views, "views_of", remembered)
    monkeypatch.setattr(source_views, "forget", lambda: None)


@functools.cache
def _remembered(settings, seed, person, row):
    return list(views_of(settings, seed, sources_of(settings, person)[row]))


def remembered(settings, seed, source):
    return _remembered(settings, seed, source.person, source.row)


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted((folder / "full").glob("*"))}


def run(settings, folder, *overrides, **more):
    return render_all(read_settings(settings, overrides), folder, **{"seed": 3, "tell": lambda line: None} | more)


def test_processes_that_draw_start_without_pytorch():
    """It takes four times as long as all that they import."""
    code = "import sys, dataset_preprocessing.nv_rendering.main; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY).returncode == 0


# ------------------------------------------------------------------ labels


def test_labels_are_those_of_the_head_that_is_drawn(done):
    """The picture itself tells the pose: colours are coordinates of the head."""
    with ViewFile(done / "full" / "p01.h5") as file:
        rows = range(len(file))
        images, head, full = file.images(rows).astype(float), file.head_pose(), file.table("face_head_pose")
        assert np.abs(full[:, 0]).max() < 1e-9  # no roll
        lit = file.table("directional")
        for row in np.flatnonzero(lit == 0):
            bright = images[row] / file.table("ambient")[row]
            # On the ellipsoid, colour gives the point, and pixels give its ray: the camera is where they agree.
            colours = (bright - 128) / 110 * RADII + MIDDLE
            seen = file.masks([row])[0] > 250
            points = colours[seen]
            pixels = np.argwhere(seen)[:, ::-1] + 0.5
            rays = np.column_stack([(pixels - 16) / (960 * 32 / 448), np.ones(len(pixels))])
            rotation = rotation_of(head[row])
            turned = points @ rotation.T
            # Least squares for the translation that puts each point on its ray.
            cross = np.cross(rays, np.eye(3)[:, None]).transpose(1, 0, 2)  # [P, 3, 3]: ray x v = cross @ v
            matrix, wanted = cross.reshape(-1, 3), -np.einsum("pij,pj->pi", cross, turned).ravel()
            move, *_ = np.linalg.lstsq(matrix, wanted, rcond=None)
            place = turned + move
            miss = place[:, :2] / place[:, 2:] * 960 * 32 / 448 + 16 - pixels
            assert np.sqrt((miss**2).sum(axis=1)).mean() < 0.5, row


def test_gaze_and_head_turn_by_the_stored_rotation(made, done):
    sources = sources_of(read_settings(made), "p00")
    with ViewFile(done / "full" / "p00.h5") as file:
        gaze, head, turn = file.gaze(), file.head_pose(), file.table("rotation_matrix")
        to_normalised = file.table("face_mat_norm").astype(float)
        for row, source in enumerate(file.table("source_row")):
            lines = mpii_layout.read_person(made.parent / "raw", "p00")
            true = lines[source].gaze_target - lines[source].centre
            stored = -vectors_of(gaze[row])
            assert angular_error(turn[row] @ to_normalised[row] @ true, stored) < 1e-4
            third = turn[row] @ to_normalised[row] @ rotation_matrix(lines[source].rotation)[:, 2]
            assert angular_error(third, vectors_of(head[row])) < 1e-4
        assert sources[2].name.encode() == file.table("file_name")[4]
        assert file.table("view").tolist() == [0, 1] * 3


def test_landmarks_of_a_view_are_on_its_mesh_and_those_of_the_source_are_the_photos(done):
    with ViewFile(done / "full" / "p00.h5") as file:
        points, normalised = file.table("pj_landmarks_norm"), file.table("landmarks_norm")
        eyes = points[:, [36, 45]].mean(axis=1)
        assert (np.abs(eyes - 16) < 8).all()
        assert np.allclose(normalised[0], normalised[1]) and not np.allclose(points[0], points[1])
        six = normalised[:, [36, 39, 42, 45, 48, 54]].mean(axis=1)
        assert np.allclose(six, 16, atol=1)  # the centre of the face is in the middle of a normalised photo


# ------------------------------------------------------------------ draws and variants


def test_only_the_kept_variant_is_drawn_and_the_shares_are_those_asked_for(made):
    settings = read_settings(made)
    shared, source = materials(settings), sources_of(settings, "p00")[0]
    numbers = [choice_of(settings, shared, 0, source, view).variant for view in range(600)]
    assert np.allclose(np.bincount(numbers, minlength=6) / 600, [0.25] * 4 + [0, 0], atol=0.06)
    light = [choice_of(settings, shared, 0, source, view).light for view in range(300)]
    dark = [one for one in light if one.ambient != 1]
    assert all(0.25 <= one.ambient <= 0.75 and 0 <= one.directional <= 0.5 for one in dark) and len(dark) > 100
    assert len({one.ambient for one in dark}) == len(dark) and all(one.toward[2] < 0 for one in dark)


def test_the_published_limits_of_the_variants(copy):
    backgrounds = copy.parent / "pictures"
    backgrounds.mkdir()
    Image.new("RGB", (9, 9), (0, 90, 0)).save(backgrounds / "a.jpg")
    limits = [0, 0.0999, 0.1, 0.2, 0.3, 0.39, 0.4, 0.69, 0.7, 0.71, 0.999, 1, 0, 0, 0, 0]
    tables = {
        "augmentation_ids": np.tile(limits, (6, 1)), "random_lightings_ac": np.arange(6)[:, None] / 8 + 0.25,
        "random_colors": np.arange(18).reshape(6, 3), "random_bg_ids": np.zeros((6, 1)),
    }  # fmt: skip
    for name, values in tables.items():
        mpii_layout.write_table(copy.parent / name, name, values)
    settings = read_settings(
        copy, [f"data.background_path={backgrounds}", "model.target_pose.number_new_views=16",
               "model.variants={black: .1, black_dark: .1, colour: .1, colour_dark: .1, picture: .3, picture_dark: .3}",
               *(f"supplementary.mpii.{name}={copy.parent / name}" for name in tables)],
    )  # fmt: skip
    shared, source = materials(settings), sources_of(settings, "p01")[1]  # place 4 of all
    choices = [choice_of(settings, shared, 0, source, view) for view in range(16)]
    assert [one.variant for one in choices[:12]] == [0, 0, 1, 2, 3, 3, 4, 4, 5, 5, 5, 5]
    assert {one.light.ambient for one in choices[:12]} == {1.0, 0.75} and source.place == 4
    assert choices[3].behind == choices[4].behind == (12, 13, 14) and choices[6].behind == (0, -1, -1)


def test_legacy_shares_light_and_background_among_the_views_of_a_source(copy):
    settings = read_settings(copy)
    legacy = settings.__class__(**vars(settings) | {
        "legacy": True, "misc": settings.misc.__class__(openface_path="x"),
        "supplementary": settings.supplementary.__class__(mpii=settings.supplementary.mpii.__class__(source="y")),
    })  # fmt: skip
    source = sources_of(settings, "p00")[0]
    for one, count in ((legacy, 1), (settings, 40)):
        choices = [choice_of(one, materials(settings), 0, source, view) for view in range(40)]
        assert len({choice.colour for choice in choices}) == count and len({c.variant for c in choices}) == 4


def test_legacy_writes_the_published_keys_and_labels(copy, tmp_path):
    given = write_supplement(copy.parent)
    run(copy, tmp_path / "legacy", "legacy=true", *given, people=["p00"], most_rows=2)
    run(copy, tmp_path / "short", "output.layout=published", *given, people=["p00"], most_rows=2)
    run(copy, tmp_path / "full", *given, people=["p00"], most_rows=2)
    files = [h5py.File(tmp_path / name / "full/p00.h5") for name in ("legacy", "short", "full")]
    legacy, short, full = files
    published = ["face_gaze", "face_head_pose", "face_mask", "face_patch", "rotation_matrix"]
    assert sorted(legacy) == sorted(short) == published and len(full) == 16
    assert legacy["face_head_pose"].shape == (4, 2) and legacy.attrs["rotation_matrix"] == "Q"
    assert np.array_equal(short["face_head_pose"], full["face_head_pose"][:, 1:])
    assert np.array_equal(short["face_patch"], full["face_patch"])
    assert np.allclose(short["rotation_matrix"], full["rotation_matrix"])
    # Q alone leaves out the rotation that removes roll, so that it does not lead to the stored gaze.
    head = placed(read_settings(copy, ["legacy=true", *given]), sources_of(read_settings(copy, given), "p00")[0]).head
    assert angular_error(legacy["rotation_matrix"][0] @ head.gaze, -vectors_of(legacy["face_gaze"][0])) > 0.05
    assert legacy["face_patch"][:].min() == 1 or (legacy["face_patch"][:, 0, 0] > 0).all()  # black is 1 of 255
    for file in files:
        file.close()
    with ViewFile(tmp_path / "legacy/full/p00.h5") as file:
        assert file.head_pose().shape == (4, 2) and len(file) == 4
    assert run(copy, tmp_path / "legacy", "legacy=true", *given, people=["p00"]).views == 6  # goes on too


def test_a_view_does_not_depend_on_how_many_are_made_nor_on_how_many_at_once(made, monkeypatch):
    few, many = (read_settings(made, [f"model.target_pose.number_new_views={n}"]) for n in (1, 3))
    (a,), (b,) = (views_of(settings, 3, sources_of(settings, "p00")[1]) for settings in (few, many))
    assert all(np.array_equal(a[name], b[name][:1]) for name in a)
    (other,) = views_of(few, 4, sources_of(few, "p00")[1])
    monkeypatch.setattr(source_views, "AT_ONCE", 2)
    first, second = views_of(many, 3, sources_of(many, "p00")[1])
    assert len(first["view"]) == 2 and all(np.array_equal(np.concatenate([first[k], second[k]]), b[k]) for k in b)
    assert not np.array_equal(a["face_gaze"], other["face_gaze"])


# ------------------------------------------------------------------ runs


@pytest.mark.slow
def test_one_and_four_workers_write_the_same_bytes(made, done, tmp_path):
    run(made, tmp_path / "four", workers=4)
    assert digests(tmp_path / "four") == digests(done) and len(digests(done)) == 2


def test_a_second_run_does_nothing_and_a_larger_one_adds(made, done, tmp_path, drawn_once):
    first = run(made, tmp_path, most_rows=1, people=["p01"])
    assert (first.made, first.views) == (1, 2)
    both = run(made, tmp_path)
    assert (both.made, both.found, both.views) == (5, 1, 12) and digests(tmp_path) == digests(done)
    again = run(made, tmp_path)
    assert (again.made, again.found, again.views) == (0, 6, 12) and digests(tmp_path) == digests(done)


def test_a_run_that_is_killed_anywhere_goes_on_and_ends_with_the_same_bytes(made, tmp_path, monkeypatch, drawn_once):
    """Every place where a file gets its name: the process is gone before or after it."""
    replace, calls = os.replace, [0]

    class Killed(BaseException):
        pass

    names = 4  # settings, two parts, the packed file
    run(made, tmp_path / "whole", people=["p00"], most_rows=2)
    for stop in range(2 * names):
        calls[0] = 0

        def dying(source, target, stop=stop):
            calls[0] += 1
            if calls[0] == stop // 2 + 1 and stop % 2 == 0:
                raise Killed
            replace(source, target)
            if calls[0] == stop // 2 + 1:
                raise Killed

        folder = tmp_path / str(stop)
        monkeypatch.setattr(os, "unlink", lambda *_, **__: None)  # who is killed cleans nothing up
        monkeypatch.setattr(os, "replace", dying)
        with pytest.raises(Killed):
            run(made, folder, people=["p00"], most_rows=2)
        monkeypatch.undo()
        parts = len(list((folder / "full").glob(".p00.parts/[0-9]*.h5")))
        report = run(made, folder, people=["p00"], most_rows=2)
        assert (report.views, report.found) == (4, parts), stop  # what was finished is not made again
        assert digests(folder) == digests(tmp_path / "whole"), stop
    assert calls[0] == names


@pytest.mark.slow
def test_real_kills_lose_nothing_and_double_nothing(made, done, tmp_path):
    """SIGKILL after longer and longer times, until a run ends by itself."""
    command = [sys.executable, str(REPOSITORY / MAIN), f"-save={tmp_path / 'out'}", "--seed=3", "--workers=2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    kills = 0
    for wait in range(2, 200):
        process = subprocess.Popen(command, cwd=made.parent, env=environment, stdout=subprocess.DEVNULL)
        parts = (tmp_path / "out" / "full").rglob
        before, until = len(list(parts("*.h5"))), time.monotonic() + 120
        while process.poll() is None and time.monotonic() < until and len(list(parts("*.h5"))) == before:
            time.sleep(0.02)
        if process.poll() is None:
            time.sleep(0.05 * (wait % 4))
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
        if process.returncode == 0:
            break
    assert kills >= 3 and digests(tmp_path / "out") == digests(done)


# ------------------------------------------------------------------ bad input


def test_a_source_without_reconstruction_is_left_out_and_joins_when_it_is_there(copy, done, tmp_path):
    hidden = copy.parent / "obj/p00/day02/0001.obj"
    hidden.rename(tmp_path / "0001.obj")
    report = run(copy, tmp_path / "out", "data.mpii.raw=x", f"data.mpii.raw={copy.parent / 'raw'}")
    assert report.views == 10 and len(report.skipped) == 1
    assert "p00/day02/0001.jpg: no reconstruction of it lies in" in report.skipped[0]
    (tmp_path / "0001.obj").rename(hidden)
    assert run(copy, tmp_path / "out").views == 12
    with ViewFile(tmp_path / "out/full/p00.h5") as ours, ViewFile(done / "full/p00.h5") as file:
        assert np.array_equal(ours.images(range(6)), file.images(range(6)))


def failing(settings, folder, *overrides, **more) -> str:
    with pytest.raises(ValueError) as error:
        run(settings, folder, *overrides, **more)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_folder_of_another_run_is_refused_with_what_differs(made, done, tmp_path):
    shutil.copytree(done, tmp_path / "out")
    for more, said in (
        ({"seed": 4}, "is of another run: seed is 3 there and 4 now"),
        ({}, "model.target_pose.number_new_views is 2 there and 5 now"),
    ):
        overrides = () if more else ("model.target_pose.number_new_views=5",)
        assert said in failing(made, tmp_path / "out", *overrides, **more)
    (tmp_path / "out/settings.json").unlink()  # each file has the settings too
    assert "p00.h5: is of another run: seed is 3 there and 4 now" in failing(made, tmp_path / "out", seed=4)
    (tmp_path / "out/settings.json").write_text("{")
    assert "settings.json: is no JSON" in failing(made, tmp_path / "out")
    assert digests(tmp_path / "out") == digests(done)


def test_a_face_model_that_only_legacy_reads_need_not_be_there(made):
    """Published settings name it; people without the supplementary files have none."""
    named = view_run.facts_of(read_settings(made, ["misc.openface_path=nowhere.txt"]), 3)
    assert named == view_run.facts_of(read_settings(made), 3)


def test_a_truncated_or_foreign_file_is_refused(made, done, tmp_path, drawn_once):
    shutil.copytree(done, tmp_path / "out")
    whole = (tmp_path / "out/full/p00.h5").read_bytes()
    (tmp_path / "out/full/p00.h5").write_bytes(whole[:-1000])
    assert "p00.h5: is damaged or not whole" in failing(made, tmp_path / "out")
    with h5py.File(tmp_path / "out/full/p00.h5", "w") as file:
        file["face_gaze"] = np.zeros((3, 2))
    assert "p00.h5: is of another run" in failing(made, tmp_path / "out")


def test_photos_that_changed_places_are_refused_as_one_would_be_doubled(copy, tmp_path):
    lines = copy.parent / "raw/p00/p00.txt"
    before = lines.read_text().splitlines(keepends=True)
    run(copy, tmp_path / "out", people=["p00"], most_rows=1)
    lines.write_text("".join(reversed(before)))
    said = failing(copy, tmp_path / "out", people=["p00"])
    assert f"p00.h5: its source 0 is p00/{before[0].split()[0]}, and the photos' source 0 is now" in said
    lines.write_text("".join(before))
    assert run(copy, tmp_path / "out", people=["p00"]).views == 6


def test_parts_of_a_run_whose_settings_are_gone_are_not_taken(made, tmp_path, monkeypatch, drawn_once):
    monkeypatch.setattr(view_run, "pack", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        run(made, tmp_path, people=["p00"], most_rows=1, seed=4)
    monkeypatch.undo()
    part = tmp_path / "full/.p00.parts/0.h5"
    settings = (tmp_path / "settings.json").read_bytes()
    (tmp_path / "settings.json").unlink()
    assert "settings.json: is gone" in failing(made, tmp_path, people=["p00"])
    (tmp_path / "settings.json").write_bytes(settings)
    part.write_bytes(part.read_bytes()[:3000])
    assert "0.h5: is damaged or not whole" in failing(made, tmp_path, people=["p00"], seed=4)


def test_two_runs_do_not_write_to_one_folder(made, tmp_path, drawn_once):
    from dataset_preprocessing.nv_rendering.view_run import alone_in

    with alone_in(tmp_path):
        assert "another run writes there now" in failing(made, tmp_path)


def test_missing_and_damaged_input_is_one_line_of_the_script(copy, tmp_path, run_script):
    root = copy.parent

    def said(*arguments) -> str:
        code, _, error = run_script(MAIN, "-save", tmp_path / "out", f"--config={copy}", "--workers=1", *arguments)
        assert code == 2 and error.count("\n") == 1 and error.startswith("error: "), error
        return error

    (tmp_path / "empty").mkdir()
    pictures = f"--set=data.background_path={tmp_path / 'empty'}", "--set=model.variants.picture=0.5"
    assert "no background pictures in this folder" in said(*pictures)
    assert "the key model.target_pose.modes is unknown; did you mean" in said("--set=model.target_pose.modes=list")
    assert "there is no p07; there are p00, p01" in said("--people=p07")
    assert "there is no such folder" in said("--set=data.mpii.raw=none")
    assert "no source gives a view: p00/day01/0000.jpg: no reconstruction" in said("--set=data.mpii.obj=none")
    landmarks = root / "obj/p00/day01/0000_lm.txt"
    text = landmarks.read_text()
    landmarks.write_text("\n".join(text.splitlines()[:50]))
    assert "0000_lm.txt" in said() and not list((tmp_path / "out").rglob("p0*.h5"))
    landmarks.write_text(text)
    (root / "raw/p01/Calibration/Camera.mat").unlink()
    assert "Camera.mat: there is no such file" in said()
    assert not list((tmp_path / "out").rglob("*.h5"))  # the first person is not drawn before the last one is looked at
    (root / "raw/p00/p00.txt").write_text("")
    assert "p00.txt" in said()
    assert "there is no such file" in run_script(MAIN, "-save", tmp_path / "o", "--config=none.yaml").stderr


def test_the_published_command_and_ours_are_the_same(made, done, tmp_path, run_script_in, drawn_once):
    theirs = run_script_in(
        made.parent, MAIN, "-save", tmp_path / "a", "-ablation", "--group=1", "--seed=3", "--workers=1"
    )
    assert theirs.code == 0 and "12 views: 6 sources made, 0 found done, 0 without views" in theirs.stdout, theirs
    assert theirs.stderr.count("does nothing here") == 2
    ours = run_script_in(
        made.parent, "dataset_preprocessing/nv_rendering/render.py", f"--dest={tmp_path / 'a'}", "--seed=3"
    )
    assert ours.code == 0 and "0 sources made, 6 found done" in ours.stdout
    assert digests(tmp_path / "a") == digests(done)


def test_the_variants_have_the_numbers_that_files_say(done):
    with ViewFile(done / "full/p00.h5") as file:
        assert file.facts["variants"].split(", ") == list(VARIANTS) and file.facts["views_per_source"] == 2
        assert file.table("variant").max() < len(VARIANTS)
        for row in np.flatnonzero(file.table("variant") % 2 == 0):
            assert file.table("ambient")[row] == 1 and file.table("directional")[row] == 0


def test_nothing_holds_more_than_a_source(made, tmp_path, monkeypatch):
    """Memory stays flat: the views of a source are gone when the next one is made."""
    import weakref

    alive, most = [], [0]
    original = source_views._rows

    def watched(*arguments):
        rows = original(*arguments)
        alive.append(weakref.ref(rows["face_patch"]))
        most[0] = max(most[0], sum(ref() is not None for ref in alive))
        return rows

    monkeypatch.setattr(source_views, "_rows", watched)
    run(made, tmp_path)
    assert len(alive) == 6 and most[0] == 1
