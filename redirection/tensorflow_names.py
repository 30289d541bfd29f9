"""Networks that were published for TensorFlow: what their variables are called there, and how these are laid out.

A module `a.b` of a network in the scope `s` has the variables `s/a/b/kernel` and `s/a/b/bias` if it multiplies, and
`s/a/b/gamma`, `beta`, `moving_mean`, `moving_variance` if it normalises. `LEAVES` of another publication may differ.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import nn

from redirection.tensorflow_checkpoint import TensorflowCheckpoint

_AXES = {nn.Conv2d: (3, 2, 0, 1), nn.ConvTranspose2d: (3, 2, 0, 1), nn.Linear: (1, 0)}  # of theirs, in our order
Leaves = Mapping[
    type[nn.Module], Mapping[str, str]
]  # kind of module -> entry -> variable; other entries keep their name
LEAVES: Leaves = {kind: {"weight": "kernel"} for kind in _AXES} | {
    nn.Module: {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
}


def variables_of(network: nn.Module, scope: str, leaves: Leaves = LEAVES) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Entry of the state dict -> (variable, axes): entry = variable.transpose(axes). Counters of steps are left out.

    Kernels are [kh, kw, in, out] there, those of transposed convolutions [kh, kw, out, in], and matrices [in, out].
    """
    found = {}
    for path, module in network.named_modules():
        place = "/".join([scope, *path.split(".")]) if path else scope
        kind = next((kind for kind in _AXES if isinstance(module, kind)), nn.Module)
        for name, value in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
            if name == "num_batches_tracked":
                continue
            axes = _AXES[kind] if kind in _AXES and name == "weight" else tuple(range(value.ndim))
            found[f"{path}.{name}" if path else name] = f"{place}/{leaves[kind].get(name, name)}", axes
    return found


def published_network(build: Callable[[], nn.Module], scope: str, path: Path) -> nn.Module:
    """A network of a published checkpoint, in evaluation mode. Errors: ValueError, one line with the file."""
    variables = TensorflowCheckpoint(path)
    with torch.random.fork_rng():
        network = build()
    try:
        fill_from_variables(network, scope, variables)
    except ValueError as error:
        raise ValueError(str(error) if str(path) in str(error) else f"{path}: {error}") from None
    return network.eval()


def fill_from_variables(
    network: nn.Module, scope: str, variables: Mapping[str, np.ndarray], leaves: Leaves = LEAVES
) -> None:
    """Overwrites a network by the variables of its scope; those of other scopes are passed over.

    Errors: ValueError, one line, for the first variable that is missing, of another shape or not finite.
    """
    state = network.state_dict()
    for entry, (name, axes) in variables_of(network, scope, leaves).items():
        if name not in variables:
            raise ValueError(f"the variable {name} is missing; these are other weights")
        value = np.asarray(variables[name], np.float32)
        if value.ndim != len(axes) or (value := value.transpose(axes)).shape != tuple(state[entry].shape):
            raise ValueError(f"the variable {name} has shape {variables[name].shape}; these are other weights")
        if not np.isfinite(value).all():
            raise ValueError(f"the variable {name} holds values that are not finite; fetch or make the file again")
        state[entry] = torch.from_numpy(np.ascontiguousarray(value))
    network.load_state_dict(state)
