"""Files a run leaves behind: snapshots (weights to use, safetensors) and states (everything to continue a run).

A snapshot holds tensors named `G_ema.*` and, where training shall go on from it, `G.*` and `D.*`; its header is JSON:
format version, class names and constructor arguments, how it was made. Nothing in either file is executed on loading.
"""

import io
import json
import struct
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from eg3d.files import EMBEDDED_WEIGHTS, atomic_write
from eg3d.models.discriminator import DualDiscriminator, SingleDiscriminator
from eg3d.models.generator import TriPlaneGenerator
from eg3d.rendering.options import RenderOptions
from l2cs.weights import read_torch

FORMAT = 1
HEADER_KEY = "eg3d"
CLASSES = {cls.__name__: cls for cls in (TriPlaneGenerator, DualDiscriminator, SingleDiscriminator)}
GENERATORS = {
    "embedded": EMBEDDED_WEIGHTS / "generator.safetensors",
    "embedded-base": EMBEDDED_WEIGHTS / "generator_base.safetensors",
}
DISCRIMINATOR = EMBEDDED_WEIGHTS / "discriminator_base.safetensors"  # of embedded-base; embedded continues from it too


def snapshot_path(path_or_name: str | Path) -> Path:
    """File of a snapshot's path or embedded name, known to exist; else ValueError."""
    name = str(path_or_name)
    path = GENERATORS.get(name, Path(name))
    if path.suffix == ".pkl" or name.startswith(("http://", "https://")):
        raise ValueError(
            f"{name}: published .pkl files are not read yet (a later issue); give one of our .safetensors, or embedded"
        )
    if not path.is_file():
        hint = "`make embedded` trains it" if name in GENERATORS else "give a .safetensors snapshot, or embedded"
        raise ValueError(f"{path}: there is no such file; {hint}")
    return path


# ------------------------------------------------------------------ snapshots


def snapshot_bytes(networks: dict[str, nn.Module], facts: dict, half: bool = False) -> bytes:
    """The content of a snapshot file.

    Args:
        networks: by name: `G_ema`, and for continuing `G` and `D`; each has `init_kwargs`.
        facts: what the header says beside the constructors' arguments; JSON values.
        half: store float16, for small files; loading gives float32 back.
    """
    tensors, classes, arguments = {}, {}, {}
    for name, network in networks.items():
        classes[name] = type(network).__name__
        arguments[name] = network.init_kwargs
        for key, value in network.state_dict().items():
            stored = value.detach().cpu()
            if half and stored.is_floating_point():
                stored = stored.half()
                if not stored.isfinite().all():
                    raise ValueError(f"{name}.{key} has values beyond float16; save it without half precision")
            tensors[f"{name}.{key}"] = stored.clone(memory_format=torch.contiguous_format)
    header = {"format": FORMAT, "classes": classes, "init_kwargs": arguments, **facts}
    for name, network in networks.items():
        if hasattr(network, "rendering_kwargs"):
            header.setdefault("rendering_kwargs", network.rendering_kwargs)
            header.setdefault("neural_rendering_resolution", network.neural_rendering_resolution)
            if network.rendering_kwargs != header["rendering_kwargs"]:
                raise AssertionError(f"{name} is rendered with other settings than the rest of the snapshot")
    return save(tensors, {HEADER_KEY: json.dumps(header)})


def save_snapshot(path: Path, networks: dict[str, nn.Module], facts: dict, half: bool = False) -> None:
    """Writes a snapshot atomically; arguments as in `snapshot_bytes`."""
    atomic_write(Path(path), snapshot_bytes(networks, facts, half))


def export_half(source: str | Path, destination: Path, networks: list[str]) -> None:
    """Copies some networks of a snapshot to a small file in float16, with the header's facts about their making."""
    header = read_header(source)
    facts = {k: v for k, v in header.items() if k not in ("format", "classes", "init_kwargs")}
    save_snapshot(destination, {name: load_network(source, name) for name in networks}, facts, half=True)


def read_header(path_or_name: str | Path) -> dict:
    """The header of a snapshot, without reading its weights."""
    path = snapshot_path(path_or_name)
    try:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get(HEADER_KEY)
    except (SafetensorError, struct.error) as error:
        raise ValueError(f"{path}: is not a snapshot, or was cut short ({error}); copy it again") from None
    if text is None:
        raise ValueError(f"{path}: holds weights of another program (it has no EG3D header); give one of our snapshots")
    return _checked_header(text, path)


def _checked_header(text: str, path: Path) -> dict:
    """The header in `text`, with every value that this code reads of the right kind; else ValueError."""

    def check(well: bool, what: str) -> None:
        if not well:
            raise ValueError(f"{path}: its header is damaged ({what}); copy the file again, or make it anew")

    try:
        header = json.loads(text)
    except ValueError as error:
        check(False, f"not JSON: {error}")
    check(isinstance(header, dict), "no JSON object")
    for key in ("format", "classes", "init_kwargs"):
        check(key in header, f"lacks '{key}'")
    if header["format"] != FORMAT:
        raise ValueError(f"{path}: has snapshot format {header['format']}, this code reads {FORMAT}; update the code")
    for key in ("classes", "init_kwargs"):
        check(isinstance(header[key], dict), f"'{key}' is no object")
    for name, cls in header["classes"].items():
        check(
            isinstance(cls, str) and cls in CLASSES,
            f"{name} is of an unknown class, {cls}; known: {', '.join(CLASSES)}",
        )
        check(isinstance(header["init_kwargs"].get(name), dict), f"'init_kwargs' of {name} is no object")
        if CLASSES[cls] is TriPlaneGenerator:
            rays = header.get("neural_rendering_resolution")
            check(type(rays) is int and rays > 0, f"'neural_rendering_resolution' is {rays}, no positive integer")
            check(isinstance(header.get("rendering_kwargs"), dict), "'rendering_kwargs' is no object")
    check(isinstance(header.get("gaze", {}), dict), "'gaze' is no object")
    return header


def load_network(path_or_name: str | Path, name: str) -> nn.Module:
    """One network of a snapshot (`G_ema`, `G` or `D`), on the CPU, float32, ready to train.

    Strict: a missing, extra or misshapen tensor raises ValueError with its name.
    """
    header, tensors = read_header(path_or_name), read_tensors(path_or_name, name)
    cls, arguments = CLASSES[header["classes"][name]], header["init_kwargs"][name]
    try:
        network = cls(**arguments)
        if hasattr(network, "rendering_kwargs"):
            RenderOptions.from_kwargs(header["rendering_kwargs"])
    except Exception as error:  # wrong arguments fail in many ways; all mean the same to the user
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise ValueError(f"{path_or_name}: its header builds no {cls.__name__} ({reason}); make it anew") from None
    load_strictly(network, tensors, str(path_or_name))
    if hasattr(network, "rendering_kwargs"):
        network.rendering_kwargs = header["rendering_kwargs"]
        network.neural_rendering_resolution = header["neural_rendering_resolution"]
    return network


def read_tensors(path_or_name: str | Path, name: str) -> dict[str, torch.Tensor]:
    """State dict of one network of a snapshot, as stored."""
    path, header = snapshot_path(path_or_name), read_header(path_or_name)
    if name not in header["classes"]:
        there = ", ".join(sorted(header["classes"]))
        raise ValueError(f"{path}: holds no network {name} (only {there}); give another snapshot")
    prefix = f"{name}."
    with safe_open(path, "pt") as file:
        return {key.removeprefix(prefix): file.get_tensor(key) for key in file.keys() if key.startswith(prefix)}


def load_strictly(network: nn.Module, tensors: dict[str, torch.Tensor], where: str) -> None:
    """Copies tensors into a network; raises ValueError with the first name that is missing, extra or misshapen."""
    own = network.state_dict()
    for name in sorted(set(own) | set(tensors)):
        if name not in tensors:
            raise ValueError(f"{where}: the tensor {name} is missing; the file belongs to another network")
        if name not in own:
            raise ValueError(f"{where}: the tensor {name} is not part of this network; the file belongs to another one")
        if tensors[name].shape != own[name].shape:
            got, want = (list(t.shape) for t in (tensors[name], own[name]))
            raise ValueError(f"{where}: the tensor {name} has shape {got}, this network has {want}")
    network.load_state_dict({name: value.float() for name, value in tensors.items()})


def load_generator(path_or_name: str | Path, device="cpu") -> TriPlaneGenerator:
    """The averaged generator of a snapshot, for drawing: eval mode, no gradients.

    path_or_name: a .safetensors file, `embedded` (gaze-corrected) or `embedded-base`.
    """
    return load_network(path_or_name, "G_ema").eval().requires_grad_(False).to(device)


def load_discriminator(path_or_name: str | Path, device="cpu") -> DualDiscriminator:
    """The discriminator of a snapshot, for training on; the embedded names share one that has its own file."""
    return load_network(_file_with_discriminator(path_or_name), "D").to(device)


def training_tensors(path_or_name: str | Path) -> dict[str, dict[str, torch.Tensor]]:
    """State dicts of `G_ema`, `G` and `D` to continue from; a file without `G` starts it from its average."""
    average = read_tensors(path_or_name, "G_ema")
    has_g = "G" in read_header(path_or_name)["classes"]
    return {
        "G_ema": average,
        "G": read_tensors(path_or_name, "G") if has_g else average,
        "D": read_tensors(_file_with_discriminator(path_or_name), "D"),
    }


def _file_with_discriminator(path_or_name: str | Path) -> str | Path:
    apart = str(path_or_name) in GENERATORS and "D" not in read_header(path_or_name)["classes"]
    return DISCRIMINATOR if apart else path_or_name


# ------------------------------------------------------------------ states


def save_state(path: Path, state: dict) -> None:
    """Writes a training state atomically: tensors and plain values only."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    atomic_write(Path(path), buffer.getbuffer())


def load_state(path: Path) -> dict:
    """A training state, on the CPU; raises ValueError for a file that is none."""
    try:
        state = read_torch(path)
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no run to continue here; start one without --resume=latest") from None
    except ValueError as error:
        raise ValueError(f"{path}: is not a training state, or was cut short ({error}); start again") from None
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise ValueError(f"{path}: is not a training state of this version; start again from a snapshot")
    return state
