"""Bias, activation, gain and clamp in one call (Karras et al. 2020, StyleGAN2, appendix B)."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F

from eg3d.ops.kernels.backend import kernels_for
from eg3d.ops.kernels.fused_act import FusedAct

SQRT2 = math.sqrt(2)


class Activation(NamedTuple):
    function: Callable[[torch.Tensor, float], torch.Tensor]
    alpha: float
    gain: float


ACTIVATIONS = {
    "linear": Activation(lambda x, a: x, 0.0, 1.0),
    "relu": Activation(lambda x, a: F.relu(x), 0.0, SQRT2),
    "lrelu": Activation(lambda x, a: F.leaky_relu(x, a), 0.2, SQRT2),
    "tanh": Activation(lambda x, a: torch.tanh(x), 0.0, 1.0),
    "sigmoid": Activation(lambda x, a: torch.sigmoid(x), 0.0, 1.0),
    "elu": Activation(lambda x, a: F.elu(x), 0.0, 1.0),
    "selu": Activation(lambda x, a: F.selu(x), 0.0, 1.0),
    "softplus": Activation(lambda x, a: F.softplus(x), 0.0, 1.0),
    "swish": Activation(lambda x, a: F.silu(x), 0.0, SQRT2),
}


def bias_act(x, b=None, act="linear", alpha=None, gain=None, clamp=None, dim=1):
    """clamp(gain * act(x + b)): x [N, C, ...], b [C] along `dim`; clamp is symmetric and comes last, after the gain.

    `alpha` and `gain` default to the activation's own. Differentiable twice (R1 needs it).
    """
    activation = ACTIVATIONS[act]
    if b is not None:
        x = x + b.to(x.dtype).reshape([-1 if i == dim else 1 for i in range(x.ndim)])
    x = activation.function(x, activation.alpha if alpha is None else alpha)
    gain = activation.gain if gain is None else gain
    if gain != 1:
        x = x * gain
    return x if clamp is None else x.clamp(-clamp, clamp)


# g * act(x) = act(g * x) for these and every g > 0, so that the gain costs no pass of its own.
_HOMOGENEOUS = {"linear": 1.0, "relu": 0.0, "lrelu": 0.2}
BLOCK = 1 << 17  # numbers of an activation that the passes go over at a time; they stay in a core's cache


def modulated_act(x, scale=None, noise=None, b=None, act="lrelu", gain=None, clamp=None):
    """clamp(gain * act(x * scale + noise + b)), what follows the convolution of a layer, in few passes over memory.

    Args:
        x: [N, C, H, W], the caller's own: overwritten where no gradient is recorded.
        scale: [N, C], the demodulation, or None; noise: [N or 1, 1, H, W] or None; b: [C] or None.
    Differentiable twice. `bias_act` is the definition for scale and noise None.
    """
    gain = ACTIVATIONS[act].gain if gain is None else gain
    kernels = kernels_for(x) if act in _HOMOGENEOUS else None
    if kernels is not None and kernels.suits(x) and _usual(x, scale, noise, b):
        numbers = (gain, _HOMOGENEOUS[act], clamp)
        if not torch.is_grad_enabled():
            return kernels.act(x, scale, noise, b, *numbers, out=x)
        return FusedAct.apply(x, scale, noise, b, *numbers, kernels)
    if act not in _HOMOGENEOUS or x.dtype == torch.float16:  # in half precision the order of factors matters
        x = x if scale is None else x * scale.to(x.dtype)[:, :, None, None]
        return bias_act(x if noise is None else x + noise.to(x.dtype), b, act, gain=gain, clamp=clamp)
    slope, dtype = _HOMOGENEOUS[act], x.dtype
    scale = None if scale is None else (scale * gain).to(dtype)
    noise = None if noise is None else (noise * gain).to(dtype)
    b = x.new_zeros(x.shape[1]) if b is None else (b * gain).to(dtype)
    if x.is_cpu and not torch.is_grad_enabled() and x.is_contiguous(memory_format=torch.channels_last):
        return _in_place(x, scale, noise, b, gain, slope, clamp)
    bias = b[:, None, None]
    x = torch.add(bias, x, alpha=gain) if scale is None else torch.addcmul(bias, x, scale[:, :, None, None])
    x = x if noise is None else x + noise
    x = x if act == "linear" else F.leaky_relu(x, slope)
    return x if clamp is None else x.clamp(-clamp, clamp)


def scale_channels(x, scale):
    """x [N, C, H, W] times scale [N, C]."""
    kernels = kernels_for(x) if torch.is_grad_enabled() else None
    if kernels is not None and kernels.suits(x) and _usual(x, scale):
        return FusedAct.apply(x, scale, None, None, 1.0, 1.0, None, kernels)
    return x * scale.to(x.dtype)[:, :, None, None]


def _usual(x, scale=None, noise=None, b=None) -> bool:
    """Whether the factors have the shapes that kernels read, not merely some that broadcast to them."""
    n, c, *sides = x.shape
    return (
        (scale is None or scale.shape == (n, c))
        and (b is None or b.shape == (c,))
        and (noise is None or (noise.shape[0] in (1, n) and noise.shape[1:] == (1, *sides)))
    )


def _in_place(x, scale, noise, b, gain, slope, clamp):
    n, c, h, w = x.shape
    rows = x.permute(0, 2, 3, 1).view(n, h * w, c)
    spread = None if noise is None else noise.expand(n, 1, h, w).reshape(n, h * w, 1)
    step = max(BLOCK // c, 1)
    for i in range(n):
        for first in range(0, h * w, step):
            part = rows[i, first : first + step]
            if scale is None:
                torch.add(b, part, alpha=gain, out=part)
            else:
                torch.addcmul(b, part, scale[i], out=part)
            if spread is not None:
                part.add_(spread[i, first : first + step])
            if slope != 1:
                F.leaky_relu_(part, slope)
            if clamp is not None:
                part.clamp_(-clamp, clamp)
    return x
