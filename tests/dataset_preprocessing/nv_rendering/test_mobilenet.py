"""3DDFA's regressor against the published network, and users' files of its weights."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from golden import DATA, assert_golden, draw

from dataset_preprocessing.nv_rendering.mobilenet import INPUT, MobileNet, load_mobilenet

FACTS = json.loads((DATA / "nv_rendering.json").read_text())


@pytest.fixture(scope="module")
def network() -> MobileNet:
    """With the weights of the golden files' rule."""
    network = MobileNet()
    state = {}
    for name, value in network.state_dict().items():
        r = draw(f"mobilenet.{name}", value.shape, FACTS["seed"])
        if name.endswith("num_batches_tracked"):
            r = value
        elif value.ndim == 4:
            r = r * (2 / np.prod(value.shape[1:])) ** 0.5
        elif value.ndim == 2:
            r = 0.03 * r
        elif name.endswith("running_var"):
            r = 1 + 0.1 * r.abs()
        else:
            r = 0.1 * r + (0 if name.endswith(("running_mean", "bias")) else 1)
        state[name] = r
    network.load_state_dict(state)
    return network.eval()


def test_names_shapes_and_the_number_of_parameters_are_the_published_ones(network):
    assert {name: list(value.shape) for name, value in network.state_dict().items()} == FACTS["mobilenet_state_dict"]
    assert sum(value.numel() for value in network.parameters()) == FACTS["mobilenet_parameters"] == 3_270_526


@torch.no_grad()
def test_the_output_is_that_of_the_published_network(network):
    with np.load(DATA / "nv_rendering.npz") as file:
        blocks, expected = file["mobilenet_image_blocks_bgr"], torch.from_numpy(file["mobilenet_out"])
    picture = torch.from_numpy(blocks.repeat(8, axis=0).repeat(8, axis=1)).permute(2, 0, 1).float()
    assert picture.shape == (3, INPUT, INPUT)
    assert_golden(network((picture[None] - 127.5) / 128)[0], expected)


@torch.no_grad()
def test_a_published_file_is_read_as_tensors_only(network, tmp_path):
    state = {f"module.{name}": value for name, value in network.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 50}, tmp_path / "phase1_wpdc_vdc.pth.tar")
    loaded, sha256 = load_mobilenet(tmp_path / "phase1_wpdc_vdc.pth.tar")
    crop = torch.rand(1, 3, INPUT, INPUT)
    assert (loaded(crop) == network(crop)).all() and len(sha256) == 64
    assert not any(value.requires_grad for value in loaded.parameters())


def test_other_weights_are_one_line(tmp_path):
    path = Path(tmp_path / "other.pth")
    torch.save({"state_dict": {"conv1.weight": torch.zeros(32, 3, 3, 3)}}, path)
    with pytest.raises(ValueError, match="'bn1.weight' is missing; these are not the weights of 3DDFA's MobileNet"):
        load_mobilenet(path)
