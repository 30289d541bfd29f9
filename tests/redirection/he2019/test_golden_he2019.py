"""Agreement with the published networks and losses of He et al. (tests/data/redirection_baselines.*)."""

import golden
import pytest
import torch
from golden_redirectors import drawn_picture, tensorflow_value

from redirection.he2019.angle_networks import AngleDiscriminator, AngleGenerator
from redirection.he2019.content_style import CHANNELS, ContentStyle
from redirection.he2019.cycle_losses import CycleWeights, angular_error_deg, discriminator_losses, generator_losses
from redirection.tensorflow_names import fill_from_variables, variables_of


@pytest.fixture(scope="module")
def case():
    """Facts, arrays, source and target picture, the networks, and the drawn picture."""
    facts, arrays = golden.load("redirection_baselines")
    generator, critic = AngleGenerator(), AngleDiscriminator()
    variables = {name: tensorflow_value(name, shape) for name, shape in facts["he_variables"].items()}
    fill_from_variables(generator, "generator", variables)
    fill_from_variables(critic, "discriminator", variables)
    source, target = drawn_picture("he_x", 64, 64), drawn_picture("he_t", 64, 64)
    with torch.no_grad():
        drawn = generator(source, arrays["he_target_angles"])
    return facts, arrays, source, target, generator, critic, drawn


def test_the_names_of_the_variables_are_all_and_only_the_published_ones(case):
    facts, _, _, _, generator, critic, _ = case
    named = [*variables_of(generator, "generator").values(), *variables_of(critic, "discriminator").values()]
    assert sorted(name for name, _ in named) == sorted(facts["he_variables"])


def check(actual, arrays, name):
    golden.assert_golden(golden.every_kth(actual, 16).permute(0, 2, 3, 1), arrays[name], actual)
    golden.assert_golden(golden.stats(actual), arrays[f"{name}_stats"], actual)


def test_the_generator_and_its_way_back_equal_the_published_ones(case):
    _, arrays, _, _, generator, _, drawn = case
    check(drawn, arrays, "he_fake")
    with torch.no_grad():
        check(generator(drawn, arrays["he_source_angles"]), arrays, "he_back")


def test_the_discriminator_equals_the_published_one(case):
    _, arrays, source, _, _, critic, drawn = case
    for x, name in ((source, "real"), (drawn, "fake")):
        realness, estimate = critic(x)
        golden.assert_golden(realness.permute(0, 2, 3, 1), arrays[f"he_gan_{name}"])
        golden.assert_golden(estimate, arrays[f"he_reg_{name}"])


def published_vgg():
    network, number = ContentStyle(legacy_input=True), {}
    blocks, k = 1, 0
    for layer in CHANNELS:
        blocks, k = (blocks + 1, 0) if layer == "M" else (blocks, k + 1)
        if k:
            number[len(number)] = f"vgg_16/conv{blocks}/conv{blocks}_{k}"
    convolutions = [layer for layer in network.features if isinstance(layer, torch.nn.Conv2d)]
    for i, conv in enumerate(convolutions):
        shape = (3, 3, conv.in_channels, conv.out_channels)
        weights = torch.from_numpy(tensorflow_value(f"{number[i]}/weights", shape))
        conv.weight.data = weights.permute(3, 2, 0, 1).contiguous()
        conv.bias.data = torch.from_numpy(tensorflow_value(f"{number[i]}/biases", (conv.out_channels,)))
    return network.requires_grad_(False)


def test_six_losses_equal_the_published_ones(case):
    assert check_losses(case, None) == {"d_gan", "gp", "reg_d", "d_total", "g_gan", "reg_g", "cycle"}


@pytest.mark.slow
def test_with_content_and_style_all_losses_and_both_totals_equal_the_published_ones(case):
    assert check_losses(case, published_vgg()) == case[0]["he_losses"].keys()


def check_losses(case, seen):
    """The names of the losses, all but g_total without VGG-16; each is checked."""
    facts, arrays, source, target, generator, critic, drawn = case
    of_source, of_target = (source, arrays["he_source_angles"]), (target, arrays["he_target_angles"])
    losses = discriminator_losses(critic, source, drawn, of_source[1], torch.full((2,), 0.5), CycleWeights())
    with torch.no_grad():
        losses |= generator_losses(generator, critic, drawn, of_source, of_target, CycleWeights(), seen)
    if seen is None:
        del losses["g_total"]
    for name, value in losses.items():
        assert value.item() == pytest.approx(facts["he_losses"][name], rel=1e-5), name
    return losses.keys()


def test_the_error_of_two_gazes_equals_the_published_one(case):
    arrays = case[1]
    error = angular_error_deg(arrays["he_angles_a"], arrays["he_angles_b"])
    assert error.numpy() == pytest.approx(arrays["he_angular_error"].numpy(), rel=1e-6)
