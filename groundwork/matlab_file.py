"""Arrays of numbers in MATLAB files that nobody vouches for. SciPy's reader ends the process on some damaged ones.

Format: MathWorks, "MAT-File Level 5 File Format": elements of (kind, length, data), each at a multiple of 8 bytes.
"""

import math
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from groundwork.files import open_regular

MOST_BYTES = 1 << 27  # of a file, and of what is compressed in it
HEADER = 128
INT8, INT32, UINT32, MATRIX, COMPRESSED = 1, 5, 6, 14, 15  # kinds of elements
NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
CLASSES = range(6, 16)  # of a matrix: double, single, and integers of 8 to 64 bits
COMPLEX = 1 << 11


class MatlabError(ValueError):
    """Why a file is no MATLAB file that is read here; a short reason, without the file's name."""


def read_matlab(path: Path, names: Sequence[str], most_bytes: int = MOST_BYTES) -> dict[str, np.ndarray]:
    """{name: array} of those of the named variables that the file has and that are arrays of real numbers.

    MatlabError for what is no MATLAB file of level 5; OSError if the file cannot be opened or read.
    """
    with open_regular(path) as file:
        data = file.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise MatlabError(f"it has more than {most_bytes} bytes")
    if data[:8] == b"\x89HDF\r\n\x1a\n" or b"MATLAB 7.3" in data[:HEADER]:
        raise MatlabError("it is of MATLAB 7.3; save it with -v7")
    order = {b"IM": "<", b"MI": ">"}.get(data[126:HEADER])
    if order is None:
        raise MatlabError("it does not begin as one")
    found = {}
    try:
        for kind, content in _elements(memoryview(data)[HEADER:], order):
            if kind == COMPRESSED:
                whole = memoryview(_inflated(content, most_bytes))
                ((kind, content), *_) = _elements(whole, order)
            if kind == MATRIX:
                name, array = _matrix(content, order, names)
                if array is not None:
                    found[name] = array
    except (struct.error, zlib.error, ValueError) as error:
        reason = str(error) if isinstance(error, MatlabError) else "it is damaged"
        raise MatlabError(reason) from None
    return found


def _elements(data: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """(kind, content) of each element, one after the other."""
    at = 0
    while at + 8 <= len(data):
        kind, length = struct.unpack_from(order + "II", data, at)
        if kind >> 16:  # four bytes or fewer stand in the tag itself
            kind, length, start, end = kind & 0xFFFF, kind >> 16, at + 4, at + 8
        else:
            start = at + 8
            end = start + (length if kind == COMPRESSED else -(-length // 8) * 8)
        if start + length > len(data) or (start == at + 4 and length > 4):
            raise MatlabError("it ends too early")
        yield kind, data[start : start + length]
        at = end


def _inflated(content: memoryview, most: int) -> bytes:
    stream = zlib.decompressobj()
    whole = stream.decompress(content, most)
    if stream.unconsumed_tail:
        raise MatlabError(f"it holds more than {most} bytes, compressed")
    return whole


def _matrix(content: memoryview, order: str, names: Sequence[str]) -> tuple[str, np.ndarray | None]:
    """Name and numbers of a variable; None if it is not wanted, or holds no real numbers."""
    parts = _elements(content, order)
    ((flags_kind, flags), (sides_kind, sides), (name_kind, name)) = (next(parts, (0, b"")) for _ in range(3))
    if (flags_kind, sides_kind, name_kind) != (UINT32, INT32, INT8) or len(flags) != 8 or len(sides) % 4:
        raise MatlabError("it is damaged")
    text, (kind, *_) = bytes(name).decode("latin-1"), struct.unpack(order + "II", flags)
    if text not in names or kind & 0xFF not in CLASSES or kind & COMPLEX:
        return text, None
    shape = struct.unpack(f"{order}{len(sides) // 4}i", sides)
    number, values = next(parts, (0, b""))
    stored = NUMBERS.get(number)
    if stored is None or min(shape, default=-1) < 0 or len(values) != math.prod(shape) * int(stored[1]):
        raise MatlabError("it is damaged")
    return text, np.frombuffer(values, order + stored).reshape(shape, order="F").astype("=" + stored)
