"""Data sets damaged at random: whoever reads them says so in one line, and writes nothing but what was asked for.

Every example is read by training's data set, by the check, by the conversion and by the filter. Two examples of each
kind of damage run always, forty under the marker `slow`; both are the same every time.
"""

import json
import re
import shutil
import struct
import tempfile
import warnings
import zipfile
import zlib
from pathlib import Path

import pytest
import small_set
import torch
from click.testing import CliRunner
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from dataset_preprocessing.check_dataset import main as check_dataset
from dataset_preprocessing.dataset_tool import main as dataset_tool
from dataset_preprocessing.filter_by_gaze import main as filter_by_gaze
from eg3d.data.dataset import EpochOrder, ImageDataset
from eg3d.data.prefetch import Batches
from groundwork.command import describe

FILES = small_set.members()
LABELS = json.loads(FILES[-1][1])["labels"]
ODD_NUMBERS = st.sampled_from(
    [float("nan"), float("inf"), -float("inf"), 1e400, 1e39, 1e30, -1e29, 10**400, 0, -0.0, 5e-324, None, True, "1", []]
)  # fmt: skip
BAD_NAMES = st.sampled_from(
    ["../precious.png", "a/../../precious.png", "/precious.png", "..\\precious.png", "C:\\precious.png",
     "C:precious.png", "\\\\server\\precious.png", "", ".", "..", "/", "a\nb.png", "\x1b[2Jb.png", "\u202eb.png",
     "b.png/", "./b.png",
     "x" * 3000 + ".png", "a//b.png", "dataset.json/b.png", "00000/img00000000.png/b.png", "con.png", ".png"]
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8) | st.just("labels"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["labels", "x"]), inner, max_size=3),
    max_leaves=12,
)  # fmt: skip


@st.composite
def damaged_bytes(draw, data: bytes) -> bytes:
    """Some bytes changed, lost or added."""
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        how = draw(st.sampled_from(["change", "change", "change", "lose", "add", "cut"]))
        extra = draw(st.binary(min_size=1, max_size=4))
        keep = {"change": len(extra), "lose": draw(st.integers(1, 60)), "cut": len(data), "add": 0}[how]
        data = data[:at] + (extra if how in ("change", "add") else b"") + data[at + keep :]
    return data


def with_labels(rows) -> list:
    return [*FILES[:-1], ("dataset.json", json.dumps({"labels": rows}).encode())]


def packed(files: list) -> st.SearchStrategy:
    """A zip, as bytes, or the members for a folder."""
    return st.sampled_from([files, small_set.zip_bytes(files), small_set.zip_bytes(files, zipfile.ZIP_DEFLATED)])


@st.composite
def zip_content(draw):
    method = draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]))
    content = small_set.zip_bytes(FILES, method)
    if draw(st.booleans()):  # in the directory, which says what all is
        start = content.index(b"PK\1\2")
        return content[:start] + draw(damaged_bytes(content[start:]))
    return draw(damaged_bytes(content))


@st.composite
def json_structure(draw):
    rows = json.loads(FILES[-1][1])["labels"]
    value = draw(JSON)
    where = draw(st.sampled_from(["file", "labels", "row", "name", "label", "text", "deep"]))
    if where == "file":
        return draw(packed([*FILES[:-1], ("dataset.json", json.dumps(value).encode())]))
    if where == "text":
        return draw(packed([*FILES[:-1], ("dataset.json", draw(damaged_bytes(FILES[-1][1])))]))
    if where == "deep":
        return draw(packed([*FILES[:-1], ("dataset.json", draw(st.sampled_from([b"[", b'{"labels":'])) * 100_000)]))
    at = draw(st.integers(0, 3))
    if where == "labels":
        rows = value
    elif where == "row":
        rows[at] = value
    else:
        rows[at][where == "label"] = value
    return draw(packed(with_labels(rows)))


@st.composite
def png_bytes(draw):
    files = list(FILES)
    for at in draw(st.sets(st.integers(0, 3), min_size=1)):
        name, data = files[at]
        kind = draw(st.sampled_from(["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF"]))
        if kind != "PNG":
            data = small_set.image_bytes(draw(st.sampled_from([small_set_pixels(16), small_set_pixels(7)])), kind)
        files[at] = (name, draw(damaged_bytes(data)))
    return draw(packed(files))


def small_set_pixels(side: int):
    return torch.arange(side * side * 3, dtype=torch.uint8).reshape(side, side, 3).numpy()


@st.composite
def label_lengths(draw):
    rows = json.loads(FILES[-1][1])["labels"]
    at, length = draw(st.integers(0, 3)), draw(st.sampled_from([0, 1, 9, 16, 24, 26, 50, 10_000]))
    rows[at][1] = (rows[at][1] * 400)[:length]
    return draw(packed(with_labels(rows if draw(st.booleans()) else rows[:at])))


@st.composite
def label_values(draw):
    rows = json.loads(FILES[-1][1])["labels"]
    for _ in range(draw(st.integers(1, 4))):
        rows[draw(st.integers(0, 3))][1][draw(st.integers(0, 24))] = draw(ODD_NUMBERS | st.floats() | st.integers())
    return draw(packed(with_labels(rows)))


@st.composite
def traversal_names(draw):
    name, rows = draw(BAD_NAMES), json.loads(FILES[-1][1])["labels"]
    at = draw(st.integers(0, 3))
    if draw(st.booleans()):
        rows[at][0] = name
    files = with_labels([*rows, [name, LABELS[0][1]]] if draw(st.booleans()) else rows)
    if draw(st.booleans()):
        files[at] = (name, files[at][1])
    return draw(packed([*files, (draw(BAD_NAMES), FILES[0][1])] if draw(st.booleans()) else files))


@st.composite
def duplicate_names(draw):
    rows, files = json.loads(FILES[-1][1])["labels"], list(FILES)
    if draw(st.booleans()):
        rows.insert(draw(st.integers(0, 4)), [rows[draw(st.integers(0, 3))][0], draw(st.sampled_from(LABELS))[1]])
    files = with_labels(rows)
    if draw(st.booleans()):
        files.insert(draw(st.integers(0, 5)), (draw(st.sampled_from(FILES))[0], draw(st.sampled_from(FILES))[1]))
    return small_set.zip_bytes(files)


@st.composite
def bombs(draw):
    at = draw(st.integers(0, 4))
    name, files = FILES[at][0], list(FILES)
    kind = draw(st.sampled_from(["announced", "zeros", "pixels", "text", "rows"]))
    if kind == "announced":
        size = draw(st.sampled_from([0, 1, 500, 10**5, 2**27 + 1, 2**28 + 1, 2**31, 2**32 - 2, 2**32 - 1]))
        return small_set.with_announced_size(small_set.zip_bytes(files, draw(st.sampled_from([0, 8]))), name, size)
    if kind == "zeros":
        files[at] = (name, bytes(2**22))
        content = small_set.zip_bytes(files, zipfile.ZIP_DEFLATED)
        return small_set.with_announced_size(content, name, draw(st.sampled_from([100, 2**22, 2**32 - 2])))
    if kind == "rows":
        return draw(packed(with_labels(LABELS * 2_000)))
    width, height = draw(
        st.sampled_from(
            [(16, 16), (9000, 9000), (12_000, 12_000), (50_000, 1), (10**6, 10**6), (2**31, 2**31), (0, 16)]
        )
    )
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    text = png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(2**23))) if kind == "text" else b""
    picture = b"\x89PNG\r\n\x1a\n" + header + text + png_chunk(b"IDAT", zlib.compress(bytes(2**20)))
    files[at] = (name, picture + png_chunk(b"IEND", b""))
    return draw(packed(files))


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


DAMAGES = {
    f.__name__: f()
    for f in (
        zip_content, json_structure, png_bytes, label_lengths, label_values, traversal_names, duplicate_names, bombs,
    )
}  # fmt: skip


def place(content, root: Path) -> Path:
    """The data set on disk: a zip, or a folder of the members that can be files of it."""
    if isinstance(content, bytes):
        (root / "faces.zip").write_bytes(content)
        return root / "faces.zip"
    folder = root / "faces"
    folder.mkdir()
    for name, data in content:
        target = (folder / name).resolve()
        if folder.resolve() in target.parents and len(target.name) < 255 and not target.is_dir():
            if all(not parent.is_file() for parent in target.parents):
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)
    return folder


def everything(root: Path) -> dict[str, bytes | None]:
    return {str(p): p.read_bytes() if p.is_file() else None for p in sorted(root.rglob("*"))}


def trains(path: Path) -> bool:
    """Whether training would take it; all its complaints are one line."""
    try:
        dataset = ImageDataset(path)
        batches = Batches(dataset, EpochOrder(len(dataset), 0), 2)
        for position in range(0, len(dataset), 2):
            batches.at(position)
    except (ValueError, OSError) as error:
        assert " ".join(describe(error).split()).isprintable()
        return False
    return True


def runs(command, out: Path, *args) -> bool:
    """Whether a script did its work; if not, one line and nothing else under `out`."""
    out.mkdir()
    result = CliRunner().invoke(command, [str(arg) for arg in args])
    assert isinstance(result.exception, SystemExit | None), repr(result.exception)
    assert result.exit_code in (0, 2) and "Traceback" not in result.output
    lines = [
        line for line in re.split("[\r\n]", result.stderr) if line.strip() and "img" not in line.split("error: ")[0]
    ]
    lines = [line for line in lines if not line.startswith(("note: ", "warning: "))]
    if result.exit_code == 0:
        assert lines == []
        return True
    assert len(lines) == 1 and lines[0].startswith("error: ") and lines[0].isprintable(), result.stderr
    return False


def examine(content) -> None:
    """All readers on one damaged data set."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("error")
        root = Path(folder)
        (root / "precious.png").write_bytes(b"mine")
        path = place(content, root)
        before = everything(root)
        outs = {name: root / name for name in ("checked", "converted", "filtered")}
        sound = trains(path)
        checked = runs(check_dataset, outs["checked"], "--data", path, "--sheet", outs["checked"] / "sheet.png")
        assert checked == sound, "the check and training must agree"
        dest = {name: outs[name] / ("new" if path.is_dir() else "new.zip") for name in ("converted", "filtered")}
        if runs(dataset_tool, outs["converted"], "--source", path, "--dest", dest["converted"], "--resolution=16"):
            assert (
                trains(dest["converted"])
                or "no cameras yet"
                in CliRunner().invoke(dataset_tool, ["--source", str(path), "--dest", str(root / "again.zip")]).output
            )
        else:
            assert not list(outs["converted"].iterdir())
        if not runs(filter_by_gaze, outs["filtered"], "--data", path, "--dest", dest["filtered"], "--min-abs-yaw=0"):
            assert not list(outs["filtered"].iterdir())
        (root / "again.zip").unlink(missing_ok=True)
        for out in outs.values():
            shutil.rmtree(out)
        assert everything(root) == before, "something was written outside the output"


def check_examples(kind: str, count: int) -> None:
    @seed(0)
    @settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(DAMAGES[kind])
    def check(content):
        examine(content)

    check()


@pytest.mark.robust
@pytest.mark.parametrize("kind", DAMAGES)
def test_damaged_data_is_one_line_and_writes_nothing_elsewhere(kind):
    check_examples(kind, 2)


@pytest.mark.slow
@pytest.mark.parametrize("kind", DAMAGES)
def test_damaged_data_is_one_line_and_writes_nothing_elsewhere_320_times(kind):
    check_examples(kind, 40)


def test_the_small_set_itself_is_sound(tmp_path):
    for content in (FILES, small_set.zip_bytes(FILES)):
        assert trains(place(content, tmp_path))
        examine(content)
