"""Tensors without the arguments of their network, as inversion tools save a generator that they have tuned.

The arguments are those of the network that was tuned: `convert.py --like=NETWORK`. Which tensors belong together shows
in their names, whatever dicts and prefixes (`module.`, `G_ema.`) are round them.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from eg3d.checkpoints.arguments import PUBLISHED_GENERATOR
from eg3d.checkpoints.stored import Checkpoint, CheckpointError, StoredNetwork, like_command
from groundwork.files import sha256

KIND = "tensors"
GENERATOR_PART = re.compile(r"(?:^|(?<=\.))backbone\.(?:synthesis|mapping)\.")
DISCRIMINATOR_PART = re.compile(r"(?:^|(?<=\.))b4\.(?:conv|fc|out)\.")
AVERAGED = re.compile(r"(?:^|[^a-z])ema(?:$|[^a-z])")
LEFT_OUT = "dataset_label_std"  # the training loop's, which computes it from its data set
SHOWN = 3  # names in a message


def open_bare(
    path: Path, shapes: Mapping[str, tuple[int, ...]], read: Callable[[dict[str, str]], dict[str, torch.Tensor]]
) -> Checkpoint:
    """A checkpoint whose networks have no arguments yet; CheckpointError if no network is among the tensors.

    Args: shapes of the tensors by their names in the file, those of the dicts that they are in joined; read: {name in
    the network: name in the file} -> the tensors by the first.
    """
    networks, left = {}, set(shapes)
    for name, prefix in _prefixes(path, shapes).items():
        inside = {key.removeprefix(prefix): key for key in shapes if key.startswith(prefix)}
        left -= set(inside.values())
        inside.pop(LEFT_OUT, None)
        networks[name] = StoredNetwork(
            cls="DualDiscriminator" if name == "D" else PUBLISHED_GENERATOR, init_kwargs=None,
            shapes={key: tuple(shapes[place]) for key, place in inside.items()}, read=partial(read, inside),
        )  # fmt: skip
    notes = [f"left out, as part of no network: {_some(left)}"] if left else []
    return drawable(Checkpoint(path, KIND, networks, {}, tuple(notes)))


def drawable(checkpoint: Checkpoint) -> Checkpoint:
    """The same, its only generator under the name that scripts draw by."""
    networks = dict(checkpoint.networks)
    if "G_ema" in networks or "G" not in networks:
        return checkpoint
    networks = {"G_ema": networks.pop("G"), **networks}
    return replace(checkpoint, networks=networks, notes=(*checkpoint.notes, "there is no G_ema: G is taken for it"))


def _prefixes(path: Path, names: Iterable[str]) -> dict[str, str]:
    """By a network's name what its tensors' names begin with."""
    found: dict[str, set[str]] = {}
    for key in names:
        if match := GENERATOR_PART.search(key):
            prefix = key[: match.start()]
            found.setdefault("G_ema" if AVERAGED.search(prefix.lower()) else "G", set()).add(prefix)
        elif match := DISCRIMINATOR_PART.search(key):
            found.setdefault("D", set()).add(key[: match.start()])
    if not found:
        raise CheckpointError(
            f"{path}: holds weights of another program ({_some(set(names))}); give a tri-plane generator's checkpoint"
        )
    for name, prefixes in found.items():
        if len(prefixes) > 1:
            raise CheckpointError(f"{path}: holds {len(prefixes)} networks that may be {name}: those of the tensors "
                                  f"that begin with {_some(prefixes)}; save one of them alone")  # fmt: skip
    return {name: prefix for name, (prefix,) in found.items()}


def _some(names: set[str]) -> str:
    """A few names, and how many there are more."""
    first = ", ".join(repr(name[:100]) for name in sorted(names)[:SHOWN])
    return first + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def check_arguments_known(checkpoint: Checkpoint) -> None:
    """CheckpointError, which says how to convert the file, if a network has no arguments."""
    if any(network.init_kwargs is None for network in checkpoint.networks.values()):
        raise CheckpointError(
            f"{checkpoint.path}: holds tensors without their network's arguments; take these from the network that it "
            f"was tuned from: {like_command(checkpoint.path)}"
        )


def with_arguments_of(checkpoint: Checkpoint, like: Checkpoint) -> Checkpoint:
    """A checkpoint's tensors in networks of another one: its classes, arguments, renderer, rays and cameras."""
    networks, notes = {}, [*checkpoint.notes, *like.notes]
    for name, network in checkpoint.networks.items():
        others = ("D",) if name == "D" else (name, "G_ema", "G")
        model = next((like.networks[other] for other in others if other in like.networks), None)
        if model is None:
            notes.append(f"{name} is left out: {like.path} has no network to take its arguments from")
        else:
            networks[name] = replace(model, shapes=network.shapes, read=network.read)
    if not networks:
        raise CheckpointError(f"{like.path}: has no network that {checkpoint.path} could be like; give another --like")
    if any(network.init_kwargs is not None for network in checkpoint.networks.values()):
        notes.append(f"the arguments that the file itself has are left aside for those of {like.path}")
    facts = checkpoint.facts | {"arguments_of": {"file": like.path.name, "sha256": sha256(like.path)}}
    return Checkpoint(checkpoint.path, checkpoint.kind, networks, facts, tuple(dict.fromkeys(notes)))
