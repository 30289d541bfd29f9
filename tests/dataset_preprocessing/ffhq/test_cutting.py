import io
import math

import numpy as np
import pytest
from PIL import Image, ImageFilter

from dataset_preprocessing.ffhq import pos
from dataset_preprocessing.ffhq.cutting import Photo, cut_face, sharpness
from eg3d.geometry.landmarks import STANDARD_DM
from groundwork.archive import Unreadable
from groundwork.images import read_picture

STANDARD = STANDARD_DM.double().numpy()[:, :2] * (1, -1)


def noise(width, height, cell=8):
    coarse = np.random.default_rng(0).integers(0, 256, (height // cell + 1, width // cell + 1, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def face_at(x, y, scale, roll_deg=0.0):
    """Five points of the mean face whose origin lies at (x, y), `scale` px per decimetre, turned clockwise."""
    a = math.radians(roll_deg)
    return STANDARD * scale @ np.array([[math.cos(a), math.sin(a)], [-math.sin(a), math.cos(a)]]) + (x, y)


def as_published(image, at, side, rescale):
    """The formula of EG3D's chain, with the whole picture resized."""
    width, height = image.size
    s = rescale / at.scale
    w, h = int(width * s), int(height * s)
    left, top = int(w / 2 - side / 2 + (at.x - width / 2) * s), int(h / 2 - side / 2 + (height / 2 - at.y) * s)
    return image.resize((w, h), Image.Resampling.BICUBIC).crop((left, top, left + side, top + side))


@pytest.mark.parametrize("x, y, scale", [(300, 250, 90), (60, 40, 70), (420, 390, 200), (250, 200, 400)])
def test_a_crop_is_that_of_the_published_formula(x, y, scale):
    photo = noise(500, 430)
    points = face_at(x, y, scale)
    at = pos.place(points, photo.height + 1)  # half a pixel right of the published place, and half a pixel below
    canvas = as_published(photo, at, 1024, 300.0)
    expected = canvas.crop((162, 162, 862, 862)).resize((512, 512), Image.Resampling.LANCZOS)
    cut = cut_face(photo, points)
    assert np.abs(np.asarray(cut.picture).astype(int) - np.asarray(expected)).max() <= 2
    regressor = as_published(photo, at, 224, 102.0)
    assert np.abs(np.asarray(pos.crop(photo, at)).astype(int) - np.asarray(regressor)).max() <= 2
    assert cut.source_px == pytest.approx(700 / 300 * at.scale, rel=0.01)


def test_points_lie_in_the_crop_where_a_frontal_face_has_them():
    cut = cut_face(noise(500, 430), face_at(260, 200, 90))
    assert np.abs(cut.points - 0.5 - pos.frontal_points(512)).max() < 2  # the corner is a whole pixel, the size too


def dots(points, size, spread):
    """A bell of light round each point; the first pixel spans 0..1."""
    x, y = np.meshgrid(np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5)
    light = sum(np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * spread**2)) for px, py in points)
    return Image.fromarray(np.repeat((light * 255).clip(0, 255).astype(np.uint8)[..., None], 3, axis=2))


@pytest.mark.parametrize("roll", [-35, -8, 0, 12, 70])
@pytest.mark.parametrize("level", [False, True])
def test_the_crop_shows_the_points_where_it_says(roll, level):
    points = face_at(400, 330, 110, roll)
    cut = cut_face(dots(points, (800, 700), 2.5), points, level)
    light = np.asarray(cut.picture)[..., 0].astype(float)
    for x, y in cut.points:
        rows, columns = (slice(int(v) - 14, int(v) + 15) for v in (y, x))
        part = light[rows, columns]
        centre = np.array(
            [(part.sum(axis=0) * (np.arange(29) + 0.5)).sum(), (part.sum(axis=1) * (np.arange(29) + 0.5)).sum()]
        )
        assert np.abs(centre / part.sum() + (columns.start, rows.start) - (x, y)).max() < 0.1
    eyes = cut.points[1] - cut.points[0]
    assert math.degrees(math.atan2(eyes[1], eyes[0])) == pytest.approx(0 if level else roll, abs=0.3)
    assert cut.turned_deg == pytest.approx(roll if level else 0, abs=0.3)


def test_a_level_face_is_cut_as_an_upright_one():
    upright, leaning = (cut_face(noise(800, 700), face_at(400, 330, 110, roll), True) for roll in (0, 25))
    assert np.abs(upright.points - leaning.points).max() < 2
    assert leaning.source_px == pytest.approx(upright.source_px, rel=0.005)


@pytest.mark.parametrize("level", [False, True])
def test_a_crop_of_a_crop_is_the_crop(level):
    first = cut_face(noise(800, 700), face_at(400, 330, 110, 9), level)
    again = cut_face(first.picture, first.points, level)
    assert again.source_px == pytest.approx(512, rel=0.004)
    assert np.abs(again.points - first.points).max() < 1.5


@pytest.mark.parametrize("level", [False, True])
def test_what_lies_outside_is_measured_and_black(level):
    photo = Image.new("RGB", (600, 500), (255, 255, 255))
    inside = cut_face(photo, face_at(300, 250, 60, 20), level)
    assert inside.outside == 0 and np.asarray(inside.picture).min() > 250
    half = cut_face(photo, face_at(0, 250, 60, 20), level)
    black = (np.asarray(half.picture).max(axis=2) < 128).mean()
    assert 0.4 < half.outside < 0.6 and half.outside == pytest.approx(black, abs=0.01)
    gone = cut_face(photo, face_at(-900, 250, 60), level)
    assert gone.outside == 1 and np.asarray(gone.picture).max() == 0


def test_points_in_one_place_make_no_crop():
    with pytest.raises(ValueError, match="px per decimetre"):
        cut_face(noise(100, 100), np.full((5, 2), 50.0) + STANDARD * 1e-4)


def test_blur_is_seen_whatever_the_size_of_the_photo():
    from skimage import data

    photo = Image.fromarray(data.astronaut())
    points = np.array([(203.5, 101), (247, 103.5), (223, 128), (203, 139.5), (245, 141)])
    sharp = sharpness(cut_face(photo, points).picture)
    large = sharpness(cut_face(photo.resize((2048, 2048), Image.Resampling.BICUBIC), points * 4).picture)
    blurred = [sharpness(cut_face(photo.filter(ImageFilter.GaussianBlur(r)), points).picture) for r in (1, 2, 4)]
    assert large == pytest.approx(sharp, rel=0.1)
    assert sharp > blurred[0] > blurred[1] > blurred[2] and sharp > 2 * blurred[1]


# ------------------------------------------------------------------ files


def saved(picture, path, **more):
    picture.save(path, **more)
    return path


def test_of_a_large_jpeg_only_a_smaller_copy_is_decoded_unless_the_face_is_small(tmp_path):
    photo = noise(2300, 2100, cell=4).convert("L").convert("RGB")
    opened = Photo.open(saved(photo, tmp_path / "a.jpg", quality=100, subsampling=0), "a.jpg")
    assert opened.size == (2300, 2100) and opened.picture.size == (1150, 1050)
    for scale in (700, 150, 700):  # the second one's crop has fewer than 700 px in the copy
        points = face_at(1150, 1000, scale)
        got, expected = opened.cut(points / 2, False), cut_face(photo, points)
        assert sharpness(got.picture) == pytest.approx(sharpness(expected.picture), rel=0.05)
        assert got.source_px == pytest.approx(expected.source_px, rel=0.01)
        assert np.abs(got.points - expected.points).max() < 1.5


def test_a_photo_on_its_side_is_upright_before_anything_is_measured(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = noise(2100, 2400, cell=50).transpose(Image.Transpose.ROTATE_90)
    opened = Photo.open(saved(lying, tmp_path / "a.jpg", exif=exif), "a.jpg")
    assert opened.size == (2100, 2400) and opened.picture.size == (1050, 1200)


def test_a_smaller_copy_has_the_colours_of_the_photo():
    buffer = io.BytesIO()
    noise(2400, 2000, cell=50).save(buffer, "JPEG", quality=95)
    small = read_picture(buffer.getvalue(), "a.jpg", enough=1000)
    whole = read_picture(buffer.getvalue(), "a.jpg").resize(small.size, Image.Resampling.BOX)
    assert small.size == (1200, 1000)
    assert np.abs(np.asarray(small).astype(int) - np.asarray(whole)).mean() < 0.7


def test_a_cut_photo_is_unreadable(tmp_path):
    file = saved(noise(2100, 2100), tmp_path / "a.jpg")
    file.write_bytes(file.read_bytes()[:-5000])
    with pytest.raises(Unreadable, match=r"a\.jpg is damaged"):
        Photo.open(file, "a.jpg")
