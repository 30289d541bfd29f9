"""The image of a skip architecture by the kernel, against enlarging, convolving and adding in float64."""

import pytest
import torch
from oracles import plain_networks as plain

from eg3d.models.blocks import SynthesisBlock
from eg3d.models.layers import ToRGBLayer
from eg3d.ops.kernels.backend import using
from eg3d.ops.kernels.fused_rgb import fused_rgb, kernels_for_rgb
from eg3d.ops.upfirdn2d import setup_filter


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def arguments(n=2, c=32, k=48, h=12, w=36, image=True, f=None):
    last = torch.channels_last
    small = draw(n, k, h // 2, w // 2, seed=4).contiguous(memory_format=last) if image else None
    f = (setup_filter() if f is None else f) if image else None
    return draw(n, c, h, w).contiguous(memory_format=last), draw(n, k, c, seed=2), draw(k, seed=3), small, f


def defined(x, weight, bias, image, f):
    y = torch.einsum("nkc,nchw->nkhw", weight, x) + bias[:, None, None]
    return y if image is None else y + plain.upfirdn2d(image, f, up=2, padding=(2, 1, 2, 1), gain=4)


@pytest.mark.parametrize(
    "change",
    [
        {}, {"image": False}, {"c": 16, "k": 16, "h": 2, "w": 2}, {"c": 64, "k": 64, "h": 8, "w": 8},
        {"f": draw(4, 4, seed=7)},  # neither symmetric nor separable
    ],
    ids=["planes", "first block", "smallest", "widest", "any filter"],
)  # fmt: skip
def test_values_and_gradients_are_those_of_the_definition(change):
    given = arguments(**change)
    with using("kernels"):
        kernels = kernels_for_rgb(given[0], given[1].shape[1], *given[3:])
        leaves = [None if t is None else t.clone(memory_format=torch.preserve_format) for t in given[:4]]
        inputs = [t.requires_grad_() for t in leaves if t is not None]
        y = fused_rgb(kernels, *leaves, given[4])
        dy = draw(*y.shape, seed=8)  # channels first, as any gradient may lie
        results = [y, *torch.autograd.grad(y, inputs, dy)]
    double = [None if t is None else t.double().requires_grad_() for t in given[:4]]
    expected = defined(*double, given[4])
    expected = [expected, *torch.autograd.grad(expected, [t for t in double if t is not None], dy.double())]
    for result, reference in zip(results, expected, strict=True):
        largest = reference.abs().max().item()
        torch.testing.assert_close(result.double(), reference.detach(), rtol=0, atol=3e-6 * largest)


def test_the_number_of_threads_changes_no_bit():
    results, before = [], torch.get_num_threads()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        with using("kernels"):
            given = arguments()
            leaves = [t.requires_grad_() for t in given[:4]]
            y = fused_rgb(kernels_for_rgb(given[0], 48, *given[3:]), *given)
            results.append([y, *torch.autograd.grad(y, leaves, y.detach())])
    torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_only_what_is_needed_is_derived():
    given = list(arguments())
    given[3].requires_grad_()
    with using("kernels"):
        y = fused_rgb(kernels_for_rgb(given[0], 48, *given[3:]), *given)
        y.sum().backward()
    assert given[3].grad is not None and given[0].grad is None


@pytest.mark.parametrize(
    "change", [{"k": 3}, {"c": 80}, {"c": 24}, {"k": 96}, {"f": torch.ones(2, 2) / 4}], ids=lambda c: str(list(c))
)
def test_what_the_kernel_does_not_know_takes_the_definition(change):
    x, _, bias, image, f = arguments(**change)
    with using("kernels"):
        assert kernels_for_rgb(x, len(bias), image, f) is None
        x, _, bias, image, f = arguments()
        assert kernels_for_rgb(x, 48, image, f) is not None
        assert kernels_for_rgb(x.contiguous(), 48, image, f) is None
        assert kernels_for_rgb(x, 48, image.contiguous(), f) is None
        assert kernels_for_rgb(x, 48, x[:, :, :5], f) is None  # a picture that is no half
        last = torch.channels_last  # and pictures that would be read beyond their ends
        assert kernels_for_rgb(x, 48, image[:1].contiguous(memory_format=last), f) is None
        assert kernels_for_rgb(x, 48, image[:, :32].contiguous(memory_format=last), f) is None


@pytest.mark.parametrize("change", ["one style for all", "double weights"])
def test_styles_and_weights_that_do_not_fit_take_the_definition(change):
    """Not read beyond their ends, nor as numbers of another size."""
    layer = ToRGBLayer(32, 48, 16)
    x, _, _, image, f = arguments()
    w = draw(2, 16)
    with using("kernels"):
        assert layer.added_to(image, x, w, f) is not None
        if change == "one style for all":
            w = w[:1]
        else:
            layer, w = layer.double(), w.double()
        assert layer.added_to(image, x, w, f) is None


@pytest.mark.parametrize("recorded", [False, True])
def test_a_block_gives_the_same_image_by_kernel_and_by_definition(recorded, monkeypatch):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        block = SynthesisBlock(32, 32, w_dim=16, resolution=16, img_channels=48, is_last=False)
    x, ws = draw(2, 32, 8, 8), draw(2, 3, 16, seed=1)
    image = draw(2, 48, 8, 8, seed=2).contiguous(memory_format=torch.channels_last)
    calls, results = [], []
    monkeypatch.setattr("eg3d.models.layers.fused_rgb", lambda *a: (calls.append(1), fused_rgb(*a))[1])
    for ops in ("torch", "kernels"):
        with using(ops), torch.set_grad_enabled(recorded):
            results.append(block(x, image, ws, noise_mode="const")[1])
    assert len(calls) == 1
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-4)
