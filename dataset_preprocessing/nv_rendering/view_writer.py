"""Writing the HDF5 files of novel views, so that a run that is killed loses no finished source and doubles none.

HDF5 is not safe against a kill: a file that is open to write may be lost as a whole. So each finished source, with its
N views, is a small HDF5 file of its own, a part, that gets its name when it is whole. When all sources of a person are
there, the parts are packed into pXX.h5, which gets its name when it is whole too; then the parts go. Packing copies the
compressed pieces as they are. A finished pXX.h5 is itself a part of a later run that knows more sources.
"""

import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from l2cs.view_files import Key, keys_of, open_hdf5, row_shape

ROWS = "source_rows"  # attribute: the sources that are in a file, in order; those beyond MOST in ROWS_1, ROWS_2, ...
MOST = 16_000  # rows of one attribute, which holds less than 64 KB
COMPRESSION = "lzf"


@dataclass(frozen=True)
class Layout:
    """Which datasets a file has: ours, or those that the published program writes; side of the pictures in px."""

    side: int = 224
    published: bool = False

    @property
    def keys(self) -> dict[str, Key]:
        return keys_of(self.published)


def write_part(path: Path, layout: Layout, row: int, views: Iterable[dict[str, np.ndarray]]) -> None:
    """The views of one source as a file of its own, whole or not at all.

    Args:
        row: of the source among those of its person.
        views: some at a time, so that not all are in memory: by key, arrays [N, ...]; those that the layout does not
            have are left out. All N are one or more.
    """
    with _whole(path) as file:
        _note_rows(file, [row])
        _make_datasets(file, layout)
        for some in views:
            append(file, layout, some)


def append(file: h5py.File, layout: Layout, views: dict[str, np.ndarray]) -> None:
    """Adds rows to all datasets of a file open to write; a missing key, or one of another shape, is our slip."""
    count = len(views["face_gaze"])
    for name, key in layout.keys.items():
        rows = np.asarray(views[name])
        assert rows.shape == (count, *row_shape(key, layout.side)), f"{name}: {rows.shape}"
        dataset = file[name]
        dataset.resize(len(dataset) + count, axis=0)
        dataset[len(dataset) - count :] = rows


def sources_in(path: Path) -> dict[int, str]:
    """Row -> photo of each source that a file of this writer holds, in order; none if there is no such file. The
    published layout names no photos; they are empty then."""
    if not path.exists():
        return {}
    with open_hdf5(path) as file:
        if ROWS not in file.attrs:
            raise ValueError(f"{path}: was not written by this program; move it away, or give another folder")
        rows = _noted_rows(file)
        if "file_name" not in file:
            return dict.fromkeys(rows, "")
        each = max(1, len(file["file_name"]) // max(1, len(rows)))
        return dict(zip(rows, (name.decode(errors="replace") for name in file["file_name"][::each]), strict=False))


def pack(target: Path, layout: Layout, parts: Iterable[tuple[int, Path]], facts: dict) -> int:
    """Writes `target` of the parts, whole or not at all, and says how many views it has.

    Args:
        parts: (source, file that holds it) in the order in which the sources are to stand.
        facts: attributes of the file.
    """
    with _whole(target) as file:
        for name, value in facts.items():
            file.attrs[name] = value
        _make_datasets(file, layout)
        rows = _copy_all(file, layout, parts)
        _note_rows(file, rows)
        return len(file["face_gaze"])


@contextmanager
def _whole(target: Path) -> Iterator[h5py.File]:
    """A new HDF5 file to write, which gets its name when the block has ended, and is gone if the block fails."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    os.close(handle)
    try:
        with h5py.File(temporary, "w") as file:
            yield file
        with open(temporary, "rb+") as whole:
            os.fsync(whole.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def _note_rows(file: h5py.File, rows: Sequence[int]) -> None:
    for part, first in enumerate(range(0, len(rows), MOST)):
        file.attrs[f"{ROWS}_{part}" if part else ROWS] = np.array(rows[first : first + MOST], np.int32)


def _noted_rows(file: h5py.File) -> list[int]:
    rows, part = [int(row) for row in file.attrs[ROWS]], 1
    while (name := f"{ROWS}_{part}") in file.attrs:
        rows += [int(row) for row in file.attrs[name]]
        part += 1
    return rows


def _make_datasets(file: h5py.File, layout: Layout) -> None:
    """Empty datasets that grow along their first axis, one row a piece, with their meaning as attributes.

    Ours have a checksum for each piece, so that a damaged one is found when it is read.
    """
    for name, key in layout.keys.items():
        shape = row_shape(key, layout.side)
        made = file.create_dataset(
            name, (0, *shape), key.dtype, maxshape=(None, *shape), chunks=(1, *shape), compression=COMPRESSION,
            fletcher32=not layout.published,
        )  # fmt: skip
        for about in ("meaning", "unit", "columns"):
            if text := getattr(key, about):
                made.attrs[about] = text


def _copy_all(file: h5py.File, layout: Layout, parts: Iterable[tuple[int, Path]]) -> list[int]:
    """Copies the rows of each source; a file that holds several is opened once for those that follow each other."""
    rows, opened, source, places = [], None, None, {}
    try:
        for row, path in parts:
            if opened != path:
                if source is not None:
                    source.close()
                source, opened = h5py.File(path, "r"), path
                held = _noted_rows(source)
                each = len(source["face_gaze"]) // len(held)
                places = {number: place * each for place, number in enumerate(held)}
            _copy(file, source, layout, places[row], each)
            rows.append(row)
    finally:
        if source is not None:
            source.close()
    return rows


def _copy(file: h5py.File, source: h5py.File, layout: Layout, first: int, count: int) -> None:
    """Copies compressed rows as they are."""
    for name in layout.keys:
        old, new = source[name], file[name]
        at, rest = len(new), (0,) * (new.ndim - 1)
        new.resize(at + count, axis=0)
        for row in range(count):
            skipped, piece = old.id.read_direct_chunk((first + row, *rest))
            new.id.write_direct_chunk((at + row, *rest), piece, skipped)
