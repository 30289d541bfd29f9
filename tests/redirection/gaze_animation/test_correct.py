"""correct, animate, calibrate, show_correction and evaluate_faces as commands, with tiny random networks."""

import json

import numpy as np
import pytest
from known_eyes import grey, lids_at, points_of
from PIL import Image

from redirection.gaze_animation import aimed_eyes
from redirection.gaze_animation.aimed_eyes import can_aim, lens_reads
from redirection.gaze_animation.animator_file import open_animator, save_animator
from redirection.gaze_animation.eye_paths import Aim, Calibration
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


def test_an_animation_follows_its_aim_if_it_is_asked_to(place, run_script_in, monkeypatch):
    monkeypatch.setattr(aimed_eyes, "aims", lambda *_: [Aim(lambda wanted: wanted + (20.0, 0.0))])
    made = []
    for flags in (["--path=0,0"], ["--path=20,0", "--aim=False"], ["--path=0,0", "--aim=False"]):
        flags += ["--frames=1", "--source=photos/a.png", "--out=aim.png"]
        assert run_script_in(place, f"{FOLDER}/animate.py", *FLAGS, *flags).code == 0
        made.append(np.asarray(Image.open(place / "aim.png")))
    assert (made[0] == made[1]).all() and (made[0] != made[2]).any()


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


@pytest.fixture
def known(tmp_path):
    """A set as prepare.py --world makes it, of noise: y0 to y19 in 0/, x0 to x2 in 1/, with points and what is true;
    corrected/y0.png."""
    rng, points = np.random.default_rng(0), {}
    rows = ["domain,name,person,gaze_yaw,gaze_pitch,lens_yaw,lens_pitch,head_yaw,off_lens"]
    lids = {eye: 2 * one for eye, one in lids_at(64, 46.5, apart=49).items()}
    for domain, letter, count in (("0", "y", 20), ("1", "x", 3)):
        (tmp_path / "set" / domain).mkdir(parents=True)
        names = [f"{letter}{number}" for number in range(count)]
        for number, name in enumerate(names):
            picture = rng.integers(0, rng.integers(60, 256), (256, 256, 3), dtype=np.uint8)
            Image.fromarray(picture).save(tmp_path / "set" / domain / f"{name}.png")
            yaw, pitch = rng.uniform(-15, 15, 2)
            rows.append(f"{domain},{name},{number},{yaw:.3f},{pitch:.3f},0,0,0,0")
            points[f"{domain}/{name}"] = (points_of(lids) - 0.5).tolist()
        (tmp_path / "set" / f"{domain}.txt").write_text("".join(f"{name} 79 93 177 93\n" for name in names))
    (tmp_path / "set" / "corrected").mkdir()
    Image.fromarray(picture).save(tmp_path / "set" / "corrected" / "y0.png")
    (tmp_path / "set" / "truth.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "set" / "landmarks.json").write_text(json.dumps(points))
    return tmp_path


def test_weights_that_are_calibrated_can_be_aimed_and_others_say_so(place, known, run_script_in, monkeypatch):
    run = f"{FOLDER}/calibrate.py"
    flags = ["--data=set", "--count=20", "--json=facts.json", f"--weights={place}/plain.safetensors"]
    for more, names in ((["--aim=2"], "aimed"), (["--aim=0"], "bare")):
        ran = run_script_in(known, run, *flags, f"--out={names}.safetensors", *more)
        assert ran.code == 0 and "map of 20 faces" in ran.stdout, ran.stderr
        reads = open_animator(known / f"{names}.safetensors")[1].lens_reads
        assert json.loads((known / "facts.json").read_text())["lens_reads"] == (reads and list(reads))
        if names == "aimed":
            assert reads == pytest.approx(lens_reads(known / "set", 2, 0, 32).mean(axis=0))
        assert ("of 2 faces that look into the lens the gaze reader reads" in ran.stdout) == (names == "aimed")
    photo = [f"--source={place}/photos/a.png", f"--landmarks={place}/points.json", "--out=b.png"]
    flags = [*photo, "--weights=bare.safetensors"]
    ran = run_script_in(known, f"{FOLDER}/correct.py", *flags, "--aim=True")
    assert ran.code == 2 and "bare.safetensors: cannot be aimed" in ran.stderr and not (known / "b.png").exists()
    for more, notes in ((["--frames=2"], True), (["--frames=1", "--aim=False"], False), (["--alpha=0,1"], False)):
        ran = run_script_in(known, f"{FOLDER}/animate.py", *flags, *more)
        assert ran.code == 0 and ("eyes are not aimed; calibrate" in ran.stderr) == notes, ran.stderr
    flags = [*photo, "--weights=aimed.safetensors"]
    ran = run_script_in(known, f"{FOLDER}/animate.py", *flags, "--frames=1")  # networks that know nothing yet
    assert ran.code == 0 and "1 of 1 faces are not aimed" in ran.stderr, ran.stderr

    def follows(picture, faces, animator, calibration, device):
        return [Aim(lambda wanted: wanted)] if can_aim(calibration) else None

    monkeypatch.setattr(aimed_eyes, "aims", follows)
    made = []
    for aim in (True, False):
        assert run_script_in(known, f"{FOLDER}/correct.py", *flags, f"--aim={aim}").code == 0
        made.append(np.asarray(Image.open(known / "b.png")))
    assert (made[0] != made[1]).any()
    ran = run_script_in(known, f"{FOLDER}/animate.py", *flags, "--frames=1")
    assert ran.code == 0 and "not aimed" not in ran.stderr, ran.stderr
    kinds = (("aimed", "Gx"), ("aimed", "aimed"), ("bare", "Gx"))
    flags = ["--data=set", "--animate=0", "--judge=embedded", "--json=scores.json"]
    flags += [f"--animator={name}.safetensors" for name in ("aimed", "bare")]
    ran = run_script_in(known, "redirection/evaluate_faces.py", *flags)
    assert ran.code == 0 and "frontal" in ran.stdout, ran.stderr
    scores = json.loads((known / "scores.json").read_text())["methods"]
    off = {name.removeprefix("GazeAnimation "): of["all"]["off_mean"] for name, of in scores.items()}
    assert set(off) == {"nothing", "true picture", *(f"{a}.safetensors, {b}" for a, b in kinds)}
    gx, aimed, bare = (off[f"{a}.safetensors, {b}"] for a, b in kinds)
    assert gx == bare != aimed


def test_a_set_whose_points_are_lost_says_what_to_do(place, known, run_script_in):
    flags = ["--data=set", "--count=20", f"--weights={place}/plain.safetensors", "--out=new.safetensors"]
    file = known / "set" / "landmarks.json"
    points = json.loads(file.read_text())
    shrunk = points | {"1/x1": (0.01 * np.array(points["1/x1"])).tolist()}
    for text, says in (
        (json.dumps({name: rows for name, rows in points.items() if name != "1/x1"}), "x1.png: the gaze reader cannot"),
        (json.dumps(shrunk), "x1.png: the gaze reader cannot read it"),
        (None, "landmarks.json"),
    ):
        file.write_text(text) if text else file.unlink()
        ran = run_script_in(known, f"{FOLDER}/calibrate.py", *flags)
        assert ran.code == 2 and says in ran.stderr and ran.stderr.count("error:") == 1, ran.stderr
        assert "--aim=0" in ran.stderr and "--landmarks" not in ran.stderr and not (known / "new.safetensors").exists()


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
