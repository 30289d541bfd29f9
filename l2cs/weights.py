"""Weight files: the published pickled state dicts (read only) and our own safetensors (read and write).

Our files carry a JSON text under the metadata key "l2cs": {"architecture": {...}, "facts": {...}}; the facts say how
the weights were trained and what was measured.
"""

import hashlib
import io
import json
import re
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors

from groundwork.files import atomic_write
from groundwork.filling import filled
from groundwork.formats import is_hidden
from groundwork.plain import from_plain
from groundwork.strict_json import parse_json
from groundwork.strict_pickle import one_line
from groundwork.torch_file import LARGEST_FILE, read_torch, what_helps, why_not_tensors
from l2cs.model import L2CS, PUBLISHED, PUBLISHED_INPUT, PUBLISHED_WIDTHS, Architecture

SUFFIXES = (".pkl", ".safetensors")  # of weights in a folder of snapshots
HEADER_KEY = "l2cs"
LONGEST_HEADER = 1 << 20  # bytes; ours have some 20,000


def save_weights(path: Path, model: L2CS, facts: dict | None = None, half: bool = True) -> None:
    """Writes a network as safetensors, atomically.

    `half` stores convolutions and linear layers as float16; batch-norm statistics stay float32 (a small variance would
    underflow). `fc_finetune`, which nothing uses, is left out.
    """
    tensors = {}
    for name, value in model.state_dict().items():
        if not name.startswith("fc_finetune."):
            shrink = half and value.is_floating_point() and value.ndim > 1
            tensors[name] = value.detach().to("cpu", torch.float16 if shrink else value.dtype).contiguous()
    header = {"architecture": asdict(model.architecture), "facts": facts or {}}
    atomic_write(path, save_safetensors(tensors, {HEADER_KEY: json.dumps(header)}))


def read_network_file(path: Path) -> bytes:
    """The bytes of a gaze network of any kind; ValueError, one line, if there is no such file or it is too large."""
    try:
        size = path.stat().st_size
        if size > LARGEST_FILE:
            raise ValueError(f"{path}: has {size} bytes, more than any gaze network; give a weights file")
        return path.read_bytes()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise ValueError(
            f"{path}: there is no such file; give a weights file, embedded, people, or a judge of theirs"
        ) from None


def load_weights(path: str | Path) -> tuple[L2CS, dict, str]:
    """Reads a gaze network: (network in float32 on the CPU, facts, SHA-256 of the file).

    Errors: ValueError, one line that names the file, when it is missing or something else; OSError when unreadable.
    """
    path = Path(path)
    data = read_network_file(path)
    if not data:
        raise ValueError(f"{path}: the file is empty; fetch the gaze weights again")
    if data[8:9] == b"{":
        architecture, facts, state = _read_safetensors(path, data)
    else:
        state = _read_pickle(path, data)
        architecture, facts = infer_architecture(state, path), {}
    finetune = any(name.startswith("fc_finetune.") for name in state)
    model = filled(lambda: L2CS(architecture, finetune), state, path, f"the gaze network {architecture.name}")
    return model, facts, hashlib.sha256(data).hexdigest()


def _read_safetensors(path: Path, data: bytes) -> tuple[Architecture, dict, dict[str, torch.Tensor]]:
    size = int.from_bytes(data[:8], "little")
    if size > LONGEST_HEADER:
        raise ValueError(f"{path}: declares a header of {size} bytes, more than any gaze network has; fetch it again")
    try:
        state = load_safetensors(data)
        metadata = parse_json(data[8 : 8 + size]).get("__metadata__") or {}
    except (SafetensorError, ValueError, TypeError, LookupError, AttributeError) as error:
        reason = one_line(str(error))
        raise ValueError(f"{path}: not a whole safetensors file ({reason}); fetch or make it again") from None
    if HEADER_KEY not in metadata:
        raise ValueError(f"{path}: these are not the weights of a gaze network (no '{HEADER_KEY}' in the header)")
    try:
        header = parse_json(metadata[HEADER_KEY])
        if not isinstance(header["facts"], dict):
            raise ValueError("its facts are no object")
        return from_plain(Architecture, header["architecture"]), header["facts"], state
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        reason = one_line(str(error))
        raise ValueError(f"{path}: unreadable '{HEADER_KEY}' header ({reason}); make the file again") from None


def read_tensors(path: Path, data: bytes | None = None) -> dict[str, torch.Tensor]:
    """State dict in a file of `torch.save`; tensors only, code in it is never run. ValueError for anything else.

    data: its content, if that has been read already.
    """
    try:
        state = read_torch(path if data is None else io.BytesIO(data))
    except ValueError as error:
        helps = what_helps(error, "fetch the weights again")
        raise ValueError(f"{path}: not a state dict of tensors ({error}); {helps}") from None
    named = isinstance(state, dict) and all(isinstance(name, str) for name in state)
    if not named or not state or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise ValueError(f"{path}: {why_not_tensors(state, 'the weights of a gaze network')}")
    return state


def _read_pickle(path: Path, data: bytes) -> dict[str, torch.Tensor]:
    state = read_tensors(path, data)
    if all(name.startswith("module.") for name in state):  # MPIIGaze files were saved from a data-parallel wrapper
        state = {name.removeprefix("module."): value for name, value in state.items()}
    return state


def infer_architecture(state: dict[str, torch.Tensor], path: Path) -> Architecture:
    """The published architecture whose shapes these are; ValueError when the weights belong to another network."""
    yaw, pitch = state.get("fc_yaw_gaze.weight"), state.get("fc_pitch_gaze.weight")
    if yaw is None or pitch is None or yaw.ndim != 2:
        missing = "fc_pitch_gaze.weight" if yaw is not None else "fc_yaw_gaze.weight"
        raise ValueError(f"{path}: these are not the weights of a gaze network (no usable '{missing}')")
    block = "bottleneck" if "layer1.0.conv3.weight" in state else "basic"
    blocks = tuple(sum(n.startswith(f"layer{k}.") and n.endswith(".conv1.weight") for n in state) for k in range(1, 5))
    if (block, blocks) not in PUBLISHED.values():
        raise ValueError(f"{path}: {block} blocks {blocks} are no ResNet of L2CS-Net ({', '.join(PUBLISHED)})")
    try:
        return Architecture(block, blocks, PUBLISHED_WIDTHS, yaw.shape[0], "imagenet", PUBLISHED_INPUT)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def snapshots_in(folder: str | Path, part: str = ".") -> list[Path]:
    """The weight files in a folder, or in its `part` if there is such a folder; _epoch_2.pkl before _epoch_10.pkl."""
    place = Path(folder) / part if (Path(folder) / part).is_dir() else Path(folder)
    files = [
        file for file in place.iterdir() if file.suffix in SUFFIXES and file.is_file() and not is_hidden(file.name)
    ]
    if not files:
        raise ValueError(f"{place}: holds no weights ({', '.join(SUFFIXES)}); give a folder with snapshots, or a file")
    return sorted(files, key=lambda file: [int(x) if x.isdigit() else x for x in re.split(r"(\d+)", file.name)])
