"""The judge of whole faces: the shipped one reads strangers, mirrored faces mirrored; its training; its file."""

import json
from dataclasses import replace
from functools import cache
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from redirection.eye_patches import LIDS
from redirection.eye_reader import gaze_reader
from redirection.face_judge import MIRRORED, FaceGazeReader, known_of, open_judge, places, save_face_judge
from redirection.face_judge_fitting import (
    CONFIG,
    PURPOSES,
    UNSEEN_SPLIT,
    Purpose,
    beside,
    errors,
    spoilt,
    train_face_judge,
)
from redirection.face_reading import read_eyes, read_gaze, steady_gaze
from redirection.face_scores import off
from redirection.gaze_animation.level_faces import SIDE
from redirection.gaze_animation.world_portraits import WorldPortraits
from redirection.judged_people import PATCH, Seen, judged_people, squares_of
from redirection.lid_points import lids_of
from redirection.patch_judge import Judge

needs_people = pytest.mark.skipif(find_spec("anny") is None, reason="the package anny is not installed: make people")


@cache
def strangers() -> Seen:
    """24 unseen people, whose patches are cut by lids of another gaze than theirs."""
    return judged_people("test", range(200, 224), own_points=0.0)


@cache
def face(yaw: float = 0.0):
    """A portrait of an unseen person, whose eyes look `yaw` degrees past the lens, and what it is made of."""
    portraits = WorldPortraits("people", "test", 90, 1, seed=3, jitter=0)
    made = portraits.make(2 * 90 - 1)
    return portraits.looking(2 * 90 - 1, np.array([[yaw, 0.0]]))[0], made


@needs_people
def test_the_shipped_judge_reads_strangers_within_two_degrees():
    reader = FaceGazeReader.load("embedded-faces")
    found = errors(reader.network, strangers())
    assert found["people"] == 24 and found["gaze_error_deg"] < 2
    gaze = np.hypot(*strangers().gaze.T)
    assert gaze.mean() > 8 and reader.facts["unseen"]["gaze_error_deg"] < 2  # they do look about


@needs_people
@pytest.mark.parametrize("size", [SIDE, SIDE // 2])
def test_portraits_are_read_mirrored_if_they_are_mirrored_at_any_size(size):
    reader, (picture, made) = open_judge("embedded-faces"), face(12.0)
    picture = picture.reshape(size, SIDE // size, size, SIDE // size, 3).mean(axis=(1, 3)).astype(np.uint8)
    points = made.points * size / SIDE
    other = (np.array([size, 0]) + points * (-1, 1))[MIRRORED]
    pictures, points = [picture, np.ascontiguousarray(picture[:, ::-1])], [points, other]
    lids = [lids_of(one) for one in points]
    straight, mirrored = read_gaze(reader, pictures, lids, points)
    np.testing.assert_allclose(mirrored, straight * (-1, 1), atol=0.2)
    wanted = np.array(made.truth.lens) + (12.0, 0.0)
    assert np.abs(straight - wanted).max() < 4
    assert np.abs(steady_gaze(reader, pictures, lids, points)[0] - straight).max() < 1.5


@needs_people
def test_identity_and_features_stay_those_of_the_judge_of_patches_and_both_read_the_gaze():
    picture, made = face(12.0)
    asked = [picture], [lids_of(made.points)]
    by_faces, by_patches = (
        read_eyes(open_judge("embedded-faces"), *asked, [made.points]),
        read_eyes(open_judge("embedded"), *asked),
    )
    assert torch.equal(by_faces.identity, by_patches.identity) and torch.equal(by_faces.features, by_patches.features)
    assert not np.allclose(by_faces.gaze, by_patches.gaze)
    wanted = np.array(made.truth.lens) + (12.0, 0.0)
    assert np.abs(by_faces.gaze[0] - wanted).max() < 4 and np.abs(by_patches.gaze[0] - wanted).max() < 7


def test_who_aims_learned_from_other_people_than_who_judges_and_from_points_that_tremble_more():
    aims, judges = gaze_reader().facts, open_judge("embedded-faces").facts
    assert aims["split"] == PURPOSES["reader"].split != PURPOSES["judge"].split == judges["split"]
    assert aims["tremble_px"] == PURPOSES["reader"].tremble_px > 1 and aims["seed"] != judges["seed"]
    assert UNSEEN_SPLIT not in {purpose.split for purpose in PURPOSES.values()}


def level_points() -> np.ndarray:
    """68 points [68, 2] of no face, that is not symmetric; lids round eyes that are 98 px apart."""
    points = np.random.default_rng(0).uniform(60, 196, (68, 2))
    ring = np.stack([np.cos(np.arange(6) * np.pi / 3), 0.5 * np.sin(np.arange(6) * np.pi / 3)], axis=1)
    points[LIDS["R"]], points[LIDS["L"]] = ring * 14 + (79, 93), ring * 12 + (177, 95)
    return points


def marked(count: int) -> Seen:
    """Faces of one grey, whose red says yaw, of R mirrored, and whose green says pitch."""
    gaze = np.random.default_rng(1).uniform(-20, 20, (count, 2))
    patches = np.full((count, 2, 3, PATCH, PATCH), 128, np.uint8)
    for eye, sign in enumerate((-1, 1)):
        patches[:, eye, 0] = np.round(128 + 4 * sign * gaze[:, :1, None])
        patches[:, eye, 1] = np.round(128 + 4 * gaze[:, 1:, None])
    return Seen(patches, np.repeat(level_points()[None], count, axis=0), gaze)


def test_a_mirrored_face_has_the_places_of_both_eyes_exchanged():
    points = level_points()
    other = (np.array([SIDE, 0]) + points * (-1, 1))[MIRRORED]
    (there, cut), (there_too, cut_too) = (places(one[None], [squares_of(one)]) for one in (points, other))
    torch.testing.assert_close(there_too, there.flip(1), atol=1e-4, rtol=0)
    torch.testing.assert_close(cut_too, cut.flip(1), atol=1e-4, rtol=0)
    torch.testing.assert_close(known_of(there_too, cut_too), known_of(there, cut).flip(1), atol=1e-4, rtol=0)
    half = places(points[None] / 2, [squares_of(points / 2)], SIDE / 2)
    torch.testing.assert_close(half, (there, cut), atol=1e-4, rtol=0)


def test_patches_cut_beside_say_so_by_their_squares():
    across = torch.linspace(-0.8, 0.8, PATCH).expand(1, 2, 3, PATCH, PATCH).contiguous()
    squares = torch.tensor([[[3.0, 1.0, 4.8], [3.0, 1.0, 4.8]]])
    moved, cut = beside(across, squares, torch.Generator().manual_seed(0))
    step = 1.6 / (PATCH - 1)  # of brightness, for one pixel of a patch
    shift = (cut - squares)[0, :, 0] / 4.8 * PATCH
    middle = moved[0, :, 0, PATCH // 2, PATCH // 2 - 1 : PATCH // 2 + 1].mean(dim=1)
    torch.testing.assert_close(middle / step, shift, atol=0.02, rtol=0)
    assert shift.abs().max() > 0.1
    x = torch.zeros(64, 2, 3, 8, 8)
    assert (spoilt(x.clone(), torch.Generator().manual_seed(0)).flatten(1).std(dim=1) > 0.02).float().mean() > 0.4


def test_a_trained_judge_reads_marks_goes_on_exactly_and_keeps_its_file(tmp_path):
    people, config = marked(64), replace(CONFIG, epochs=12, batch_size=16)
    judge = train_face_judge(people, tmp_path / "a", config=config)
    assert errors(judge, people)["gaze_error_deg"] < 0.5 * off(np.zeros_like(people.gaze), people.gaze).mean()
    again = train_face_judge(people, tmp_path / "a", config=config)
    assert all(torch.equal(a, b) for a, b in zip(judge.state_dict().values(), again.state_dict().values(), strict=True))
    save_face_judge(tmp_path / "own.safetensors", judge, {"people": 64})
    reader = open_judge(str(tmp_path / "own.safetensors"))
    assert isinstance(reader, FaceGazeReader) and reader.facts == {"people": 64}
    assert errors(reader.network, people)["gaze_error_deg"] == pytest.approx(
        errors(judge, people)["gaze_error_deg"], abs=0.1
    )
    with pytest.raises(ValueError, match="version 1 of a face judge network"):
        Judge.load(str(tmp_path / "own.safetensors"))
    (tmp_path / "none.safetensors").write_bytes(b"none")
    with pytest.raises(ValueError, match="holds no patch judge network of ours"):
        open_judge(str(tmp_path / "none.safetensors"))


def test_points_tremble_in_training_as_the_purpose_says(tmp_path):
    config = replace(CONFIG, epochs=1, batch_size=16)
    still, shaken = (
        train_face_judge(marked(32), tmp_path / str(px), config=config, purpose=Purpose("gaze-judge", px)).state_dict()
        for px in (0.0, 5.0)
    )
    assert torch.equal(still["mean"], shaken["mean"]) and not torch.equal(
        still["face.0.weight"], shaken["face.0.weight"]
    )


def test_the_command_trains_on_the_people_that_its_folder_has_and_goes_on_with_its_own_purpose(tmp_path, run_script_in):
    (tmp_path / "work").mkdir()
    for name, count in (("gaze-judge-32", 32), ("eye-reader-32", 32), ("test-8", 8)):  # as rendered before
        np.savez(tmp_path / "work" / f"{name}.npz", **vars(marked(count)))
    flags = ["--people=32", "--unseen=8", "--epochs=1", "--workdir=work", "--out=judge.safetensors", "--json=own.json"]
    ran = run_script_in(tmp_path, "redirection/train_face_judge.py", *flags)
    assert ran.code == 0, ran.stderr
    assert json.loads(ran.stdout) == json.loads((tmp_path / "own.json").read_text())
    facts, made = open_judge(str(tmp_path / "judge.safetensors")).facts, (tmp_path / "judge.safetensors").read_bytes()
    assert facts["split"] == "gaze-judge" and facts["people"] == 32 and facts["unseen"]["people"] == 8
    state = tmp_path / "work" / "gaze-judge-32" / "state.pt"
    before = state.stat().st_mtime_ns
    assert run_script_in(tmp_path, "redirection/train_face_judge.py", *flags).code == 0
    assert state.stat().st_mtime_ns == before  # all epochs were done
    assert (tmp_path / "judge.safetensors").read_bytes() == made
    ran = run_script_in(tmp_path, "redirection/train_face_judge.py", *flags, "--purpose=reader")
    assert ran.code == 0, ran.stderr
    reader = open_judge(str(tmp_path / "judge.safetensors"))
    assert reader.facts["split"] == "eye-reader" and reader.facts["tremble_px"] == 2
    judge = torch.load(state, weights_only=True)["model"]
    assert not torch.allclose(reader.network.state_dict()["face.0.weight"], judge["face.0.weight"], atol=1e-3)
