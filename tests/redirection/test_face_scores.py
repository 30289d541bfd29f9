"""Scores of corrected faces, on pictures and angles whose score is known."""

import numpy as np
import pytest

from redirection.face_scores import animation, at_camera, falls, likeness, off, psnr, seam, ssim

BOXES = np.array([[10, 20, 40, 40], [60, 20, 90, 40]])


def picture(seed=0):
    """A slope of grey with some noise, as skin is."""
    rng = np.random.default_rng(seed)
    grey = np.linspace(60, 160, 100)[None, :] + rng.normal(0, 2, (64, 100))
    return np.repeat(grey[..., None], 3, 2).round().clip(0, 255).astype(np.uint8)


def test_degrees_between_gazes():
    assert off([[10, 0], [0, -7], [3, 4]], [[0, 0], [0, 0], [0, 0]]) == pytest.approx([10, 7, 5], abs=0.01)
    score = at_camera(np.array([[2.0, 0], [6, 0], [0, 9], [20, 0]]), np.zeros((4, 2)))
    assert score["off_mean"] == pytest.approx(9.25)
    assert [score[f"within_{d}"] for d in (5, 7, 10)] == [0.25, 0.5, 0.75]
    lens = np.full((4, 2), (0.0, -2.0))
    assert at_camera(lens, lens)["off_mean"] == pytest.approx(0, abs=1e-6)


def test_likeness_is_of_the_boxes_alone():
    true, other = picture(), picture()
    other[50:] = 0
    assert likeness(other, true, BOXES) == (99.0, pytest.approx(1.0))
    other = true.copy()
    other[25:30, 15:25] = 0
    worse = likeness(other, true, BOXES)
    assert worse[0] < 70 and worse[1] < 0.99
    assert psnr(np.full((4, 4, 3), 100, np.uint8), np.full((4, 4, 3), 110, np.uint8)) == pytest.approx(28.13, abs=0.01)


def test_structural_similarity_is_that_of_another_program():
    metrics = pytest.importorskip("skimage.metrics")
    a, b = picture(), picture(1)
    b[20:40] //= 2
    grey = [one.astype(float).mean(axis=2) for one in (a, b)]
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255, "full": True}
    assert ssim(a, b) == pytest.approx(metrics.structural_similarity(*grey, **settings)[1].mean(), abs=1e-6)


def test_a_pasted_rectangle_has_a_seam_and_its_soft_twin_has_none():
    plain = picture()
    assert seam(plain, BOXES) == pytest.approx(1, abs=0.15)
    hard = plain.copy()
    for left, top, right, bottom in BOXES:
        hard[top:bottom, left:right] += 20
    assert seam(hard, BOXES) > 4
    beside = seam(hard, BOXES + (7, 7, -7, -7))
    assert beside < 1.5


def test_slope_linearity_and_monotone_share_of_an_animation():
    asked = np.array([-15.0, -7.5, 0, 7.5, 15])
    exact = animation(asked, np.stack([0.9 * asked + 1, 0.9 * asked - 1]))
    assert exact["slope"] == pytest.approx(0.9) and exact["bend"] == pytest.approx(0, abs=1e-9)
    assert exact["monotone"] == 1 and 0.97 < exact["r2"] < 1
    stuck = animation(asked, np.stack([asked, np.array([-15, 0, -1, 7, 15.0])]))
    assert stuck["monotone"] == 0.5 and stuck["bend"] > 1
    assert animation(asked[::-1], np.stack([asked[::-1]]))["monotone"] == 1
    assert animation(asked, -asked[None])["slope"] == pytest.approx(-1)


def test_the_share_of_faces_whose_angle_falls():
    off_camera = np.array([[15, 10, 5, 1.0], [15, 16, 5, 1]])
    assert falls(off_camera) == 0.5 and falls(off_camera, slack=1) == 1
