"""Published checkpoints give the networks that wrote them; variables that do not fit are one line."""

import numpy as np
import pytest
import torch
from tiny_checkpoints import write_bundle

from redirection.deepwarp.gaze_warp import GazeWarp, WarpConfig
from redirection.deepwarp.warp_redirector import WarpRedirector, open_deepwarp
from redirection.he2019 import angle_file
from redirection.he2019.angle_file import AngleConfig
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


def in_their_layout(network, scope):
    state = network.state_dict()
    return {
        name: np.ascontiguousarray(state[entry].numpy().transpose(np.argsort(axes)))
        for entry, (name, axes) in variables_of(network, scope).items()
    } | {f"{scope}/beta1_power": np.float32([0.5])}  # what an optimiser leaves there


def test_a_published_checkpoint_of_deepwarp_moves_eyes_as_its_network_did(tmp_path):
    torch.manual_seed(0)
    network = WarpConfig().build().eval()
    write_bundle(tmp_path / "model-7", in_their_layout(network, "deepwarp"))
    patches = torch.randint(0, 256, (2, 3, 51, 51), dtype=torch.uint8)
    shown, wanted = torch.zeros(2, 3), torch.tensor([[0.0, 30, 60], [0, -40, 0]])
    drawn = [one.redirect(patches, shown, wanted) for one in (
        open_deepwarp(tmp_path / "model-7.index", "cpu"), WarpRedirector(network, "cpu"))]  # fmt: skip
    assert torch.equal(*drawn) and not torch.equal(drawn[0], patches)


def test_a_published_checkpoint_of_he_et_al_draws_as_its_network_did(tmp_path, monkeypatch):
    torch.manual_seed(0)
    monkeypatch.setattr(angle_file, "AngleConfig", lambda: AngleConfig(width=4, residuals=1))
    network = AngleConfig(width=4, residuals=1).build().eval()
    write_bundle(tmp_path / "model.ckpt-500", in_their_layout(network, "generator"))
    x, angle = torch.rand(2, 3, 64, 64) * 2 - 1, torch.tensor([[1.0, 0.5], [-1, 0]])
    for place in (tmp_path, tmp_path / "model.ckpt-500"):  # as a run folder, and by its prefix
        read, _ = angle_file.read_generator(place)
        assert torch.equal(read(x, angle), network(x, angle))
    with pytest.raises(ValueError, match="model.ckpt-500: the variable deepwarp/.* is missing"):
        open_deepwarp(tmp_path / "model.ckpt-500", "cpu")


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
