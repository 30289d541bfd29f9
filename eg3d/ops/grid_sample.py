"""Bilinear look-up at fixed places, differentiable any number of times in the image.

The look-up is linear in the image, so its gradient is its transpose, and the gradient of that is the look-up again.
PyTorch says so itself only in recent versions (2.15 does, 2.5 raises); the two functions below do in all.
"""

import torch
import torch.nn.functional as F

BILINEAR, ZEROS = 0, 0  # PyTorch's numbers for interpolation and padding


def sample_at(images, grid):
    """images [N, C, H, W], grid [N, h, w, 2] -> [N, C, h, w]; zero outside the image.

    The grid holds (x, y), -1 and 1 at the outer edges of the border pixels. No gradient flows to it.
    """
    return _Gather.apply(images, grid.detach())


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx, images, grid):
        ctx.save_for_backward(grid)
        ctx.shape = images.shape
        return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)

    @staticmethod
    def backward(ctx, gradient):
        (grid,) = ctx.saved_tensors
        return _Scatter.apply(gradient, grid, ctx.shape), None


class _Scatter(torch.autograd.Function):
    """The transpose: every value is added to the four pixels it would be read from, by the same weights."""

    @staticmethod
    def forward(ctx, values, grid, shape):
        ctx.save_for_backward(grid)
        spread, _ = torch.ops.aten.grid_sampler_2d_backward(
            values.contiguous(), values.new_zeros(shape), grid, BILINEAR, ZEROS, False, [True, False]
        )
        return spread

    @staticmethod
    def backward(ctx, gradient):
        (grid,) = ctx.saved_tensors
        return _Gather.apply(gradient, grid), None, None
