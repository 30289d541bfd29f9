"""What a reader of faces is given: both eyes, and where they and the face's points lie in the portrait."""

import numpy as np
import pytest
from known_eyes import lids_at, points_of

from redirection.face_reading import MOVES, PATCH, read_gaze, steady_gaze

SIZE = 128
LIDS = lids_at(64, 46, apart=50)
POINTS = points_of(LIDS)


class Recorder:
    """Reads where the square of the right eye lies, in pixels of a patch from the middle of that eye's lids."""

    def __init__(self):
        self.given = []

    def gaze(self, patches, points, squares, size):
        self.given.append((patches, points, squares, size))
        middle = LIDS["R"].mean(axis=0)
        return np.array([((one.x, one.y) - middle) / one.side * PATCH for one, _ in squares])


def test_both_eyes_are_cut_by_their_lids_and_the_reader_is_told_where_in_a_portrait_of_which_size():
    picture = np.zeros((SIZE, SIZE, 3), np.uint8)
    picture[:, :54, 0] = 200  # what lies at the left of a pixel column in the right eye
    picture[:, 54:] = (0, 100, 50)
    reader = Recorder()
    assert read_gaze(reader, [picture] * 2, [LIDS] * 2, [POINTS] * 2) == pytest.approx(np.zeros((2, 2)), abs=1e-6)
    ((patches, points, squares, size),) = reader.given
    assert patches.shape == (2, 2, 3, PATCH, PATCH) and size == SIZE
    assert (points == np.stack([POINTS, POINTS])).all()
    right, left = squares[1]
    assert (right.mirrored, left.mirrored) == (True, False) and right.side == pytest.approx(3.4 * 12)
    assert (left.x, left.y) == pytest.approx(LIDS["L"].mean(axis=0))
    assert patches[1, 0, 0, 32, 60] == 200 and patches[1, 0, 0, 32, 4] == 0  # mirrored: what lay left lies right
    assert patches[1, 1, :, 32, 4].tolist() == patches[1, 1, :, 32, 60].tolist() == [0, 100, 50]


def test_a_steady_reading_is_the_mean_of_nine_that_are_cut_a_pixel_of_a_patch_beside():
    reader, picture = Recorder(), np.zeros((SIZE, SIZE, 3), np.uint8)
    assert steady_gaze(reader, [picture], [LIDS], [POINTS]) == pytest.approx(np.zeros((1, 2)), abs=1e-6)
    middle = LIDS["R"].mean(axis=0)
    seen = {tuple(np.round(((one.x, one.y) - middle) / one.side * PATCH, 6) + 0.0)
            for _, _, (((one, _)),), _ in reader.given}  # fmt: skip
    assert len(reader.given) == 9 and seen == set(MOVES)
    assert all((points == POINTS).all() for _, points, _, _ in reader.given)
