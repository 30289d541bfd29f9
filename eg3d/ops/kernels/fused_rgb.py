"""The image of a skip architecture by a compiled kernel: last one enlarged, plus this block's 1 x 1 convolution.

The plain definition is in `eg3d.models.blocks`: enlarge, convolve, add; each a pass over an image that may have many
channels, of which the planes have 48 or 96.
"""

import torch

from eg3d.ops.kernels.backend import kernels_for
from eg3d.ops.kernels.once import differentiable_once
from eg3d.ops.upfirdn2d import upfirdn2d

GAIN = 4.0  # of an enlargement by 2


def kernels_for_rgb(x, colours: int, image=None, f=None):
    """The kernels that `fused_rgb` needs for such arguments and so many colours, or None: take the definition."""
    kernels = kernels_for(x)
    return kernels if hasattr(kernels, "rgb") and kernels.rgb_fits(x, colours, image, f) else None


def fused_rgb(kernels, x, weight, bias, image=None, f=None):
    """weight x + bias + image, of which `f` [4, 4] makes twice as large a one: [N, K, H, W]. Differentiable once.

    Args:
        kernels: of `kernels_for_rgb`; x [N, C, H, W]; weight [N, K, C], of every sample; bias [K].
        image: [N, K, H / 2, W / 2] with f, or both None.
    """
    return _Rgb.apply(x, weight, bias, image, f, kernels)


class _Rgb(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, image, f, kernels):
        ctx.save_for_backward(x, weight, f)
        ctx.kernels = kernels
        return kernels.rgb(x, weight, bias, image, None if f is None else f.flip(0, 1) * GAIN)

    @differentiable_once
    def backward(ctx, saved, dy):
        x, weight, f = saved
        need_x, need_weight, need_bias, need_image = ctx.needs_input_grad[:4]
        dx, dweight, dbias = ctx.kernels.rgb_backward(dy, x, weight, need_x, need_weight or need_bias)
        dimage = None
        if need_image:
            dimage = upfirdn2d(dy, f, down=2, padding=1, flip_filter=True, gain=GAIN)
        return dx, dweight, dbias, dimage, None, None
