"""Weights along a ray and fine depths by compiled kernels (`native.py`), differentiable once in the densities."""

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


def compiled_march(kernels, sigmas, depths):
    """As `march` of `rendering/marching.py` without `hit`; depths get no gradient."""
    *weights, total, depth = _March.apply(kernels, depths, *sigmas)
    return weights, total, depth


class _March(torch.autograd.Function):
    @staticmethod
    def forward(ctx, kernels, depths, *sigmas):
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*sigmas, *depths)
        ctx.kernels = kernels
        weights, total, depth = kernels.march(sigmas, depths)
        return *weights, total, depth

    @differentiable_once
    def backward(ctx, saved, *gradients):
        *dweights, dtotal, ddepth = gradients
        sigmas, depths = saved[: len(dweights)], saved[len(dweights) :]
        return None, None, *ctx.kernels.march_backward(sigmas, depths, dweights, dtotal, ddepth)
