"""`marching` and importance sampling by compiled kernels (`eg3d.ops.native`), differentiable once in the densities."""

import torch

from eg3d.ops.backend import kernels_for
from eg3d.ops.once import differentiable_once


def kernels_for_march(*tensors):
    """The kernels that march over such densities and depths, or None: take the definition."""
    kernels = kernels_for(tensors[0])
    usual = all(t.dtype == torch.float32 for t in tensors)
    samples = sum(t.shape[-1] for t in tensors) // 2
    return kernels if usual and hasattr(kernels, "march") and kernels.march_fits(samples) else None


def march(kernels, sigmas, depths):
    """As `marching.shares` without `hit`, for one or two passes; depths get no gradient."""
    *shares, total, depth = _March.apply(kernels, depths, *sigmas)
    return shares, total, depth


class _March(torch.autograd.Function):
    @staticmethod
    def forward(ctx, kernels, depths, *sigmas):
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*sigmas, *depths)
        ctx.kernels = kernels
        shares, total, depth = kernels.march(sigmas, depths)
        return *shares, total, depth

    @differentiable_once
    def backward(ctx, saved, *gradients):
        *dshares, dtotal, ddepth = gradients
        sigmas, depths = saved[: len(dshares)], saved[len(dshares) :]
        return None, None, *ctx.kernels.march_backward(sigmas, depths, dshares, dtotal, ddepth)
