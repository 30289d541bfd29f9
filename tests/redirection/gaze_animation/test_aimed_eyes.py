"""Degrees bent for one face: painted eyes are read, by a reader that knows the paint."""

import dataclasses

import numpy as np
import pytest
import torch
from known_eyes import lids_at, points_of

from redirection.gaze_animation import aimed_eyes, whole_faces
from redirection.gaze_animation.aimed_eyes import PROBES, aimed, aims, response, to_camera
from redirection.gaze_animation.eye_paths import Aim, Calibration
from redirection.gaze_animation.moving_eyes import moved_frames
from redirection.gaze_animation.portrait_making import eyes_of
from redirection.gaze_animation.whole_faces import FaceEyes, Fates
from redirection.lid_points import lids_of

LENS = (0.5, -2.0)  # what is read of eyes that look into the lens
MAP = Calibration((0.02, 0.0, 0.003, 0.03), (1.0, 1.0), 30, (0.05, -0.1), LENS)
PICTURE = np.full((200, 320, 3), 120, np.uint8)
OWN = np.array([[0.8, -0.1], [0.2, 0.7], [4.0, 1.0]])  # what is read of eyes that are asked for (yaw, pitch, 1)


def face_at(apart: float = 62, points: bool = True) -> FaceEyes:
    lids = lids_at(160, 100, apart=apart)
    return FaceEyes.of_points(points_of(lids)) if points else FaceEyes.of_lids(lids)


FACE = face_at()


class PaintReader:
    """Reads the code in the middle of a patch, and says what a face with response OWN, which bends, shows there."""

    def gaze(self, patches, points=None, squares=None, size=None):
        for own, (right, left) in zip(points if squares else (), squares or (), strict=True):
            assert [(square.x, square.y) for square in (right, left)] == pytest.approx(eyes_of(lids_of(own)))
            assert right.mirrored and right.x < size / 2 < left.x and not left.mirrored and size == 64
        code = patches[:, 1, :2, 28:36, 28:36].double().mean(dim=(2, 3)).numpy() / 127.5 - 1
        asked = (code - MAP.code_at_camera) @ np.linalg.inv(np.reshape(MAP.code_per_degree, (2, 2))).T
        return np.column_stack([asked, np.ones(len(asked))]) @ OWN + 0.01 * asked**2


@pytest.fixture
def plain(monkeypatch):
    """Boxes are pasted as they are painted."""
    monkeypatch.setattr(whole_faces, "tinted", lambda before, after, lids: after)
    monkeypatch.setattr(aimed_eyes, "gaze_reader", PaintReader)


def read_of(frames):
    """[T, 2] degrees of frames that the painter made."""
    x, y = FACE.eyes[0].astype(int)
    patches = torch.from_numpy(np.stack([np.full((2, 64, 64, 3), frame[y, x]) for frame in frames]))
    return PaintReader().gaze(patches.permute(0, 1, 4, 2, 3))


def test_the_response_of_a_face_is_what_is_read_of_its_painted_eyes(painter, plain):
    found, there = response(PICTURE, FACE, painter, MAP, PaintReader())
    assert found == pytest.approx(np.column_stack([PROBES, np.ones(len(PROBES))]) @ OWN + 0.01 * PROBES**2, abs=1)
    assert there == pytest.approx(read_of([PICTURE])[0], abs=0.6)
    squinting = dataclasses.replace(FACE, opened=1.1 * whole_faces.CLOSED)  # of which a photo changes by a part only
    assert (response(PICTURE, squinting, painter, MAP, PaintReader())[0] == found).all()


def test_aimed_eyes_show_what_is_wanted_from_the_lens(painter, plain):
    way = np.array([(0.0, 0.0), (10.0, 0.0), (-6.0, 5.0), (0.0, -5.0)])
    found = aims(PICTURE, [FACE], painter, MAP)
    drawn = moved_frames(PICTURE, [FACE], painter, way, MAP, Fates(), aimed=found)
    assert np.abs(read_of(drawn) - LENS - way).max() < 1
    common = read_of(moved_frames(PICTURE, [FACE], painter, way, MAP, Fates()))
    assert np.abs(common - LENS - way).max() > 3
    own = moved_frames(PICTURE, [FACE], painter, np.array([(0, 0, 1.0)]), MAP, Fates(), aimed=found)
    assert read_of(own)[0] == pytest.approx(read_of([PICTURE])[0], abs=2)  # what is read of the picture as it is
    (paint,) = to_camera(PICTURE, [FACE], painter, MAP)
    at_camera = whole_faces.painted(PICTURE, [FACE], [paint], painter.config.size, Fates())
    assert read_of([at_camera])[0] == pytest.approx(LENS, abs=1)


def test_each_face_of_a_picture_has_its_own_aim(painter, plain):
    other = FaceEyes.of_points(points_of(lids_at(160, 160)))
    aims_of_both = [Aim(), Aim(lambda wanted: wanted + (10.0, 0.0))]
    (frame,) = moved_frames(PICTURE, [FACE, other], painter, np.zeros((1, 2)), MAP, Fates(), aimed=aims_of_both)
    first, second = (frame[int(y), int(x), :2] / 127.5 - 1 for x, y in (FACE.eyes[0], other.eyes[0]))
    assert first == pytest.approx(MAP.code_at_camera, abs=0.01)
    assert second - first == pytest.approx(np.reshape(MAP.code_per_degree, (2, 2)) @ (10, 0), abs=0.01)


def test_weights_that_do_not_know_the_lens_are_not_aimed_and_gx_corrects(painter):
    bare = dataclasses.replace(MAP, lens_reads=None)
    assert aims(PICTURE, [FACE], painter, bare) is None and aims(PICTURE, [FACE], painter, None) is None
    assert to_camera(PICTURE, [FACE], painter, bare) == [painter.correct]


def test_a_face_that_cannot_be_aimed_is_left_to_gx(painter, plain):
    known, unknown = to_camera(PICTURE, [FACE, face_at(points=False)], painter, MAP)
    assert known != painter.correct and unknown == painter.correct


def shown_by(response: np.ndarray) -> np.ndarray:
    return np.column_stack([PROBES, np.ones(len(PROBES))]) @ response


def test_a_face_that_is_read_as_no_other_keeps_the_common_map_and_so_does_one_without_points(painter, plain):
    assert aimed(MAP, shown_by(OWN), np.zeros(2)).bend is not None
    no_shift = np.vstack([OWN[:2], LENS])
    small, large, backward = (no_shift * [[gain], [gain], [1]] for gain in (0.1, 10, -1))
    aside, none = no_shift + [[0], [0], [25]], 0 * OWN
    turned = np.array([[0.05, 0.22], [-0.22, 0.05], LENS])  # yaw shows as pitch, and pitch as yaw
    for one in (small, large, backward, aside, none, turned, OWN * np.nan):
        assert aimed(MAP, shown_by(one), np.zeros(2)) == Aim()
    assert aimed(MAP, shown_by(OWN), np.array([0.0, np.nan])) == Aim()
    assert aims(PICTURE, [face_at(points=False)], painter, MAP) == [Aim()]
    outside = FaceEyes.of_points(points_of(lids_at(0, 100)))  # one eye is not in the picture
    assert aims(PICTURE, [face_at(apart=5), outside], painter, MAP) == [Aim(), Aim()]


def test_two_probes_that_are_read_in_the_wrong_order_do_not_fold_the_bend():
    read = shown_by(OWN)
    middle, beside = (PROBES.tolist().index([yaw, 0.0]) for yaw in (0.0, 6.0))
    read[beside] = read[middle] - 0.2 * OWN[0]
    asked = aimed(MAP, read, np.zeros(2)).bend(np.linspace(-8, 12, 41)[:, None] * (1, 0))
    assert (np.diff(asked[:, 0]) > 0).all()


def test_a_gaze_reader_that_cannot_be_read_is_told(painter, monkeypatch):
    def damaged():
        raise ValueError("people_gaze_reader.safetensors: holds no face judge network of ours")

    monkeypatch.setattr(aimed_eyes, "gaze_reader", damaged)
    with pytest.raises(ValueError, match="holds no face judge"):
        aims(PICTURE, [FACE], painter, MAP)


def test_little_more_is_asked_than_was_probed():
    bend = aimed(MAP, shown_by(OWN), np.zeros(2)).bend
    assert np.abs(bend(np.array([(80.0, 60.0), (-80.0, -60.0)]))).max(axis=0) == pytest.approx(aimed_eyes.MOST)
