"""Every script that reads pictures reads them alike: one table of kinds of files, one of doors."""

import io
import json
import math
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import small_set
import torch
from PIL import Image, ImageCms

from dataset_preprocessing import overview
from dataset_preprocessing.checking import examine
from dataset_preprocessing.conversion import Conversion, convert
from dataset_preprocessing.ffhq import labelling, pose_estimators
from dataset_preprocessing.ffhq.cutting import Photo
from dataset_preprocessing.mirroring import mirror, mirrored_name
from dataset_preprocessing.selection import FaceSet
from eg3d.data.dataset import ImageDataset
from groundwork.archive import open_archive
from groundwork.images import read_picture
from l2cs.gaze_sets import FaceImages, image_files, read_image

REPOSITORY = Path(__file__).resolve().parent.parent
FAULTS = REPOSITORY / "tests" / "data" / "faults"
TOOL, CHECK = "dataset_preprocessing/dataset_tool.py", "dataset_preprocessing/check_dataset.py"
SIDE = 16
PIXELS = np.random.RandomState(1).randint(0, 256, (SIDE, SIDE, 3), np.uint8)


def saved(kind: str, image: Image.Image | None = None, **options) -> bytes:
    out = io.BytesIO()
    (image or Image.fromarray(PIXELS)).save(out, kind, **options)
    return out.getvalue()


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def other_colours() -> bytes:
    """sRGB's profile, its red and blue exchanged."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile.replace(b"rXYZ", b"?", 1).replace(b"bXYZ", b"rXYZ", 1).replace(b"?", b"bXYZ", 1)


def in_mode(mode: str) -> Image.Image:
    return Image.fromarray(PIXELS).convert(mode)


KINDS = {
    "turned.jpg": saved("JPEG", exif=turned()),
    "turned.png": saved("PNG", exif=turned()),
    "turned.webp": saved("WEBP", exif=turned(), lossless=True),
    "deep.png": saved("PNG", Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 257)),
    "deep.tif": saved("TIFF", Image.fromarray(PIXELS[..., 0].astype(">u2") * 257)),
    "inks.jpg": saved("JPEG", in_mode("CMYK")),
    "table.png": saved("PNG", in_mode("P")),
    "bits.png": saved("PNG", in_mode("1")),
    "clear.png": saved("PNG", Image.fromarray(np.dstack([PIXELS, PIXELS[..., 0]]))),
    "profile.png": saved("PNG", icc_profile=other_colours()),
    "browser.jfif": saved("JPEG"),
    "first.gif": saved("GIF", in_mode("P")),
    "plain.ppm": saved("PPM"),
    "wrong.png": saved("JPEG"),
    "noending": saved("PNG"),
    "new.avif": saved("AVIF"),
}


def write_set(folder: Path, *files: tuple[str, bytes]) -> Path:
    """A data set folder of these pictures."""
    rows = [[name, label] for (name, _), label in zip(files, small_set.labels(len(files)), strict=True)]
    return small_set.write_folder(folder, [*files, ("dataset.json", json.dumps({"labels": rows}).encode())])


def by_tool(folder: Path, name: str) -> np.ndarray:
    new = folder.parent / f"{name}.new"
    convert(folder, new, Conversion(), None, 1)
    return np.asarray(Image.open(new / "00000/img00000000.png"))


def by_mirroring(folder: Path, name: str) -> np.ndarray:
    new = folder.parent / f"{name}.mirrored"
    mirror(folder, new, None, 1, False, False)
    return np.asarray(Image.open(new / mirrored_name(name)))[:, ::-1]


def by_sheet(folder: Path, name: str) -> np.ndarray:
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(overview, "read_picture", lambda *args: seen.append(read_picture(*args)) or seen[-1])
        overview._tile(open_archive(folder), name, torch.tensor(small_set.labels(1)[0]), (0, 0, 0))
    return np.asarray(seen[0])


def by_checking(folder: Path, name: str) -> np.ndarray:
    """That two files hold the same pixels: this one and the right picture as a plain PNG."""
    right = read_picture((folder / name).read_bytes(), name)
    other = write_set(
        folder.parent / f"{name}.twice", (name, (folder / name).read_bytes()), ("z.png", saved("PNG", right))
    )
    report, _ = examine(other, 1)
    assert report.duplicates == [[name, "z.png"]] and not report.errors
    return np.asarray(right)


DOORS = {
    "training": lambda folder, name: ImageDataset(folder).batch(torch.tensor([0]))[0][0].permute(1, 2, 0).numpy(),
    "dataset_tool": by_tool,
    "mirror_dataset": by_mirroring,
    "check_dataset": by_checking,
    "contact sheet": by_sheet,
    "filter_by_gaze": lambda folder, name: ((FaceSet(folder).image(name) + 1) * 127.5).permute(1, 2, 0).round().numpy(),
    "photos": lambda folder, name: np.asarray(Photo.open(folder / name, name).picture),
    "in the wild": lambda folder, name: np.asarray(labelling.read_square(labelling.pictures(folder)[0][name])),
    "l2cs demo": lambda folder, name: read_image(image_files(folder)[0][name]),
    "l2cs training": lambda folder, name: FaceImages([folder / name], SIDE)[torch.tensor([0])][0].permute(1, 2, 0),
}  # fmt: skip


@pytest.mark.parametrize("door", DOORS)
def test_every_door_shows_every_kind_of_picture_alike(tmp_path, door):
    for name, data in KINDS.items():
        folder = write_set(tmp_path / name, (name, data))
        expected = np.asarray(read_picture(data, name))
        got = np.asarray(DOORS[door](folder, name))
        assert got.shape == expected.shape and (got == expected).all(), name


def test_only_one_file_opens_pictures():
    found = [
        file.relative_to(REPOSITORY).as_posix()
        for room in ("groundwork", "l2cs", "eg3d", "dataset_preprocessing", "redirection", "benchmarks")
        for file in (REPOSITORY / room).rglob("*.py")
        if re.search(r"Image\.open\(|\bimread\(|\bdecode_image\(", file.read_text())
    ]
    assert found == ["groundwork/images.py"]


CUT = saved("JPEG", Image.fromarray(PIXELS).resize((64, 64)))[:-2]
DAMAGED = {"b.jpg": CUT, "d.png": b"<html>not found</html>"}
SCRIPTS = {  # script, its options with a data set and the place of the result
    "dataset_tool": (TOOL, ["--source={data}", "--dest={out}"]),
    "filter_by_gaze": ("dataset_preprocessing/filter_by_gaze.py",
                       ["--data={data}", "--dest={out}", "--by=gaze", "--l2cs-path=embedded", "--min-abs-yaw=0"]),
    "mirror_dataset": ("dataset_preprocessing/mirror_dataset.py", ["--source={data}", "--dest={out}"]),
    "in the wild": ("dataset_preprocessing/ffhq/preprocess_in_the_wild.py",
                    ["--indir={data}", "--outdir={out}", "--crop=False"]),
    "l2cs demo": ("l2cs/demo.py", ["--snapshot=embedded", "--input={data}", "--output={out}"]),
}  # fmt: skip


@pytest.fixture(autouse=True)
def any_picture_is_a_face(monkeypatch):
    monkeypatch.setattr(pose_estimators, "MOST_DISAGREEMENT", math.inf)


def runs_of(script: str, data: Path, out: Path) -> list[str]:
    name, options = SCRIPTS[script]
    return [name, *(option.format(data=data, out=out) for option in options)]


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_conversion_names_all_damaged_pictures_and_leaves_them_out_if_asked(tmp_path, run_script, script):
    good = saved("PNG", Image.fromarray(PIXELS).resize((64, 64)))
    data = write_set(tmp_path / "set", *sorted({"a.png": good, "c.png": good, **DAMAGED}.items()))
    stopped = run_script(*runs_of(script, data, tmp_path / "out"))
    assert stopped.code == 2 and not (tmp_path / "out").exists()
    error = stopped.stderr.rsplit("error: ", 1)[1]
    assert "2 of 4 pictures cannot be read: b.jpg, d.png; replace them, or leave them out by --skip-damaged" in error
    assert "b.jpg" in stopped.stdout and "truncated" in stopped.stdout and "d.png" in stopped.stdout
    done = run_script(*runs_of(script, data, tmp_path / "out"), "--skip-damaged")
    assert done.code == 0, done.stderr
    assert "2 of 4 pictures cannot be read" in done.stdout and "truncated" in done.stdout and "d.png" in done.stdout
    if script == "l2cs demo":
        assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["a.png", "c.png", "gaze.csv"]
    else:
        rows = json.loads((tmp_path / "out" / "dataset.json").read_text())["labels"]
        assert len(rows) == (4 if script == "mirror_dataset" else 2)
        if script == "dataset_tool":  # numbers are those of the source, so others keep theirs when one is mended
            assert [name for name, _ in rows] == ["00000/img00000000.png", "00000/img00000002.png"]


@pytest.mark.parametrize("script", SCRIPTS)
def test_one_damaged_picture_is_named_with_its_reason_and_none_left_is_an_error(tmp_path, run_script, script):
    good = saved("PNG", Image.fromarray(PIXELS).resize((64, 64)))
    data = write_set(tmp_path / "set", ("a.png", good), ("b.jpg", CUT))
    error = run_script(*runs_of(script, data, tmp_path / "out")).stderr.rsplit("error: ", 1)[1]
    assert re.search(
        r"b\.jpg.* is damaged \(image file is truncated .*; replace .*, or leave it out by --skip-dam", error
    )
    data = write_set(tmp_path / "none", *DAMAGED.items())
    done = run_script(*runs_of(script, data, tmp_path / "out"), "--skip-damaged")
    assert done.code == 2 and "2 of 2 pictures cannot be read: b.jpg, d.png; none is left" in done.stderr
    assert not (tmp_path / "out").exists()


def test_filtering_by_labels_copies_no_damaged_picture(tmp_path, run_script):
    good = saved("PNG", Image.fromarray(PIXELS).resize((64, 64)))
    data = write_set(tmp_path / "set", ("a.png", good), ("b.jpg", CUT), ("c.png", good))
    options = [f"--data={data}", f"--dest={tmp_path / 'out'}", "--min-abs-yaw=0"]
    stopped = run_script("dataset_preprocessing/filter_by_gaze.py", *options)
    assert stopped.code == 2 and "b.jpg is damaged" in stopped.stderr and not (tmp_path / "out").exists()
    done = run_script("dataset_preprocessing/filter_by_gaze.py", *options, "--skip-damaged")
    assert done.code == 0 and "b.jpg is damaged" in done.stdout, done
    rows = json.loads((tmp_path / "out" / "dataset.json").read_text())["labels"]
    assert [name for name, _ in rows] == ["a.png", "c.png"]


# Not filter_by_gaze: there a broken link is a label whose picture is missing (tests/test_unmatched.py).
@pytest.mark.parametrize("script", ["dataset_tool", "in the wild", "l2cs demo"])
def test_links_to_nothing_and_pipes_are_named_and_never_hang(tmp_path, run_script, script):
    data = small_set.write_folder(tmp_path / "set", [("a.png", saved("PNG", Image.fromarray(PIXELS).resize((64, 64))))])
    (data / "b.png").symlink_to("nowhere.png")
    (data / "shard").symlink_to("../unmounted")
    os.mkfifo(data / "c.png")
    stopped = run_script(*runs_of(script, data, tmp_path / "out"))
    assert stopped.code == 2 and "3 of 4 pictures cannot be read: b.png, c.png, shard; replace" in stopped.stderr
    done = run_script(*runs_of(script, data, tmp_path / "out"), "--skip-damaged")
    assert done.code == 0 and "3 of 4 pictures cannot be read" in done.stdout
    assert re.search(r"b\.png.* link to nothing", done.stdout) and re.search(r"shard.* link to nothing", done.stdout)


@pytest.mark.parametrize("door", [door for door in DOORS if door != "check_dataset"])  # which gives no picture
def test_b03_the_red_bar_of_a_turned_photo_is_on_top(tmp_path, door):
    folder = shutil.copytree(FAULTS / "b03_exif_sideways" / "set", tmp_path / "set")
    got = np.asarray(DOORS[door](folder, "a.jpg")).astype(int)
    assert (got[1, :, 0] - got[1, :, 1]).mean() > 100 and (got[-2, :, 0] - got[-2, :, 1]).mean() < 50


@pytest.mark.parametrize("case", ["b06_mac_ghost_files/mac.zip", "b17_backslashes_in_a_zip/backslash.zip"])
def test_b06_and_b17_zips_of_other_systems_are_data_sets(tmp_path, run_script, case):
    checked = run_script(CHECK, f"--data={FAULTS / case}")
    assert checked.code == 0 and "4 images" in checked.stdout and "4 labels" in checked.stdout
    assert run_script(TOOL, f"--source={FAULTS / case}", f"--dest={tmp_path / 'x.zip'}").stdout.startswith(
        "4 images ->"
    )
    assert ("hidden or system files were left out" in checked.stdout) == ("mac" in case)


def test_b18_one_cut_photo_is_named_or_left_out(tmp_path, run_script):
    options = [f"--source={FAULTS / 'b18_cut_jpeg_ends_the_conversion/photos'}", f"--dest={tmp_path / 'x.zip'}"]
    stopped = run_script(TOOL, *options)
    assert stopped.code == 2 and "b.jpg is damaged" in stopped.stderr and "--skip-damaged" in stopped.stderr
    done = run_script(TOOL, *options, "--skip-damaged")
    assert done.code == 0 and "2 images ->" in done.stdout and "b.jpg is damaged" in done.stdout


def test_b19_all_six_pictures_are_seen(tmp_path, run_script):
    options = [f"--source={FAULTS / 'b19_pictures_that_are_not_seen/photos'}", f"--dest={tmp_path / 'x.zip'}"]
    assert "f.ppm gives 32x32 pixels, the images before it 64x64" in run_script(TOOL, *options).stderr
    assert "6 images ->" in run_script(TOOL, *options, "--resolution=64").stdout
