"""dataset_tool.py: what becomes of pixels and cameras, and that a data set is whole or not there."""

import json
import math
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
import small_set
import torch
from click.testing import CliRunner
from PIL import Image

from dataset_preprocessing import conversion
from dataset_preprocessing.conversion import Conversion, convert
from dataset_preprocessing.dataset_tool import Resolution, main
from dataset_preprocessing.overview import project
from dataset_preprocessing.packing import new_data_set
from eg3d.data.dataset import ImageDataset
from eg3d.data.labels import read_entries
from eg3d.geometry.cameras import lookat_pose, make_label
from groundwork.archive import open_archive


def run(*args):
    return CliRunner().invoke(main, [str(arg) for arg in args])


def error_of(*args) -> str:
    """The error of a run that must fail; its progress bar may stand before it."""
    result = run(*args)
    assert result.exit_code == 2 and result.stderr.count("error: ") == 1, result.output
    return result.stderr.rsplit("error: ", 1)[1]


@pytest.fixture
def source(tmp_path):
    return small_set.write_zip(tmp_path / "source.zip", small_set.members())


@pytest.mark.parametrize("dest", ["new", "new.zip"])
def test_unchanged_images_keep_their_pixels_and_their_labels_to_the_digit(source, tmp_path, dest):
    assert run("--source", source, "--dest", tmp_path / dest).exit_code == 0
    old, new = ImageDataset(source), ImageDataset(tmp_path / dest)
    assert new.names == [f"00000/img{i:08d}.png" for i in range(4)]
    for a, b in zip(old.batch(torch.arange(4)), new.batch(torch.arange(4)), strict=True):
        assert torch.equal(a, b)
    labels = read_entries(open_archive(source)), read_entries(open_archive(tmp_path / dest))
    assert list(labels[0].values()) == list(labels[1].values())


def test_zips_are_stored_and_equal_every_time_and_the_labels_come_last(source, tmp_path):
    for name in ("a.zip", "b.zip"):
        run("--source", source, "--dest", tmp_path / name, "--workers=2")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.namelist()[-1] == "dataset.json"
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}


POINT = torch.tensor([[0.04, 0.05, 0.21]])  # world units, near the pivot
SKEWED = torch.tensor([[3.1, 0.04, 0.53], [0.0, 4.4, 0.46], [0.0, 0.0, 1.0]])  # nothing in it is special


def spot(width: int, height: int, label: torch.Tensor) -> np.ndarray:
    """A picture [H, W, 3] with a soft white spot of 2 pixels where the camera sees POINT."""
    x, y = project(POINT, label)[0].numpy() * (width, height)
    rows, columns = np.mgrid[:height, :width] + 0.5  # centres of pixels
    value = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 8)
    return np.repeat(np.rint(255 * value)[:, :, None], 3, axis=2).astype(np.uint8)


def spot_at(pixels: np.ndarray) -> np.ndarray:
    """Where the spot's centre of mass lies, (0, 0) the picture's upper left corner, (1, 1) its lower right."""
    weight = pixels[:, :, 0].astype(float)
    rows, columns = np.mgrid[: weight.shape[0], : weight.shape[1]] + 0.5
    x, y = (weight * columns).sum() / weight.sum(), (weight * rows).sum() / weight.sum()
    return np.array([x / weight.shape[1], y / weight.shape[0]])


@pytest.mark.parametrize(
    "size, settings",
    [
        ((64, 64), {}),
        ((64, 64), {"resolution": (128, 128)}),
        ((97, 61), {"resolution": (64, 64)}),  # stretched
        ((96, 64), {"transform": "center-crop"}),
        ((81, 128), {"transform": "center-crop", "resolution": (64, 64)}),
        ((64, 64), {"crop_size": 32}),
        ((97, 64), {"crop_size": 45, "resolution": (128, 128)}),
        ((160, 128), {"transform": "center-crop-wide", "resolution": (64, 36)}),
        ((150, 70), {"transform": "center-crop-wide", "resolution": (128, 65)}),
    ],
)
def test_the_new_camera_sees_a_point_where_the_new_picture_shows_it(tmp_path, size, settings):
    label = make_label(lookat_pose(0.15, -0.1), SKEWED)[0]
    files = [("a.png", small_set.image_bytes(spot(*size, label)))]
    files += [("dataset.json", json.dumps({"labels": [["a.png", label.tolist()]]}).encode())]
    source = small_set.write_folder(tmp_path / "source", files)
    before = project(POINT, label)[0].numpy()
    assert spot_at(spot(*size, label)) == pytest.approx(before, abs=0.002)  # the test's own picture is right
    convert(source, tmp_path / "new", Conversion(**settings), None)
    new = ImageDataset(tmp_path / "new")
    images, labels = new.batch(torch.tensor([0]))
    after = project(POINT, labels[0])[0].numpy()
    assert spot_at(images[0].permute(1, 2, 0).numpy()) == pytest.approx(after, abs=0.15 / new.resolution)
    unchanged = "crop_size" not in settings and "transform" not in settings
    assert (np.abs(after - before).max() < 1e-6) == unchanged  # the point moves only by cutting
    assert torch.equal(labels[0, :16], label[:16])
    if unchanged:
        assert list(read_entries(open_archive(tmp_path / "new")).values()) == [label.tolist()]


def test_a_crop_in_the_middle_by_hand(tmp_path):
    # half of the width and height: twice the focal length, 0.5 stays, 0.55 -> 2 * 0.55 - 0.5
    label = torch.tensor([[4.0, 0.0, 0.55], [0.0, 4.0, 0.5], [0.0, 0.0, 1.0]])
    rows = [["a.png", make_label(lookat_pose(0, 0), label)[0].tolist()]]
    files = [("a.png", small_set.image_bytes(np.zeros((32, 32, 3), np.uint8)))]
    source = small_set.write_folder(tmp_path / "a", [*files, ("dataset.json", json.dumps({"labels": rows}).encode())])
    convert(source, tmp_path / "b", Conversion(crop_size=16), None)
    new = read_entries(open_archive(tmp_path / "b"))["00000/img00000000.png"]
    assert new[16:] == pytest.approx([8, 0, 0.6, 0, 8, 0.5, 0, 0, 1], abs=1e-6)


def test_a_wide_crop_stands_on_black_bars_and_small_images_keep_their_numbers_free(tmp_path):
    white = small_set.image_bytes(np.full((48, 64, 3), 255, np.uint8))
    small = small_set.image_bytes(np.full((20, 64, 3), 255, np.uint8))
    rows = [[name, label] for name, label in zip(("a.png", "b.png", "c.png"), small_set.labels(3), strict=True)]
    files = [("a.png", white), ("b.png", small), ("c.png", white)]
    files += [("dataset.json", json.dumps({"labels": rows}).encode())]
    source = small_set.write_folder(tmp_path / "source", files)
    result = run("--source", source, "--dest", tmp_path / "new", "--transform=center-crop-wide", "--resolution=32x24")
    assert result.exit_code == 0 and "left out 1" in result.stdout and "b.png" in result.stdout
    new = ImageDataset(tmp_path / "new")
    assert new.names == ["00000/img00000000.png", "00000/img00000002.png"]
    image = new.batch(torch.tensor([0]))[0][0, 0]
    assert image[:4].max() == 0 and image[-4:].max() == 0 and image[4:-4].min() == 255


def test_transparent_pixels_show_the_background(tmp_path):
    picture = Image.new("RGBA", (16, 16), (200, 10, 10, 0))
    picture.paste((0, 0, 255, 255), (0, 0, 16, 8))
    (tmp_path / "source").mkdir()
    picture.save(tmp_path / "source" / "a.png")
    Image.new("L", (16, 16), 77).save(tmp_path / "source" / "b.png")
    palette = picture.convert("RGB").quantize(4)
    palette.save(tmp_path / "source" / "c.png", transparency=palette.getpixel((0, 15)))
    for background, value in (("white", 255), ("black", 0)):
        dest = tmp_path / background
        assert run("--source", tmp_path / "source", "--dest", dest, "--background", background).exit_code == 0
        a, b, c = (np.asarray(Image.open(dest / f"00000/img{i:08d}.png")) for i in range(3))
        for pixels in (a, c):
            assert pixels.shape == (16, 16, 3) and (pixels[8:] == value).all() and (pixels[:8] == (0, 0, 255)).all()
        assert (b == 77).all()


def test_images_without_cameras_are_converted_and_it_is_said(tmp_path):
    source = small_set.write_folder(tmp_path / "source", small_set.members()[:-1])
    result = run("--source", source, "--dest", tmp_path / "new", "--max-images=2")
    assert result.exit_code == 0 and "2 images" in result.stdout and "no cameras" in result.stdout
    assert sorted(p.name for p in (tmp_path / "new").rglob("*.*")) == ["img00000000.png", "img00000001.png"]


def without_a_label(files):
    rows = json.loads(files[-1][1])["labels"]
    return [*files[:-1], ("dataset.json", json.dumps({"labels": rows[1:]}).encode())]


def with_member(name, data):
    return lambda files: [(n, data if n == name else old) for n, old in files]


SECOND = "00000/img00000001.png"
LARGER = small_set.image_bytes(np.zeros((32, 32, 3), np.uint8))
FLAT = small_set.image_bytes(np.zeros((16, 24, 3), np.uint8))


@pytest.mark.parametrize(
    "change, options, message",
    [
        (without_a_label, [], "1 of 4 images has no label, the first is 00000/img00000000.png"),
        (with_member(SECOND, b"nothing"), [], f"{SECOND} cannot be read as an image"),
        (with_member(SECOND, small_set.members()[1][1][:200]), [], f"{SECOND} is damaged"),
        (with_member(SECOND, LARGER), [], f"{SECOND} gives 32x32 pixels, the images before it 16x16"),
        (with_member(SECOND, FLAT), [], f"{SECOND} is 24x16; give --transform"),
        (list, ["--crop-size=17"], "smaller than --crop-size=17"),
        (list, ["--crop-size=12"], "12x12 pixels, no power of two"),
        (list, ["--resolution=24"], "must be a power of two"),
        (list, ["--resolution=65536"], "the most is 8192"),
        (list, ["--resolution=0x0"], "no size in pixels"),
        (list, ["--resolution=32x16"], "images for training are square"),
        (list, ["--transform=center-crop-wide"], "needs a --resolution"),
        (list, ["--transform=center-crop-wide", "--resolution=32x16", "--crop-size=8"], "give only one"),
        (list, ["--transform=center-crop-wide", "--resolution=32x16"], "all images are smaller"),
        (lambda files: files[-1:], [], "holds no images"),
    ],
)
def test_what_cannot_be_converted_is_one_line_and_leaves_nothing(tmp_path, change, options, message):
    source = small_set.write_folder(tmp_path / "source", change(small_set.members()))
    for dest in ("new", "new.zip"):
        assert message in error_of("--source", source, "--dest", tmp_path / dest, *options)
    assert [p.name for p in tmp_path.iterdir()] == ["source"]


def test_an_existing_output_is_never_touched(source, tmp_path):
    used = small_set.write_folder(tmp_path / "used", [("note.txt", b"mine")])
    (tmp_path / "used.zip").write_bytes(b"mine")
    assert "not empty; name a new one" in error_of("--source", source, "--dest", used)  # before any work
    assert "exists" in error_of("--source", source, "--dest", tmp_path / "used.zip")
    assert "would be lost" in error_of("--source", source, "--dest", source)
    folder = small_set.write_folder(tmp_path / "faces", small_set.members())
    assert "inside a data set" in error_of("--source", folder, "--dest", folder / "new")
    assert (tmp_path / "used.zip").read_bytes() == (used / "note.txt").read_bytes() == b"mine"
    assert "--source=gone: there is no such file" in error_of("--source=gone", "--dest", tmp_path / "new")


@pytest.mark.parametrize("dest", ["new", "new.zip"])
def test_an_interrupted_conversion_leaves_nothing(source, tmp_path, dest, monkeypatch):
    plain, calls = conversion.adjusted, []

    def interrupted(*args):
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return plain(*args)

    monkeypatch.setattr(conversion, "adjusted", interrupted)
    result = run("--source", source, "--dest", tmp_path / "deep" / dest)
    assert result.exit_code == 130 and len(calls) == 3
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [source]


@pytest.mark.parametrize("dest", ["new", "new.zip"])
def test_no_name_leads_out_of_a_new_data_set(tmp_path, dest):
    for name in ("../b.png", "/b.png", "C:\\b.png", "a/../../b.png"):
        with pytest.raises(ValueError, match="leaves the data set"), new_data_set(tmp_path / dest) as write:
            write("a.png", b"")
            write(name, b"")
    assert not list(tmp_path.iterdir())


def test_a_disk_that_is_too_small_is_noticed_before_any_work(source, tmp_path, monkeypatch):
    monkeypatch.setattr(conversion.shutil, "disk_usage", lambda _: SimpleNamespace(free=4 * 3 * 64**2))
    monkeypatch.setattr(conversion.Conversion, "apply", lambda *_: pytest.fail("began to work"))
    assert "are free" in error_of("--source", source, "--dest", tmp_path / "new.zip", "--resolution=64")


def test_numbers_count_dropped_images_and_change_the_folder_every_thousand():
    assert [f"{i // 1000:05d}/img{i:08d}.png" for i in (123, 12345678)] == [
        "00000/img00000123.png",
        "12345/img12345678.png",
    ]
    assert math.isqrt(conversion.MOST_PIXELS) == 8192


@pytest.mark.parametrize("given, size", [("512x256", (512, 256)), ("512,256", (512, 256)), ("64", (64, 64))])
def test_a_size_is_read_as_the_published_tool_reads_it(given, size):
    assert Resolution().convert(given, None, None) == size
