"""Ends of layers by compiled kernels, differentiable; `bias_act.modulated_act` decides when they are used.

`kernels` is `eg3d.ops.kernels.native` on a CPU, `eg3d.ops.kernels.triton_kernels` on a GPU.
"""

import torch


class FusedAct(torch.autograd.Function):
    """y = clamp(gain * lrelu(x * scale + noise + b)), forward and backward in one pass over memory each.

    Shapes as in `bias_act.modulated_act`. The kernel computes first derivatives. If second derivatives are wanted
    (create_graph, for R1), plain PyTorch computes and records the first ones.
    """

    @staticmethod
    def forward(ctx, x, scale, noise, b, gain, slope, clamp, kernels):
        y = kernels.act(x, scale, noise, b, gain, slope, clamp)
        bent = slope != 1 or clamp is not None
        ctx.save_for_backward(y if bent else None, None if scale is None else x, scale)
        ctx.noise_shape = None if noise is None else noise.shape
        ctx.numbers, ctx.kernels = (gain, slope, clamp), kernels
        return y

    @staticmethod
    def backward(ctx, dy):
        y, x, scale = ctx.saved_tensors
        needs = ctx.needs_input_grad[:4]
        derive = _recorded_backward if torch.is_grad_enabled() else ctx.kernels.act_backward
        gradients = derive(dy, dy if y is None else y, x, scale, ctx.noise_shape, *ctx.numbers, needs)
        return *gradients, None, None, None, None


def _recorded_backward(dy, y, x, scale, noise_shape, gain, slope, clamp, needs):
    """`act_backward` in differentiable operations."""
    y = y.detach()
    steep = torch.where(y > 0, gain, gain * slope).to(dy.dtype)
    if clamp is not None:
        steep = steep * (y.abs() < torch.tensor(clamp, dtype=y.dtype))  # as y was rounded
    dz = dy * steep
    pixels = tuple(range(2, dy.ndim))
    need_x, need_scale, need_noise, need_b = needs
    dx = dscale = dnoise = None
    if need_x:
        dx = dz if scale is None else dz * scale.to(dz.dtype).reshape(*scale.shape, *[1] * len(pixels))
    if need_scale:
        dscale = (dz * x).sum(dim=pixels).to(scale.dtype)
    if need_noise:
        dnoise = dz.sum(dim=1, keepdim=True)
        dnoise = dnoise.sum(dim=0, keepdim=True) if noise_shape[0] == 1 else dnoise
    return dx, dscale, dnoise, dz.sum(dim=(0, *pixels)) if need_b else None
