"""Every faster path gives what its definition gives, in value and gradient."""

import pytest
import torch

from eg3d.ops.bias_act import BLOCK, bias_act, modulated_act
from eg3d.ops.conv2d import modulated_conv2d, undemodulated_conv2d
from eg3d.ops.kernels.backend import using

CASES = {
    "all": dict(scale=True, noise=True, b=True, clamp=0.7),
    "no scale": dict(noise=True, b=True),
    "no noise": dict(scale=True, b=True, clamp=0.7),
    "bias alone": dict(b=True),
    "nothing": {},
}


def arguments(case, shape=(2, 16, 5, 7), dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    n, c, h, w = shape
    draw = lambda *size: torch.randn(size, generator=generator, dtype=dtype)  # noqa: E731
    x, wanted = draw(*shape), CASES[case]
    tensors = dict(scale=draw(n, c), noise=draw(n, 1, h, w), b=draw(c))
    return x, {name: tensors[name] for name in wanted if name in tensors}, wanted.get("clamp")


def defined(x, scale=None, noise=None, b=None, **kwargs):
    """What modulated_act stands for, in the order of the published code."""
    x = x if scale is None else x * scale[:, :, None, None]
    return bias_act(x if noise is None else x + noise, b, **kwargs)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("act", ["linear", "relu", "lrelu", "tanh", "swish"])
@pytest.mark.parametrize("case", CASES)
def test_the_end_of_a_layer_equals_its_definition_with_and_without_gradients(case, act, layout):
    x, tensors, clamp = arguments(case)
    x = x.to(memory_format=layout)
    expected = defined(x, **tensors, act=act, gain=1.3, clamp=clamp)
    torch.testing.assert_close(modulated_act(x, **tensors, act=act, gain=1.3, clamp=clamp), expected)
    with torch.no_grad():
        torch.testing.assert_close(modulated_act(x.clone(), **tensors, act=act, gain=1.3, clamp=clamp), expected)


def test_the_in_place_path_covers_activations_of_many_blocks():
    side = 2 * int((BLOCK / 16) ** 0.5) + 3  # a few blocks and a rest
    x, tensors, clamp = arguments("all", (2, 16, side, side), torch.float32)
    x = x.to(memory_format=torch.channels_last)
    expected = defined(x, **tensors, act="lrelu", clamp=clamp)
    with torch.no_grad(), using("torch"):
        given = x.clone(memory_format=torch.preserve_format)
        result = modulated_act(given, **tensors, clamp=clamp)
    assert result.data_ptr() == given.data_ptr()  # or this test would not test the path
    torch.testing.assert_close(result, expected)


def test_nothing_is_overwritten_while_gradients_are_recorded():
    x, tensors, clamp = arguments("all")
    x = x.to(memory_format=torch.channels_last).requires_grad_()
    before = x.detach().clone()
    modulated_act(x, **tensors, clamp=clamp).sum().backward()
    assert torch.equal(x, before) and x.grad is not None


@pytest.mark.parametrize("case", CASES)
def test_first_and_second_gradients_of_the_end_of_a_layer_are_correct(case):
    x, tensors, clamp = arguments(case, (2, 3, 2, 2))
    names = list(tensors)
    inputs = tuple(t.requires_grad_() for t in (x, *tensors.values()))

    def function(x, *values):
        return modulated_act(x, **dict(zip(names, values, strict=True)), clamp=clamp)

    assert torch.autograd.gradcheck(function, inputs) and torch.autograd.gradgradcheck(function, inputs)


def test_a_single_sample_leaves_no_factor_and_several_leave_the_demodulation():
    generator = torch.Generator().manual_seed(0)
    x, weight, styles = (torch.randn(s, generator=generator) for s in ((2, 4, 6, 6), (5, 4, 3, 3), (2, 4)))
    assert undemodulated_conv2d(x[:1], weight, styles[:1])[1] is None
    y, d = undemodulated_conv2d(x, weight, styles)
    torch.testing.assert_close(y * d[:, :, None, None], modulated_conv2d(x, weight, styles))
