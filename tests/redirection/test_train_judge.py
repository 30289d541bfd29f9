"""train_judge.py: it reads eyes of strangers after training, says its own error, and refuses what it cannot use."""

import json

import pytest
import torch

from redirection.attributes import NO_LABELS
from redirection.gaze_errors import gaze_error
from redirection.judge_fitting import errors
from redirection.patch_judge import Judge
from redirection.patch_sets import read_patches

TRAIN = "redirection/train_judge.py"


@pytest.fixture
def run(tmp_path, gaze_set, run_script_in):
    flags = ["--data=set", "--out=judge.safetensors", "--device=cpu"]
    return lambda *more: run_script_in(tmp_path, TRAIN, *flags, *more)


def test_a_trained_judge_reads_an_eye_of_a_stranger_and_its_own_error_is_printed(tmp_path, gaze_set, run):
    ran = run("--epochs=20", "--batch=6", "--json=own.json")
    assert ran.code == 0, ran.stderr
    unseen = read_patches(gaze_set, "test", NO_LABELS)
    judge = Judge.load(str(tmp_path / "judge.safetensors"))
    read = judge.read(unseen.images).angles
    own, nothing = (gaze_error(x, unseen.angles).mean().item() for x in (read, torch.zeros_like(read)))
    assert own < 0.6 * nothing
    printed, written = json.loads(ran.stdout), json.loads((tmp_path / "own.json").read_text())
    assert printed == written and printed["gaze_error_deg"] == pytest.approx(own, abs=0.05)  # weights are rounded
    assert errors(judge.network, unseen)["patches"] == 18


def test_a_stopped_training_does_not_go_on_with_other_patches(tmp_path, gaze_set, run):
    same = ["--workdir=kept", "--epochs=1", "--batch=6"]
    assert run(*same).code == 0 and run(*same).code == 0
    train = gaze_set / "info" / "gaze-train.txt"
    train.write_text("".join(train.read_text().splitlines(True)[::-1]))
    (tmp_path / "judge.safetensors").unlink()
    ran = run(*same)
    assert ran.code == 2 and "belongs to a training on other data; remove it" in ran.stderr
    assert not (tmp_path / "judge.safetensors").exists()


def both_lists_alike(info):
    (info / "gaze-test.txt").write_text((info / "gaze-train.txt").read_text())


def one_person(info):
    lines = (info / "gaze-train.txt").read_text().splitlines(True)
    (info / "gaze-train.txt").write_text("".join(line for line in lines if line.startswith("0001")))


WRONG = {
    "both lists": (both_lists_alike, [], "person 1 is in both lists"),
    "batch": (lambda info: None, ["--batch=500"], "--batch=500: the set has 36 patches"),
    "one person": (one_person, ["--batch=6"], "one person alone"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_set_that_no_judge_can_learn_from_is_one_line(tmp_path, gaze_set, run, kind):
    spoil, flags, says = WRONG[kind]
    spoil(gaze_set / "info")
    ran = run("--epochs=1", *flags)
    assert ran.code == 2 and says in ran.stderr and ran.stderr.strip().count("\n") == 0
    assert not (tmp_path / "judge.safetensors").exists()
