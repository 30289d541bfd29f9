"""Reads published EG3D network pickles: tensors and plain values, never the Python source that is stored beside them.

The format: a pickled dict of `training_set_kwargs`, `G`, `D`, `G_ema` and `augment_pipe` (docs/checkpoints.md, "What is
read from a published file"). A module is a call of `_reconstruct_persistent_obj`. The published code *executes* the
source that is stored there; here the module becomes a `Record` of class name and state. Each tensor's storage is the
stream of a legacy `torch.save` inside the pickle. Its numbers are read when they are asked for, straight into the
tensor.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch

from eg3d.checkpoints.stand_ins import (
    MOST_ATTRIBUTES,
    OUR_FACTS,
    REMEDY,
    WRAPPER,
    Record,
    StoredTensor,
    find,
    find_in_ours,
)
from groundwork.strict_pickle import PickleError, only_pickle_errors, parse
from groundwork.torch_file import MOST_USES

NETWORKS = ("G", "D", "G_ema")
NAMES = "G, D and G_ema"
DEEPEST = 32  # nesting of modules, and of plain values; published files have 6
MOST_VALUES = 20_000  # plain values of one network's arguments
MOST_TEXT = 1 << 20  # characters of their texts
MOST_PARTS = 10_000  # modules, tensors and empty places of one network; published ones have some 1,000
MOST_RAYS = 1 << 20  # per side of the rendered picture
DEEPEST_DICTS = 4  # round tensors without a module


@dataclass(frozen=True)
class HeldTensor:
    """A tensor of the file, read already."""

    value: torch.Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.value.shape)

    def read(self, file: BinaryIO) -> torch.Tensor:
        del file
        return self.value


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
    tensors: dict[str, StoredTensor | HeldTensor]
    rendering_kwargs: dict | None
    neural_rendering_resolution: int | None
    plane_axes: StoredTensor | HeldTensor | None
    raw_fade: float | None


@dataclass(frozen=True)
class UpstreamFile:
    """What a published pickle holds; networks that are None in the file are left out.

    facts: JSON, of a file that published_pickle.py wrote; None: of all others.
    loose: tensors that belong to no module, by their names joined with those of the dicts that they are in.
    """

    networks: dict[str, UpstreamNetwork]
    training_set_kwargs: dict | None
    augment_pipe: str | None  # the class's name
    facts: str | None
    loose: dict[str, StoredTensor | HeldTensor]


def read_upstream(path: Path) -> UpstreamFile:
    """Reads a published network pickle, without its numbers.

    Errors: PickleError (a ValueError), one line without the file's name, for anything but a published tri-plane
    generator's file; OSError when it cannot be opened.
    """
    with open(path, "rb") as file:
        start = file.read(64)
        if start[:2] == b"\x80\x02":
            raise PickleError(f"pickle protocol 2 keeps weights as text, which is not read; {REMEDY}")
        content, end = parse(file, find_in_ours if OUR_FACTS.encode() in start else find)
        if file.seek(0, 2) != end:
            raise PickleError(f"{file.tell() - end} bytes follow its end")
    if type(content) is tuple and any(isinstance(part, Record) for part in content):
        raise PickleError("it is a TensorFlow StyleGAN file, no tri-plane generator")
    with only_pickle_errors():
        result = upstream_file(content)
    tensors = itertools.chain(*(network.tensors.values() for network in result.networks.values()))
    if sum(tensor.storage.length for tensor in (*tensors, *result.loose.values())) > MOST_USES * end:
        raise PickleError("its tensors share their numbers")
    return result


def upstream_file(content) -> UpstreamFile:
    """What a file holds, from what was parsed: one module, or a dict with modules or tensors in it."""
    if isinstance(content, Record):
        content = {"G_ema": content}
    if not isinstance(content, dict):
        raise PickleError(f"it holds no networks by the names {NAMES}")
    records = {name: value for name, value in content.items() if isinstance(value, Record) and name != "augment_pipe"}
    loose = {} if records else dict(_loose(content))
    odd = next((name for name in NETWORKS if content.get(name) is not None and name not in records), None)
    if odd and not loose:
        raise PickleError(f"{odd} is no module")
    if not records and not loose:
        empty = set(content) & set(NETWORKS)
        raise PickleError("its G, D and G_ema are all empty" if empty else f"it holds no networks by the names {NAMES}")
    pipe = content.get("augment_pipe")
    training_set = content.get("training_set_kwargs")
    return UpstreamFile(
        networks={name: _network(name, record) for name, record in named(records).items()},
        training_set_kwargs=None if training_set is None else plain_dict(training_set, "training_set_kwargs"),
        augment_pipe=pipe.cls if isinstance(pipe, Record) else None,
        facts=facts if type(facts := content.get(OUR_FACTS)) is str else None,
        loose=loose,
    )


def named(records: dict[str, Record]) -> dict[str, Record]:
    """The modules of a file by our names for them; a published file has these names already."""
    found = {name: records[name] for name in NETWORKS if name in records}
    if len(records) > 1 and not found:
        raise PickleError(f"it holds {len(records)} modules, none by the names {NAMES}")
    return found or dict(zip(["G_ema"], records.values(), strict=False))


def _loose(
    content: dict, prefix: str = "", depth: int = 0, parts: Iterator[int] | None = None
) -> Iterator[tuple[str, StoredTensor | HeldTensor]]:
    """Tensors in a dict and in the dicts inside it; parts: counts what has been visited."""
    parts = parts or itertools.count()
    for name, value in content.items():
        if next(parts) > MOST_PARTS:
            raise PickleError("it has too many values")
        if type(name) is not str:
            continue
        if tensor := _as_tensor(value):
            yield prefix + name, tensor
        elif isinstance(value, dict) and depth < DEEPEST_DICTS:
            yield from _loose(value, f"{prefix}{name}.", depth + 1, parts)


def _as_tensor(value) -> StoredTensor | HeldTensor | None:
    if isinstance(value, torch.Tensor):
        return HeldTensor(value)
    return value if isinstance(value, StoredTensor) else None


def _network(name: str, record) -> UpstreamNetwork:
    if record.cls == WRAPPER:
        record = _children(record).get("module") or record
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
    axes = _as_tensor(renderer.state.get("plane_axes")) if renderer else None
    if axes is not None and axes.shape != (3, 3, 3):
        raise PickleError(f"plane_axes of {name} has shape {list(axes.shape)} instead of [3, 3, 3]")
    return UpstreamNetwork(
        cls=record.cls,
        init_args=_plain(list(arguments), f"{name}._init_args"),
        init_kwargs=plain_dict(state.get("_init_kwargs", {}), f"{name}._init_kwargs"),
        tensors=tensors,
        rendering_kwargs=None if rendering is None else plain_dict(rendering, f"{name}.rendering_kwargs"),
        neural_rendering_resolution=rays,
        plane_axes=axes,
        raw_fade=fade,
    )


def _tensors(
    record: Record, prefix: str = "", depth: int = 0, parts: Iterator[int] | None = None
) -> Iterator[tuple[str, StoredTensor | HeldTensor]]:
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
        if not isinstance(members, dict):
            raise PickleError(f"{kind} of {record.cls} is no dict")
        for name, value in members.items():
            if next(parts) > MOST_PARTS:
                raise PickleError("it has too many tensors")
            if value is None or (kind == "_buffers" and name in passing):
                continue
            tensor = _as_tensor(value)
            if tensor is None or type(name) is not str:
                raise PickleError(
                    f"{prefix}{name} is no tensor" if type(name) is str else f"a name in {kind} is no text"
                )
            yield prefix + name, tensor
    for name, child in _children(record).items():
        yield from _tensors(child, f"{prefix}{name}.", depth + 1, parts)


def _children(record: Record) -> dict[str, Record]:
    children = record.state.get("_modules", {})
    if not isinstance(children, dict) or len(children) > MOST_ATTRIBUTES:
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
