"""Up-sampling, FIR filtering and down-sampling of images (StyleGAN3, Karras et al. 2021, appendix)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from eg3d.ops.kernels.backend import kernels_for

MOST_TAPS = 8  # per side, of a filter that kernels take; they unroll the taps


def setup_filter(taps=(1, 3, 3, 1)) -> torch.Tensor:
    """Filter with sum 1: fewer than 8 one-dimensional taps become their outer product, more stay separable."""
    f = torch.as_tensor(taps, dtype=torch.float32)
    if f.ndim == 1 and f.numel() < 8:
        f = torch.outer(f, f)
    return f / f.sum()


def upfirdn2d(x, f, up=1, down=1, padding=(0, 0, 0, 0), flip_filter=False, gain=1.0):
    """Insert zeros, pad, filter, keep every `down`-th sample.

    Args:
        x: [N, C, H, W].
        f: FIR filter [fh, fw], or [taps] for a separable one; None for the identity.
        up, down: integer factors, one number or (x, y). Up-sampling puts factor - 1 zeros *after* every sample.
        padding: (left, right, top, bottom) of the up-sampled image, negative values crop; or one number for all sides.
        flip_filter: False convolves, True correlates.
        gain: factor on the result (a separable filter gets its square root per axis).
    """
    (up_x, up_y), (down_x, down_y) = _pair(up), _pair(down)
    left, right, top, bottom = padding = (padding,) * 4 if isinstance(padding, int) else tuple(padding)
    if f is None:
        f = torch.ones(1, 1, device=x.device)
    kernels = _kernels_for(x, f)
    if kernels is not None and min(output_size(x.shape, f.shape, (up_x, up_y), (down_x, down_y), padding)) > 0:
        return ByKernel.apply(x, f, (up_x, up_y), (down_x, down_y), padding, flip_filter, gain, kernels)
    f = (f * gain ** (f.ndim / 2)).to(x.dtype)
    if flip_filter:
        f = f.flip(tuple(range(f.ndim)))
    if f.ndim == 1:
        x = _resample(x, f[None, :], (up_x, 1), (down_x, 1), (left, right, 0, 0))
        return _resample(x, f[:, None], (1, up_y), (1, down_y), (0, 0, top, bottom))
    return _resample(x, f, (up_x, up_y), (down_x, down_y), (left, right, top, bottom))


def filter2d(x, f):
    """Filter that keeps the size and the centre."""
    n = f.shape[-1]
    before, after = n // 2, (n - 1) // 2
    return upfirdn2d(x, f, padding=(before, after, before, after))


def upsample2d(x, f):
    """Enlarge by the factor 2, keeping the mean brightness and the centre."""
    n = f.shape[-1]
    before, after = (n + 1) // 2, (n - 2) // 2
    return upfirdn2d(x, f, up=2, padding=(before, after, before, after), gain=4)


def downsample2d(x, f, extra_padding=0, flip_filter=False):
    """Shrink by the factor 2, keeping the centre; `extra_padding` widens (or, negative, crops) all sides."""
    n = f.shape[-1]
    before, after = (n - 1) // 2 + extra_padding, (n - 2) // 2 + extra_padding
    return upfirdn2d(x, f, down=2, padding=(before, after, before, after), flip_filter=flip_filter)


def _resample(x, f, up, down, padding):
    """One pass with a two-dimensional true convolution, depthwise; no stuffed zero is ever multiplied."""
    c, (fh, fw), (left, right, top, bottom) = x.shape[1], f.shape, padding
    if up == (1, 1):
        # Unequal or negative padding needs a pass of its own; F.pad crops where it is negative, and keeps the gradient.
        even = left == right >= 0 and top == bottom >= 0
        x = x if even else F.pad(x, padding)
        kernel = f.flip(0, 1).expand(c, 1, fh, fw)
        return F.conv2d(x, kernel, groups=c, stride=down[::-1], padding=(top, left) if even else 0)
    # The transposed convolution is the full convolution of the stuffed image; what is not asked for is cut off.
    left, right, top, bottom = fw - 1 - left, fw - up[0] - right, fh - 1 - top, fh - up[1] - bottom
    even = left == right >= 0 and top == bottom >= 0
    x = F.conv_transpose2d(x, f.expand(c, 1, fh, fw), groups=c, stride=up[::-1], padding=(top, left) if even else 0)
    x = x if even else F.pad(x, (-left, -right, -top, -bottom))
    return x if down == (1, 1) else x[:, :, :: down[1], :: down[0]]


class ByKernel(torch.autograd.Function):
    """`upfirdn2d` by `kernels`. Its gradient is the same op mirrored, and can so be differentiated again and again."""

    @staticmethod
    def forward(ctx, x, f, up, down, padding, flip_filter, gain, kernels):
        ctx.save_for_backward(f)
        ctx.arguments = x.shape, up, down, padding, flip_filter, gain, kernels
        return kernels.upfirdn2d(x, f, up, down, padding, flip_filter, gain)

    @staticmethod
    def backward(ctx, dy):
        (f,) = ctx.saved_tensors
        (_, _, h, w), up, down, (left, _, top, _), flip_filter, gain, kernels = ctx.arguments
        (fh, fw), (out_h, out_w) = f.shape, dy.shape[2:]
        # Output o and sample i meet in the tap i * up - o * down + left; the far side is what makes the size right.
        right = w * up[0] - out_w * down[0] + left - up[0] + 1
        bottom = h * up[1] - out_h * down[1] + top - up[1] + 1
        padding = fw - 1 - left, right, fh - 1 - top, bottom
        dx = ByKernel.apply(dy, f, down, up, padding, not flip_filter, gain, kernels)
        return dx, None, None, None, None, None, None, None


def output_size(size, taps, up, down, padding) -> tuple[int, int]:
    """Height and width of the result: size [.., H, W] of the image, taps [fh, fw] of the filter."""
    left, right, top, bottom = padding
    height = (size[-2] * up[1] + top + bottom - taps[0]) // down[1] + 1
    return height, (size[-1] * up[0] + left + right - taps[1]) // down[0] + 1


def _kernels_for(x, f):
    """Kernels that know this op and this filter, or None."""
    if f.ndim != 2 or max(f.shape) > MOST_TAPS or f.requires_grad:
        return None
    kernels = kernels_for(x)
    return kernels if hasattr(kernels, "upfirdn2d") else None


def _pair(factor: int | Sequence[int]) -> tuple[int, int]:
    return (factor, factor) if isinstance(factor, int) else tuple(factor)
