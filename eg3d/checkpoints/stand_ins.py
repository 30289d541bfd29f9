"""What the globals of a published network become in our reader: inert records, tensors and numbers. Nothing is called.

A published pickle and a module that `torch.save` wrote whole refer to the same globals. They differ in their tensors:
the storages of the first are byte strings inside it (`Storage`), those of the second are members of an archive, and
groundwork/torch_file.py has read them.
"""

import io
import math
import struct
from dataclasses import dataclass, field
from typing import BinaryIO

import torch

from groundwork.strict_pickle import Blob, Buildable, Callee, PickleError
from groundwork.torch_file import LONGEST_HEAD, OrderedState, fits, read_legacy_storage

MOST_ATTRIBUTES = 1000  # of one module
LONGEST_NUMBER = 16  # characters of a number's bytes
DEEPEST_PACKAGE = 10  # folders of a project that carries EG3D
VENDORED = ("torch_utils", "training", "dnnlib")  # packages of EG3D
# Class of a network -> the module that the published code has it in.
PUBLISHED_CLASSES = {"TriPlaneGenerator": "training.triplane"} | dict.fromkeys(
    ("DualDiscriminator", "DummyDualDiscriminator", "SingleDiscriminator"), "training.dual_discriminator"
)
# The first key of a pickle of ours, which has its facts; the published loader does not look there.
OUR_FACTS = "gaze_corrected_eg3d"
WRAPPER = "DataParallel"  # its child `module` is the network
REMEDY = (
    "where its code is, torch.save({'G_ema': G.state_dict()}, 'G.pth'), and convert that: "
    "python eg3d/convert.py --source=G.pth --like=NETWORK --dest=G.safetensors"
)


@dataclass
class Record(Buildable):
    """A module of the file: its class's bare name and its `__dict__`."""

    cls: str
    state: dict = field(default_factory=dict)

    def build(self, state) -> None:
        if type(state) is not dict or len(state) > MOST_ATTRIBUTES or not all(type(key) is str for key in state):
            raise PickleError(f"the state of {self.cls} is no plain dict")
        self.state = self.state | state


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
    """`EasyDict()`; its items follow. It takes none here, as many copies of them would fill the memory."""
    return {}


def _ordered() -> OrderedState:
    """`OrderedDict()`, likewise."""
    return OrderedState()


def _bytes(text, encoding) -> bytes:
    """`_codecs.encode(text, "latin1")`: how protocol 2 spells the bytes of a number."""
    if type(text) is not str or encoding != "latin1" or len(text) > LONGEST_NUMBER:
        raise PickleError("a byte string is no number's")
    return text.encode("latin1")


def _device(kind, index=0) -> None:
    """`torch.device(...)` of a data-parallel wrapper, which means nothing here."""
    if kind not in ("cpu", "cuda") or type(index) is not int or not 0 <= index < 1000:
        raise PickleError("a device is none")


def _set(items=()) -> set:
    """Names of buffers; few, as many copies of many would fill the memory."""
    if type(items) not in (list, tuple) or len(items) > 16 or not all(type(item) is str for item in items):
        raise PickleError("a set holds something else than some names")
    return set(items)


def _module(name: str) -> Callee:
    return Callee(name, new=lambda: Record(name))


# ------------------------------------------------------------------ what published_pickle.py writes


class _Constructor(Callee, Buildable):
    """`functools.partial(CLASS)`; its state says the arguments, its call makes a module of the class."""

    def __init__(self, cls: str):
        super().__init__(cls, call=self.make)
        object.__setattr__(self, "arguments", {})

    def build(self, state) -> None:
        function, positional, arguments, attributes = state
        if getattr(function, "name", None) != self.name or positional != () or attributes != {}:
            raise PickleError("a constructor has other arguments than named ones")
        if type(arguments) is not dict:
            raise PickleError("the arguments of a constructor are no dict")
        object.__setattr__(self, "arguments", arguments)

    def make(self) -> Record:
        return Record(self.name, {"_init_kwargs": self.arguments})


def _constructor(function) -> _Constructor:
    if type(function) is not Callee or function.name not in PUBLISHED_CLASSES:
        raise PickleError("it makes an object that has no place in a file of tensors")
    return _Constructor(function.name)


def _filled(module, tensors) -> None:
    """`Module.load_state_dict(module, tensors)`: the names are joined already."""
    if not isinstance(module, Record) or not isinstance(tensors, dict):
        raise PickleError("tensors are given to something that is no module")
    module.state["_parameters"] = tensors


def _same(module, *switch) -> Record:
    """`Module.eval(module)` and `Module.requires_grad_(module, False)`."""
    if not isinstance(module, Record) or switch not in ((), (False,)):
        raise PickleError("something is set to evaluation that is no module")
    return module


def _empty() -> None:
    """`Identity()`, where there is no discriminator."""


_SCALAR = Callee("scalar", call=_number)
_SET = Callee("set", call=_set)
# The same in a published pickle and in a file of torch.save.
OF_MODULES = {
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): Callee("persistent object", call=_persistent),
    ("training.triplane", "OSGDecoder"): _module("OSGDecoder"),
    ("training.volumetric_rendering.renderer", "ImportanceRenderer"): _module("ImportanceRenderer"),
    ("training.volumetric_rendering.ray_sampler", "RaySampler"): _module("RaySampler"),
    ("training.volumetric_rendering.ray_marcher", "MipRayMarcher2"): _module("MipRayMarcher2"),
    ("torch.nn.modules.container", "Sequential"): _module("Sequential"),
    ("torch.nn.modules.activation", "Softplus"): _module("Softplus"),
    ("torch.nn.parallel.data_parallel", "DataParallel"): _module(WRAPPER),
    ("torch", "device"): Callee("device", call=_device),
    ("collections", "OrderedDict"): Callee("OrderedDict", call=_ordered, new=OrderedState),
    ("dnnlib.util", "EasyDict"): Callee("EasyDict", call=_dict, new=dict),
    ("numpy", "dtype"): Callee("dtype", call=_number_type),
    ("numpy._core.multiarray", "scalar"): _SCALAR,
    ("numpy.core.multiarray", "scalar"): _SCALAR,  # NumPy 1
    ("builtins", "set"): _SET,  # protocol 3, of Python before 3.8
    ("__builtin__", "set"): _SET,  # protocol 2, of torch.save
    ("_codecs", "encode"): Callee("bytes", call=_bytes),  # likewise
}
ALLOWED = OF_MODULES | {
    ("torch._utils", "_rebuild_tensor_v2"): Callee("tensor", call=_tensor),
    ("torch._utils", "_rebuild_parameter"): Callee("parameter", call=_parameter),
    ("torch.storage", "_load_from_bytes"): Callee("storage", call=_storage),
}
OF_OURS = {
    ("functools", "partial"): Callee("constructor", call=_constructor),
    **{(module, name): Callee(name) for name, module in PUBLISHED_CLASSES.items()},
    ("torch.nn.modules.module", "Module.load_state_dict"): Callee("tensors of a module", call=_filled),
    ("torch.nn.modules.module", "Module.eval"): Callee("evaluation", call=_same),
    ("torch.nn.modules.module", "Module.requires_grad_"): Callee("no gradients", call=_same),
    ("torch.nn.modules.linear", "Identity"): Callee("no module", call=_empty),
}


def find_in_ours(module: str, name: str) -> Callee:
    """A stand-in for a global of a pickle that published_pickle.py wrote; PickleError for any other."""
    return OF_OURS.get((module, name)) or find(module, name)


def find(module: str, name: str) -> Callee:
    """A stand-in for a global of a published pickle; PickleError for any other."""
    found = ALLOWED.get((module, name)) or find_of_module(module, name)
    if found is not None:
        return found
    if module.startswith("dnnlib.tflib"):
        raise PickleError("it is a TensorFlow StyleGAN file, no tri-plane generator")
    shown = f"{module[:60]}.{name[:60]}"
    raise PickleError(f"it refers to {shown!r}, which is no part of an EG3D file; nothing in it was executed; {REMEDY}")


def find_in_torch(module: str, name: str) -> Callee:
    """A stand-in for a global of a file of torch.save that a state dict does not need; PickleError for any other."""
    if (found := find_of_module(module, name)) is None:
        raise PickleError(f"it holds code, which is never run ({f'{module[:60]}.{name[:60]}'!r}); {REMEDY}")
    return found


def find_of_module(module: str, name: str) -> Callee | None:
    """A stand-in for a global of a module that `torch.save` wrote; None for any other.

    Projects that carry EG3D in a folder of theirs write that folder's name first.
    """
    parts = module.split(".")
    for first in range(len(parts) if len(parts) < DEEPEST_PACKAGE else 1):
        inner = ".".join(parts[first:])
        if (inner, name) in OF_MODULES and (first == 0 or parts[first] in VENDORED):
            return OF_MODULES[inner, name]
    return None
