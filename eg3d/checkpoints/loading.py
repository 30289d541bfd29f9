"""One way to load networks, whatever file they are in: `load_generator(name, device)`.

A name is a file (our .safetensors, a published .pkl, a state-dict .pt), an embedded one (GENERATORS), or an address
(https://, file://). What a file is shows in its first bytes, not in its name. See docs/checkpoints.md.
"""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from torch import nn

from eg3d.checkpoints.bare import check_arguments_known, with_arguments_of
from eg3d.checkpoints.download import fetch
from eg3d.checkpoints.own import STATE_FORMAT, load_state, open_snapshot, save_snapshot, save_state
from eg3d.checkpoints.published import PLANES_NOTE, open_published, open_torch
from eg3d.checkpoints.stand_ins import REMEDY
from eg3d.checkpoints.stored import Checkpoint, CheckpointError, Difference, compare
from eg3d.ops.precision import set_precision
from groundwork.files import WORLD_WEIGHTS, how_made, sha256
from groundwork.places import is_address
from groundwork.torch_file import LEGACY_START

__all__ = [
    "DISCRIMINATORS", "GENERATORS", "STATE_FORMAT", "Checkpoint", "CheckpointError", "Difference", "compare",
    "export_half", "gaze_network_of", "load_discriminator", "load_generator", "load_network", "load_state", "locate",
    "network_facts", "open_checkpoint", "save_snapshot", "save_state", "short_names", "training_networks",
]  # fmt: skip

GENERATORS = {
    "embedded": WORLD_WEIGHTS / "generator.safetensors",
    "embedded-base": WORLD_WEIGHTS / "generator_base.safetensors",
    "embedded-control": WORLD_WEIGHTS / "generator_control.safetensors",
    "people": WORLD_WEIGHTS / "people.safetensors",
    "people-base": WORLD_WEIGHTS / "people_base.safetensors",
    "people-control": WORLD_WEIGHTS / "people_control.safetensors",
}
DISCRIMINATORS = {  # of the base; the corrected generator continues from it too
    "embedded": WORLD_WEIGHTS / "discriminator_base.safetensors",
    "people": WORLD_WEIGHTS / "people_discriminator.safetensors",
}


def locate(name: str | Path) -> Path:
    """The file of a path, an embedded name or an address, which is downloaded once; ValueError when there is none."""
    if is_address(str(name)):
        return fetch(str(name))
    path = GENERATORS.get(str(name), Path(name))
    if not str(name):
        raise CheckpointError("the name of a checkpoint is empty; give a file, an https:// address, embedded or people")
    if path.exists() and not path.is_file():
        raise CheckpointError(f"{path}: is a folder or device; name a checkpoint's file")
    if not path.is_file():
        hint = (
            how_made(path) if str(name) in GENERATORS else "give a checkpoint, an https:// address, embedded or people"
        )
        raise CheckpointError(f"{path}: there is no such file; {hint}")
    return path


def open_checkpoint(name: str | Path, like: str | Path | None = None, planes: str | None = None) -> Checkpoint:
    """A checkpoint of any kind, without its weights where the kind allows it.

    Args:
        like: a checkpoint that says the networks' arguments instead of the file, which may not say them.
        planes: the axes of the generators' planes, of eg3d.rendering.planes.AXES, whatever the file says.
    Errors: CheckpointError (a ValueError), one line that names the file; OSError when it cannot be read.
    """
    checkpoint = _open_name(name)
    if like is not None:
        checkpoint = with_arguments_of(checkpoint, open_checkpoint(like))
    check_arguments_known(checkpoint)
    return checkpoint if planes is None else _with_planes(checkpoint, planes)


def _with_planes(checkpoint: Checkpoint, planes: str) -> Checkpoint:
    networks = {}
    for name, network in checkpoint.networks.items():
        if network.rendering_kwargs is not None:
            network = replace(network, rendering_kwargs=network.rendering_kwargs | {"planes": planes})
        elif network.is_generator:
            raise CheckpointError(f"{checkpoint.path}: {name} is a {network.cls}, which has no planes to choose")
        networks[name] = network
    notes = tuple(note for note in checkpoint.notes if note != PLANES_NOTE)
    return replace(checkpoint, networks=networks, notes=notes)


def _open_name(name: str | Path) -> Checkpoint:
    path = locate(name)
    if not str(name).startswith(("http://", "https://")):
        return _open(path)
    try:
        return _open(path)
    except CheckpointError as error:
        path.unlink(missing_ok=True)  # so that the next call asks the server again
        raise CheckpointError(f"{name}: what came from there cannot be used: {error}") from None


def short_names(names: Sequence[str]) -> list[str]:
    """What pictures call networks: names of their files without folder and ending, or more where two would be alike."""
    paths = [Path(name) for name in names]
    for kind in ([path.stem for path in paths], [f"{path.parent.name}/{path.stem}" for path in paths]):
        if len(set(kind)) == len(set(names)):
            return kind
    return [str(name) for name in names]


def gaze_network_of(name: str | Path) -> str | None:
    """sha256 of the gaze network that a checkpoint was trained against; None: there was none, or it is not known."""
    return open_checkpoint(name).facts.get("gaze", {}).get("network_sha256")


def _open(path: Path) -> Checkpoint:
    with open(path, "rb") as file:
        start = file.read(32)
    if start[8:9] == b"{":
        return open_snapshot(path)
    if start[:2] == b"PK":
        return open_torch(path)
    if start.startswith((b"(dp", b"}q\0")):
        raise CheckpointError(f"{path}: is of pickle protocol 0 or 1, which is not read; {REMEDY}")
    if start[:1] == b"\x80":
        # A pickle: the published ones begin with their dict, a torch.save of the legacy format with its magic number.
        return open_torch(path) if LEGACY_START[:8] in start else open_published(path)
    raise CheckpointError(f"{path}: is no checkpoint (empty, cut short, or of another kind); give another file")


def load_network(name: str | Path, network: str, planes: str | None = None) -> nn.Module:
    """One network of a checkpoint (`G_ema`, `G` or `D`), on the CPU, float32, ready to train.

    Strict: a missing, extra or misshapen tensor raises CheckpointError with its name. A file that does not tell the
    axes of its planes gives a warning, unless `planes` says them.
    """
    checkpoint = open_checkpoint(name, planes=planes)
    if PLANES_NOTE in checkpoint.notes and network != "D":
        warnings.warn(f"{checkpoint.path}: {PLANES_NOTE}", stacklevel=3)
    return checkpoint.network(network).build(str(checkpoint.path))


def load_generator(
    name: str | Path, device="cpu", precision: str | None = None, planes: str | None = None
) -> nn.Module:
    """The averaged generator of a checkpoint, for drawing: eval mode, no gradients.

    Args:
        name: a file, an embedded name (`embedded` and `people` are gaze-corrected, with -base they are not, with
            -control their gaze can be set) or an address.
        precision: as `set_precision` takes it; None: as the network was built.
        planes: the axes of its planes, whatever the file says; see `open_checkpoint`.
    """
    G = load_network(name, "G_ema", planes).eval().requires_grad_(False).to(device)
    return set_precision(G, precision)


def network_facts(name: str | Path) -> dict:
    """For reports: what a generator was called, and the sha256 of its file."""
    return {"network": str(name), "network_sha256": sha256(locate(name))}


def load_discriminator(name: str | Path, device="cpu") -> nn.Module:
    """The discriminator of a checkpoint, for training on; the names of a world share one that has its own file."""
    checkpoint = open_checkpoint(name)
    apart = str(name) in GENERATORS and "D" not in checkpoint.networks
    return load_network(_discriminator_of(name) if apart else name, "D").to(device)


def _discriminator_of(name: str | Path) -> Path:
    """The file of the discriminator of an embedded name."""
    return DISCRIMINATORS[str(name).removesuffix("-base").removesuffix("-control")]


def training_networks(name: str | Path) -> Checkpoint:
    """A checkpoint to continue training from: with the embedded discriminator, and G started from G_ema where absent.

    `notes` says so. Networks that are nowhere stay absent.
    """
    checkpoint = open_checkpoint(name)
    networks, notes = dict(checkpoint.networks), list(checkpoint.notes)
    if str(name) in GENERATORS and "D" not in networks:
        networks["D"] = open_checkpoint(_discriminator_of(name)).network("D")
    for absent, other in (("G", "G_ema"), ("G_ema", "G")):
        if absent not in networks and other in networks:
            networks[absent] = networks[other]
            notes.append(f"there is no {absent}: it starts from {other}")
    return Checkpoint(checkpoint.path, checkpoint.kind, networks, checkpoint.facts, tuple(notes))


def export_half(source: str | Path, destination: Path, networks: list[str]) -> None:
    """Copies some networks of a checkpoint to a small snapshot in float16, with the facts about their making."""
    facts = open_checkpoint(source).facts
    save_snapshot(destination, {name: load_network(source, name) for name in networks}, facts, half=True)
