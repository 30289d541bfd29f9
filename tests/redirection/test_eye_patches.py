"""Circles round lids, patches, and pasting them back."""

import numpy as np
import pytest

from redirection.eye_patches import EyeSquare, enclosing_circle

LIDS = np.array([[20.0, 30], [26, 26], [34, 26], [40, 30], [34, 33], [26, 33]])  # 20 px wide, corners level


def picture(height=64, width=72):
    y, x = np.mgrid[:height, :width] / 64
    rng = np.random.default_rng(0)
    smooth = np.stack([127 + 90 * np.sin(5 * x + 3 * y), 127 + 90 * np.cos(4 * y), 255 * x / 2], -1)
    return (smooth + rng.normal(0, 6, smooth.shape)).clip(0, 255).astype(np.uint8)


def test_the_smallest_circle_touches_two_points_or_three():
    centre, radius = enclosing_circle(LIDS)
    assert centre == pytest.approx([30, 30]) and radius == pytest.approx(10)
    triangle = np.array([[0.0, 0], [2, 0], [1, np.sqrt(3)]])
    centre, radius = enclosing_circle(np.vstack([triangle, [[1, 0.5]]]))
    assert centre == pytest.approx([1, 1 / np.sqrt(3)]) and radius == pytest.approx(2 / np.sqrt(3))


def test_no_smaller_circle_holds_all_points():
    rng = np.random.default_rng(1)
    for _ in range(20):
        points = rng.normal(size=(6, 2))
        centre, radius = enclosing_circle(points)
        assert np.linalg.norm(points - centre, axis=1).max() <= radius * (1 + 1e-6)
        for move in rng.normal(size=(50, 2)) * 0.02:  # any other centre needs a larger one
            assert np.linalg.norm(points - centre - move, axis=1).max() > radius * (1 - 1e-9)


def test_points_on_a_line_and_equal_points_are_no_trouble():
    line = np.array([[0.0, 0], [1, 0], [2, 0], [3, 0], [2, 0], [1, 0]])
    assert enclosing_circle(line)[1] == pytest.approx(1.5)
    with pytest.raises(ValueError, match="too small"):
        EyeSquare.of_lids(np.ones((6, 2)), "L")


def test_the_square_is_three_point_four_radii_wide_and_right_eyes_are_mirrored():
    left, right = (EyeSquare.of_lids(LIDS, eye) for eye in "LR")
    assert (left.x, left.y, left.side) == pytest.approx((30, 30, 34)) and not left.mirrored and right.mirrored
    whole = picture()
    assert (right.cut(whole, 34) == left.cut(whole, 34)[:, ::-1]).all()
    assert (left.cut(whole, 34) == whole[13:47, 13:47]).all()  # at its own size a patch is the pixels themselves


def test_a_square_over_the_edge_repeats_it_and_one_outside_is_refused():
    whole = picture()
    patch = EyeSquare(4, 30, 34, False).cut(whole, 34)
    assert (patch[:, :13] == whole[13:47, :1]).all() and (patch[:, 13:] == whole[13:47, :21]).all()
    with pytest.raises(ValueError, match="outside"):
        EyeSquare(-1, 30, 34, False).cut(whole, 34)


@pytest.mark.parametrize("size", [24, 34, 64, 128])
@pytest.mark.parametrize("mirrored", [False, True])
def test_an_unchanged_patch_leaves_every_bit_of_the_picture(size, mirrored):
    whole, square = picture(), EyeSquare(30.3, 29.8, 33.7, mirrored)
    patch = square.cut(whole, size)
    assert (square.paste(whole, patch, patch) == whole).all()


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_changed_patch_arrives_at_its_place_and_fades_out_toward_the_edge(mirrored):
    whole, square = picture(), EyeSquare(30.3, 29.8, 33.7, mirrored)
    before = square.cut(whole, 64)
    after = before.copy()
    after[24:40, 40:56] = (255, 0, 0)
    pasted = square.paste(whole, before, after)
    again = square.cut(pasted, 64)
    assert np.abs(again[28:36, 44:52].astype(int) - (255, 0, 0)).max() < 12
    x = 13.45 + (64 - 48 if mirrored else 48) / 64 * 33.7  # of the middle of the red square
    assert pasted[29, int(x)].tolist() == [255, 0, 0]
    inside = np.zeros(whole.shape[:2], bool)
    inside[12:48, 12:49] = True
    assert (pasted[~inside] == whole[~inside]).all()
    everything = square.paste(whole, before, np.full_like(before, 255)).astype(int)
    jump = np.abs(np.diff(everything - whole, axis=1)).max(axis=(0, 2))
    assert jump[11:14].max() < 40 and (everything[28:32, 28:32] > 250).all()  # no seam at the edge


def test_what_lies_outside_the_lids_by_half_their_radius_keeps_every_bit():
    whole, square = picture(), EyeSquare(30.3, 29.8, 33.7, False)
    before = square.cut(whole, 64)
    pasted = square.paste(whole, before, 255 - before)
    y, x = np.mgrid[: whole.shape[0], : whole.shape[1]] + 0.5
    radii = np.hypot(x - 30.3, y - 29.8) / 33.7 * 3.4
    assert (pasted[radii > 1.5] == whole[radii > 1.5]).all()
    changed = (pasted != whole).any(axis=-1)
    assert changed[radii < 1].mean() > 0.95 and changed[(radii > 1.1) & (radii < 1.4)].mean() > 0.8


def test_the_detail_of_the_picture_stays_where_little_changes():
    whole, square = picture(), EyeSquare(30.3, 29.8, 33.7, False)
    before = square.cut(whole, 16)  # coarse: it lacks the noise
    after = before.copy()
    after[6:9, 6:9] = 255
    pasted = square.paste(whole, before, after)
    assert (pasted[14:20, 14:46] == whole[14:20, 14:46]).all()
