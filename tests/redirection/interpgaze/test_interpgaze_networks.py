"""Narrow networks, the input they get, losses, the step, and files. The wide ones: test_golden_interpgaze.py."""

import math

import pytest
import torch

from redirection.interpgaze.alternation import Alternation, AlternationConfig, LossWeights, Trainees
from redirection.interpgaze.controller import Controller
from redirection.interpgaze.latent_discriminator import LatentDiscriminator
from redirection.interpgaze.latent_losses import gradient_penalty, label_loss
from redirection.interpgaze.patch_decoder import DecoderBlend
from redirection.interpgaze.redirector import InterpGaze, InterpGazeConfig, make_critic, network_input, picture

SMALL = InterpGazeConfig(size=32, divisor=16, attributes="0H@15H,L")


def small_networks():
    torch.manual_seed(0)
    return Trainees(InterpGaze(SMALL))


def batch():
    torch.manual_seed(1)
    labels = [torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]), torch.tensor([[1.0], [0.0], [1.0]])]
    return torch.randn(3, 3, 32, 32), labels, torch.tensor([1, 2, 0]), torch.rand(3, 3), torch.rand(3)


@pytest.mark.parametrize("size, decoder", [(32, "v1"), (64, "v2")])
def test_narrow_networks_take_small_patches_and_have_channels_in_sixteens(size, decoder):
    config = InterpGazeConfig(size=size, divisor=4, decoder=decoder)
    redirector, critic = InterpGaze(config), make_critic(config)
    out = redirector(torch.randn(2, 3, size, size), torch.randn(2, 3, size, size), torch.rand(2, 5))
    assert out.shape == (2, 3, size, size) and redirector.encoder(out).shape == (2, 128, 8, 8)
    assert critic(redirector.encoder(torch.randn(2, 3, size, size))).real.shape == (2, 64)
    assert all(w.shape[0] % 16 == 0 for w in redirector.parameters() if w.ndim == 4 and w.shape[0] != 3)


@pytest.mark.parametrize("wrong", [{"size": 16}, {"divisor": 3}, {"decoder": "v3"}, {"attributes": "0P,,"}])
def test_a_wrong_configuration_is_one_line(wrong):
    with pytest.raises(ValueError):
        InterpGazeConfig(**wrong)


def test_control_zero_gives_the_features_back_bit_for_bit():
    redirector = InterpGaze(SMALL)
    source, reference = (redirector.encoder(torch.randn(2, 3, 32, 32)) for _ in range(2))
    kept = redirector.controller(source, reference, torch.zeros(2, 3))
    assert torch.equal(kept.view(torch.int32), source.view(torch.int32))


def test_the_controller_is_linear_in_each_fraction_and_the_branches_add_up():
    controller, source, reference = Controller(16, 3), torch.randn(1, 16, 4, 4), torch.randn(1, 16, 4, 4)

    def moved(*v):
        return controller(source, reference, torch.tensor([v])) - source

    assert torch.allclose(moved(0.5, 0, 0) * 3, moved(1.5, 0, 0), atol=1e-5)
    assert torch.allclose(moved(1, 0, 0) + moved(0, 1, 0) + moved(0, 0, 1), moved(1, 1, 1), atol=1e-5)
    for k in range(3):
        v = [float(i == k) for i in range(3)]
        assert torch.allclose(moved(*v), controller.branch[k](reference - source), atol=1e-5)


def test_input_and_picture_are_inverse_and_zero_to_one():
    patches = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    x = network_input(patches, SMALL)
    assert torch.allclose(picture(x, SMALL), patches / 255, atol=1e-6)
    assert x.abs().max() < 3  # published: up to a thousand, as 255 is taken for 1
    assert network_input(patches, InterpGazeConfig(size=32, legacy_scale=True)).abs().max() > 500
    assert picture(torch.full((1, 3, 2, 2), 99.0), SMALL).max() == 1


def test_the_published_crop_leaves_three_columns_of_a_patch():
    patches = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    patches[..., 61:] = 200
    plain, cropped = (network_input(patches, InterpGazeConfig(legacy_crop=crop)) for crop in (False, True))
    assert torch.allclose(cropped, cropped[..., :1, :1], atol=1e-5)  # nothing but the three right-most columns
    assert plain.std() > 0.1
    patches[..., :16, :] = 100  # rows 0 to 15 are cut away
    assert torch.equal(network_input(patches, InterpGazeConfig(legacy_crop=True)), cropped)


def test_the_label_loss_is_a_sum_over_attributes_and_a_mean_over_samples():
    logits = [torch.zeros(2, 3), torch.zeros(2, 1)]
    labels = [torch.ones(2, 3), torch.zeros(2, 1)]
    assert label_loss(logits, labels).item() == pytest.approx(4 * math.log(2))


def test_the_gradient_penalty_is_that_of_the_sum_of_a_linear_critic():
    critic = LatentDiscriminator(1, (1,), width=2)
    critic.model, critic.ifReal = torch.nn.Flatten(), torch.nn.Linear(4, 2, bias=False)
    with torch.no_grad():
        critic.ifReal.weight.copy_(torch.tensor([[1.0, 2.0, 0.0, 0.0], [2.0, 2.0, 0.0, 0.0]]))
    critic.attr_branches = torch.nn.ModuleList()
    real, mixed = torch.randn(3, 1, 2, 2), torch.randn(3, 1, 2, 2)
    assert gradient_penalty(critic, real, mixed, torch.rand(3)).item() == pytest.approx((5 - 1) ** 2)  # |(3, 4)| = 5


@pytest.mark.parametrize("legacy", [False, True])
def test_heads_learn_the_labels_of_real_features_or_as_published_of_mixed_ones(legacy):
    nets, (x, labels, order, v, u) = small_networks().train(), batch()
    with torch.no_grad():
        real = nets.redirector.encoder(x)
        seen = nets.redirector.controller(real, real[order], v) if legacy else real
        wanted = label_loss(nets.critic(seen).attributes, labels).item()
    config = AlternationConfig(legacy_heads_on_mixed=True) if legacy else AlternationConfig()
    losses = Alternation(nets, config).step(x, labels, order, v, u, 0)
    assert losses["discrim_cls"] == pytest.approx(wanted, rel=1e-5)


def test_encoder_and_controller_move_in_every_so_many_th_step_and_only_then():
    nets = small_networks()
    assert AlternationConfig().encoder_every == 5  # as published
    alternation = Alternation(nets.train(), AlternationConfig(encoder_every=2))
    for number in range(3):
        before = {name: value.clone() for name, value in nets.state_dict().items()}
        losses = alternation.step(*batch(), number)
        moved = {
            name.split(".")[1] for name, value in nets.state_dict().items() if not torch.equal(value, before[name])
        }
        assert ({"encoder", "controller"} <= moved) == (number % 2 == 0) == ("enc_int" in losses)
        assert "decoder" in moved and not {"KGTransform", "dec_per"} & losses.keys()  # without VGG-19 no teacher


def test_weights_are_in_the_logged_numbers():
    steps = [
        Alternation(small_networks().train(), AlternationConfig(weights=weights)).step(*batch(), 0)
        for weights in (LossWeights(), LossWeights(discrim_gp=10.0))
    ]
    assert steps[0]["discrim_gp"] == pytest.approx(10 * steps[1]["discrim_gp"], rel=1e-5)
    assert steps[0]["discrim"] == pytest.approx(sum(steps[0][f"discrim_{k}"] for k in ("gan", "gp", "cls")), rel=1e-5)


def test_a_step_with_the_same_draws_is_the_same_step():
    first, second = (Alternation(small_networks().train(), AlternationConfig()).step(*batch(), 0) for _ in range(2))
    assert first == second


def test_a_blend_keeps_the_source_where_its_mask_is_closed_and_sees_how_far_features_moved():
    torch.manual_seed(0)
    decoder, source = DecoderBlend(divisor=16, ups=2).eval(), torch.randn(2, 3, 32, 32)
    before, after = torch.rand(2, 32, 8, 8), torch.rand(2, 32, 8, 8)
    for module in decoder.modules():  # at the usual random start features hardly reach the picture
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
    drawn = decoder(after, before, source)
    assert drawn.shape == source.shape and (drawn - source).abs().max() > 0.01
    assert (decoder(after, after, source) - drawn).abs().max() > 1e-4
    torch.nn.init.zeros_(decoder.model[-1].weight)
    decoder.model[-1].bias.data[3] = -1e4
    assert torch.equal(decoder(after, before, source), source)
