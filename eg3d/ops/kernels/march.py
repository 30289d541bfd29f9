"""`marching` and importance sampling by compiled kernels (`native.py`), differentiable once in the densities."""

import torch

from eg3d.ops.kernels.backend import kernels_for
from eg3d.ops.kernels.once import differentiable_once


def kernels_for_march(*tensors):
    """The kernels for these tensors (all densities, then all depths), or None: take the definition."""
    first, half = tensors[0], len(tensors) // 2
    kernels = kernels_for(first)
    usual = all(t.dtype == torch.float32 and t.device == first.device for t in tensors)
    usual = usual and all(s.shape == d.shape for s, d in zip(tensors[:half], tensors[half:], strict=True))
    usual = usual and all(t.shape[:-1] == first.shape[:-1] for t in tensors)
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
