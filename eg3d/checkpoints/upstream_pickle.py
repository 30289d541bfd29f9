"""Reads published EG3D network pickles: tensors and plain values, never the Python source that is stored beside them.

The format: a pickled dict of `training_set_kwargs`, `G`, `D`, `G_ema` and `augment_pipe`. A module is
a call of `_reconstruct_persistent_obj`, which in the published code *executes* the stored source; here it becomes a
`Record` of class name and state. Each tensor's storage is the stream of a legacy `torch.save` inside the pickle; its
numbers are read when they are asked for, straight into the tensor.
"""

import io
import itertools
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import torch

from groundwork.strict_pickle import Blob, Buildable, Callee, PickleError, only_pickle_errors, parse
from groundwork.torch_file import LONGEST_HEAD, MOST_USES, fits, read_legacy_storage

NETWORKS = ("G", "D", "G_ema")
DEEPEST = 32  # nesting of modules, and of plain values; published files have 6
MOST_VALUES = 20_000  # plain values of one network's arguments
MOST_TEXT = 1 << 20  # characters of their texts
MOST_PARTS = 10_000  # modules, tensors and empty places of one network; published ones have some 1,000
MOST_ATTRIBUTES = 1000  # of one module
MOST_RAYS = 1 << 20  # per side of the rendered picture


@dataclass
class Record(Buildable):
    """A module of the file: its class's bare name and its `__dict__`."""

    cls: str
    state: dict = field(default_factory=dict)

    def build(self, state) -> None:
        if type(state) is not dict or len(state) > MOST_ATTRIBUTES or not all(type(key) is str for key in state):
            raise PickleError(f"the state of {self.cls} is no plain dict")
        self.state = state


@dataclass(frozen=True)
class Storage:
    """The numbers behind a tensor, as the bytes of a legacy `torch.save`: kept if few, else left in the file."""

    data: bytes | Blob

    @property
    def length(self) -> int:
        return len(self.data) if isinstance(self.data, bytes) else self.data.length

    def read(self, file: BinaryIO) -> torch.Tensor:
        """All numbers, flat, on the CPU whatever device they were saved from."""
        if isinstance(self.data, bytes):
            return read_legacy_storage(io.BytesIO(self.data), 0, len(self.data))
        return read_legacy_storage(file, self.data.offset, self.data.offset + self.data.length)


@dataclass(frozen=True)
class StoredTensor:
    """A tensor of the file, not read yet."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    def read(self, file: BinaryIO) -> torch.Tensor:
        count = math.prod(self.shape)
        if self.storage.length > LONGEST_HEAD + 8 * count:  # else many small tensors could make us read a large one
            raise PickleError(f"a tensor of shape {list(self.shape)} has a storage of {self.storage.length} bytes")
        numbers = self.storage.read(file)
        if not fits(self.offset, self.shape, self.stride, numbers.numel()):
            raise PickleError(f"a tensor of shape {list(self.shape)} has a storage of only {numbers.numel()} numbers")
        view = numbers.as_strided(self.shape, self.stride, self.offset)
        return view if count == numbers.numel() and view.is_contiguous() else view.clone()


@dataclass(frozen=True)
class UpstreamNetwork:
    """One network: class name, constructor arguments, tensors by their state-dict names, attributes.

    tensors: not read yet; the buffer `dataset_label_std`, which no constructor makes, is left out.
    rendering_kwargs, neural_rendering_resolution: the attributes, which may differ from the constructor's arguments;
    None for a discriminator.
    plane_axes: [3, 3, 3], None where the file has none. raw_fade: of a DummyDualDiscriminator.
    """

    cls: str
    init_args: list
    init_kwargs: dict
    tensors: dict[str, StoredTensor]
    rendering_kwargs: dict | None
    neural_rendering_resolution: int | None
    plane_axes: StoredTensor | None
    raw_fade: float | None


@dataclass(frozen=True)
class UpstreamFile:
    """What a published pickle holds; networks that are None in the file are left out."""

    networks: dict[str, UpstreamNetwork]
    training_set_kwargs: dict | None
    augment_pipe: str | None  # the class's name


def read_upstream(path: Path) -> UpstreamFile:
    """Reads a published network pickle, without its numbers.

    Errors: PickleError (a ValueError), one line without the file's name, for anything but a published tri-plane
    generator's file; OSError when it cannot be opened.
    """
    with open(path, "rb") as file:
        content, end = parse(file, _find)
        if file.seek(0, 2) != end:
            raise PickleError(f"{file.tell() - end} bytes follow its end")
    with only_pickle_errors():
        result = _file(content)
    tensors = itertools.chain.from_iterable(network.tensors.values() for network in result.networks.values())
    if sum(tensor.storage.length for tensor in tensors) > MOST_USES * end:
        raise PickleError("its tensors share their numbers")
    return result


def _file(content) -> UpstreamFile:
    if type(content) is tuple:
        raise PickleError("it is a TensorFlow StyleGAN file, no tri-plane generator")
    if type(content) is not dict or not set(content) & set(NETWORKS):
        raise PickleError("it holds no networks by the names G, D and G_ema")
    records = {name: content[name] for name in NETWORKS if content.get(name) is not None}
    if not records:
        raise PickleError("its G, D and G_ema are all empty")
    pipe = content.get("augment_pipe")
    training_set = content.get("training_set_kwargs")
    return UpstreamFile(
        networks={name: _network(name, record) for name, record in records.items()},
        training_set_kwargs=None if training_set is None else plain_dict(training_set, "training_set_kwargs"),
        augment_pipe=pipe.cls if isinstance(pipe, Record) else None,
    )


def _network(name: str, record) -> UpstreamNetwork:
    if not isinstance(record, Record):
        raise PickleError(f"{name} is no module")
    if name != "D" and record.cls != "TriPlaneGenerator":
        raise PickleError(f"{name} is a {record.cls}, no tri-plane generator: a StyleGAN file cannot be drawn in 3D")
    if name == "D" and record.cls == "TriPlaneGenerator":
        raise PickleError("D is a TriPlaneGenerator")
    state = record.state
    arguments = state.get("_init_args", ())
    rays = state.get("neural_rendering_resolution")
    rendering, fade = state.get("rendering_kwargs"), state.get("raw_fade")
    renderer = _children(record).get("renderer")
    if rays is not None and not (type(rays) is int and 0 < rays < MOST_RAYS):
        raise PickleError(f"neural_rendering_resolution of {name} is no positive integer")
    if fade is not None and type(fade) not in (int, float):
        raise PickleError(f"raw_fade of {name} is no number")
    tensors = dict(_tensors(record))
    tensors.pop("dataset_label_std", None)  # the training loop's, which computes it from its data set
    axes = renderer.state.get("plane_axes") if renderer else None
    if isinstance(axes, StoredTensor) and axes.shape != (3, 3, 3):
        raise PickleError(f"plane_axes of {name} has shape {list(axes.shape)} instead of [3, 3, 3]")
    return UpstreamNetwork(
        cls=record.cls,
        init_args=_plain(list(arguments), f"{name}._init_args"),
        init_kwargs=plain_dict(state.get("_init_kwargs", {}), f"{name}._init_kwargs"),
        tensors=tensors,
        rendering_kwargs=None if rendering is None else plain_dict(rendering, f"{name}.rendering_kwargs"),
        neural_rendering_resolution=rays,
        plane_axes=axes if isinstance(axes, StoredTensor) else None,
        raw_fade=fade,
    )


def _tensors(
    record: Record, prefix: str = "", depth: int = 0, parts: Iterator[int] | None = None
) -> Iterator[tuple[str, StoredTensor]]:
    """State-dict names and tensors below a module: parameters, buffers, children, in the order of the file.

    parts: counts what has been visited; a module that is a child of many would be visited without end.
    """
    parts = parts or itertools.count()
    if depth > DEEPEST or next(parts) > MOST_PARTS:
        raise PickleError("its modules are nested too deep, or too many")
    passing = record.state.get("_non_persistent_buffers_set", set())
    if type(passing) is not set:
        raise PickleError(f"_non_persistent_buffers_set of {record.cls} is no set")
    for kind in ("_parameters", "_buffers"):
        members = record.state.get(kind, {})
        if type(members) is not dict:
            raise PickleError(f"{kind} of {record.cls} is no dict")
        for name, value in members.items():
            if next(parts) > MOST_PARTS:
                raise PickleError("it has too many tensors")
            if value is None or (kind == "_buffers" and name in passing):
                continue
            if not isinstance(value, StoredTensor) or type(name) is not str:
                raise PickleError(
                    f"{prefix}{name} is no tensor" if type(name) is str else f"a name in {kind} is no text"
                )
            yield prefix + name, value
    for name, child in _children(record).items():
        yield from _tensors(child, f"{prefix}{name}.", depth + 1, parts)


def _children(record: Record) -> dict[str, Record]:
    children = record.state.get("_modules", {})
    if type(children) is not dict or len(children) > MOST_ATTRIBUTES:
        raise PickleError(f"_modules of {record.cls} is no dict of modules")
    for name, child in children.items():
        if type(name) is not str or not (child is None or isinstance(child, Record)):
            raise PickleError(f"a child of {record.cls} is no module")
    return {name: child for name, child in children.items() if child is not None}


def plain_dict(value, where: str) -> dict:
    if not isinstance(value, dict):
        raise PickleError(f"{where} is no dict")
    return _plain(value, where)


def _plain(value, where: str):
    """A copy of numbers, texts, lists and dicts as JSON can hold them; limited, as references can multiply."""
    left, text = MOST_VALUES, MOST_TEXT

    def copy(value, depth: int):
        nonlocal left, text
        left -= 1
        text -= len(value) if type(value) is str else 0
        if left < 0 or text < 0 or depth > DEEPEST:
            raise PickleError(f"{where} is too large for arguments of a network")
        if type(value) is float and not math.isfinite(value):
            raise PickleError(f"{where} holds a number that is not finite")
        if value is None or type(value) in (bool, int, float, str):
            return value
        if type(value) in (list, tuple):
            return [copy(item, depth + 1) for item in value]
        if isinstance(value, dict) and all(type(key) is str for key in value):
            return {key: copy(item, depth + 1) for key, item in value.items()}
        raise PickleError(f"{where} holds a {type(value).__name__}, which is no plain value")

    return copy(value, 0)


# ------------------------------------------------------------------ what the globals of such a file become


def _persistent(meta) -> Record:
    """`_reconstruct_persistent_obj(meta)`; `meta["module_src"]` is dropped unread."""
    if type(meta) is not dict or meta.get("type") != "class" or type(meta.get("class_name")) is not str:
        raise PickleError("a persistent object is no class")
    if meta.get("version") != 6:
        raise PickleError("a persistent object is not of version 6, the only one EG3D wrote")
    if not meta["class_name"][:100].isidentifier():
        raise PickleError("a persistent object has a class name that is none")
    record = Record(meta["class_name"][:100])
    record.build(meta.get("state"))
    return record


def _storage(data) -> Storage:
    if not isinstance(data, (bytes, Blob)):
        raise PickleError("a tensor's storage is no byte string")
    return Storage(data)


def _tensor(storage, offset, shape, stride, requires_grad, hooks, metadata=None) -> StoredTensor:
    del requires_grad, hooks, metadata
    sizes = (offset, *shape, *stride)
    if not isinstance(storage, Storage) or type(shape) is not tuple or type(stride) is not tuple:
        raise PickleError("a tensor is put together from wrong parts")
    if len(shape) != len(stride) or len(shape) > 8 or not all(type(n) is int and 0 <= n < 2**40 for n in sizes):
        raise PickleError("a tensor has an impossible shape")
    if 2 * math.prod(shape) > storage.length:  # strides of zero would unfold a small file into terabytes
        raise PickleError(f"a tensor of shape {list(shape)} has only {storage.length} bytes")
    return StoredTensor(storage, offset, shape, stride)


def _parameter(tensor, requires_grad, hooks) -> StoredTensor:
    del requires_grad, hooks
    if not isinstance(tensor, StoredTensor):
        raise PickleError("a parameter is no tensor")
    return tensor


@dataclass
class NumberType(Buildable):
    """`numpy.dtype` of one number; its state gives the byte order."""

    code: str
    order: str = "little"

    def build(self, state) -> None:
        if type(state) is not tuple or type(state[1]) is not str:  # hashing a deep tuple would crash Python
            raise PickleError("a NumPy value is of a type that is no number")
        self.order = {"<": "little", "|": "little", ">": "big"}[state[1]]


def _number_type(code, *alignment) -> NumberType:
    if code not in ("f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "b1"):
        raise PickleError("a NumPy value is of a type that is no number")
    return NumberType(code)


def _number(kind, data):
    """`numpy.core.multiarray.scalar(dtype, bytes)` -> a Python number."""
    if type(kind) is not NumberType or type(data) is not bytes or len(data) != int(kind.code[1:]):
        raise PickleError("a NumPy value is put together from wrong parts")
    swapped = data if kind.order == "little" else data[::-1]
    if kind.code[0] == "f":
        return struct.unpack({8: "<d", 4: "<f", 2: "<e"}[len(data)], swapped)[0]
    number = int.from_bytes(swapped, "little", signed=kind.code[0] == "i")
    return bool(number) if kind.code[0] == "b" else number


def _dict() -> dict:
    """`OrderedDict()`; its items follow. It takes none here, as many copies of them would fill the memory."""
    return {}


def _set(items=()) -> set:
    """Names of buffers; few, as many copies of many would fill the memory."""
    if type(items) not in (list, tuple) or len(items) > 16 or not all(type(item) is str for item in items):
        raise PickleError("a set holds something else than some names")
    return set(items)


def _module(name: str) -> Callee:
    return Callee(name, new=lambda: Record(name))


_SCALAR = Callee("scalar", call=_number)
ALLOWED = {
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): Callee("persistent object", call=_persistent),
    ("training.triplane", "OSGDecoder"): _module("OSGDecoder"),
    ("training.volumetric_rendering.renderer", "ImportanceRenderer"): _module("ImportanceRenderer"),
    ("training.volumetric_rendering.ray_sampler", "RaySampler"): _module("RaySampler"),
    ("training.volumetric_rendering.ray_marcher", "MipRayMarcher2"): _module("MipRayMarcher2"),
    ("torch.nn.modules.container", "Sequential"): _module("Sequential"),
    ("torch.nn.modules.activation", "Softplus"): _module("Softplus"),
    ("torch._utils", "_rebuild_tensor_v2"): Callee("tensor", call=_tensor),
    ("torch._utils", "_rebuild_parameter"): Callee("parameter", call=_parameter),
    ("torch.storage", "_load_from_bytes"): Callee("storage", call=_storage),
    ("collections", "OrderedDict"): Callee("OrderedDict", call=_dict, new=dict),
    ("dnnlib.util", "EasyDict"): Callee("EasyDict", call=_dict, new=dict),
    ("numpy", "dtype"): Callee("dtype", call=_number_type),
    ("numpy._core.multiarray", "scalar"): _SCALAR,
    ("numpy.core.multiarray", "scalar"): _SCALAR,  # NumPy 1
    ("builtins", "set"): Callee("set", call=_set),  # protocol 3, of Python before 3.8
}


def _find(module: str, name: str) -> Callee:
    if (module, name) in ALLOWED:
        return ALLOWED[module, name]
    if module.startswith("dnnlib.tflib"):
        raise PickleError("it is a TensorFlow StyleGAN file, no tri-plane generator")
    shown = f"{module[:60]}.{name[:60]}"
    raise PickleError(f"it refers to {shown!r}, which is no part of an EG3D file; nothing in it was executed")
