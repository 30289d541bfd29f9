"""Our own files: snapshots (weights to use, safetensors) and states (everything to continue a run).

A snapshot holds tensors named `G_ema.*` and, where training shall go on from it, `G.*` and `D.*`. Its header is JSON:

    {"format": 2,
     "networks": {"G_ema": {"class", "init_kwargs", "sha256", "rendering_kwargs", "neural_rendering_resolution"}, ...},
     "facts": {"images_seen", "dataset", "gaze", "git_commit", ...}}

The settings of a network have the names of published files, those of the renderer a place of their own. A class that is
not published has the names of its own fields (arguments.py). The digest is that of `stored.digest`, so that a flipped
bit is noticed. Nothing in either file is executed on loading.
"""

import hashlib
import io
import json
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from eg3d.checkpoints.arguments import PUBLISHED_GENERATOR, file_arguments
from eg3d.checkpoints.bare import open_bare
from eg3d.checkpoints.stored import NAMES, Checkpoint, CheckpointError, StoredNetwork, as_stored, digest
from eg3d.models.architectures import DISCRIMINATORS, GENERATORS
from groundwork.files import atomic_write, open_regular
from groundwork.strict_json import JsonError, parse_json
from groundwork.torch_file import LARGEST_FILE, read_torch

FORMAT = 2
STATE_FORMAT = 1
HEADER_KEY, DIGEST_KEY = "eg3d", "eg3d_sha256"
LONGEST_HEADER = 16 << 20  # bytes; JSON takes many times its length in memory. Ours have some 50,000
DTYPES = {"F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL"}


def snapshot_bytes(networks: dict[str, nn.Module], facts: dict, half: bool = False) -> bytes:
    """The content of a snapshot file.

    Args:
        networks: by name: `G_ema`, and for continuing `G` and `D`.
        facts: how it was made; JSON values.
        half: store float16, for small files; loading gives float32 back.
    """
    tensors, entries = {}, {}
    for name, network in networks.items():
        own = {key: as_stored(value, half, f"{name}.{key}") for key, value in network.state_dict().items()}
        entry = {"class": type(network).__name__, "init_kwargs": file_arguments(network), "sha256": digest(own)}
        if entry["class"] == PUBLISHED_GENERATOR:
            entry["rendering_kwargs"] = entry["init_kwargs"].pop("rendering_kwargs")
        if hasattr(network, "neural_rendering_resolution"):
            entry["neural_rendering_resolution"] = network.neural_rendering_resolution
        entries[name] = entry
        tensors |= {f"{name}.{key}": value for key, value in own.items()}
    header = {"format": FORMAT, "networks": entries, "facts": facts}
    text = json.dumps(header, allow_nan=False)
    return save(tensors, {HEADER_KEY: text, DIGEST_KEY: hashlib.sha256(text.encode()).hexdigest()})


def save_snapshot(path: Path, networks: dict[str, nn.Module], facts: dict, half: bool = False) -> None:
    """Writes a snapshot atomically; arguments as in `snapshot_bytes`."""
    atomic_write(Path(path), snapshot_bytes(networks, facts, half))


def open_snapshot(path: Path) -> Checkpoint:
    """A snapshot, or tensors without our header, its weights not read yet; CheckpointError for anything else."""
    with open_regular(path) as file:
        if int.from_bytes(file.read(8), "little") > LONGEST_HEADER or file.seek(0, 2) > LARGEST_FILE:
            raise CheckpointError(f"{path}: is no snapshot, or was cut short (it would be too large); copy it again")
    try:
        with _opened(path) as file:
            metadata = file.metadata() or {}
            text = metadata.get(HEADER_KEY)
            slices = {name: file.get_slice(name) for name in file.keys()}
            shapes = {name: tuple(part.get_shape()) for name, part in slices.items()}
            odd = next((name for name, part in slices.items() if part.get_dtype() not in DTYPES), None)
    except (SafetensorError, struct.error) as error:
        reason = str(error)[:200]
        raise CheckpointError(f"{path}: is no snapshot, or was cut short ({reason}); copy it again") from None
    odd = next((name for name in shapes if not name.isprintable() or len(name) > 1000), odd)
    if odd is not None:
        raise CheckpointError(f"{path}: holds {odd[:60]!r}, which is no tensor of a network; copy it again")
    if text is None:
        return open_bare(path, shapes, lambda names: _tensors(path, names))
    header = _checked_header(text, path)
    # The files in assets/embedded have no digest of their header; every snapshot has.
    if metadata.get(DIGEST_KEY, written := hashlib.sha256(text.encode()).hexdigest()) != written:
        raise CheckpointError(f"{path}: its header is damaged (its digest is another); copy the file again")
    stray = next((name for name in shapes if name.split(".")[0] not in header["networks"]), None)
    if stray is not None:
        raise CheckpointError(f"{path}: the tensor {stray} belongs to none of its networks; copy it again")
    networks = {}
    for name, entry in header["networks"].items():
        mine = {key.removeprefix(f"{name}."): shape for key, shape in shapes.items() if key.startswith(f"{name}.")}
        networks[name] = StoredNetwork(
            cls=entry["class"],
            init_kwargs=entry["init_kwargs"],
            shapes=mine,
            read=lambda name=name, keys=list(mine), entry=entry: _read(path, name, keys, entry["sha256"]),
            rendering_kwargs=entry.get("rendering_kwargs"),
            neural_rendering_resolution=entry.get("neural_rendering_resolution"),
        )
    return Checkpoint(path, "snapshot", networks, header["facts"])


@contextmanager
def _opened(path: Path) -> Iterator[safe_open]:
    """As `safe_open`, which takes no path that is not UTF-8."""
    with open_regular(path) as file:
        odd = str(path).encode(errors="replace") != os.fsencode(path)
        with safe_open(f"/dev/fd/{file.fileno()}" if odd else path, "pt") as tensors:
            yield tensors


def _tensors(path: Path, names: dict[str, str]) -> dict[str, torch.Tensor]:
    """Some tensors of the file; names: new name -> name in the file."""
    with _opened(path) as file:
        # Cloned: what the mapping shows would change, or crash, with a file that is written over.
        return {key: file.get_tensor(name).clone() for key, name in names.items()}


def _read(path: Path, name: str, keys: list[str], sha256: str) -> dict[str, torch.Tensor]:
    """The tensors of one network, out of the memory-mapped file."""
    tensors = _tensors(path, {key: f"{name}.{key}" for key in keys})
    if digest(tensors) != sha256:
        raise CheckpointError(f"{path}: the weights of {name} are damaged (their digest is another); copy it again")
    return tensors


def _checked_header(text: str, path: Path) -> dict:
    """The header in `text`, with every value that this code reads of the right kind; else CheckpointError."""

    def check(well: bool, what: str) -> None:
        if not well:
            raise CheckpointError(f"{path}: its header is damaged ({what}); copy the file again, or make it anew")

    try:
        header = parse_json(text)
    except JsonError as error:
        check(False, f"not JSON: {error}")
    check(isinstance(header, dict), "no JSON object")
    check("format" in header, "lacks 'format'")
    if header["format"] != FORMAT:
        raise CheckpointError(
            f"{path}: has snapshot format {str(header['format'])[:20]}, this code reads {FORMAT}; update the code"
        )
    for key in ("networks", "facts"):
        check(isinstance(header.get(key), dict), f"'{key}' is no object")
    check(bool(header["networks"]), "no networks")
    for name, entry in header["networks"].items():
        check(name in NAMES, f"a network is called {name[:60]!r}")
        check(isinstance(entry, dict), f"{name} is no object")
        classes = GENERATORS | DISCRIMINATORS
        known = isinstance(entry.get("class"), str) and entry["class"] in classes
        check(known, f"{name} is of an unknown class, {str(entry.get('class'))[:60]}; known: {', '.join(classes)}")
        check(isinstance(entry.get("init_kwargs"), dict), f"'init_kwargs' of {name} is no object")
        check(isinstance(entry.get("sha256"), str), f"'sha256' of {name} is no text")
        check((entry["class"] in GENERATORS) == (name != "D"), f"{name} is a {entry['class']}")
        published = entry["class"] == PUBLISHED_GENERATOR
        rays = entry.get("neural_rendering_resolution")
        if published or (name != "D" and rays is not None):
            check(type(rays) is int and 0 < rays < 2**20, f"'neural_rendering_resolution' of {name} is {rays}")
        if published:
            check(isinstance(entry.get("rendering_kwargs"), dict), f"'rendering_kwargs' of {name} is no object")
    check(isinstance(header["facts"].get("gaze", {}), dict), "'gaze' is no object")
    return header


# ------------------------------------------------------------------ states


def save_state(path: Path, state: dict) -> None:
    """Writes a training state atomically: tensors and plain values only."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    atomic_write(Path(path), buffer.getbuffer())


def load_state(path: Path) -> dict:
    """A training state, on the CPU; raises CheckpointError for a file that is none."""
    try:
        state = read_torch(path)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: there is no run to continue here; start one without --resume=latest") from None
    except ValueError as error:
        raise CheckpointError(f"{path}: is not a training state, or was cut short ({error}); start again") from None
    if not isinstance(state, dict) or state.get("format") != STATE_FORMAT:
        raise CheckpointError(f"{path}: is not a training state of this version; start again from a snapshot")
    return state
