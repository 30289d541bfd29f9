"""Correction measured: methods whose scores are known, by a judge that knows what it looks at."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from known_eyes import Painter, lids_at, points_of

from redirection.corrected_faces import (
    TestFace,
    by_redirector,
    eyes_by_method,
    measure,
    measure_animation,
    nothing,
    read_faces,
    true_picture,
)
from redirection.gaze_animation import aimed_eyes, whole_faces
from redirection.gaze_animation.eye_paths import Calibration
from redirection.gaze_animation.portrait_truth import Truth

LENS = (0.5, -2.0)


def shown(yaw: float, pitch: float) -> np.ndarray:
    """A face of one grey for each eye: the left grey level says yaw, the colour pitch, as `MarkJudge` reads it."""
    picture = np.full((256, 256, 3), 128, np.uint8)
    for eye in lids_at(128, 93, apart=98).values():
        x, y = eye.mean(axis=0).astype(int)
        picture[y - 25 : y + 25, x - 25 : x + 25] = np.round([128 + 4 * yaw, 128 + 4 * pitch, 90]).clip(0, 255)
    return picture


class MarkJudge:
    """Reads the colour in the middle of each eye."""

    name = "mark"

    def gaze(self, patches, *of_face):
        return ((patches[:, :, :2, 28:36, 28:36].double().mean(dim=(1, 3, 4)) - 128) / 4).numpy()

    def read(self, patches):
        middle = patches[:, :, 28:36, 28:36].double().mean(dim=(2, 3))
        features = torch.cat([middle, torch.ones(len(patches), 1)], 1)
        identity = torch.nn.functional.normalize(features.float(), dim=1)
        return SimpleNamespace(identity=identity, features=features)


def face(number: int, yaw: float, pitch: float, head: float) -> TestFace:
    truth = Truth(number // 2, yaw, pitch, *LENS, head)
    return TestFace(str(number), shown(yaw, pitch), shown(*LENS), lids_at(128, 93, apart=98), truth)


FACES = [
    face(k, yaw, pitch, head)
    for k, (yaw, pitch, head) in enumerate([(15.5, -2, 0), (-9.5, -2, 5), (0.5, 10, 25), (20.5, -2, -28)])
]


def test_doing_nothing_scores_the_angle_that_is_there_and_the_true_picture_scores_best():
    none, true = (measure(FACES, method, MarkJudge()) for method in (nothing, true_picture))
    assert none["all"]["off_mean"] == pytest.approx(np.mean([15, 10, 12, 20]), abs=0.2)
    assert none["frontal"]["off_mean"] == pytest.approx(12.5, abs=0.2) and none["frontal"]["faces"] == 2
    assert none["turned"]["off_mean"] == pytest.approx(16, abs=0.2) and none["all"]["within_10"] <= 0.25
    assert true["all"]["off_mean"] < 0.2 and true["all"]["within_5"] == 1
    assert (true["all"]["psnr"], true["all"]["ssim"]) == (99.0, pytest.approx(1.0)) and none["all"]["psnr"] < 40
    assert true["all"]["feature_distance"] == pytest.approx(0) and none["all"]["feature_distance"] > 0.1
    assert none["all"]["identity"] == pytest.approx(1) and none["all"]["identity_kept"] == 1


class Marks:
    """A redirector that paints the mark of what it is asked for; of right eyes the patch shows the opposite yaw."""

    name, size = "marks", 64

    def __init__(self, signs=(-1.0, 1.0)):
        self.signs, self.calls = signs, []

    def redirect(self, patches, shown, wanted):
        sign = self.signs[len(self.calls) % 2]
        self.calls.append((shown[0].tolist(), wanted[0].tolist()))
        _, pitch, yaw = wanted[0].tolist()
        colour = torch.tensor([128 + 4 * yaw * sign, 128 + 4 * pitch, 90.0]).round()
        return colour.byte().view(1, 3, 1, 1).expand_as(patches).clone()


def test_a_redirector_is_told_the_true_angles_and_those_of_the_lens_mirrored_for_right_eyes():
    marks = Marks()
    scores = measure(FACES, by_redirector(marks), MarkJudge())
    assert scores["all"]["off_mean"] < 0.3 and scores["all"]["within_5"] == 1
    (right, right_wanted), (left, left_wanted) = marks.calls[:2]
    assert left == [0, -2, 15.5] and left_wanted == [0, *LENS[::-1]]
    assert right == [0, -2, -15.5] and right_wanted == [0, LENS[1], -LENS[0]]


class Squinting(MarkJudge):
    """Errs by 3 degrees of yaw, always."""

    def gaze(self, patches, *of_face):
        return super().gaze(patches) + (3.0, 0.0)


def test_animations_of_a_painter_that_does_what_it_is_told(monkeypatch):
    monkeypatch.setattr(whole_faces, "tinted", lambda before, after, lids: after)
    per_degree = 4 / 127.5  # as the judge reads colours
    calibration = Calibration((per_degree, 0.0, 0.0, per_degree), (1.0, 1.0), 30, tuple(per_degree * x for x in LENS))
    exact, squinting = (
        measure_animation(FACES[:2], Painter(), calibration, judge(), turned=1) for judge in (MarkJudge, Squinting)
    )
    assert exact["falls_along_alpha"] == exact["falls_in_degrees"] == exact["steady_falls_in_degrees"] == 1
    assert exact["falls_in_degrees_end"] < 0.5  # asked for the camera; the paper's code ends where the correction looks
    camera = np.array([0.1, 0.2]) / per_degree - LENS
    assert exact["falls_along_alpha_end"] == pytest.approx(np.hypot(*camera), abs=0.5)
    assert exact["slope"] == pytest.approx(1, abs=0.02) and exact["pitch_slope"] == pytest.approx(1, abs=0.05)
    assert exact["asked_10_left"] < 0.5 and exact["asked_10_right"] < 0.5 and exact["judge_error"] < 0.2
    assert squinting["falls_in_degrees_end"] == pytest.approx(3, abs=0.5) and squinting["judge_error"] > 2.8
    assert squinting["zeroed_falls_in_degrees_end"] < 0.5
    assert set(measure_animation(FACES[:1], Painter(), None, MarkJudge())) < set(exact)


def test_animations_are_aimed_if_the_weights_know_the_lens(monkeypatch):
    monkeypatch.setattr(whole_faces, "tinted", lambda before, after, lids: after)
    monkeypatch.setattr(aimed_eyes, "gaze_reader", MarkJudge)
    half = 0.5 * 4 / 127.5  # eyes turn by half of what they are asked for
    common = Calibration((half, 0.0, 0.0, half), (1.0, 1.0), 30, tuple(2 * half * x for x in LENS))
    faces = [replace(face, points=points_of(face.lids)) for face in FACES[:2]]
    slack, aimed = (
        measure_animation(faces, Painter(), calibration, MarkJudge())
        for calibration in (common, replace(common, lens_reads=LENS))
    )
    assert slack["slope"] == pytest.approx(0.5, abs=0.02) and aimed["slope"] == pytest.approx(1, abs=0.05)
    assert slack["asked_10_left"] == pytest.approx(5, abs=0.5) and aimed["asked_10_left"] < 0.5
    assert aimed["pitch_slope"] == pytest.approx(1, abs=0.05) and aimed["falls_in_degrees_end"] < 0.5


def test_a_set_without_true_pictures_is_one_line(tmp_path, run_script_in):
    flags = ["--world=cartoons", "--people=1", "--views=2", "--size=64", "--corrected=1", "--outdir=set"]
    assert run_script_in(tmp_path, "redirection/gaze_animation/prepare.py", *flags).code == 0
    (one,) = read_faces(tmp_path / "set")
    assert one.picture.shape == one.corrected.shape == (64, 64, 3) and one.lids["L"].shape == (6, 2)
    assert abs(one.lids["L"].mean(axis=0)[0] - 44) < 5  # of 64: the person's left eye is at the image's right
    for file in (tmp_path / "set" / "corrected").iterdir():
        file.unlink()
    with pytest.raises(ValueError, match="no true corrected pictures"):
        read_faces(tmp_path / "set")


def test_the_sheet_shows_both_eyes_of_each_face_in_a_row_for_each_method():
    flat = [TestFace(f.name, np.full_like(f.picture, 200), f.corrected, f.lids, f.truth) for f in FACES[:2]]
    sheet = eyes_by_method(flat, {"nothing": nothing, "true picture": true_picture})
    assert sheet.shape == (2 * (24 + 72), 2 * 216, 3)
    assert (sheet[24:96] == 200).all()
    ends = sheet[120 + 36, [108 - 54, 108 + 54, 216 + 54]]  # an eye lies at a quarter and at three quarters
    assert (np.abs(ends.astype(int) - shown(*LENS)[93, 128 - 49]) <= 1).all() and (sheet[120 + 36, 108] == 128).all()
