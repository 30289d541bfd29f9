"""Convolutions with built-in resampling, plain and modulated (StyleGAN2, Karras et al. 2020, section 2.2)."""

import torch
import torch.nn.functional as F

from eg3d.ops.bias_act import scale_channels
from eg3d.ops.upfirdn2d import upfirdn2d


def conv2d_resample(x, weight, f=None, up=1, down=1, flip_weight=True, bias=None):
    """Convolution that keeps the size times `up` / `down` (each 1 or 2), low-pass filtered by `f` [4, 4].

    Args:
        x: [N, I, H, W]; weight: [O, I, k, k] with k 1 or 3 (zero padding k // 2).
        flip_weight: True correlates as torch.nn.functional.conv2d does, False convolves. Up-sampling layers of the
            synthesis network convolve: their published weights are mirrored with respect to all others.
        bias: [O], added where nothing is resampled.
    """
    k = weight.shape[-1]
    if not flip_weight and k > 1 and up == 1:
        weight = weight.flip(2, 3)
    if up == 1 and down == 1:
        return F.conv2d(x, weight, bias, padding=k // 2)
    assert bias is None
    if down == 2:
        assert up == 1
        if k == 1:
            return F.conv2d(upfirdn2d(x, f, down=2, padding=1), weight)
        # 3 x 3 with padding 1, behind a 4 x 4 filter that keeps the centre: 2 zeros on every side
        return F.conv2d(upfirdn2d(x, f, padding=2), weight, stride=2)
    assert up == 2
    if k == 1:
        return upfirdn2d(F.conv2d(x, weight), f, up=2, padding=(2, 1, 2, 1), gain=4)
    # A transposed convolution is a convolution (mirrored kernel) of the zero-stuffed input.
    weight = weight.transpose(0, 1)
    x = F.conv_transpose2d(x, weight.flip(2, 3) if flip_weight else weight, stride=2)
    return upfirdn2d(x, f, padding=1, gain=4)


def modulated_conv2d(x, weight, styles, noise=None, f=None, up=1, demodulate=True, flip_weight=True):
    """Convolution whose weights are scaled per sample by `styles`, and normalised (StyleGAN2, equations 1 to 3).

    Args:
        x: [N, I, H, W]; weight: [O, I, k, k]; styles: [N, I]; noise: broadcastable to the result, or None.
    Returns: [N, O, H*up, W*up]
    """
    x, d = undemodulated_conv2d(x, weight, styles, f, up, demodulate, flip_weight)
    x = x if d is None else x * d.to(x.dtype)[:, :, None, None]
    return x if noise is None else x + noise.to(x.dtype)


def undemodulated_conv2d(x, weight, styles, f=None, up=1, demodulate=True, flip_weight=True, bias=None):
    """As `modulated_conv2d`, but leaves the last factor to the caller, who has other factors to multiply by.

    Returns: y [N, O, H*up, W*up] and the demodulation d [N, O]; None where none is left.

    One sample: the weights are modulated. Several: the activations are scaled before and after one shared convolution,
    which moves fewer bytes than a grouped convolution. Both are the same function.
    """
    n, in_channels = styles.shape
    k = weight.shape[-1]
    if x.dtype == torch.float16 and demodulate:  # stays in range; demodulation undoes it
        weight = weight / ((in_channels * k * k) ** 0.5 * weight.abs().amax(dim=(1, 2, 3), keepdim=True))
        styles = styles / styles.abs().amax(dim=1, keepdim=True)
    d = None
    if demodulate:
        energy = weight.square().sum(dim=(2, 3))  # [O, I]
        d = (styles.square() @ energy.t() + 1e-8).rsqrt()  # [N, O]
    if n == 1:
        weight = weight * styles.reshape(1, in_channels, 1, 1)
        if d is not None:
            weight, d = weight * d.reshape(-1, 1, 1, 1), None
    else:
        x = scale_channels(x, styles)
    bias = None if bias is None else bias.to(x.dtype)
    return conv2d_resample(x, weight.to(x.dtype), f, up=up, flip_weight=flip_weight, bias=bias), d
