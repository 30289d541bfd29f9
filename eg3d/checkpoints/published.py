"""Published EG3D checkpoints as our networks, and ours with the published names: pickles in, state dicts in and out.

A state-dict file is a dict that `torch.save` wrote, which code of either kind can build its own network from:

    {"format": 1, "facts": {...},
     "G_ema": {"class_name", "init_kwargs", "state_dict", "rendering_kwargs", "neural_rendering_resolution"}, ...}

One network alone, `{"init_kwargs", "state_dict"}` with or without the rest, is read as G_ema.
"""

import io
import json
from pathlib import Path

import torch
from torch import nn

from eg3d.checkpoints.arguments import KNOWN_RENDERING, OURS_ALONE, PUBLISHED, RENDERING, file_arguments
from eg3d.checkpoints.bare import drawable, open_bare
from eg3d.checkpoints.stand_ins import find_in_torch
from eg3d.checkpoints.stored import NAMES, Checkpoint, CheckpointError, StoredNetwork, as_stored
from eg3d.checkpoints.upstream_pickle import UpstreamFile, UpstreamNetwork, plain_dict, read_upstream, upstream_file
from eg3d.models.generator import TriPlaneGenerator
from eg3d.rendering.planes import PLANE_MATRICES
from groundwork.files import atomic_write
from groundwork.strict_json import parse_json
from groundwork.strict_pickle import only_pickle_errors
from groundwork.torch_file import read_torch

STATE_DICT_FORMAT = 1
POSITIONAL = {  # names of the published constructors' first arguments
    "TriPlaneGenerator": ("z_dim", "c_dim", "w_dim", "img_resolution", "img_channels"),
    "D": ("c_dim", "img_resolution", "img_channels"),
}
# What the published training reads of a generator besides: its own defaults. They say nothing about how the weights
# were made, and no picture depends on them.
OF_TRAINING = {"density_reg": 0.25, "density_reg_p_dist": 0.004, "reg_type": "l1"}
# Pixels that each published super-resolution makes; the published code builds no other of these classes.
PUBLISHED_SIZES = {
    "SuperresolutionHybrid2X": 128, "SuperresolutionHybrid4X": 256, "SuperresolutionHybrid8X": 512,
    "SuperresolutionHybrid8XDC": 512,
}  # fmt: skip
PLANES_NOTE = (
    "planes: published; a file of EG3D's branch fixed_triplanes looks the same but draws another head: give "
    "--planes=fixed_triplanes to convert.py, or to train.py with --resume (docs/checkpoints.md)"
)


# ------------------------------------------------------------------ pickles


def open_published(path: Path) -> Checkpoint:
    """A published network pickle, its numbers not read yet; CheckpointError for anything else."""
    try:
        return _opened(path, read_upstream(path), "published pickle")
    except CheckpointError:
        raise
    except ValueError as error:
        raise CheckpointError(f"{path}: cannot be read as an EG3D network pickle: {error}") from None


def _opened(path: Path, content: UpstreamFile, kind: str) -> Checkpoint:
    """A checkpoint of the modules in a file, or of its tensors if it has none."""
    if content.loose:

        def read(names: dict[str, str]) -> dict[str, torch.Tensor]:
            return _read(path, "its network", {key: content.loose[name] for key, name in names.items()})

        return open_bare(path, {name: tensor.shape for name, tensor in content.loose.items()}, read)
    notes: list[str] = []
    networks = {name: _from_upstream(path, name, net, notes, content.facts) for name, net in content.networks.items()}
    facts = {"published": {"training_set_kwargs": content.training_set_kwargs, "augment_pipe": content.augment_pipe}}
    if content.facts is not None:
        facts = _parsed_facts(content.facts)
    return drawable(Checkpoint(path, kind, networks, facts, tuple(dict.fromkeys(notes))))


def _read(path: Path, name: str, tensors: dict) -> dict[str, torch.Tensor]:
    with open(path, "rb") as file:
        try:
            return {key: tensor.read(file) for key, tensor in tensors.items()}
        except ValueError as error:
            raise CheckpointError(f"{path}: the weights of {name} are damaged: {error}") from None


def _from_upstream(path: Path, name: str, net: UpstreamNetwork, notes: list[str], ours: str | None) -> StoredNetwork:
    if net.cls not in PUBLISHED:
        raise CheckpointError(f"{path}: {name} is a {net.cls[:60]}, none of {', '.join(PUBLISHED)}; it cannot be built")
    names = POSITIONAL.get(net.cls, POSITIONAL["D"])
    if len(net.init_args) > len(names):
        raise CheckpointError(f"{path}: {name} has {len(net.init_args)} unnamed arguments; it cannot be built")
    arguments = dict(zip(names, net.init_args, strict=False)) | net.init_kwargs

    common = dict(
        cls=net.cls, shapes={key: tensor.shape for key, tensor in net.tensors.items()},
        read=lambda: _read(path, name, net.tensors),
    )  # fmt: skip
    if net.cls != "TriPlaneGenerator":
        if net.raw_fade is not None:
            arguments["raw_fade"] = net.raw_fade
        return StoredNetwork(init_kwargs=arguments, **common)
    rendering = net.rendering_kwargs if net.rendering_kwargs is not None else arguments.get("rendering_kwargs", {})
    rendering = _rendering(rendering, notes) | _planes(path, net, notes if ours is None else [])
    arguments["rendering_kwargs"] = _rendering(arguments.get("rendering_kwargs", rendering), notes)
    return StoredNetwork(
        init_kwargs=arguments, rendering_kwargs=rendering,
        neural_rendering_resolution=net.neural_rendering_resolution or 64, **common,
    )  # fmt: skip


def _rendering(published: dict, notes: list[str]) -> dict:
    """`rendering_kwargs` without the keys that nobody knows; notes say so, and what a missing `c_scale` means."""
    if not isinstance(published, dict):
        raise ValueError("rendering_kwargs is no dict")
    for key in sorted(set(published) - KNOWN_RENDERING):
        notes.append(f"rendering_kwargs has {key[:60]!r}, which the renderer does not know; left out")
    rendering = {key: value for key, value in published.items() if key in KNOWN_RENDERING}
    if "c_scale" not in rendering and not rendering.get("c_gen_conditioning_zero", True):
        notes.append("rendering_kwargs has no c_scale: taken as 0, as the published code does, for the same pictures")
    return rendering


def _planes(path: Path, net: UpstreamNetwork, notes: list[str]) -> dict:
    """The renderer's `planes` for the axes in the file. The published state dict lacks them: they are no buffer."""
    if net.plane_axes is None:
        notes.append(PLANES_NOTE)
        return {}
    with open(path, "rb") as file:
        axes = net.plane_axes.read(file)
    for planes, matrices in PLANE_MATRICES.items():
        if axes.tolist() == matrices:
            known = planes != "published"
            notes.append(f"the file's planes are {planes}, not the published ones" if known else PLANES_NOTE)
            return {} if planes == "published" else {"planes": planes}
    raise CheckpointError(f"{path}: its planes lie along axes that the renderer does not know; it cannot be drawn")


# ------------------------------------------------------------------ what torch.save wrote


def open_torch(path: Path) -> Checkpoint:
    """A state-dict file, a whole module, or tensors alone, as `torch.save` writes them; CheckpointError for anything
    else. Reads it wholly.
    """
    try:
        content = read_torch(path, find_in_torch)
        if isinstance(content, dict) and (arguments_in := _with_arguments(content)):
            return _open_state_dict(path, arguments_in)
        with only_pickle_errors():
            found = upstream_file(content)
        return _opened(path, found, "whole module")
    except CheckpointError:
        raise
    except ValueError as error:
        raise CheckpointError(f"{path}: cannot be read as what torch.save wrote: {error}") from None


def _with_arguments(content: dict) -> dict | None:
    """The content of a state-dict file by the names of its networks; None if it does not say their arguments."""
    if "init_kwargs" in content and "state_dict" in content:
        return {"G_ema": content, "facts": content.get("facts", "{}")}
    entries = [entry for name in NAMES if isinstance(entry := content.get(name), dict)]
    return content if any("init_kwargs" in entry for entry in entries) else None


def _open_state_dict(path: Path, content: dict) -> Checkpoint:
    entries = {name: content[name] for name in NAMES if content.get(name) is not None}
    try:
        facts = _parsed_facts(content.get("facts", "{}"))
        networks = {name: _from_entry(name, entry) for name, entry in entries.items()}
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        reason = " ".join(str(error)[:200].split())
        raise CheckpointError(f"{path}: its description of a network is damaged ({reason}); make it again") from None
    return Checkpoint(path, "state dict", networks, facts)


def _parsed_facts(text: str) -> dict:
    facts = parse_json(text)
    if not isinstance(facts, dict):
        raise ValueError("the facts are no object")
    return facts


def _from_entry(name: str, entry: dict) -> StoredNetwork:
    cls = entry.get("class_name", "DualDiscriminator" if name == "D" else "TriPlaneGenerator")
    if not isinstance(cls, str) or cls not in PUBLISHED or (cls == "TriPlaneGenerator") != (name != "D"):
        raise ValueError(f"{name} is of a class that is none of its own")
    tensors = {key: value for key, value in entry["state_dict"].items() if key != "dataset_label_std"}
    if not all(isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in tensors.items()):
        raise ValueError(f"the state dict of {name} holds more than tensors")
    if any(value.is_sparse or value.is_quantized or value.device.type != "cpu" for value in tensors.values()):
        raise ValueError(f"the state dict of {name} holds no plain tensors")
    arguments = plain_dict(entry["init_kwargs"], f"init_kwargs of {name}")
    common = dict(cls=cls, init_kwargs=arguments, shapes={k: tuple(v.shape) for k, v in tensors.items()})
    if name == "D":
        return StoredNetwork(read=lambda: tensors, **common)
    rays = entry.get("neural_rendering_resolution", arguments.get("neural_rendering_resolution", 64))
    if type(rays) is not int or not 0 < rays < 2**20:
        raise ValueError(f"neural_rendering_resolution of {name} is no positive integer")
    rendering = entry.get("rendering_kwargs") or arguments["rendering_kwargs"]
    rendering = plain_dict(rendering, f"rendering_kwargs of {name}")
    return StoredNetwork(read=lambda: tensors, rendering_kwargs=rendering, neural_rendering_resolution=rays, **common)


def save_state_dict(path: Path, networks: dict[str, nn.Module], facts: dict, half: bool = False) -> list[str]:
    """Writes a state-dict file atomically; returns what keeps the published code from using it, if anything does."""
    content: dict = {"format": STATE_DICT_FORMAT, "facts": json.dumps(facts)}
    obstacles = []
    for name, network in networks.items():
        content[name], more = state_dict_entry(name, network, half)
        obstacles += more
    buffer = io.BytesIO()
    torch.save(content, buffer)
    atomic_write(Path(path), buffer.getbuffer())
    return list(dict.fromkeys(obstacles))


def state_dict_entry(name: str, network: nn.Module, half: bool = False) -> tuple[dict, list[str]]:
    """(a network as state-dict files hold it, what keeps the published code from building it)."""
    if type(network).__name__ not in PUBLISHED:
        raise ValueError(f"{name} is a {type(network).__name__}, which the published code lacks; keep the snapshot")
    tensors = {key: as_stored(value, half, f"{name}.{key}") for key, value in network.state_dict().items()}
    entry = {"class_name": type(network).__name__, "init_kwargs": file_arguments(network), "state_dict": tensors}
    if isinstance(network, TriPlaneGenerator):
        return entry, _complete(network, entry)
    noise = entry["init_kwargs"].get("disc_c_noise")
    foreign = noise is not None and entry["class_name"] != "DualDiscriminator"  # the only one that takes it
    return entry, [f"{entry['class_name']} with disc_c_noise={noise}"] if foreign else []


def _complete(G: TriPlaneGenerator, entry: dict) -> list[str]:
    """Adds what only published files have of a generator; returns what keeps the published code from building it."""
    arguments, rendering = entry["init_kwargs"], entry["init_kwargs"]["rendering_kwargs"]
    rendering |= OF_TRAINING | {
        "image_resolution": G.img_resolution,
        "gpc_reg_prob": 0.5 if G.config.pose_cond else None,
    }
    entry["rendering_kwargs"] = dict(rendering)
    entry["neural_rendering_resolution"] = G.neural_rendering_resolution
    obstacles = []
    for name in OURS_ALONE:
        group, _, key = name.rpartition(".")
        place = arguments[group] if group else arguments
        if key in place:
            obstacles.append(f"{name.removeprefix(RENDERING).replace('.', ' ')}={place[key]}")
    if G.w_dim != 512:
        obstacles.append(f"w_dim={G.w_dim}")  # the published super-resolution takes no other
    kind = G.config.superresolution.kind
    if PUBLISHED_SIZES.get(kind) != G.img_resolution:
        obstacles.append(f"{kind} at {G.img_resolution} px")
    if kind == "SuperresolutionHybrid4X" and G.neural_rendering_resolution > 128:
        obstacles.append(f"{kind} at {G.neural_rendering_resolution} rays per side, more than 128")
    if (form := G.config.superresolution.blocks.architecture) != "skip":
        obstacles.append(f"super-resolution of architecture {form}")
    return obstacles
