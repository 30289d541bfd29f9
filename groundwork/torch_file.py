"""Files of `torch.save`, read without trusting them: tensors and plain values; code in them is never run.

`torch.load(weights_only=True)` runs no code, yet lets a small file claim all memory: its allow-list has `bytearray`,
and it unpacks compressed archives. A check before it would not help: an archive can be made such that it and Python's
`zipfile` find different members. So `strict_pickle.py` reads the pickles inside, every declared size is compared with
the file, and the tensors are put together here.
"""

import io
import math
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import torch

from groundwork.files import open_regular
from groundwork.strict_pickle import Buildable, Callee, Find, PickleError, only_pickle_errors, parse

LEGACY_MAGIC, LEGACY_PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # what torch.save wrote before its zip format
LEGACY_START = b"\x8a\x0a" + LEGACY_MAGIC.to_bytes(10, "little")  # as a pickle spells it
MOST_MEMBERS = 50_000  # tensors in one file
LONGEST_PICKLE = 64 << 20  # bytes, without the numbers
LONGEST_DIRECTORY = 16 << 20  # bytes of an archive's list of members
LONGEST_HEAD = 1 << 16  # bytes before the numbers of a lone storage; PyTorch writes some 400
LARGEST_FILE = 4 << 30  # bytes; a file may declare more than it fills the disk with (holes)
MOST_USES = 4  # how often the numbers of one storage may be given out: views may overlap, not multiply a file
STORAGES = {
    "FloatStorage": torch.float32, "DoubleStorage": torch.float64, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
}  # fmt: skip


class HoldsCode(PickleError):
    """A file refers to something else than tensors and plain values, as a model does that was saved whole, or may."""


def what_helps(error: ValueError, otherwise: str) -> str:
    """What to do about a file that `read_torch` refuses; fetching a model that was saved whole again does not help."""
    if isinstance(error, HoldsCode):
        return "where its code is, save torch.save(model.state_dict(), 'weights.pth'), and give that"
    return otherwise


def why_not_tensors(content, what: str) -> str:
    """Of what `read_torch` gave and is no state dict: what it cannot be, or where in it the tensors are."""
    for name, value in content.items() if isinstance(content, dict) else ():
        if isinstance(value, dict) and value and all(isinstance(v, torch.Tensor) for v in value.values()):
            key = repr(name)[:60]
            helps = f"save it alone, torch.save(saved[{key}], 'weights.pth'), and give that"
            return f"holds no state dict of tensors, but one under {key}; {helps}"
    return f"holds no state dict of tensors, so it cannot be {what}"


def read_torch(source: str | Path | BinaryIO, also: Find | None = None):
    """What `torch.save` wrote to a path or binary file, on the CPU.

    also: (module, name) of a global that is no part of a state dict -> an inert stand-in, or None to refuse it.
    OSError when a path cannot be opened; else PickleError, whose text is the reason without the file's name.
    """
    if isinstance(source, (str, Path)):
        with open_regular(source) as file:
            return read_torch(file, also)
    with only_pickle_errors():
        try:
            return _read(source, _finder(also))
        except (zipfile.BadZipFile, RuntimeError, OSError, EOFError) as error:  # a torn archive fails in many ways
            raise PickleError(f"damaged or cut short: {type(error).__name__}") from None


def _read(file: BinaryIO, find: Find):
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    start = file.read(32)
    if size > LARGEST_FILE:
        raise PickleError(f"it has {size} bytes, more than any file of networks")
    if start[:2] == b"PK":
        return _read_archive(file, size, find)
    if start[:1] == b"\x80":
        if LEGACY_START not in start:
            raise HoldsCode("no file of torch.save, but a plain pickle")
        return _read_legacy(file, size, find)
    raise PickleError("no file of torch.save")


class _Numbers:
    """A storage while its file is read: `left` counts the numbers that tensors may still take of it."""

    def __init__(self, dtype: torch.dtype, count: int):
        self.flat = torch.empty(count, dtype=dtype)
        self.left = MOST_USES * count


def _fill(numbers: torch.Tensor, stream: BinaryIO) -> None:
    """Reads the bytes of a 1-D tensor, in pieces: an archive's member would be copied as a whole otherwise."""
    view = memoryview(numbers.view(torch.uint8).numpy())
    while view:
        count = stream.readinto(view[: 16 << 20])
        if not count:
            raise PickleError("it was cut short")
        view = view[count:]


def fits(offset: int, shape: tuple[int, ...], stride: tuple[int, ...], numbers: int) -> bool:
    """Whether a tensor lies inside its storage, and has no more elements than that: strides of zero unfold a small
    file into terabytes.
    """
    if len(shape) != len(stride) or len(shape) > 64:
        return False
    if not all(type(n) is int and 0 <= n < 2**40 for n in (offset, *shape, *stride)):
        return False
    if 0 in shape:
        return offset <= numbers and math.prod(n or 1 for n in shape) < 2**40
    last = offset + sum((n - 1) * s for n, s in zip(shape, stride, strict=True))
    return math.prod(shape) <= numbers and last < numbers


def _check_directory(file: BinaryIO, size: int) -> None:
    """PickleError for a list of members that would fill the memory, as `zipfile` reads it before anybody can ask, or
    that is not where the end of the archive says: `zipfile` guesses then, and others look elsewhere.
    """
    file.seek(max(0, size - 98))
    tail = file.read(98)  # ends with the record for large archives (56 bytes), its locator (20) and the record (22)
    large, end = tail[-98:-42], tail[-22:]
    if large[:4] == b"PK\x06\x06" and tail[-42:-38] == b"PK\x06\x07":
        before, length, offset = size - 98, large[40:48], large[48:56]
    else:
        before, length, offset = size - 22, end[12:16], end[16:20]
    length, offset = int.from_bytes(length, "little"), int.from_bytes(offset, "little")
    if end[:4] != b"PK\x05\x06" or end[20:] != b"\0\0" or length > LONGEST_DIRECTORY or offset + length != before:
        raise PickleError("damaged or cut short")


def _read_archive(file: BinaryIO, size: int, find: Find):
    """The zip format: `NAME/data.pkl` refers to storages, each a member `NAME/data/KEY` with the raw numbers."""
    _check_directory(file, size)
    members = zipfile.ZipFile(file).infolist()
    sizes = {member.filename: member.file_size for member in members}
    packed = any(member.compress_type != zipfile.ZIP_STORED for member in members)
    if packed or len(sizes) != len(members) or len(members) > MOST_MEMBERS or sum(sizes.values()) > size:
        raise PickleError("damaged: its archive is none of torch.save")
    pickles = [name for name in sizes if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(pickles) != 1 or sizes[pickles[0]] > LONGEST_PICKLE:
        raise PickleError("no file of torch.save: its archive has no data.pkl")
    folder = pickles[0].removesuffix("data.pkl")
    with zipfile.ZipFile(file) as archive:
        if f"{folder}byteorder" in sizes and archive.read(f"{folder}byteorder") != b"little":
            raise PickleError("it is of a big-endian machine")

        def storage(key: str, dtype: torch.dtype, count: int) -> _Numbers:
            if sizes.get(f"{folder}data/{key}") != count * dtype.itemsize:
                raise PickleError(f"damaged or cut short: the numbers of tensor {key[:40]!r} are not all there")
            numbers = _Numbers(dtype, count)
            with archive.open(f"{folder}data/{key}") as member:
                _fill(numbers.flat, member)
            return numbers

        return parse(io.BytesIO(archive.read(pickles[0])), find, persistent=_Storages(storage))[0]


# ------------------------------------------------------------------ the legacy format


def _read_legacy(file: BinaryIO, size: int, find: Find):
    """Five pickles, then for every storage the count of its numbers and the numbers."""

    def storage(key: str, dtype: torch.dtype, count: int) -> _Numbers:
        nonlocal left
        left -= 8 + count * dtype.itemsize
        if left < 0:
            raise PickleError("damaged or cut short: it declares more numbers than it has bytes")
        return _Numbers(dtype, count)

    left, storages = size, _Storages(storage)
    value, keys, at = _read_legacy_head(file, 0, size, storages, find)
    if sum(8 + numbers.flat.nbytes for numbers in storages.made.values()) != size - at:
        raise PickleError("damaged or cut short: its tensors do not fill it")
    file.seek(at)
    for key in keys:
        numbers = storages.made[key]
        if int.from_bytes(file.read(8), "little", signed=True) != len(numbers.flat):
            raise PickleError("damaged: a storage has two sizes")
        _fill(numbers.flat, file)
    return value


def read_legacy_storage(file: BinaryIO, start: int, end: int) -> torch.Tensor:
    """The numbers of a lone storage in the legacy format, bytes `start` to `end` of a file: 1-D, on the CPU.

    Errors: PickleError.
    """
    storages = _Storages(lambda key, dtype, count: (dtype, count))
    _, _, at = _read_legacy_head(file, start, min(end, start + LONGEST_HEAD), storages, _finder(None))
    if len(storages.made) != 1:
        raise PickleError("a tensor has not one storage")
    ((dtype, count),) = storages.made.values()
    file.seek(at)
    announced = int.from_bytes(file.read(8), "little", signed=True)
    if announced != count or at + 8 + count * dtype.itemsize != end:
        raise PickleError(f"a tensor's storage of {count} numbers does not fit the {end - at} bytes it has")
    numbers = torch.empty(count, dtype=dtype)
    _fill(numbers, file)
    return numbers


def _read_legacy_head(
    file: BinaryIO, start: int, end: int, storages: "_Storages", find: Find
) -> tuple[object, list[str], int]:
    """(value, keys of the storages, offset of the first count): five pickles, the fourth one with the value."""
    magic, at = parse(file, find, start, min(end, start + 1000))
    if magic != LEGACY_MAGIC:
        raise PickleError("no file of torch.save")
    protocol, at = parse(file, find, at, min(end, at + 1000))
    system, at = parse(file, find, at, min(end, at + 1000))
    if protocol != LEGACY_PROTOCOL or type(system) is not dict or system.get("little_endian") is not True:
        raise PickleError("it is of another protocol, or of a big-endian machine")
    value, at = parse(file, find, at, end, storages)
    keys, at = parse(file, find, at, end)
    if type(keys) is not list or not all(type(key) is str for key in keys) or sorted(keys) != sorted(storages.made):
        raise PickleError("damaged: its list of storages is another one than its tensors'")
    return value, keys, at


class _Storages:
    """From persistent ids, ('storage', class, key, device, count, and formerly a view), to what `make` gives."""

    def __init__(self, make: Callable):
        self.make, self.made, self.sizes = make, {}, {}

    def __call__(self, value):
        if type(value) is tuple and len(value) == 4 and value[0] == "module" and type(value[1]) is Callee:
            return value[1]  # the class of a module, its file and source: of the legacy format
        if type(value) is not tuple or len(value) not in (5, 6) or value[5:] not in ((), (None,)):
            raise PickleError("damaged: the id of a storage")
        tag, kind, key, device, count = value[:5]
        if tag != "storage" or type(kind) is not Callee or type(key) is not str or type(device) is not str:
            raise PickleError("damaged: the id of a storage")
        if type(count) is not int or not 0 <= count < 2**40 or kind.name not in STORAGES:
            raise PickleError("damaged: the size of a storage")
        dtype = STORAGES[kind.name]
        if self.sizes.setdefault(key, (dtype, count)) != (dtype, count):
            raise PickleError("damaged: a storage has two sizes")
        if key not in self.made:
            self.made[key] = self.make(key, dtype, count)
        return self.made[key]


# ------------------------------------------------------------------ what globals become


def _tensor(storage, offset, shape, stride, *rest) -> torch.Tensor:
    if type(storage) is not _Numbers or type(shape) is not tuple or type(stride) is not tuple:
        raise PickleError("damaged: a tensor is put together from wrong parts")
    storage.left -= math.prod(shape) if fits(offset, shape, stride, len(storage.flat)) else math.inf
    if storage.left < 0:
        raise PickleError(f"a tensor has more numbers than its storage of {len(storage.flat)}")
    return storage.flat.as_strided(shape, stride, offset)


def _parameter(tensor, requires_grad, hooks) -> torch.Tensor:
    if not isinstance(tensor, torch.Tensor):
        raise PickleError("damaged: a parameter is no tensor")
    return tensor


def _finder(also: Find | None) -> Find:
    """(module, name) of a global -> its stand-in."""

    def find(module: str, name: str) -> Callee:
        if module in ("torch", "torch.cuda") and name in STORAGES:  # torch.cuda: storages on a GPU, of PyTorch 1
            return Callee(name)
        found = ALLOWED.get((module, name)) or (also and also(module, name))
        if not found:
            shown = f"{module[:60]}.{name[:60]}"
            raise HoldsCode(f"it holds code, which is never run ({shown!r})")
        return found

    return find


class OrderedState(dict, Buildable):
    """An `OrderedDict`. State dicts carry version numbers as an attribute, set by a BUILD; nothing needs them here."""

    def build(self, state) -> None:
        if not isinstance(state, dict):
            raise PickleError("damaged: the attributes of a state dict")


ALLOWED = {
    ("collections", "OrderedDict"): Callee("OrderedDict", call=lambda: OrderedState()),  # items follow
    ("torch._utils", "_rebuild_tensor_v2"): Callee("tensor", call=_tensor),
    ("torch._utils", "_rebuild_parameter"): Callee("parameter", call=_parameter),
}
