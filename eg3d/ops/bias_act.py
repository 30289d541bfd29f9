"""Bias, activation, gain and clamp in one call (Karras et al. 2020, StyleGAN2, appendix B)."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F

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
