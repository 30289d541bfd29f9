"""train.py and redirect.py: a run goes on exactly, what it writes is used, wrong input is one line."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from redirection.interpgaze.redirector_file import read_redirector

TRAIN, REDIRECT = "redirection/interpgaze/train.py", "redirection/interpgaze/redirect.py"
FLAGS = ["--data_dir=set", "--attr=0P@15P,0V@10V,0H@15H", "-bs", "4", "--size=32", "--divisor=16", "--lr=1e-3",
         "--encoder-every=2", "--tick=2", "--device=cpu"]  # fmt: skip


@pytest.fixture
def run(tmp_path, patches, run_script_in):
    def run(script, *flags):
        return run_script_in(tmp_path, script, *flags)

    return run


def test_a_run_that_goes_on_equals_an_unbroken_one(tmp_path, run):
    assert run(TRAIN, *FLAGS, "-sp", "whole", "--paired", "--steps=3").code == 0
    assert run(TRAIN, *FLAGS, "-sp", "parts", "--paired", "--steps=1").code == 0
    assert run(TRAIN, *FLAGS, "-sp", "parts", "--paired", "--steps=3").code == 0
    whole, parts = (torch.load(tmp_path / name / "state.pt", weights_only=True) for name in ("whole", "parts"))
    for name, value in whole["networks"].items():
        assert torch.equal(value, parts["networks"][name]), name
    lines = [json.loads(line) for line in (tmp_path / "whole" / "stats.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 3]
    assert {"Loss/dec_mse", "Loss/discrim_gp", "Loss/enc_int_cls", "Loss/pair_mse"} <= lines[0].keys()
    assert (tmp_path / "whole" / "samples" / "00000003.png").is_file()


def test_the_learning_rate_falls_at_the_end_and_a_blend_learns_from_true_targets(tmp_path, run):
    flags = ["--dec_type=blend", "--only-paired", "--own-weight=0", "--eye-weight=1", "--still-heads=0.5", "--tick=1"]
    for name, more in (("even", []), ("cool", ["--cooldown=1"])):
        ran = run(TRAIN, *FLAGS, "-sp", name, *flags, *more, "--steps=3")
        assert ran.code == 0, ran.stderr
    even, cool = ([json.loads(line) for line in (tmp_path / name / "stats.jsonl").read_text().splitlines()]
                  for name in ("even", "cool"))  # fmt: skip
    assert even[1]["Loss/pair"] == cool[1]["Loss/pair"] != even[0]["Loss/pair"]  # the first step is at the full rate
    assert even[2]["Loss/pair"] != cool[2]["Loss/pair"]
    assert "Loss/pair_own_mse" not in even[0] and even[0]["Loss/pair_eye"] > 0
    assert read_redirector(tmp_path / "cool" / "weights.safetensors")[0].decoder.blends


def test_a_file_gives_its_network_back_and_damage_is_one_line(trained, tmp_path):
    network, facts = read_redirector(trained)
    assert facts == {"step": 0} and network.config.size == 32 and not network.training
    (tmp_path / "torn").write_bytes(trained.read_bytes()[:1000])
    with pytest.raises(ValueError, match="torn: holds no gaze redirection network"):
        read_redirector(tmp_path / "torn")


def strip(path):
    return np.asarray(Image.open(path))


def test_a_patch_is_redirected_in_steps_to_a_target_and_by_a_reference(tmp_path, run, trained):
    source = f"--source={tmp_path}/set/all/0003_2m_0P_0V_0H_L.png"
    ran = run(REDIRECT, "-mp", trained, source, "--target=,,10", "--references=set", "--steps=3", "--out=a.png")
    assert ran.code == 0, ran.stderr
    assert strip(tmp_path / "a.png").shape == (24, 72, 3)
    reference = f"--reference={tmp_path}/set/all/0001_2m_15P_10V_15H_L.png"
    for strength, name in (("0", "none"), ("1", "all"), ("0,0,1", "gaze")):
        assert run(REDIRECT, "-mp", trained, source, reference, "-s", strength, f"--out={name}.png").code == 0
    none, every, gaze = (strip(tmp_path / f"{name}.png").astype(int) for name in ("none", "all", "gaze"))
    assert (none == strip(tmp_path / "a.png")[:, :24]).all()  # the first step is the reconstruction, bit for bit
    assert np.abs(every - none).max() > 0 and np.abs(gaze - every).max() > 0
    assert run(REDIRECT, "-mp", trained, source, reference, "--steps=3", "--out=film.gif").code == 0
    assert Image.open(tmp_path / "film.gif").n_frames == 4


def test_of_a_face_only_the_eyes_change_and_strength_zero_changes_no_bit(tmp_path, run, trained):
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 255, (100, 100, 3)).astype(np.uint8)
    Image.fromarray(photo).save(tmp_path / "me.png")
    points = rng.uniform(40, 60, (68, 2))
    for first, x in ((36, 30), (42, 70)):
        turn = np.arange(6) * np.pi / 3
        points[first : first + 6] = np.stack([x + 6 * np.cos(turn), 40 + 6 * np.sin(turn)], 1)
    (tmp_path / "points.json").write_text(json.dumps({"me.png": points.tolist()}))
    reference = f"--reference={tmp_path}/set/all/0001_2m_15P_10V_15H_L.png"
    flags = ["-mp", trained, "--source=me.png", "--landmarks=points.json", reference]
    assert run(REDIRECT, *flags, "-s", "0", "--out=same.png").code == 0
    assert (strip(tmp_path / "same.png") == photo).all()
    assert run(REDIRECT, *flags, "--steps=2", "--out=moved.png").code == 0
    both = strip(tmp_path / "moved.png")
    assert (both[:, :100] == photo).all() and (both[:, 100:] != photo).any()
    away = np.ones((100, 100), bool)
    away[29:53, 19:43] = away[29:53, 59:83] = False
    assert (both[:, 100:][away] == photo[away]).all()
    flags[-1] = "--reference=me.png"  # a photo: each eye goes toward the same eye of it
    assert run(REDIRECT, *flags, "--out=own.png").code == 0
    Image.fromarray(photo).save(tmp_path / "faceless.png")
    flags[-1] = "--reference=faceless.png"
    ran = run(REDIRECT, *flags, "--out=gone.png")
    assert ran.code == 2 and "faceless.png: there are no points of it; give a photo of a face" in ran.stderr
    assert ran.stderr.strip().count("\n") == 0 and not (tmp_path / "gone.png").exists()


def spoil_size(folder):
    path = next((folder / "set" / "all").glob("0001*"))
    Image.open(path).resize((30, 30)).save(path)


def one_person(folder):
    path = folder / "set" / "info" / "gaze-train.txt"
    path.write_text("".join(line for line in path.read_text().splitlines(True) if line.startswith("0001")))


WRONG = {
    "batch of one": (lambda f: None, ["-bs", "1"], "a batch of one pairs a patch with itself"),
    "batch too large": (lambda f: None, ["-bs", "500"], "there are only 28 patches"),
    "mixed sizes": (spoil_size, [], "bring all patches to one size"),
    "one person": (one_person, [], "are of one person"),
    "no set": (lambda f: shutil.rmtree(f / "set" / "all"), [], "has no folder all"),
    "branches": (lambda f: None, ["--attr=0V@10V,0H@15H", "--paired"], "--paired: patches differ in P"),
    "blend": (lambda f: None, ["--dec_type=blend", "--paired"], "also give --only-paired"),
    "attribute": (lambda f: None, ["--attr=0P@0P"], "stands there twice"),
    "vgg": (lambda f: torch.save({"x": torch.zeros(1)}, f / "v.pth"), ["--vgg=v.pth"], "torchvision's VGG-19"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_input_of_a_training_is_one_line_and_writes_nothing(tmp_path, run, kind):
    spoil, flags, says = WRONG[kind]
    spoil(tmp_path)
    ran = run(TRAIN, *FLAGS, "-sp", "new", *flags)
    assert ran.code == 2 and says in ran.stderr and ran.stderr.strip().count("\n") == 0
    assert not (tmp_path / "new").exists()


def test_a_dry_run_prints_the_settings_and_published_flags_are_taken(tmp_path, run):
    ran = run(TRAIN, *FLAGS, "--dry-run", "-ct", "-e", "3", "--random_crop_bias=1", "-sp", "x")
    assert ran.code == 0 and json.loads(ran.stdout)["steps"] == 21  # 28 patches, batches of 4, 3 epochs
    assert json.loads(ran.stdout)["networks"]["divisor"] == 16 and not (tmp_path / "x").exists()


def test_a_state_of_other_settings_and_a_damaged_one_are_one_line(tmp_path, run):
    assert run(TRAIN, *FLAGS, "-sp", "r", "--only-paired", "--steps=1").code == 0
    assert "other settings" in run(TRAIN, *FLAGS, "-sp", "r", "--only-paired", "--steps=1", "--seed=1").stderr
    before = (tmp_path / "r" / "weights.safetensors").read_bytes()
    (tmp_path / "r" / "state.pt").write_bytes(b"PK")
    ran = run(TRAIN, *FLAGS, "-sp", "r", "--only-paired", "--steps=2")
    assert ran.code == 2 and "is no state of a run" in ran.stderr
    assert (tmp_path / "r" / "weights.safetensors").read_bytes() == before


ASKED = {
    "nothing": ([], "give --target"),
    "no angles": (["--target=0,x,5", "--references=set"], "three numbers P,V,H"),
    "too far": (["--target=0,0,80", "--references=set"], "no reference leads"),
    "ending": (["--target=0,0,5", "--references=set", "--out=x.bmp"], ".png, .gif or .mp4"),
    "strength": (["--reference=set/all/0001_2m_0P_0V_0H_L.png", "--strength=5"], "between -2 and 2"),
    "strength of a target": (["--target=0,0,5", "--strength=1"], "are of --reference"),
    "set of a reference": (["--reference=set/all/0001_2m_0P_0V_0H_L.png", "--references=set"], "are of --target"),
    "no square": (["--reference=wide_L.png", "--face=False"], "wide_L.png: is 64x40; a patch is square"),
    "branch": (["--reference=set/all/0001_2m_0P_0V_0H_L.png", "--branch_idx=9"], "numbers from 0 to 3"),
    "no face": (["--reference=set/all/0001_2m_0P_0V_0H_L.png", "--face", "--landmarks=none.json"], "no such file"),
}


@pytest.mark.parametrize("kind", ASKED)
def test_what_redirect_cannot_do_is_one_line(tmp_path, run, trained, kind):
    flags, says = ASKED[kind]
    Image.new("RGB", (64, 40)).save(tmp_path / "wide_L.png")
    source = f"--source={tmp_path}/set/all/0003_2m_0P_0V_0H_L.png"
    ran = run(REDIRECT, "-mp", trained, source, "--out=x.png", *flags)
    assert ran.code == 2 and says in ran.stderr and ran.stderr.strip().count("\n") == 0
    assert not (tmp_path / "x.png").exists()
