"""The training state that a run goes on from: what is in it, declared once, and checked before anything is used.

A disk, a copy or a person may have damaged any field. `check_fits` compares what networks and optimisers take with
these, for only they know their sizes.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from eg3d.checkpoints.loading import CheckpointError, compare, load_state
from eg3d.config.run import from_dict
from eg3d.training.run_folder import STATE_FILE
from eg3d.training.sizes import saved_sizes, sizes_of
from groundwork.strict_json import parse_json
from groundwork.strict_pickle import one_line

MOST = 2**53  # images, steps, bytes: what a float counts one by one


@dataclass(frozen=True)
class Each:
    """A dict with any names of one type, and values of one shape."""

    name: type
    value: object


@dataclass(frozen=True)
class Many:
    """A list of any length, whose items have one shape."""

    item: object


# A shape is a type, a dict of shapes by name (one that ends with ? may be missing), a list of shapes, one of the two
# above, or a tuple of shapes that are all right. Integers are not negative, floats are finite, None is None.
NAMED, ADAM = Each(str, torch.Tensor), {"step": torch.Tensor, "exp_avg": torch.Tensor, "exp_avg_sq": torch.Tensor}
STATE = {
    "config": str,
    "dataset_outline": str,
    "dataset_stamp": str,
    "dataset_digest": str,
    "images_seen": int,
    "batch_index": int,
    "sizes?": Many({"from_image": int, "batch": int, "batch_gpu": int, "gpus": int}),  # older states have none
    "raw_resolution": int,
    "augment": {"p": float, "sign_sum": float, "sign_count": float},
    "gaze_network": (str, None),
    "source": ({"resumed_from": str, "images_seen_before": int}, None),
    "networks": {"G_ema": NAMED, "G": NAMED, "D": NAMED},
    "optimisers": [{"state": Each(int, ADAM)}, {"state": Each(int, ADAM)}],
    "stats": NAMED,
    "tick_unfinished": bool,
}


def read_state(path: Path) -> dict:
    """The training state in a file, checked by `check_state`."""
    state = load_state(path)
    check_state(state, path)
    return state


def check_state(state: dict, path: Path) -> None:
    """CheckpointError, naming the first field that is not as STATE says."""
    fault = next(faults(state, STATE), None) or _further_fault(state)
    if fault is not None:
        raise damaged(path, fault)


def damaged(path: Path | str, fault: str) -> CheckpointError:
    advice = "start in another --outdir, with --resume=SNAPSHOT of this run"
    return CheckpointError(f"{path}: is damaged ({one_line(fault, 300)}); {advice}")


def faults(value, shape, where: str = "") -> Iterator[str]:
    """What is wrong with a value of a declared shape, and where."""
    at = where or "it"
    if isinstance(shape, tuple):
        if all(next(faults(value, choice), None) is not None for choice in shape):
            yield from faults(value, shape[0], where)
    elif shape is None:
        if value is not None:
            yield f"{at} is not None"
    elif isinstance(shape, (dict, Each)):
        if not isinstance(value, dict):
            yield f"{at} is {_kind(value)}, not a dict"
        elif isinstance(shape, Each):
            for name, item in value.items():
                if type(name) is not shape.name:
                    yield f"{at} has the name {name!r:.60}"
                yield from faults(item, shape.value, f"{at}[{name!r:.60}]")
        else:
            for name, inner in shape.items():
                if name.removesuffix("?") in value:
                    yield from faults(value[name.removesuffix("?")], inner, f"{where}.{name}".strip(".?"))
                elif not name.endswith("?"):
                    yield f"{at} lacks {name}"
    elif isinstance(shape, (list, Many)):
        if not isinstance(value, list) or (isinstance(shape, list) and len(value) != len(shape)):
            yield f"{at} is {_kind(value)}, not a list{f' of {len(shape)}' if isinstance(shape, list) else ''}"
        else:
            for i, item in enumerate(value):
                yield from faults(item, shape[i] if isinstance(shape, list) else shape.item, f"{at}[{i}]")
    elif not (isinstance(value, shape) if shape is torch.Tensor else type(value) is shape):
        yield f"{at} is {_kind(value)}, not {_kind(shape)}"
    elif (shape is int and not 0 <= value < MOST) or (shape is float and not math.isfinite(value)):
        yield f"{at} is {value:.3g}"


def _kind(value) -> str:
    kind = value if isinstance(value, type) else type(value)
    return {torch.Tensor: "a tensor", str: "a text", int: "an integer", float: "a number", list: "a list"}.get(
        kind, f"a {kind.__name__}"
    )


def _further_fault(state: dict) -> str | None:
    """What types do not tell."""
    try:
        config = from_dict(parse_json(state["config"]))
    except ValueError as error:
        return f"config: {error}"
    if not 1 <= state["raw_resolution"] <= config.generator.resolution:
        return f"raw_resolution is {state['raw_resolution']}, of images of {config.generator.resolution} px"
    sizes = saved_sizes(state)
    starts = [entry["from_image"] for entry in sizes]
    if starts[0] != 0 or starts != sorted(set(starts)) or starts[-1] > state["images_seen"]:
        return f"sizes begin at the images {starts}, of {state['images_seen']}"
    if sizes[-1] != {"from_image": starts[-1], **sizes_of(config)} or not 0 < sizes[0]["batch"] <= 2**16:
        return f"sizes end with {sizes[-1]}, which is not what config says"
    for name, values in state["stats"].items():
        if values.ndim != 1 or not values.is_floating_point() or not len(values):
            return f"stats[{name!r:.60}] is no row of numbers"
    if not 0 <= state["augment"]["p"] <= 1:
        return f"augment.p is {state['augment']['p']:.3g}"
    return None


def check_fits(state: dict, networks: dict[str, nn.Module], optimisers: tuple) -> None:
    """CheckpointError, naming the first tensor, unless networks and optimisers can take theirs from a state."""
    for name, network in networks.items():
        found = state["networks"][name]
        if difference := compare(network, {key: tuple(value.shape) for key, value in found.items()}):
            raise damaged(STATE_FILE, f"networks.{name}: {difference.some()}")
        for key, own in network.state_dict().items():
            if own.is_floating_point() != found[key].is_floating_point():
                raise damaged(STATE_FILE, f"networks.{name}: {key} is of type {found[key].dtype}")
    for i, (optimiser, saved) in enumerate(zip(optimisers, state["optimisers"], strict=True)):
        parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
        for index, entry in saved["state"].items():
            if not 0 <= index < len(parameters):
                raise damaged(STATE_FILE, f"optimisers[{i}] has averages of a parameter {index}")
            for key, value in entry.items():
                wanted = () if key == "step" else tuple(parameters[index].shape)
                if tuple(value.shape) != wanted or not value.is_floating_point():
                    raise damaged(STATE_FILE, f"optimisers[{i}]: {key} of parameter {index} is {list(value.shape)}")


def restore_optimiser(optimiser: torch.optim.Optimizer, saved: dict) -> None:
    """Gives an optimiser its averages back. Rates and the like are those of the configuration, which is the same."""
    optimiser.load_state_dict(optimiser.state_dict() | {"state": saved["state"]})
