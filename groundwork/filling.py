"""A network from its state dict: every tensor must be there, fit and be finite, and no other may be."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from groundwork.strict_pickle import one_line


def filled(build: Callable[[], nn.Module], state: dict[str, torch.Tensor], path: Path, what: str) -> nn.Module:
    """`build()` with these tensors, in the types it has itself.

    Errors: ValueError, one line: the file `path`, the first tensor that is wrong, and `what` network it should be of.
    """
    with torch.device("meta"):  # no time spent on drawing weights that are replaced
        model = build()
    expected = model.state_dict()
    for name, value in expected.items():
        if name not in state:
            raise ValueError(f"{path}: '{name}' is missing; these are not the weights of {what}")
        if state[name].shape != value.shape:
            shapes = f"{list(state[name].shape)}, not {list(value.shape)}"
            raise ValueError(f"{path}: '{name}' has shape {shapes}; these are not the weights of {what}")
        if not state[name].isfinite().all():
            raise ValueError(f"{path}: '{name}' holds values that are not finite; fetch or make the file again")
    extra = next((name for name in state if name not in expected), None)
    if extra is not None:
        raise ValueError(f"{path}: '{one_line(extra, 100)}' is no part of {what}; these are other weights")
    model.load_state_dict({name: state[name].to(value.dtype) for name, value in expected.items()}, assign=True)
    return model
