"""correct.py, animate.py, calibrate.py and show_correction.py as commands, with tiny random networks."""

import json

import numpy as np
import pytest
from known_eyes import grey, lids_at
from PIL import Image

from redirection.gaze_animation.animator_file import save_animator
from redirection.gaze_animation.eye_paths import Calibration
from redirection.gaze_animation.gaze_animator import AnimatorConfig, GazeAnimator

FOLDER = "redirection/gaze_animation"
MAP = Calibration((0.05, 0.0, 0.0, 0.05), (1.0, 1.0), 40)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """weights.safetensors; photos a.png, b.jpg with points, none.png without; points.json."""
    folder = tmp_path_factory.mktemp("correct")
    config = AnimatorConfig(size=32, ngf=2, nef=2, n_layers_g=2, n_layers_e=2, n_layers_r=2, own=4, content=4)
    animator = GazeAnimator(config)
    save_animator(folder / "weights.safetensors", animator, {}, MAP)
    save_animator(folder / "plain.safetensors", animator, {})
    points = {}
    (folder / "photos" / "deep").mkdir(parents=True)
    for name, closed in (("a.png", False), ("deep/b.jpg", True), ("none.png", False)):
        Image.fromarray(grey()).save(folder / "photos" / name)
        rows, lids = np.zeros((68, 2)), lids_at(160, 100, height=1 if closed else 8)
        rows[36:42], rows[42:48] = lids["R"], lids["L"]
        if name != "none.png":
            points[name] = (rows - 0.5).tolist()
    (folder / "points.json").write_text(json.dumps(points))
    return folder


FLAGS = ["--weights=weights.safetensors", "--landmarks=points.json"]


def test_a_folder_is_corrected_and_what_stays_is_counted(place, run_script_in):
    more = ["--source=photos", "--out=out", "--json=facts.json", "--sheet=sheet.png"]
    ran = run_script_in(place, f"{FOLDER}/correct.py", *FLAGS, *more)
    assert ran.code == 0, ran.stderr
    assert "1 faces corrected in 3 pictures" in ran.stdout
    assert "stayed as they are: the eyes are closed" in ran.stderr and "1 of 3 photos have no face" in ran.stderr
    facts = json.loads((place / "facts.json").read_text())
    assert (facts["painted"], facts["pictures"], facts["without_face"]) == (1, 3, 1)
    before, after = grey(), np.asarray(Image.open(place / "out" / "a.png"))
    changed = (before != after).any(-1)
    rows, columns = np.nonzero(changed)
    assert changed.any() and rows.min() > 80 and rows.max() < 120 and columns.min() > 100 and columns.max() < 220
    assert (np.asarray(Image.open(place / "out" / "none.png")) == before).all()
    assert (place / "out" / "deep" / "b.png").is_file() and (place / "sheet.png").is_file()


def test_a_photo_that_was_written_before_is_written_again(place, run_script_in):
    (place / "again.png").write_bytes(b"old")
    ran = run_script_in(place, f"{FOLDER}/correct.py", *FLAGS, "--source=photos/a.png", "--out=again.png")
    assert ran.code == 0, ran.stderr
    assert Image.open(place / "again.png").size == Image.open(place / "photos" / "a.png").size


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--source=photos", "--out=photos"], "--out=photos"),
        (["--source=photos/a.png", "--out=new.mp4"], "end the name in .png or .jpg"),
        (["--source=photos/a.png", "--out=new.png", "--weights=photos/a.png"], "a.png"),
    ],
)
def test_places_that_do_not_fit_are_one_line(place, run_script_in, flags, says):
    ran = run_script_in(place, f"{FOLDER}/correct.py", *FLAGS, *flags)
    assert ran.code == 2 and says in ran.stderr and ran.stderr.count("error:") == 1
    assert not (place / "new.png").exists()


def test_a_photo_is_animated_in_degrees_and_by_alpha(place, run_script_in):
    run = f"{FOLDER}/animate.py"
    source = ["--source=photos/a.png"]
    ran = run_script_in(place, run, *FLAGS, *source, "--out=strip.png", "--path=0,0 20,0", "--frames=3")
    assert ran.code == 0 and "3 frames of 1 moving face" in ran.stdout, ran.stderr
    strip = np.asarray(Image.open(place / "strip.png"))
    assert strip.shape == (200, 960, 3)
    frames = np.split(strip, 3, axis=1)
    assert (frames[0] != frames[2]).any() and (frames[0][:80] == grey()[:80]).all()
    ran = run_script_in(place, run, *FLAGS, *source, "--out=eyes.gif", "--alpha=0:1.4:5")
    assert ran.code == 0 and Image.open(place / "eyes.gif").n_frames == 5, ran.stderr


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--source=photos/a.png", "--path=0,0", "--alpha=1"], "and not both"),
        (["--source=photos/a.png", "--weights=plain.safetensors"], "no map from degrees to codes"),
        (["--source=photos/none.png"], "there are no points of it; give a photo of a face"),
        (["--source=photos/deep/b.jpg"], "no face can move: the eyes are closed"),
        (["--source=photos/a.png", "--out=eyes.avi"], "end the name in .gif, .mp4 or .png"),
    ],
)
def test_an_animation_that_cannot_be_is_one_line(place, run_script_in, flags, says):
    ran = run_script_in(place, f"{FOLDER}/animate.py", *FLAGS, "--out=no.gif", *flags)
    assert ran.code == 2 and says in ran.stderr and not (place / "no.gif").exists(), ran.stderr


@pytest.mark.slow
def test_weights_are_calibrated_on_a_world(place, run_script_in):
    flags = ["--world=cartoons", "--people=20", "--views=1", "--size=32", "--corrected=1", "--outdir=set"]
    assert run_script_in(place, f"{FOLDER}/prepare.py", *flags).code == 0
    flags = ["--weights=plain.safetensors", "--data=set", "--out=new.safetensors", "--count=20"]
    ran = run_script_in(place, f"{FOLDER}/calibrate.py", *flags)
    assert ran.code == 0 and "map of 20 faces" in ran.stdout, ran.stderr
    ran = run_script_in(place, f"{FOLDER}/animate.py", "--weights=new.safetensors", "--landmarks=points.json",
                        "--source=photos/a.png", "--out=two.png", "--frames=2")  # fmt: skip
    assert ran.code == 0, ran.stderr


@pytest.mark.slow
def test_the_show_draws_a_sheet_and_a_film(place, run_script_in):
    ran = run_script_in(
        place, f"{FOLDER}/show_correction.py", "--world=cartoons", "--weights=plain.safetensors", "--people=1"
    )
    assert ran.code == 0 and "1 of 1 people corrected" in ran.stdout, ran.stderr
    assert Image.open(place / "out" / "correct" / "correction.png").size == (256, 3 * (256 + 26))
    assert Image.open(place / "out" / "correct" / "animation.gif").n_frames > 30
