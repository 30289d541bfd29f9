"""Weights of the networks that judge pictures: our safetensors, and strict reading of users' state dicts.

Our files carry a JSON text under the metadata key "eg3d-network": kind, version, architecture, facts (how it was made).
"""

import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import nn

from groundwork import filling
from groundwork.files import WORLD_WEIGHTS, atomic_write, how_made
from groundwork.plain import from_plain
from groundwork.strict_json import parse_json
from groundwork.strict_pickle import one_line
from groundwork.torch_file import read_torch, what_helps, why_not_tensors

HEADER_KEY = "eg3d-network"
VERSION = 1  # of the embedded weights; numbers by different versions cannot be compared
MOST_BYTES = 1 << 30


@dataclass(frozen=True)
class Stored:
    """What a file of ours holds."""

    architecture: dict
    facts: dict
    state: dict[str, torch.Tensor]
    sha256: str


def save_network(path: Path, kind: str, model: nn.Module, facts: dict) -> None:
    """Writes `model`, whose `architecture` is a dataclass, atomically; matrices as float16, the rest as it is."""
    tensors = {}
    for name, value in model.state_dict().items():
        shrink = value.is_floating_point() and value.ndim > 1
        tensors[name] = value.detach().to("cpu", torch.float16 if shrink else value.dtype).contiguous()
    header = {"kind": kind, "version": VERSION, "architecture": asdict(model.architecture), "facts": facts}
    atomic_write(path, save_safetensors(tensors, {HEADER_KEY: json.dumps(header)}))


def load_network(path: Path, kind: str) -> Stored:
    """Reads a file that `save_network` wrote; ValueError, one line with the file's name, for anything else."""
    data = read_bytes(path, kind)
    try:
        state = load_safetensors(data)
        size = int.from_bytes(data[:8], "little")
        header = parse_json(parse_json(data[8 : 8 + size])["__metadata__"][HEADER_KEY])
        if header["kind"] != kind or header["version"] != VERSION:
            raise ValueError(f"it is version {header['version']} of a {header['kind']} network")
        if not isinstance(header["architecture"], dict) or not isinstance(header["facts"], dict):
            raise ValueError("its architecture or its facts are no object")
        return Stored(header["architecture"], header["facts"], state, hashlib.sha256(data).hexdigest())
    except (SafetensorError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise ValueError(f"{path}: holds no {kind} network of ours ({one_line(str(error))})") from None


def load_configured(path: Path, kind: str, config: type) -> tuple[nn.Module, Stored]:
    """(network in evaluation mode, what its file holds); the file's architecture is a `config`, which builds it.

    The global random numbers stay where they are. Errors: ValueError, one line.
    """
    stored = load_network(path, kind)
    try:
        architecture = from_plain(config, stored.architecture)
    except ValueError as error:
        raise ValueError(f"{path}: holds no {kind} network of ours ({error})") from None
    with torch.random.fork_rng():
        return filled(architecture.build, stored.state, path, f"a {kind} network"), stored


def read_bytes(path: Path, kind: str) -> bytes:
    """The file's content; ValueError when it is missing, empty or far too large."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"{path}: has {path.stat().st_size} bytes, more than any {kind} network")
        data = path.read_bytes()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        helps = how_made(path) if path.parent == WORLD_WEIGHTS else f"give the weights of the {kind} network"
        raise ValueError(f"{path}: there is no such file; {helps}") from None
    if not data:
        raise ValueError(f"{path}: the file is empty; fetch the {kind} weights again")
    return data


def read_state(path: Path, kind: str, part: str | None = None) -> tuple[dict[str, torch.Tensor], str]:
    """State dict and SHA-256 of a file of `torch.save`; code in it is never run. `part`: its key in a dict of them."""
    data = read_bytes(path, kind)
    try:
        state = read_torch(io.BytesIO(data))
    except ValueError as error:
        helps = what_helps(error, f"fetch the {kind} weights again")
        raise ValueError(f"{path}: not a state dict of tensors ({error}); {helps}") from None
    if part is not None and isinstance(state, dict) and isinstance(state.get(part), dict):
        state = state[part]
    if not isinstance(state, dict) or not state or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise ValueError(f"{path}: {why_not_tensors(state, f'the {kind} network')}")
    if all(str(name).startswith("module.") for name in state):  # saved from a data-parallel wrapper
        state = {name.removeprefix("module."): value for name, value in state.items()}
    return {str(name): value for name, value in state.items()}, hashlib.sha256(data).hexdigest()


def filled(build: Callable[[], nn.Module], state: dict[str, torch.Tensor], path: Path, what: str) -> nn.Module:
    """`build()` with these tensors, in evaluation mode and frozen; every one must be there, fit and be finite."""
    return filling.filled(build, state, path, what).eval().requires_grad_(False)
