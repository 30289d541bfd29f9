"""Writes network pickles that the published code loads. They hold no source text, neither theirs nor ours.

A snapshot of the published training holds every attribute of its modules, and their source. We know neither. This file
says instead, in the language of pickles: call the class of that name with these arguments, give it these tensors, set
it to evaluation. So the published class makes its own attributes, and the file opens where `training.triplane` can be
imported: in the folder that the published loader lies in. Our strict reader reads it too (stand_ins.py).
"""

import functools
import io
import json
import pickle
import warnings
from pathlib import Path

from torch import nn

from eg3d.checkpoints.arguments import PUBLISHED_GENERATOR
from eg3d.checkpoints.published import state_dict_entry
from eg3d.checkpoints.stand_ins import OUR_FACTS, PUBLISHED_CLASSES
from groundwork.files import atomic_write

PROTOCOL = 4  # of published files
DEFAULT_OF_TRAINING = {"fused_modconv_default": "inference_only"}  # the published command line's


class _Global:
    """Pickles as a global that need not exist here."""

    def __init__(self, module: str, name: str):
        self.line = f"{module}\n{name}\n".encode()


class _Call:
    """Pickles as the call of a function, and what is done to its result."""

    def __init__(self, function, *arguments, state=None, setter=None):
        self.parts = function, arguments, state, None, None, setter

    def __call__(self):
        raise TypeError("this is only written")

    def __reduce__(self):
        return self.parts


class _Pickler(pickle._Pickler):  # the one in C writes no global that it cannot import
    def save(self, obj, save_persistent_id=True):
        if isinstance(obj, _Global):
            self.write(pickle.GLOBAL + obj.line)
        else:
            super().save(obj, save_persistent_id)


def save_published(path: Path, networks: dict[str, nn.Module], facts: dict, half: bool = False) -> list[str]:
    """Writes such a file atomically; returns notes for the user.

    Errors: ValueError, with the reason, for a network that the published classes cannot build.
    """
    content, notes = {}, []
    for name, network in networks.items():
        entry, obstacles = state_dict_entry(name, network, half)
        if obstacles:
            branch = "planes=fixed_triplanes" in obstacles
            advice = "; for the code of EG3D's branch of that name add --planes=published" if branch else ""
            raise ValueError(f"{path}: the published code cannot build {name} ({', '.join(obstacles)}); give a name "
                             f"that ends in .safetensors or .pt{advice}")  # fmt: skip
        content[name] = _module(entry)
    for absent, other in (("G_ema", "G"), ("G", "G_ema")):
        if absent not in content and other in content:
            content[absent] = content[other]
            notes.append(f"the published loader asks for {absent}: {other} is written there too")
    if "G" not in content:
        raise ValueError(f"{path}: the published loader asks for a generator, and there is none; keep the source")
    if "D" not in content:
        content["D"] = _Call(nn.Identity)
        notes.append("the published loader asks for D, and there is none: an empty module stands for it; draw with the "
                     "file, do not train from it")  # fmt: skip
    about = (facts.get("published") or {}).get("training_set_kwargs")
    modules = {name: content[name] for name in ("G", "D", "G_ema")}
    snapshot = {OUR_FACTS: json.dumps(facts), "training_set_kwargs": about, **modules, "augment_pipe": None}
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "TypedStorage is deprecated")  # PyTorch's own pickling of tensors uses it
        _Pickler(buffer, PROTOCOL).dump(snapshot)
    atomic_write(Path(path), buffer.getbuffer())
    return notes


def _module(entry: dict) -> _Call:
    """A network, built, filled, in evaluation, without gradients, its attributes set."""
    arguments = dict(entry["init_kwargs"])
    attributes = {key: entry[key] for key in ("rendering_kwargs", "neural_rendering_resolution") if key in entry}
    if "raw_fade" in arguments:
        attributes["raw_fade"] = arguments.pop("raw_fade")
    if entry["class_name"] == PUBLISHED_GENERATOR:
        arguments |= DEFAULT_OF_TRAINING
        arguments["sr_kwargs"] = arguments.get("sr_kwargs", {}) | DEFAULT_OF_TRAINING
    cls = _Global(PUBLISHED_CLASSES[entry["class_name"]], entry["class_name"])
    construct = _Call(functools.partial, cls, state=(cls, (), arguments, {}))
    filled = _Call(construct, state=entry["state_dict"], setter=nn.Module.load_state_dict)
    return _Call(nn.Module.requires_grad_, _Call(nn.Module.eval, filled), False, state=attributes)
