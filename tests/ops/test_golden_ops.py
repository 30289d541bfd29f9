"""Resampling, activations, modulated convolutions and resizing against the published numbers, and their gradients."""

import golden
import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from eg3d.models.discriminator import minibatch_std
from eg3d.ops.bias_act import ACTIVATIONS, bias_act
from eg3d.ops.conv2d import conv2d_resample, modulated_conv2d
from eg3d.ops.resize import filtered_resizing
from eg3d.ops.upfirdn2d import downsample2d, filter2d, setup_filter, upfirdn2d, upsample2d

PIECES = golden.load("pieces")[1]


@pytest.mark.parametrize("prefix, f", [("ufd", "filter_1331"), ("ufd_asym", "filter_asym")])
def test_upfirdn2d_matches_the_published_resampling(prefix, f):
    x, f = PIECES["ufd_x"], PIECES[f]
    up2 = upfirdn2d(x, f, up=2, padding=(2, 1, 2, 1), gain=4)
    golden.assert_golden(up2, PIECES[f"{prefix}_up2"])
    golden.assert_golden(upfirdn2d(x, f, down=2, padding=1), PIECES[f"{prefix}_down2"])
    mixed = upfirdn2d(x, f, up=(3, 2), down=(2, 1), padding=(2, 1, 0, 3), flip_filter=True)
    golden.assert_golden(mixed, PIECES[f"{prefix}_mixed"])
    golden.assert_golden(upfirdn2d(x, f, padding=(-1, -2, 3, 0)), PIECES[f"{prefix}_neg"])


def test_factor_two_helpers_match_the_published_ones():
    x, f = PIECES["ufd_x"], PIECES["filter_1331"]
    assert torch.equal(setup_filter(), f)
    golden.assert_golden(upsample2d(x, f), PIECES["upsample2d"])
    golden.assert_golden(downsample2d(x, f), PIECES["downsample2d"])
    golden.assert_golden(filter2d(x, f), PIECES["filter2d"])


def test_a_separable_filter_equals_its_outer_product():
    taps = torch.rand(9)
    x = torch.randn(2, 3, 12, 10)
    separable = upfirdn2d(x, setup_filter(taps), up=2, padding=4, gain=4)
    full = upfirdn2d(x, torch.outer(taps, taps) / taps.sum() ** 2, up=2, padding=4, gain=4)
    assert setup_filter(taps).ndim == 1
    torch.testing.assert_close(separable, full)


@pytest.mark.parametrize("act", ACTIVATIONS)
def test_bias_act_matches_every_published_activation(act):
    x, b = PIECES["ufd_x"], PIECES["bias"]
    golden.assert_golden(bias_act(x, b, act=act), PIECES[f"bias_act_{act}"])
    golden.assert_golden(bias_act(x, b, act=act, alpha=0.3, gain=1.7, clamp=0.8), PIECES[f"bias_act_g_{act}"])


def test_modulated_convolutions_match_the_published_ones():
    x, w3, w1, s, f = (PIECES[k] for k in ("mc_x", "mc_w3", "mc_w1", "mc_s", "filter_1331"))
    golden.assert_golden(modulated_conv2d(x, w3, s), PIECES["modconv_plain"])
    golden.assert_golden(modulated_conv2d(x, w3, s, noise=PIECES["mc_noise"]), PIECES["modconv_noise"])
    golden.assert_golden(modulated_conv2d(x, w3, s, demodulate=False), PIECES["modconv_nodemod"])
    golden.assert_golden(modulated_conv2d(x, w1, s, demodulate=False), PIECES["modconv_1x1"])
    golden.assert_golden(modulated_conv2d(x, w3, s, f=f, up=2), PIECES["modconv_up2"])
    golden.assert_golden(modulated_conv2d(x, w3, s, f=f, up=2, flip_weight=False), PIECES["modconv_up2_noflip"])


@pytest.mark.parametrize("up", [1, 2])
def test_modulating_weights_equals_modulating_activations(up):
    x, w3, s, f = (PIECES[k] for k in ("mc_x", "mc_w3", "mc_s", "filter_1331"))
    batch = modulated_conv2d(x, w3, s, f=f, up=up)  # two samples: scales activations
    single = [modulated_conv2d(x[i : i + 1], w3, s[i : i + 1], f=f, up=up) for i in range(2)]  # scales weights
    torch.testing.assert_close(batch, torch.cat(single), rtol=1e-4, atol=1e-5)


def test_resampled_convolutions_match_the_published_ones():
    x, w3, w1, f = (PIECES[k] for k in ("mc_x", "mc_w3", "mc_w1", "filter_1331"))
    golden.assert_golden(conv2d_resample(x, w3, f, down=2), PIECES["conv_down2"])
    golden.assert_golden(conv2d_resample(x, w1, f, down=2), PIECES["conv_down2_1x1"])
    golden.assert_golden(conv2d_resample(x, w3, f, up=2, flip_weight=False), PIECES["conv_up2"])


@pytest.mark.parametrize("mode", ["antialiased", "classic", "none", 0.4])
def test_filtered_resizing_matches_every_published_mode(mode):
    golden.assert_golden(filtered_resizing(PIECES["fr_x"], 16, mode), PIECES[f"filtered_resizing_{mode}"])


@pytest.mark.parametrize("mode", ["sharp", 1, None])
def test_an_unknown_resizing_mode_is_refused(mode):
    with pytest.raises(ValueError, match="resizing mode"):
        filtered_resizing(PIECES["fr_x"], 16, mode)


def test_minibatch_deviation_matches_the_published_one():
    golden.assert_golden(minibatch_std(PIECES["mb_x"]), PIECES["mbstd"])


def test_minibatch_deviation_refuses_a_batch_it_cannot_group():
    with pytest.raises(ValueError, match="--mbstd-group"):
        minibatch_std(torch.randn(6, 4, 4, 4), group_size=4)


def double(*shape):
    return torch.randn(shape, dtype=torch.float64, requires_grad=True)


F = setup_filter().double()
TWICE_DIFFERENTIATED = {
    "lrelu": (lambda x, b: bias_act(x, b, act="lrelu", clamp=3.0), [(2, 3, 5, 4), (3,)]),
    "swish": (lambda x, b: bias_act(x, b, act="swish"), [(2, 3, 5, 4), (3,)]),
    "filter": (lambda x: filter2d(x, F), [(1, 2, 5, 6)]),
    "upsample": (lambda x: upsample2d(x, F), [(1, 2, 3, 4)]),
    "downsample": (lambda x: downsample2d(x, F), [(1, 2, 6, 4)]),
    "convolution": (lambda x, w: conv2d_resample(x, w), [(1, 2, 5, 5), (3, 2, 3, 3)]),
    "down convolution": (lambda x, w: conv2d_resample(x, w, F, down=2), [(1, 2, 6, 6), (3, 2, 3, 3)]),
    "down 1x1": (lambda x, w: conv2d_resample(x, w, F, down=2), [(1, 2, 6, 6), (3, 2, 1, 1)]),
    "enlarging": (lambda x: filtered_resizing(x, 6), [(1, 2, 4, 4)]),
    "shrinking": (lambda x: filtered_resizing(x, 3), [(1, 2, 7, 7)]),
    "minibatch deviation": (lambda x: minibatch_std(x, 2), [(4, 3, 2, 2)]),
}


@pytest.mark.parametrize("name", TWICE_DIFFERENTIATED)
def test_first_and_second_gradients_inside_the_discriminator_are_correct(name):
    torch.manual_seed(0)
    function, shapes = TWICE_DIFFERENTIATED[name]
    args = [double(*shape) for shape in shapes]
    assert gradcheck(function, args) and gradgradcheck(function, args)
