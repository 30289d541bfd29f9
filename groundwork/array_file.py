"""Arrays of numbers in files of NumPy that nobody vouches for: `.npy`, and a pickled {name: array}. No code is run."""

import io
import math
import tokenize
from pathlib import Path

import numpy as np

from groundwork.files import open_regular
from groundwork.strict_pickle import Blob, Buildable, Callee, PickleError, one_line, parse

MOST_BYTES = 1 << 28
NPY = b"\x93NUMPY"  # the first bytes of an .npy file
KINDS = "fiub"  # floats, integers, truth values
LONGEST_LATIN = 1 << 20  # characters of the bytes of an array, as protocol 2 spells them


def read_npy(path: Path) -> np.ndarray:
    """The array of an `.npy` file. ValueError, one line, for another file, one cut short, or one of objects."""
    data = _bytes(path)
    file = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, by_columns, dtype = read_header[version](file)
        return _array(data[file.tell() :], shape, by_columns, dtype)
    except (ValueError, KeyError, SyntaxError, TypeError, RecursionError, MemoryError, tokenize.TokenError) as error:
        reason = one_line(" ".join(str(error).split()), 80)
        raise ValueError(f"{path}: is no .npy of numbers that can be read ({reason}); replace it") from None


def read_pickled_arrays(path: Path) -> dict[str, np.ndarray]:
    """A pickled {name: array} (protocols 2 to 5), what is no array left out. ValueError, one line, for other files."""
    data = _bytes(path)
    try:
        value, end = parse(io.BytesIO(data), lambda module, name: _find(data, module, name))
    except PickleError as error:
        raise ValueError(f"{path}: is no pickled dict of NumPy arrays ({error}); replace it") from None
    if not isinstance(value, dict) or end != len(data):
        raise ValueError(f"{path}: is no pickled dict of NumPy arrays; replace it")
    return {str(name): part.numbers for name, part in value.items() if isinstance(part, _Array) and part.whole}


def _bytes(path: Path) -> bytes:
    with open_regular(path) as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise ValueError(f"{path}: has more than {MOST_BYTES >> 20} MiB, no file of arrays needs so many; replace it")
    return data


def _array(data: bytes, shape: tuple[int, ...], by_columns: bool, dtype: np.dtype) -> np.ndarray:
    """The numbers of an array; ValueError unless they are all there, and nothing else is."""
    if dtype.kind not in KINDS or dtype.subdtype is not None:
        raise ValueError("it holds something else than numbers")
    if len(shape) > 8 or not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError("it has an impossible shape")
    if math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError(f"{math.prod(shape)} numbers do not fit {len(data)} bytes: cut short, or damaged")
    numbers = np.frombuffer(data, dtype).reshape(shape, order="F" if by_columns else "C")
    return numbers.astype(dtype.newbyteorder("="))


# ------------------------------------------------------------------ what a pickle calls


class _NumberType(Buildable):
    """`numpy.dtype(code, ...)`; its state gives the order of its bytes."""

    def __init__(self, code, *alignment):
        if type(code) is not str or code[:1] not in KINDS or not code[1:].isdigit() or len(code) > 3:
            raise PickleError("an array of something else than numbers")
        self.dtype = np.dtype(code)

    def build(self, state) -> None:
        if type(state) is not tuple or len(state) < 2 or state[1] not in ("<", ">", "|", "="):
            raise PickleError("damaged: the type of an array's numbers")
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array(Buildable):
    """`numpy._core.multiarray._reconstruct(ndarray, (0,), b"b")`; its state has shape, type and bytes."""

    def __init__(self, data: bytes):
        self.data, self.whole = data, False

    def build(self, state) -> None:
        if type(state) is not tuple or len(state) != 5 or self.whole:
            raise PickleError("damaged: the state of an array")
        _, shape, kind, by_columns, numbers = state
        if isinstance(numbers, Blob):
            numbers = self.data[numbers.offset : numbers.offset + numbers.length]
        if not isinstance(kind, _NumberType) or type(numbers) is not bytes or type(shape) is not tuple:
            raise PickleError("damaged: the state of an array")
        self.numbers, self.whole = _array(numbers, shape, by_columns is True, kind.dtype), True


def _latin(text, encoding) -> bytes:
    """`_codecs.encode(text, "latin1")`: how protocol 2 spells bytes."""
    if type(text) is not str or encoding not in ("latin1", "latin-1") or len(text) > LONGEST_LATIN:
        raise PickleError("damaged: bytes that are none")
    return text.encode("latin1")


def _find(data: bytes, module: str, name: str) -> Callee:
    """(module, name) of a global -> its stand-in."""
    if (module, name) == ("numpy", "dtype"):
        return Callee(name, call=_NumberType)
    if (module, name) == ("numpy", "ndarray"):
        return Callee(name)
    if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
        return Callee(name, call=lambda *_: _Array(data))
    if (module, name) == ("_codecs", "encode"):
        return Callee(name, call=_latin)
    raise PickleError(f"it holds code, which is never run ('{module[:60]}.{name[:60]}')")
