"""The image of a skip architecture by a compiled kernel: the last block's image enlarged, plus a 1 x 1 convolution.

The plain definition is in `eg3d.models.blocks`: enlarge, convolve, add. Each of these is a pass over the whole image,
and the image of the planes has 48 or 96 channels. The kernel needs one pass.
"""

import torch

from eg3d.ops.kernels.backend import kernels_for
from eg3d.ops.kernels.once import differentiable_once
from eg3d.ops.upfirdn2d import upfirdn2d

GAIN = 4.0  # of an enlargement by 2


def kernels_for_rgb(x, colours: int, image=None, f=None):
    """The kernels that `fused_rgb` needs for these arguments, or None: take the definition."""
    kernels = kernels_for(x)
    return kernels if hasattr(kernels, "rgb") and kernels.rgb_fits(x, colours, image, f) else None


def fused_rgb(kernels, x, weight, bias, image=None, f=None):
    """weight x + bias + the image enlarged by 2 with the filter f: [N, K, H, W]. Differentiable once.

    Args:
        kernels: from `kernels_for_rgb`; x [N, C, H, W]; weight [N, K, C], one for each sample; bias [K].
        image, f: [N, K, H / 2, W / 2] and [4, 4], or both None.
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
