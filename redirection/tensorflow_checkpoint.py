"""Checkpoints of TensorFlow, read without it: numbers by the names of variables. No code in them is ever run.

Version 2 ("tensor bundle"): PREFIX.index, a table, and PREFIX.data-00000-of-00001. Version 1: one file, a table that
holds the numbers too. Tables, their blocks and sums of bytes are read by `sorted_table.py`; what lies in them are
protocol buffers, read here: BundleHeaderProto, BundleEntryProto, SavedTensorSlices, TensorProto.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from groundwork.files import open_regular
from redirection.sorted_table import Damaged, SortedTable, crc32c, is_table, masked, varint

KINDS = {1: "<f4", 2: "<f8", 3: "<i4", 4: "u1", 5: "<i2", 6: "i1", 9: "<i8", 10: "?", 19: "<f2"}  # DataType -> NumPy's
MOST_NUMBERS, MOST_DIMENSIONS, MOST_BYTES = 1 << 30, 8, 1 << 32
HELP = "give the prefix of a checkpoint, or the folder that holds it"


@dataclass(frozen=True)
class _Entry:
    """Where a tensor lies. place: offset in the data file (version 2) or of its block (version 1)."""

    kind: int
    shape: tuple[int, ...]
    place: int
    size: int
    sum: int | None


class TensorflowCheckpoint(Mapping):
    """Name of a variable -> NumPy array, read when it is asked for. Texts are left out.

    Errors: ValueError, one line with the file's name, for what is damaged; KeyError for an unknown name.
    """

    def __init__(self, path: Path):
        """path: prefix, .index file, version 1 file, or a folder whose file `checkpoint` names one of these."""
        prefix = _named_by(path) if path.is_dir() else path
        prefix = prefix.with_suffix("") if prefix.suffix == ".index" else prefix
        index = prefix.with_name(f"{prefix.name}.index")
        self.path, self._version = (index, 2) if index.is_file() else (prefix, 1)
        if self._version == 1 and not (prefix.is_file() and is_table(prefix)):
            raise ValueError(f"{path}: is no checkpoint of TensorFlow; {HELP}")
        self._prefix = prefix
        try:
            self._table = SortedTable(self.path)
            self._entries = dict(self._bundle() if self._version == 2 else self._slices())
        except Damaged as fault:
            raise self._error(fault) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, name: str) -> np.ndarray:
        entry = self._entries[name]
        try:
            data = self._bytes_of(entry) if self._version == 2 else self._values(name, entry)
            return np.frombuffer(data, KINDS[entry.kind]).reshape(entry.shape).copy()
        except (Damaged, ValueError) as fault:
            raise self._error(f"{name}: {fault}") from None

    def shape(self, name: str) -> tuple[int, ...]:
        return self._entries[name].shape

    def _error(self, fault) -> ValueError:
        return ValueError(f"{self.path}: is damaged ({fault}); fetch the checkpoint again")

    def _bundle(self) -> Iterator[tuple[str, _Entry]]:
        rows = self._table.rows()
        key, value = next(rows, (b"-", b""))
        header = dict(_fields(value))
        if key or header.get(1, 1) != 1 or header.get(2, 0) != 0:
            raise Damaged("it is no bundle of one little-endian file")
        for key, value in rows:
            fields = dict(_fields(value))
            if 7 in fields or fields.get(3, 0) != 0:
                raise Damaged(f"{_text(key)} is cut into slices, which are not read")
            if (kind := fields.get(1, 0)) in KINDS:
                shape = _shape(fields.get(2, b""))
                size = fields.get(5, 0)
                if size != math.prod(shape) * np.dtype(KINDS[kind]).itemsize:
                    raise Damaged(f"{_text(key)} has {size} bytes, which do not fit its shape {shape}")
                yield _text(key), _Entry(kind, shape, fields.get(4, 0), size, fields.get(6))

    def _bytes_of(self, entry: _Entry) -> bytes:
        path = self._prefix.with_name(f"{self._prefix.name}.data-00000-of-00001")
        with open_regular(path) as file:
            file.seek(min(entry.place, MOST_BYTES))
            data = file.read(entry.size)
        if len(data) != entry.size:
            raise Damaged(f"{path.name} is too short")
        if entry.sum is not None and masked(crc32c(data)) != entry.sum:
            raise Damaged("its bytes do not have their checksum")
        return data

    def _slices(self) -> Iterator[tuple[str, _Entry]]:
        """Version 1. A block holds one value or several small ones; which tensor it is, its value says."""
        shapes: dict[str, tuple[int, tuple[int, ...]]] = {}
        for number, (key, value) in enumerate(self._table.rows()):
            if not key:
                for field, meta in _fields(_only(value, 1)):
                    if field == 1:
                        its = dict(_fields(meta))
                        shapes[_text(its.get(1, b""))] = its.get(3, 0), _shape(its.get(2, b""))
                continue
            name = _text(_only(_only(value, 2), 1))
            if name not in shapes:
                raise Damaged(f"{name} is not in its list of tensors")
            kind, shape = shapes.pop(name)  # a second slice of one tensor finds none
            if kind in KINDS:
                yield name, _Entry(kind, shape, number, 0, None)

    def _values(self, name: str, entry: _Entry) -> bytes:
        value = self._table.row(entry.place)[1]
        tensor = dict(_fields(_only(_only(value, 2), 3)))
        count = math.prod(entry.shape)
        dtype = np.dtype(KINDS[entry.kind])
        if entry.kind in (1, 2):
            data = tensor.get({1: 5, 2: 6}[entry.kind], tensor.get(4, b""))  # float_val, double_val, tensor_content
        else:
            data = tensor.get(4, b"")
            if not data:
                packed = tensor.get({3: 7, 4: 7, 5: 7, 6: 7, 9: 10, 10: 11}.get(entry.kind, 0), b"")
                data = np.array(list(_packed(packed)), np.uint64).astype(np.int64).astype(dtype).tobytes()
        if not isinstance(data, bytes) or len(data) != count * dtype.itemsize:
            raise Damaged(f"its numbers are not the {count} of its shape")
        return data


def is_checkpoint(path: Path) -> bool:
    """Whether a path looks like a checkpoint: a folder, a file or prefix with an index, or a table."""
    index = path if path.suffix == ".index" else path.with_name(f"{path.name}.index")
    return path.is_dir() or index.is_file() or (path.is_file() and is_table(path))


def _named_by(folder: Path) -> Path:
    """The newest checkpoint of a folder, as its file `checkpoint` says; without a folder of its own."""
    listing = folder / "checkpoint"
    try:
        with open_regular(listing) as file:
            text = file.read(1 << 20).decode("utf-8", "replace")
    except FileNotFoundError:
        raise ValueError(f"{folder}: has no file named checkpoint; {HELP}") from None
    found = re.search(r'^model_checkpoint_path:\s*"([^"\n]+)"', text, re.MULTILINE)
    if not found:
        raise ValueError(f"{listing}: names no checkpoint; {HELP}")
    return folder / re.split(r"[/\\]", found[1])[-1]


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(number, value) of a protocol buffer's fields: whole numbers, or bytes."""
    if not isinstance(message, bytes):
        raise Damaged("a number stands where a message should")
    at = 0
    while at < len(message):
        tag, at = varint(message, at)
        wire = tag & 7
        if wire == 0:
            value, at = varint(message, at)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
            value, at = int.from_bytes(message[at : at + length], "little"), at + length
        elif wire == 2:
            length, at = varint(message, at)
            value, at = message[at : at + length], at + length
        else:
            raise Damaged(f"a field of kind {wire} is unknown")
        if at > len(message):
            raise Damaged("a field is cut off")
        yield tag >> 3, value


def _packed(message: bytes) -> Iterator[int]:
    at = 0
    while at < len(message):
        value, at = varint(message, at)
        yield value


def _only(message: bytes, number: int) -> bytes:
    found = dict(_fields(message)).get(number)
    if not isinstance(found, bytes):
        raise Damaged(f"field {number} of a message is missing")
    return found


def _shape(message: bytes) -> tuple[int, ...]:
    """Of a TensorShapeProto."""
    sizes = tuple(dict(_fields(value)).get(1, 0) for number, value in _fields(message) if number == 2)
    whole = all(isinstance(size, int) and size <= MOST_NUMBERS for size in sizes)
    if len(sizes) > MOST_DIMENSIONS or not whole or math.prod(sizes) > MOST_NUMBERS:
        raise Damaged(f"a shape of {len(sizes)} sides is too large")
    return sizes


def _text(data) -> str:
    if not isinstance(data, bytes) or len(data) > 4096:
        raise Damaged("a name is no text")
    return data.decode("utf-8", "replace")
