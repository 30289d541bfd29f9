"""Second derivatives that the kernels do not know are refused, wherever they would come from."""

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from eg3d.models.decoder import OSGDecoder
from eg3d.ops.kernels.backend import using
from eg3d.ops.kernels.field import CompiledField
from eg3d.ops.kernels.fused_rgb import fused_rgb, kernels_for_rgb
from eg3d.ops.upfirdn2d import setup_filter
from eg3d.rendering import marching
from eg3d.rendering.options import RenderOptions

OPTIONS = RenderOptions(depth_resolution=6, depth_resolution_importance=5, ray_start=2.25, ray_end=3.3, box_warp=0.8)


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def march(which):
    def result(sigma):
        weights, total, depth = marching.march([sigma.view(2, 3, 6)], [torch.arange(6.0).expand(2, 3, 6)])
        return {"weights": weights[0] * torch.arange(6.0), "total": total, "depth": depth}[which]

    return result, draw(36)


def field(which):
    decoder = OSGDecoder(16, 16, 32).requires_grad_(False)
    points = draw(2, 6, 3, seed=1) / 4

    def result(planes):
        samples, sigma = (compiled := CompiledField.of(planes, decoder, OPTIONS)).density(points, per_ray=3)
        return sigma if which == "density" else compiled.pixels(samples, torch.ones(2, 2, 3))

    return result, draw(2, 3, 16, 8, 8)


def weights_of_pixels():
    planes = draw(2, 3, 16, 8, 8).requires_grad_()  # the gradient to the sample weights depends on them alone
    decoder = OSGDecoder(16, 16, 32)

    def result(weights):
        samples, _ = (compiled := CompiledField.of(planes, decoder, OPTIONS)).density(draw(2, 6, 3) / 4, per_ray=3)
        return compiled.pixels(samples, weights)

    return result, draw(2, 2, 3)


def rgb(which):
    last, f = torch.channels_last, setup_filter()
    given = [
        draw(2, 16, 8, 8).contiguous(memory_format=last), draw(2, 16, 16), draw(16),
        draw(2, 16, 4, 4).contiguous(memory_format=last),
    ]  # fmt: skip

    def result(t):
        x, weight, bias, image = [*given[:which], t, *given[which + 1 :]]
        x = x.requires_grad_() if which else x
        return fused_rgb(kernels_for_rgb(x, 16, image, f), x, weight, bias, image, f)

    return result, given[which]


CASES = {
    "weights": lambda: march("weights"), "total": lambda: march("total"), "depth": lambda: march("depth"),
    "density": lambda: field("density"), "colours": lambda: field("colours"), "weights of pixels": weights_of_pixels,
    "rgb of x": lambda: rgb(0), "rgb of weights": lambda: rgb(1),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("loss", [torch.sum, lambda y: y.square().sum()], ids=["of a sum", "of squares"])
def test_a_second_derivative_is_refused_and_never_silently_nothing(name, loss):
    function, start = CASES[name]()
    with using("kernels"):
        leaf = start.clone(memory_format=torch.preserve_format).requires_grad_()
        first = torch.autograd.grad(loss(function(leaf)), leaf)[0]
        recorded = torch.autograd.grad(loss(function(leaf)), leaf, create_graph=True)[0]
        assert torch.equal(first, recorded.detach()) and first.abs().max() > 0
        with pytest.raises(RuntimeError, match="--ops=torch"):
            (recorded.square().sum() + leaf.sum()).backward()


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_gradients_pass_checkpoints(name, reentrant):
    function, start = CASES[name]()
    gradients = []
    for call in (lambda t: function(t), lambda t: checkpoint(function, t, use_reentrant=reentrant)):
        leaf = start.clone(memory_format=torch.preserve_format).requires_grad_()
        with using("kernels"):
            call(leaf).square().sum().backward()
        gradients.append(leaf.grad)
    assert torch.equal(*gradients) and gradients[0].abs().max() > 0


def test_points_changed_after_the_pass_are_noticed():
    """They are the caller's; the gradient would be one of other points."""
    planes, points = draw(2, 3, 16, 8, 8).requires_grad_(), draw(2, 6, 3, seed=1) / 4
    with using("kernels"):
        _, sigma = CompiledField.of(planes, OSGDecoder(16, 16, 32), OPTIONS, points).density(points, per_ray=3)
    points.mul_(0.5)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        sigma.sum().backward()
