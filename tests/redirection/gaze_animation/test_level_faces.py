"""Portraits: where they lie, what is cut and pasted, and eyes of mirrored pictures."""

import numpy as np
import pytest
import torch

from redirection.gaze_animation.level_faces import PORTRAIT, SIDE, Placed, boxes_of, mirrored


def photo(height=300, width=400):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_the_eyes_of_a_turned_face_lie_level_at_the_published_places():
    eyes = np.array([[150.0, 120.0], [230.0, 160.0]])
    place = Placed.of_eyes(eyes)
    found = place.to_portrait(eyes, SIDE)
    assert found == pytest.approx(np.array([[79, 93], [177, 93]]), abs=1e-9)
    assert place.angle == pytest.approx(np.arctan2(40, 80))
    assert place.to_picture(found, SIDE) == pytest.approx(eyes)


def test_a_portrait_shows_what_lies_round_the_eyes():
    picture = np.zeros((300, 400, 3), np.uint8)
    eyes = np.array([[150.0, 120.0], [230.0, 160.0]])
    for (x, y), colour in zip(eyes.astype(int), ((255, 0, 0), (0, 255, 0)), strict=True):
        picture[y - 4 : y + 4, x - 4 : x + 4] = colour
    for size in (128, 256):
        portrait = Placed.of_eyes(eyes).cut(picture, size)
        left, right = (np.array([[79, 93], [177, 93]]) * size / SIDE).astype(int)
        assert portrait[left[1], left[0]].tolist() == [255, 0, 0]
        assert portrait[right[1], right[0]].tolist() == [0, 255, 0]


def test_scale_and_shift_move_the_face_in_the_portrait():
    eyes = np.array([[100.0, 100.0], [160.0, 100.0]])
    found = Placed.of_eyes(eyes, PORTRAIT, scale=1.25, shift=(0.1, -0.05)).to_portrait(eyes, 1.0)
    assert found.mean(axis=0) == pytest.approx([0.6, PORTRAIT.height - 0.05])
    assert found[1, 0] - found[0, 0] == pytest.approx(PORTRAIT.distance / 1.25)


def test_boxes_follow_the_distance_of_the_eyes_and_may_be_fixed():
    eyes = np.array([[79.0, 93.0], [177.0, 93.0]])
    assert boxes_of(eyes) == pytest.approx(np.array([[49, 73, 109, 113], [147, 73, 207, 113]]))
    half = boxes_of(eyes / 2, side=128)
    assert half == pytest.approx(boxes_of(eyes) / 2)
    assert boxes_of(eyes, (50, 30))[0] == pytest.approx([54, 78, 104, 108])


@pytest.mark.parametrize("turned", [0.0, 25.0])
def test_outside_the_boxes_the_picture_keeps_every_bit_and_inside_it_changes(turned):
    picture, way = photo(), np.deg2rad(turned)
    eyes = np.array([150.0, 140.0]) + np.outer([-0.5, 0.5], [np.cos(way), np.sin(way)]) * 80
    place = Placed.of_eyes(eyes)
    before = place.cut(picture, 128)
    boxes = boxes_of(place.to_portrait(eyes, 128), side=128)
    out = place.paste(picture, before, 255 - before, boxes)
    rows, columns = np.indices(picture.shape[:2])
    places = place.to_portrait(np.stack([columns + 0.5, rows + 0.5], -1), 128)
    inside = np.zeros(picture.shape[:2], bool)
    for left, top, right, bottom in boxes:
        inside |= ((places > (left, top)) & (places < (right, bottom))).all(-1)
    assert (out[~inside] == picture[~inside]).all()
    middle = place.to_picture((boxes[:, :2] + boxes[:, 2:]) / 2, 128).astype(int)
    assert all(np.abs(out[y, x].astype(int) - picture[y, x]).max() > 20 for x, y in middle)
    assert (place.paste(picture, before, before, boxes) == picture).all()


def test_the_paste_fades_out_so_a_uniform_change_leaves_no_edge():
    grey = np.full((300, 400, 3), 100, np.uint8)
    place = Placed.of_eyes(np.array([[100.0, 150.0], [300.0, 150.0]]))
    before = place.cut(grey, 256)
    boxes = boxes_of(place.to_portrait(np.array([[100.0, 150.0], [300.0, 150.0]]), 256))
    row = place.paste(grey, before, before + np.uint8(60), boxes)[150, :, 0].astype(int)
    assert row.max() == 160 and np.abs(np.diff(row)).max() <= 8


def test_a_box_outside_the_picture_is_left_alone():
    picture = photo(60, 60)
    place = Placed.of_eyes(np.array([[5.0, 5.0], [45.0, 5.0]]))
    boxes = boxes_of(place.to_portrait(np.array([[5.0, 5.0], [45.0, 5.0]]), 64), side=64)
    assert place.share_outside(boxes, 64, picture) > 0.2
    out = place.paste(picture, place.cut(picture, 64), np.zeros((64, 64, 3), np.uint8), boxes)
    assert out.shape == picture.shape and (out[30:] == picture[30:]).all() and (out != picture).any()


def test_eyes_that_are_none_are_refused():
    with pytest.raises(ValueError, match="apart, least 8"):
        Placed.of_eyes(np.array([[10.0, 10.0], [12.0, 10.0]]))
    with pytest.raises(ValueError, match="not finite"):
        Placed.of_eyes(np.array([[10.0, np.nan], [12.0, 10.0]]))


def test_mirrored_pictures_mirror_their_eyes_and_keep_the_left_one_first():
    images = torch.zeros(1, 3, 64, 64)
    images[0, 0, 20, 10], images[0, 1, 30, 50] = 1, 1  # left eye red, right eye green
    eyes = torch.tensor([[[10.5, 20.5], [50.5, 30.5]]])
    turned, places = mirrored(images, eyes)
    (lx, ly), (rx, ry) = places[0].long().tolist()
    assert lx < rx and turned[0, 1, ly, lx] == 1 and turned[0, 0, ry, rx] == 1
    back, again = mirrored(turned, places)
    assert torch.equal(back, images) and torch.equal(again, eyes)
