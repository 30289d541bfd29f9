"""Marching and importance sampling by kernels, against their definitions in float64."""

import pytest
import torch

from eg3d.ops.kernels import native
from eg3d.ops.kernels.backend import using
from eg3d.ops.kernels.march import kernels_for_march
from eg3d.rendering import marching, sampling
from groundwork.draws import KeyedDraws

SIZES = {  # latents, rays, coarse and fine samples
    "embedded": (2, 21, 8, 8),
    "published": (1, 17, 48, 48),
    "few": (1, 3, 4, 5),
    "one pass": (2, 16, 9, 0),
    "most": (1, 2, 128, 128),
}


def scene(size, dtype=torch.float32):
    n, m, s, f = SIZES[size]
    generator = torch.Generator().manual_seed(0)
    depths = [2.2 + torch.rand(n, m, k, generator=generator, dtype=torch.float64) for k in (s, f) if k]
    depths[0] = depths[0].sort(dim=-1).values
    sigmas = [torch.randn(d.shape, generator=generator, dtype=torch.float64) * 4 for d in depths]
    for sigma in sigmas:
        sigma[0, 1] = 300.0  # a ray that meets a wall
    return [s.float().to(dtype) for s in sigmas], [d.float().to(dtype) for d in depths]


def marched(size, ops, dtype):
    sigmas, depths = scene(size, dtype)
    sigmas = [s.requires_grad_() for s in sigmas]
    with using(ops):
        weights, total, depth = marching.march(sigmas, depths)
        results = [*weights, total, depth]
        generator = torch.Generator().manual_seed(1)
        factors = [torch.randn(r.shape, generator=generator, dtype=torch.float64).to(dtype) for r in results]
        gradients = torch.autograd.grad([(r * f).sum() for r, f in zip(results, factors, strict=True)], sigmas)
    return [*results, *gradients]


@pytest.mark.parametrize("size", SIZES)
def test_marching_has_the_values_and_gradients_of_double_precision(size):
    results = marched(size, "kernels", torch.float32)
    assert type(results[0].grad_fn).__name__ == "_MarchBackward"
    for result, expected in zip(results, marched(size, "torch", torch.float64), strict=True):
        torch.testing.assert_close(result.double(), expected, rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("far_first", [False, True])
def test_coarse_depths_in_any_order_are_sorted_too(far_first):
    """A range given far end first, and steps of disparity beyond the far end, are not sorted."""
    results = []
    for ops, dtype in (("kernels", torch.float32), ("torch", torch.float64)):
        sigmas, depths = scene("embedded", dtype)
        order = torch.arange(7, -1, -1) if far_first else torch.tensor([7, 1, 0, 3, 2, 4, 6, 5])
        depths = [depths[0][..., order], depths[1]]
        with using(ops):
            weights, total, depth = marching.march([s.requires_grad_() for s in sigmas], depths)
        loss = (weights[0] * torch.arange(8)).sum() + (weights[1] ** 2).sum() + depth.sum()
        results.append([*weights, total, depth, *torch.autograd.grad(loss, sigmas)])
    for result, expected in zip(*results, strict=True):
        torch.testing.assert_close(result.double(), expected, rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("ops", ["torch", "kernels"])
def test_a_ray_that_meets_nothing_has_its_last_depth_and_a_gradient_of_zero(ops):
    sigmas, depths = scene("embedded")
    for sigma in sigmas:
        sigma[0, 4] = -300.0
        sigma.requires_grad_()
    with using(ops):
        weights, total, depth = marching.march(sigmas, depths)
    assert total[0, 4] == 0 and depth[0, 4] == torch.cat(depths, dim=-1)[0, 4].max()
    for gradient in torch.autograd.grad((total + depth).sum() + weights[0].sum(), sigmas):
        assert gradient.isfinite().all() and gradient[0, 4].abs().max() == 0


@pytest.mark.parametrize("which", ["weights", "total", "depth"])
def test_gradients_of_one_result_alone_are_those_of_the_definition(which):
    gradients = []
    for ops, dtype in (("kernels", torch.float32), ("torch", torch.float64)):
        sigmas, depths = scene("embedded", dtype)
        with using(ops):
            weights, total, depth = marching.march([s.requires_grad_() for s in sigmas], depths)
            alone = {"weights": (weights[1] * torch.arange(8)).sum(), "total": total.sum(), "depth": depth.sum()}
            gradients.append(torch.autograd.grad(alone[which], sigmas))
    for result, expected in zip(*gradients, strict=True):
        assert expected.abs().max() > 0.01
        torch.testing.assert_close(result.double(), expected, rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("size", [name for name, (_, _, _, fine) in SIZES.items() if fine])
def test_fine_depths_are_those_of_the_definition(size):
    (sigma, _), (depths, fine) = scene(size)
    draws = [KeyedDraws(range(len(sigma))) for _ in range(2)]
    with using("kernels"):
        result = sampling.fine_depths(sigma, depths, fine.shape[-1], draws[0])
    weights = marching.interval_weights(sigma.double(), depths.double())
    expected = sampling.importance_depths(depths.double(), weights, fine.shape[-1], _Double(draws[1]))
    torch.testing.assert_close(result.double(), expected, rtol=0, atol=2e-5)


class _Double:
    def __init__(self, draws):
        self.draws = draws

    def stratified(self, shape, device):
        return self.draws.stratified(shape, device).double()


def test_draws_at_the_ends_stay_between_the_bins():
    (sigma, _), (depths, _) = scene("embedded")
    u = torch.tensor([0.0, 1.0 - 2**-24]).repeat(4).expand(2, 21, 8)
    fine = native.fine_depths(sigma, depths, u)
    middle = 0.5 * (depths[..., 1:] + depths[..., :-1])
    assert (fine >= middle[..., :1]).all() and (fine <= middle[..., -2:-1]).all()
    assert torch.equal(fine[..., 0], middle[..., 0])


def test_what_the_kernels_do_not_know_takes_the_definition():
    sigmas, depths = scene("embedded")
    with using("kernels"):
        assert kernels_for_march(*sigmas, *depths) is native
        assert kernels_for_march(*(t.double() for t in (*sigmas, *depths))) is None
        long = torch.zeros(1, 1, 200)
        assert kernels_for_march(long, long, long, long) is None
        moving = [d.clone().requires_grad_() for d in depths]
        marching.march(sigmas, moving)[2].sum().backward()
        assert moving[0].grad.abs().max() > 0
    hit = torch.zeros(2, 21, dtype=torch.bool)
    with using("kernels"):
        assert marching.march(sigmas, depths, hit)[1].abs().max() == 0


def test_tensors_elsewhere_and_of_unlike_shapes_take_the_definition():
    sigmas, depths = scene("embedded")
    with using("kernels"):
        assert kernels_for_march(*sigmas, depths[0], depths[1].to("meta")) is None
        assert kernels_for_march(*sigmas, depths[0], depths[1][:1]) is None
        assert kernels_for_march(sigmas[0], sigmas[1][:, :4], depths[0], depths[1][:, :4]) is None


def test_not_a_number_stays_one():
    """Training looks for them; a kernel that hides them would hide a run that diverges."""
    sigmas, depths = scene("embedded")
    sigmas[1][0, 5, 3] = torch.nan
    with using("kernels"):
        weights, total, _ = marching.march(sigmas, depths)
    assert total.isnan().sum() == 1 and total[0, 5].isnan()
    assert weights[0][0, 5].isnan().any() and not weights[0][0, 6].isnan().any()


def test_the_number_of_threads_changes_no_bit():
    results, before = [], torch.get_num_threads()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        results.append(marched("embedded", "kernels", torch.float32))
    torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
