"""Variables that do not fit are one line."""

import numpy as np
import pytest

from redirection.deepwarp.gaze_warp import GazeWarp
from redirection.tensorflow_names import fill_from_variables, variables_of


def variables():
    network = GazeWarp()
    state, found = network.state_dict(), {}
    for entry, (name, axes) in variables_of(network, "s").items():
        found[name] = np.ascontiguousarray(state[entry].numpy().transpose(np.argsort(axes)))
    return network, found


def test_what_is_written_in_their_layout_is_read_back():
    network, found = variables()
    other = GazeWarp()
    fill_from_variables(other, "s", found)
    assert all((a == b).all() for a, b in zip(network.state_dict().values(), other.state_dict().values(), strict=True))


@pytest.mark.parametrize("kind, says", [("missing", "is missing"), ("shape", "has shape"), ("nan", "not finite")])
def test_what_does_not_fit_is_one_line(kind, says):
    _, found = variables()
    name = "s/coarse_warp/layer_5/kernel"
    value = found.pop(name)
    if kind != "missing":
        found[name] = value[..., :1] if kind == "shape" else value * np.nan
    with pytest.raises(ValueError, match=says) as error:
        fill_from_variables(GazeWarp(), "s", found)
    assert name in str(error.value)
