"""A run for pictures of twice the side starts as the functions that the smaller networks are."""

from dataclasses import replace

import pytest
import torch

from eg3d.checkpoints import loading as checkpoint
from eg3d.config.presets import PEOPLE_32, PEOPLE_64
from eg3d.models.discriminator import DualDiscriminator
from eg3d.models.generator import TriPlaneGenerator
from eg3d.ops.upfirdn2d import downsample2d, upsample2d
from eg3d.training.growth import grow
from eg3d.training.resume import start_from


def networks(config, **of_discriminator):
    side, discriminator = config.generator.resolution, replace(config.discriminator, **of_discriminator)
    return {"G_ema": TriPlaneGenerator(config.generator), "D": DualDiscriminator(discriminator, side)}


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """The networks of 32 px with biases that are not zero, those of 64 px that start from them, and the notes."""
    torch.manual_seed(0)
    small, large = networks(PEOPLE_32), networks(PEOPLE_64)
    with torch.no_grad():
        small["D"].b32.fromrgb.bias.normal_()
    file = tmp_path_factory.mktemp("growth") / "small.safetensors"
    checkpoint.save_snapshot(file, small, {})
    _, notes = start_from(large, str(file), partial=True)
    return small, large, notes


@torch.no_grad()
def test_planes_start_as_the_smaller_ones_enlarged(pair):
    small, large = (networks["G_ema"].backbone.synthesis for networks in pair[:2])
    ws = torch.randn(2, large.num_ws, small.b4.conv1.affine.weight.shape[1])
    planes = small(ws[:, : small.num_ws], noise_mode="none")
    assert torch.allclose(large(ws, noise_mode="none"), upsample2d(planes, large.b64.resample_filter), atol=1e-4)
    assert planes.std() > 0.1


@torch.no_grad()
def test_a_discriminator_starts_as_the_smaller_one_on_shrunk_pictures(pair):
    small, large = pair[0]["D"], pair[1]["D"]
    pictures, camera = torch.randn(4, 6, 64, 64), torch.randn(4, 25)
    wanted = small.score(downsample2d(pictures, large.b64.resample_filter), camera)
    assert torch.allclose(large.score(pictures, camera), wanted, rtol=1e-4, atol=1e-4)
    assert wanted.std() > 0.01


def test_all_weights_of_the_new_block_learn(pair):
    large = pair[1]["D"].requires_grad_(True)
    large.score(torch.randn(4, 6, 64, 64), torch.randn(4, 25)).square().sum().backward()
    for name in ("fromrgb", "conv0", "conv1", "skip"):
        assert getattr(large.b64, name).weight.grad.abs().max() > 0, name


def test_the_user_is_told(pair):
    assert "G_ema: planes of 64 px start as those of 32 px, enlarged" in pair[2]
    assert "D: pictures of 64 px are shrunk at first, then read as those of 32 px" in pair[2]


@pytest.mark.parametrize("change", [dict(architecture="skip"), dict(conv_clamp=256.0), dict(channel_base=512)])
def test_what_cannot_start_so_keeps_its_random_weights(pair, change):
    """Other architectures, layers that clamp, and layers too narrow for two numbers per colour."""
    torch.manual_seed(1)
    large = networks(PEOPLE_64, **change)["D"]
    before = large.b64.conv1.weight.clone()
    assert grow(large, pair[0]["D"].state_dict()) is None
    assert torch.equal(large.b64.conv1.weight, before)


def test_networks_of_the_same_size_are_left_alone(pair):
    same = networks(PEOPLE_32)
    weights = {name: {key: value.clone() for key, value in net.state_dict().items()} for name, net in same.items()}
    assert all(grow(same[name], pair[0][name].state_dict()) is None for name in same)
    assert all(
        torch.equal(net.state_dict()[key], weights[name][key]) for name, net in same.items() for key in weights[name]
    )


@pytest.mark.parametrize("change", [{"b32.fromrgb.bias": None}, {"b32.fromrgb.weight": torch.zeros(32, 6, 1, 1)}])
def test_a_first_layer_that_does_not_fit_changes_nothing(pair, change):
    stored = {name: value for name, value in (pair[0]["D"].state_dict() | change).items() if value is not None}
    large = networks(PEOPLE_64)["D"]
    before = {name: value.clone() for name, value in large.state_dict().items()}
    assert grow(large, stored) is None
    assert all(torch.equal(value, before[name]) for name, value in large.state_dict().items())


def test_planes_of_other_blocks_are_not_called_enlarged(pair):
    stored = pair[0]["G_ema"].state_dict()
    stored["backbone.synthesis.b16.conv1.weight"] = torch.zeros(3)
    assert grow(networks(PEOPLE_64)["G_ema"], stored) is None
