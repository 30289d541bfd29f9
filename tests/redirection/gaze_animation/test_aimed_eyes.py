"""The map from degrees to codes bent for one face: painted eyes are read, by a reader that knows the paint."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from known_eyes import lids_at

from redirection.gaze_animation import aimed_eyes, whole_faces
from redirection.gaze_animation.aimed_eyes import aimed, aims, response, to_camera
from redirection.gaze_animation.eye_paths import Aim, Calibration
from redirection.gaze_animation.moving_eyes import moved_frames
from redirection.gaze_animation.whole_faces import FaceEyes, Fates

PICTURE = np.full((200, 320, 3), 120, np.uint8)
FACE = FaceEyes.of_lids(lids_at(160, 100))
MAP = Calibration((0.02, 0.0, 0.003, 0.03), (1.0, 1.0), 30, (0.05, -0.1))
MEAN = np.array([[1.0, 0.05], [-0.1, 0.8], [0.5, -2.0]])  # what is read of eyes that are asked for (yaw, pitch, 1)
OWN = np.array([[0.8, -0.1], [0.2, 0.7], [4.0, 1.0]])


class PaintReader:
    """Reads the code in the middle of a patch, and says what a face with response OWN shows at that code."""

    name = "paint"

    def read(self, patches):
        code = patches[:, :2, 28:36, 28:36].double().mean(dim=(2, 3)).numpy() / 127.5 - 1
        asked = (code - MAP.code_at_camera) @ np.linalg.inv(np.reshape(MAP.code_per_degree, (2, 2))).T
        yaw, pitch = torch.from_numpy(np.column_stack([asked, np.ones(len(asked))]) @ OWN).T
        sign = torch.tensor([-1.0, 1.0]).repeat(len(patches) // 2)  # patches of right eyes are mirrored
        none = torch.zeros(len(patches), 1)
        return SimpleNamespace(angles=torch.stack([0 * yaw, pitch, sign * yaw], 1), identity=none, features=none)


@pytest.fixture
def plain(monkeypatch):
    """Boxes are pasted as they are painted."""
    monkeypatch.setattr(whole_faces, "tinted", lambda before, after, lids: after)
    monkeypatch.setattr(aimed_eyes, "eye_reader", PaintReader)


def read_of(frames):
    """[T, 2] degrees of frames that the painter made."""
    x, y = FACE.eyes[0].astype(int)
    patches = torch.from_numpy(np.stack([np.full((64, 64, 3), frame[y, x]) for frame in frames for _ in "RL"]))
    return PaintReader().read(patches.permute(0, 3, 1, 2)).angles[1::2, [2, 1]].numpy()


def test_the_response_of_a_face_is_what_is_read_of_its_painted_eyes(painter, plain):
    found, there = response(PICTURE, FACE, painter, MAP, PaintReader())
    assert found == pytest.approx(OWN, abs=0.6)
    assert there == pytest.approx(read_of([PICTURE])[0], abs=0.6)


def test_aimed_eyes_show_what_those_of_the_mean_face_show(painter, plain):
    weights = dataclasses.replace(MAP, painted_reads=tuple(MEAN.ravel().tolist()))
    way = np.array([(0.0, 0.0), (12.0, 0.0), (-6.0, 5.0), (0.0, -7.0)])
    wanted = np.column_stack([way, np.ones(4)]) @ MEAN
    found = aims(PICTURE, [FACE], painter, weights)
    drawn = moved_frames(PICTURE, [FACE], painter, way, weights, Fates(), aimed=found)
    assert np.abs(read_of(drawn) - wanted).max() < 1
    common = read_of(moved_frames(PICTURE, [FACE], painter, way, weights, Fates()))
    assert np.abs(common - wanted).max() > 3
    own = moved_frames(PICTURE, [FACE], painter, np.array([(0, 0, 1.0)]), weights, Fates(), aimed=found)
    assert read_of(own)[0] == pytest.approx(read_of([PICTURE])[0], abs=2)  # what is read of the picture as it is
    (paint,) = to_camera(PICTURE, [FACE], painter, weights)
    at_camera = whole_faces.painted(PICTURE, [FACE], [paint], painter.config.size, Fates())
    assert read_of([at_camera])[0] == pytest.approx(MEAN[2], abs=1)


def test_weights_that_do_not_know_the_mean_face_are_not_aimed_and_gx_corrects(painter):
    assert aims(PICTURE, [FACE], painter, MAP) is None and aims(PICTURE, [FACE], painter, None) is None
    assert to_camera(PICTURE, [FACE], painter, MAP) == [painter.correct]


def test_a_face_that_is_read_as_no_other_keeps_the_common_map_and_so_does_one_without_lids(painter, plain):
    weights = dataclasses.replace(MAP, painted_reads=tuple(MEAN.ravel().tolist()))
    assert aimed(weights, OWN, MEAN[2]).map != weights and aimed(weights, OWN, MEAN[2]).own == pytest.approx((0, 0))
    for odd in (OWN + [[0, 0], [0, 0], [12, 0]], OWN * [[0.1], [1], [1]], OWN * [[-1], [1], [1]], 0 * OWN):
        assert aimed(weights, odd, MEAN[2]) == Aim(weights)
    bare = dataclasses.replace(FACE, lids=None)
    assert aims(PICTURE, [bare], painter, weights) == [Aim(weights)]
    small = FaceEyes.of_lids(lids_at(160, 100, apart=5))
    assert aims(PICTURE, [small], painter, weights) == [Aim(weights)]
