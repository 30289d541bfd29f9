"""Starting a run from the weights of a checkpoint."""

from dataclasses import replace

import torch
from torch import nn

from eg3d.checkpoints.loading import CheckpointError, Difference, compare, training_networks
from eg3d.checkpoints.published import PLANES_NOTE
from eg3d.checkpoints.stored import StoredNetwork
from eg3d.gaze.term import GAZE_DIM
from eg3d.models.eye_field import EyeField
from eg3d.training.growth import grow


class ResumeError(CheckpointError):
    """The checkpoint does not fit; `report` has one line for each thing that does not."""

    def __init__(self, message: str, report: list[str]):
        super().__init__(message)
        self.report = report


@torch.no_grad()
def start_from(networks: dict[str, nn.Module], name: str, partial: bool = False) -> tuple[dict, list[str]]:
    """Copies a checkpoint's weights into G_ema, G and D, which keep their device.

    Args:
        networks: by name; a checkpoint with only one of G and G_ema starts both.
        name: whatever `open_checkpoint` takes.
        partial: a tensor that is missing or of another shape keeps its weights, an extra one is ignored. Networks for
            pictures of twice the side start as the same functions (growth.py).
    Returns: (facts for the headers of the run's snapshots, lines for the user).
    Errors: ResumeError if the checkpoint does not fit, unless `partial`; CheckpointError if it cannot be read.
    """
    checkpoint = training_networks(name)
    differences, report, notes = {}, [], list(checkpoint.notes)
    for key, network in networks.items():
        if key in checkpoint.networks:
            stored = starting_point(network, key, checkpoint.networks)
            report += _other_planes(key, network, stored)
            if PLANES_NOTE in notes and _planes_of(network) not in (None, "published"):
                notes.remove(PLANES_NOTE)  # the user knows
            differences[key], wider = _without_gaze_inputs(compare(network, stored.shapes))
            notes += [f"{key}: {name} gets inputs for the gaze, which start at zero" for name in wider]
            report += [f"{key}: {line}" for line in differences[key].lines()]
        else:
            report.append(f"{key}: is not in the file")
    if report and not partial:
        raise ResumeError(
            f"--resume={name}: does not fit this run in {len(report)} places, the first: {report[0]}; give the flags "
            "it was trained with, or --resume-partial to start those from random weights",
            report,
        )
    for key, difference in differences.items():
        own, unfit = networks[key].state_dict(), {*difference.extra, *difference.misshapen}
        stored = starting_point(networks[key], key, checkpoint.networks).read()
        for tensor, value in stored.items():
            if tensor not in unfit:
                _copy(own[tensor], value)
        if partial and (grown := grow(networks[key], stored)):
            report.append(f"{key}: {grown}")
    facts = checkpoint.facts
    before = sum(seen for key in ("images_seen", "images_seen_before") if type(seen := facts.get(key, 0)) is int)
    return {"resumed_from": name, "images_seen_before": before}, [*notes, *report]


def starting_point(network: nn.Module, key: str, networks: dict[str, StoredNetwork]) -> StoredNetwork:
    """What a network of a run, G_ema, G or D, starts from: the one of that name in a checkpoint.

    An eye field starts from the averaged generator that it is built on, its average too: the base stays as it is, so
    G and G_ema must agree on it. Tensors that no base has keep their initial values.
    """
    stored = networks[key]
    if not isinstance(network, EyeField) or stored.cls == EyeField.__name__:
        return stored
    stored = networks["G_ema"]
    initial = {name: value for name, value in network.state_dict().items() if network.origin_of(name) is None}
    names = {name: origin for name in network.state_dict() if (origin := network.origin_of(name)) in stored.shapes}
    unread = {name: shape for name, shape in stored.shapes.items() if name not in names.values()}

    def read():
        tensors = stored.read()
        return {name: tensors[origin] for name, origin in names.items()} | initial

    shapes = {name: stored.shapes[origin] for name, origin in names.items()}
    return replace(stored, shapes=shapes | unread | {name: tuple(v.shape) for name, v in initial.items()}, read=read)


def _other_planes(name: str, network: nn.Module, stored: StoredNetwork) -> list[str]:
    """A line if a file says that its planes lie along other axes than the run's; most files cannot say it."""
    says = (stored.rendering_kwargs or {}).get("planes")
    runs = _planes_of(network) if says else None
    return [f"{name}: its planes are {says}, the run's are {runs}: add --planes={says}"] if says != runs else []


def _planes_of(network: nn.Module) -> str | None:
    """The axes of a generator's planes; None for a network that has none."""
    return getattr(getattr(network, "options", None), "planes", None)


LABEL_INPUTS = "mapping.embed.weight"  # of a discriminator, [features, numbers of the label]


def _without_gaze_inputs(difference: Difference) -> tuple[Difference, list[str]]:
    """The difference without a label that has grown by a gaze (--gaze-cond-d), and the names of what has grown."""
    sizes = difference.misshapen.get(LABEL_INPUTS)
    if sizes is None or sizes[1] != (sizes[0][0], sizes[0][1] + GAZE_DIM):
        return difference, []
    others = {name: value for name, value in difference.misshapen.items() if name != LABEL_INPUTS}
    return replace(difference, misshapen=others), [LABEL_INPUTS]


def _copy(own: torch.Tensor, value: torch.Tensor) -> None:
    """Copies weights. Wider ones start as the same function, because the gain of the layer is 1/sqrt(inputs)."""
    if own.shape == value.shape:
        own.copy_(value)
    else:
        own.zero_()[:, : value.shape[1]] = value * (own.shape[1] / value.shape[1]) ** 0.5
