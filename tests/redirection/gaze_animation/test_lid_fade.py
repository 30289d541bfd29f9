"""Where painted eyes are seen, and the colour of their irises."""

import numpy as np
import pytest
import torch

from redirection.gaze_animation.iris_tint import tinted
from redirection.gaze_animation.level_faces import Placed, boxes_of
from redirection.gaze_animation.lid_fade import NOT, WHOLLY, fade_round_lids, outside

SQUARE = np.array([[0.0, 0.0], [2.0, 0.0], [4.0, 0.0], [4.0, 3.0], [2.0, 3.0], [0.0, 3.0]])


def lids(x, y, width=40.0, height=16.0):
    """Six points of one eye."""
    w, h = width / 2, height / 2
    return np.array([[x - w, y], [x - w / 3, y - h], [x + w / 3, y - h], [x + w, y], [x + w / 3, y + h],
                     [x - w / 3, y + h]])  # fmt: skip


def test_the_distance_from_a_polygon_is_0_inside_and_that_of_the_nearest_edge_or_corner_outside():
    places = np.array([[2.0, 1.5], [3.9, 0.1], [6.0, 1.0], [2.0, -3.0], [7.0, 7.0], [-3.0, -4.0]])
    assert outside(places, SQUARE) == pytest.approx([0, 0, 2, 3, 5, 5])


def test_a_paint_is_seen_within_the_lids_and_fades_out_round_them():
    points = lids(100, 100)
    right = points[3]
    places = right + np.array([[-20.0, 0], [0, 0], [WHOLLY * 40, 0], [(WHOLLY + NOT) * 20, 0], [NOT * 40, 0], [99, 0]])
    assert fade_round_lids(places, points) == pytest.approx([1, 1, 1, 0.5, 0, 0])


def test_what_changes_far_from_the_lids_of_a_box_is_not_pasted():
    picture = np.full((200, 300, 3), 100, np.uint8)
    eyes = np.array([[100.0, 100.0], [200.0, 100.0]])
    place = Placed.of_eyes(eyes)
    before, boxes = place.cut(picture, 128), boxes_of(place.to_portrait(eyes, 128), side=128)
    both = place.to_portrait(np.stack([lids(*eye, width=24.0, height=8.0) for eye in eyes]), 128)
    plain = place.paste(picture, before, before + np.uint8(60), boxes)
    faded = place.paste(picture, before, before + np.uint8(60), boxes, both)
    assert plain[100, 100, 0] == faded[100, 100, 0] == 160
    assert plain[86, 100, 0] > 150 and faded[86, 100, 0] == 100
    assert (faded <= plain).all()


def eye_pair(iris, at):
    """A face [1, 3, 64, 64]: two white eyes of known lids whose irises, with pupils, lie `at` px from their middles."""
    face = np.full((64, 64, 3), 180, np.uint8)
    rows, columns = np.indices((64, 64)) + 0.5
    points = np.stack([lids(x, 24, 18, 9) for x in (18, 46)])
    for x in (18, 46):
        inside = (np.abs(columns - x) < 8) & (np.abs(rows - 24) < 4)
        face[inside] = 240
        away = np.hypot(columns - x - at, rows - 24)
        face[inside & (away < 3.5)] = iris
        face[inside & (away < 1.2)] = 10
    return torch.from_numpy(face).permute(2, 0, 1)[None].float() / 127.5 - 1, points


def test_a_painted_iris_gets_the_colour_that_it_had_and_the_rest_stays():
    blue, brown = np.array([60, 90, 120]), np.array([90, 70, 55])
    before, points = eye_pair(blue, 3)
    after, _ = eye_pair(brown, -1)
    found = ((tinted(before, after, points)[0] + 1) * 127.5).permute(1, 2, 0).numpy()
    painted = ((after[0] + 1) * 127.5).permute(1, 2, 0).numpy()
    ring = np.isclose(painted, brown, atol=0.01).all(-1)
    assert ring.sum() > 20
    red, _, blue_there = found[ring].mean(0)
    assert 0 < blue_there - red <= 60  # it was -35; the ring that is compared has a little white at its edge
    far = np.abs(np.indices((64, 64))[0] + 0.5 - 24) > 6
    assert found[far] == pytest.approx(painted[far], abs=1e-3)
    same = tinted(after, after, points)
    assert torch.allclose(same, after, atol=1e-6)


def test_eyes_that_are_too_small_to_have_an_iris_are_left_alone():
    before, points = eye_pair(np.array([60, 100, 160]), 3)
    after = torch.zeros_like(before)
    assert torch.equal(tinted(before, after, (points - 24) * 0.1 + 24), after)
