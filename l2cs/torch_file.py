"""Files of `torch.save`, read without trusting them: tensors and plain values; code in them is never run.

`torch.load(weights_only=True)` runs no code, yet lets a small file claim all memory: its allow-list has `bytearray`,
and it unpacks compressed archives. So the pickles inside are first read by `l2cs.strict_pickle` and every declared size
is compared with the file; only then PyTorch loads it.
"""

import io
import os
import warnings
import zipfile
from pathlib import Path
from typing import BinaryIO

import torch

from l2cs.strict_pickle import Buildable, Callee, PickleError, only_pickle_errors, parse

LEGACY_MAGIC, LEGACY_PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # what torch.save wrote before its zip format
MOST_MEMBERS = 50_000  # tensors in one file
LONGEST_PICKLE = 64 << 20  # bytes, without the numbers
STORAGES = {
    "FloatStorage": torch.float32, "DoubleStorage": torch.float64, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
}  # fmt: skip


def read_torch(source: str | Path | BinaryIO):
    """What `torch.save` wrote to a path or binary file, on the CPU.

    OSError when a path cannot be opened; else PickleError, whose text is the reason without the file's name.
    """
    if isinstance(source, (str, Path)):
        with open(source, "rb") as file:
            return read_torch(file)
    with only_pickle_errors():
        _check_sizes(source)
    source.seek(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols; the error below says enough
            return torch.load(source, map_location="cpu", weights_only=True)
    except Exception as error:  # torn files fail in many ways, mostly deep inside the unpickler
        raise PickleError(f"damaged or cut short ({type(error).__name__})") from None


def _check_sizes(file: BinaryIO) -> None:
    """PickleError unless a file holds only plain values and tensors whose numbers are all in it."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    start = file.read(4)
    if start[:2] == b"PK":
        _check_archive(file, size)
    elif start[:1] == b"\x80":
        storages, at = _read_legacy_head(file, 0, size)
        if sum(8 + count * dtype.itemsize for dtype, count in storages.values()) != size - at:
            raise PickleError("damaged or cut short: its tensors do not fill it")
    else:
        raise PickleError("no file of torch.save")


def _check_archive(file: BinaryIO, size: int) -> None:
    """The zip format: `NAME/data.pkl` refers to storages, each a member `NAME/data/KEY` with the raw numbers."""
    try:
        members = zipfile.ZipFile(file).infolist()
    except (zipfile.BadZipFile, NotImplementedError, OSError, EOFError):
        raise PickleError("damaged or cut short") from None
    sizes = {member.filename: member.file_size for member in members}
    packed = any(member.compress_type != zipfile.ZIP_STORED for member in members)
    if packed or len(sizes) != len(members) or len(members) > MOST_MEMBERS or sum(sizes.values()) > size:
        raise PickleError("damaged: its archive is none of torch.save")
    pickles = [name for name in sizes if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(pickles) != 1 or sizes[pickles[0]] > LONGEST_PICKLE:
        raise PickleError("no file of torch.save: its archive has no data.pkl")
    folder = pickles[0].removesuffix("data.pkl")
    with zipfile.ZipFile(file) as archive:
        try:
            content = archive.read(pickles[0])
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError):
            raise PickleError("damaged or cut short") from None
    storages = {}
    parse(io.BytesIO(content), _find, persistent=lambda value: _remember(value, storages))
    for key, (dtype, count) in storages.items():
        if sizes.get(f"{folder}data/{key}") != count * dtype.itemsize:
            raise PickleError(f"damaged or cut short: the numbers of tensor {key[:40]!r} are not all there")


# ------------------------------------------------------------------ the legacy format


def read_legacy_storage(file: BinaryIO, start: int, end: int) -> torch.Tensor:
    """The numbers of a lone storage in the legacy format, bytes `start` to `end` of a file: 1-D, on the CPU.

    Errors: PickleError.
    """
    storages, at = _read_legacy_head(file, start, end)
    if len(storages) != 1:
        raise PickleError("a tensor has not one storage")
    ((dtype, count),) = storages.values()
    file.seek(at)
    announced = int.from_bytes(file.read(8), "little", signed=True)
    if announced != count or at + 8 + count * dtype.itemsize != end:
        raise PickleError(f"a tensor's storage of {count} numbers does not fit the {end - at} bytes it has")
    numbers = torch.empty(count, dtype=dtype)
    if file.readinto(numbers.view(torch.uint8).numpy()) != count * dtype.itemsize:
        raise PickleError("it was cut short while it was read")
    return numbers


def _read_legacy_head(file: BinaryIO, start: int, end: int) -> tuple[dict[str, tuple[torch.dtype, int]], int]:
    """(storages: key -> type and count, offset of the first count): five pickles, the last one the list of keys."""
    magic, at = parse(file, _find, start, end)
    if magic != LEGACY_MAGIC:
        raise PickleError("no file of torch.save")
    protocol, at = parse(file, _find, at, end)
    system, at = parse(file, _find, at, end)
    if protocol != LEGACY_PROTOCOL or system.get("little_endian") is not True:
        raise PickleError("it is of another protocol, or of a big-endian machine")
    storages: dict[str, tuple[torch.dtype, int]] = {}
    _, at = parse(file, _find, at, end, lambda value: _remember(value, storages))
    keys, at = parse(file, _find, at, end)
    if type(keys) is not list or not all(type(key) is str for key in keys) or sorted(keys) != sorted(storages):
        raise PickleError("damaged: its list of storages is another one than its tensors'")
    return storages, at


def _remember(value, storages: dict) -> tuple:
    """Notes the storage of a persistent id: ('storage', class, key, device, count, and formerly a view)."""
    tag, kind, key, device, count, *view = value
    if tag != "storage" or type(kind) is not Callee or type(key) is not str or type(device) is not str:
        raise PickleError("damaged: the id of a storage")
    if type(count) is not int or not 0 <= count < 2**40 or view not in ([], [None]) or kind.name not in STORAGES:
        raise PickleError("damaged: the size of a storage")
    dtype = STORAGES[kind.name]
    if storages.setdefault(key, (dtype, count)) != (dtype, count):
        raise PickleError("damaged: a storage has two sizes")
    return dtype, count


# ------------------------------------------------------------------ what globals become while sizes are checked


def _tensor(storage, offset, shape, stride, *rest) -> None:
    numbers = (offset, *shape, *stride)
    if type(storage) is not tuple or len(shape) > 64 or not all(type(n) is int and 0 <= n < 2**40 for n in numbers):
        raise PickleError("damaged: the shape of a tensor")


def _find(module: str, name: str) -> Callee:
    if module in ("torch", "torch.cuda") and name in STORAGES:  # torch.cuda: storages on a GPU, of PyTorch 1
        return Callee(name)
    found = ALLOWED.get((module, name))
    if found is None:
        shown = f"{module[:60]}.{name[:60]}"
        raise PickleError(f"it holds code, which is never run ({shown!r})")
    return found


class _OrderedDict(dict, Buildable):
    """State dicts carry version numbers as an attribute, which a BUILD sets; nothing needs them here."""

    def build(self, state) -> None:
        if not isinstance(state, dict):
            raise PickleError("damaged: the attributes of a state dict")


ALLOWED = {
    ("collections", "OrderedDict"): Callee("OrderedDict", call=_OrderedDict),
    ("torch._utils", "_rebuild_tensor_v2"): Callee("tensor", call=_tensor),
    ("torch._utils", "_rebuild_parameter"): Callee("parameter", call=lambda tensor, requires_grad, hooks: None),
}
