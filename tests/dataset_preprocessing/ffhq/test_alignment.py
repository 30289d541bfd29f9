"""FFHQ's alignment: its square by hand, and that what is drawn in a photo arrives where the square says."""

import numpy as np
import pytest
from PIL import Image

from dataset_preprocessing.ffhq.alignment import Eyes, align, eyes_of, quad_of, side_of, to_aligned, to_photo

FACE = Eyes(np.array([[100.0, 100], [160, 100]]), np.array([[110.0, 170], [150, 170]]))


def turned(points, degrees, centre=(0, 0)):
    a = np.radians(degrees)
    matrix = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
    return (points - centre) @ matrix.T + centre


def test_the_square_of_an_upright_face_is_the_one_worked_out_by_hand():
    # across (60, 0), down (0, 70); half a side is 1.8 max(2 60, 1.8 70) = 226.8, round (130, 100 + 0.1 70)
    half = 1.8 * 1.8 * 70
    corners = [(-half, -half), (-half, half), (half, half), (half, -half)]
    np.testing.assert_allclose(quad_of(FACE), np.array([130, 107]) + corners)
    wide = quad_of(Eyes(FACE.eyes * (2, 1), FACE.mouth * (2, 1)))  # now the eyes decide: 1.8 2 120
    assert side_of(wide) == pytest.approx(2 * 1.8 * 2 * 120)


def test_a_face_that_leans_by_20_degrees_has_a_square_that_does():
    leaning = Eyes(turned(FACE.eyes, 20), turned(FACE.mouth, 20))
    np.testing.assert_allclose(quad_of(leaning), turned(quad_of(FACE), 20), atol=1e-9)


def test_eyes_are_the_mean_of_six_points_and_the_mouth_is_its_corners():
    points = np.random.default_rng(0).normal(size=(68, 2))
    found = eyes_of(points)
    np.testing.assert_allclose(found.eyes, [points[36:42].mean(0), points[42:48].mean(0)])
    np.testing.assert_allclose(found.mouth, points[[48, 54]])
    np.testing.assert_allclose(eyes_of(points[:5]).mouth, points[3:5])


def dots(width, height, places, radius=6.0):
    """A grey photo with a white dot at each place."""
    y, x = np.mgrid[:height, :width]
    light = sum(np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * radius**2)) for px, py in places)
    return Image.fromarray(np.clip(90 + 150 * light, 0, 255).astype(np.uint8)).convert("RGB")


def centre_of(picture, near, reach=8):
    """The middle of the light within `reach` px of a place."""
    x0, y0 = (round(n) - reach for n in near)
    part = np.asarray(picture, float)[y0 : y0 + 2 * reach + 1, x0 : x0 + 2 * reach + 1, 0]
    part = np.clip(part - 110, 0, None)
    y, x = np.mgrid[: len(part), : len(part)]
    return (x * part).sum() / part.sum() + x0, (y * part).sum() / part.sum() + y0


@pytest.mark.parametrize(
    "size, half, side",
    [((600, 500), 150, 300), ((600, 500), 220, 100), ((600, 500), 400, 300), ((90, 80), 60, 300)],
    ids=["within the photo", "of a photo that is reduced first", "reaching over its edge", "of a small photo"],
)
def test_what_is_drawn_in_a_photo_arrives_where_the_square_says(size, half, side):
    middle = np.array(size) * (0.45, 0.52)
    quad = turned(middle + np.array([[-1, -1], [-1, 1], [1, 1], [1, -1]]) * half, 25, middle)
    places = middle + turned(np.array([[-0.3, -0.3], [0.35, -0.1], [0.0, 0.33]]) * min(half, *middle), 25)
    scale = side / side_of(quad)
    picture = align(dots(*size, places, 3 / scale), quad, side, 2 * side)
    assert picture.size == (side, side)
    for place, expected in zip(places, to_aligned(places, quad, side), strict=True):
        assert centre_of(picture, expected) == pytest.approx(expected, abs=0.35), place
    np.testing.assert_allclose(to_photo(to_aligned(places, quad, side), quad, side), places)


def test_what_the_photo_does_not_show_fades_to_its_median_colour_and_never_to_black():
    stripes = np.zeros((200, 200, 3), np.uint8) + np.uint8([200, 120, 60])
    stripes[:, np.arange(200) % 16 < 4] = 0
    quad = np.array([[-200.0, -200], [-200, 400], [400, 400], [400, -200]])
    picture = np.asarray(align(Image.fromarray(stripes), quad, 300, 600)).astype(int)
    assert np.abs(picture[[0, 0, -1, -1], [0, -1, 0, -1]] - [150, 90, 45]).max() <= 12  # a tenth of the size: blurred
    assert np.abs(picture[:5] - picture[0, 0]).max() <= 6  # no pattern is left there
    assert picture[140:160, 140:160].std(axis=(0, 1)).max() > 20  # and the photo itself is not blurred
    plain = np.asarray(align(Image.new("RGB", (200, 200), (10, 200, 30)), quad, 300, 600))
    assert np.abs(plain.astype(int) - (10, 200, 30)).max() <= 1


def test_a_square_outside_the_photo_is_refused():
    with pytest.raises(ValueError, match="outside the photo"):
        align(Image.new("RGB", (50, 50)), np.array([[500.0, 500], [500, 600], [600, 600], [600, 500]]))
