"""Where 3DDFA looks, and the matrix between photo and crop: the published numbers, and one convention for pixels."""

import numpy as np
import pytest
from golden import DATA, draw

from dataset_preprocessing.nv_rendering import crop_box
from groundwork.opencv import opencv


@pytest.fixture(scope="module")
def golden() -> dict:
    with np.load(DATA / "nv_rendering.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    """uint8 [720, 1280, 3], the golden files' photo, which is BGR."""
    blocks = np.uint8(np.clip(127 + 60 * draw("photo_blocks", (24, 40, 3), 0).numpy(), 0, 255))
    return opencv().blur(blocks.repeat(32, axis=0).repeat(32, axis=1)[:720, :1280], (15, 15))


def ramp(height: int, width: int) -> np.ndarray:
    """float32 [H, W, 3]: each pixel holds its x, its y and 1."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x, y, np.ones_like(x)], axis=2).astype(np.float32)


def test_boxes_and_the_matrix_are_the_published_ones(golden):
    box = crop_box.box_of_landmarks(golden["box_points"].T)
    assert np.abs(box - golden["roi_box"]).max() < 1e-9 * np.abs(box).max()
    assert np.abs(crop_box.crop_matrix(box, legacy=True) - golden["crop_params"]).max() < 1e-9 * 188
    # The golden file does not keep the detector's box; these are its mean side, 165, and its centre.
    found = crop_box.box_of_face(np.array([400, 250, 560, 420]))
    assert np.abs(found - golden["roi_box_from_bbox"]).max() < 1e-9 * 610


def test_colours_of_vertices_are_the_published_ones(golden, photo):
    assert (photo[8::16, 8::16] == golden["photo_every_16"]).all()
    places = golden["ddfa_vertices_photo_every_17"][:2].T.astype(np.float64)
    assert (crop_box.nearest_colours(photo, places) == golden["vertex_colours_every_17"]).all()


@pytest.mark.parametrize("side", [87.3, 120.0, 231.4])
def test_the_matrix_says_which_point_of_the_photo_each_pixel_of_the_crop_shows(side):
    box = np.array([33.4, 20.7, 33.4 + side, 20.7 + side])
    crop, matrix = crop_box.cut(ramp(300, 320), box), crop_box.crop_matrix(box)
    pixels = np.array([[0, 0], [119, 119], [17, 93]], np.float64)
    shown = crop[pixels[:, 1].astype(int), pixels[:, 0].astype(int), :2]
    assert np.abs(crop_box.to_photo(pixels, matrix) - shown).max() < 0.04  # OpenCV blends in steps of 1/32 px
    # The outer edges of the first and last pixel are those of the box.
    assert np.abs(crop_box.to_photo(np.array([[-0.5, -0.5], [119.5, 119.5]]), matrix).ravel() - box).max() < 1e-9


def test_the_published_mix_is_off_by_up_to_a_pixel_of_the_crop():
    box = np.array([33.4, 20.7, 264.8, 252.1])
    crop, matrix = crop_box.cut(ramp(300, 320), box, legacy=True), crop_box.crop_matrix(box, legacy=True)
    corners = np.array([[0, 0], [119, 119]], np.float64)
    shown = np.stack([crop[0, 0, :2], crop[119, 119, :2]])
    off = (crop_box.to_photo(corners, matrix) - shown) * matrix[0, 0]
    assert 0.3 < np.abs(off).max() < 1.1


@pytest.mark.parametrize("legacy", [False, True])
def test_what_lies_outside_the_photo_is_black(legacy):
    crop = crop_box.cut(ramp(100, 100), np.array([-50.0, -50.0, 70.0, 70.0]), legacy)
    assert (crop[:48, :, 2] == 0).all() and (crop[:, :48, 2] == 0).all() and (crop[52:, 52:, 2] == 1).all()
    assert np.abs(crop[60, 60, :2] - 10).max() < 0.6


def test_a_box_without_area_or_outside_the_photo_is_an_error():
    with pytest.raises(ValueError, match="shows no face"):
        crop_box.crop_matrix(np.array([5.0, 5.0, 5.0, 9.0]))
    with pytest.raises(ValueError, match="lies outside the photo"):
        crop_box.cut(ramp(100, 100), np.array([200.0, 5.0, 240.0, 45.0]))


def test_blended_colours_are_exact_between_pixels_and_those_of_the_edge_outside():
    places = np.array([[3.25, 7.5], [0, 0], [99, 49], [-5, 60], [98.5, 20.25]])
    found = crop_box.blended_colours(ramp(50, 100), places)
    assert found[:, :2].tolist() == np.rint(places.clip(0, (99, 49))).astype(int).tolist()
    step = np.zeros((2, 2, 3), np.uint8)
    step[:, 1] = 100
    assert crop_box.blended_colours(step, np.array([[0.25, 0.5], [0.8, 0.1]]))[:, 0].tolist() == [25, 80]
