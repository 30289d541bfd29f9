"""Layers with equalised learning rate (Karras et al. 2018) and modulated convolutions (StyleGAN2).

State-dict names, shapes and initial values are those of the published networks (docs/checkpoints.md).
"""

import math

import torch
from torch import nn

from eg3d.ops.bias_act import ACTIVATIONS, bias_act, modulated_act
from eg3d.ops.conv2d import conv2d_resample, undemodulated_conv2d
from eg3d.ops.kernels.fused_rgb import fused_rgb, kernels_for_rgb
from eg3d.ops.upfirdn2d import setup_filter


class FullyConnectedLayer(nn.Module):
    """y = act(x (W lr / sqrt(in))^T + b lr): x [N, in] -> [N, out]; `lr_multiplier` slows this layer's learning."""

    def __init__(self, in_features, out_features, activation="linear", lr_multiplier=1.0, bias_init=0.0):
        super().__init__()
        self.activation = activation
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_multiplier)
        self.bias = nn.Parameter(torch.full((out_features,), float(bias_init)))
        self.weight_gain = lr_multiplier / math.sqrt(in_features)
        self.bias_gain = lr_multiplier

    def forward(self, x):
        weight, bias = self.weight * self.weight_gain, self.bias
        if self.bias_gain != 1:
            bias = bias * self.bias_gain
        if self.activation == "linear":
            return torch.addmm(bias[None], x, weight.t())
        return bias_act(x @ weight.t(), bias, act=self.activation)


class Conv2dLayer(nn.Module):
    """Convolution of the discriminator: [N, in, H, W] -> [N, out, H/down, W/down].

    `trainable=False` turns the tensors into buffers of the same names (Freeze-D).
    """

    def __init__(
        self, in_channels, out_channels, kernel_size, bias=True, activation="linear", down=1,
        resample_filter=(1, 3, 3, 1), conv_clamp=None, trainable=True,
    ):  # fmt: skip
        super().__init__()
        self.activation, self.down, self.conv_clamp = activation, down, conv_clamp
        self.weight_gain = 1 / math.sqrt(in_channels * kernel_size**2)
        self.act_gain = ACTIVATIONS[activation].gain
        weight = torch.randn(out_channels, in_channels, kernel_size, kernel_size)
        bias = torch.zeros(out_channels) if bias else None
        self.register_buffer("resample_filter", setup_filter(resample_filter))
        if trainable:
            self.weight = nn.Parameter(weight)
            self.bias = None if bias is None else nn.Parameter(bias)
        else:
            self.register_buffer("weight", weight)
            self.register_buffer("bias", bias)

    def forward(self, x, gain=1.0):
        """`gain` multiplies the activation's gain and the clamp (residual branches pass sqrt(1/2))."""
        weight = (self.weight * self.weight_gain).to(x.dtype)
        x = conv2d_resample(x, weight, self.resample_filter, down=self.down)
        clamp = None if self.conv_clamp is None else self.conv_clamp * gain
        return modulated_act(x, b=self.bias, act=self.activation, gain=self.act_gain * gain, clamp=clamp)


class SynthesisLayer(nn.Module):
    """Modulated convolution, noise, bias, activation: x [N, in, r/up, r/up], w [N, w_dim] -> [N, out, r, r]."""

    def __init__(
        self, in_channels, out_channels, w_dim, resolution, kernel_size=3, up=1, use_noise=True, activation="lrelu",
        resample_filter=(1, 3, 3, 1), conv_clamp=None,
    ):  # fmt: skip
        super().__init__()
        self.resolution, self.up, self.use_noise = resolution, up, use_noise
        self.activation, self.conv_clamp = activation, conv_clamp
        self.affine = FullyConnectedLayer(w_dim, in_channels, bias_init=1)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel_size, kernel_size))
        self.register_buffer("resample_filter", setup_filter(resample_filter))
        if use_noise:
            self.register_buffer("noise_const", torch.randn(resolution, resolution))
            self.noise_strength = nn.Parameter(torch.zeros([]))
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def forward(self, x, w, noise_mode="random", draws=None, gain=1.0, window=slice(None)):
        """noise_mode: 'random' (one map per sample from `draws`), 'const' (the stored map) or 'none'.

        window: rows, and columns too, of the whole result that x gives; the noise is of those.
        """
        noise = None
        if self.use_noise and noise_mode == "random":
            noise = draws.normal((len(x), 1, self.resolution, self.resolution), x.device) * self.noise_strength
        elif self.use_noise and noise_mode == "const":
            noise = self.noise_const[None, None] * self.noise_strength
        noise = None if noise is None else noise[..., window, window]
        # As published: up-sampling layers convolve, the others correlate.
        x, d = undemodulated_conv2d(
            x, self.weight, self.affine(w), self.resample_filter, up=self.up, flip_weight=self.up == 1
        )
        clamp = None if self.conv_clamp is None else self.conv_clamp * gain
        gain = ACTIVATIONS[self.activation].gain * gain
        return modulated_act(x, d, noise, self.bias, self.activation, gain, clamp)


class ToRGBLayer(nn.Module):
    """1 x 1 modulated convolution without demodulation and without noise: [N, in, r, r] -> [N, out, r, r]."""

    def __init__(self, in_channels, out_channels, w_dim, conv_clamp=None):
        super().__init__()
        self.conv_clamp = conv_clamp
        self.affine = FullyConnectedLayer(w_dim, in_channels, bias_init=1)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.weight_gain = 1 / math.sqrt(in_channels)

    def forward(self, x, w):
        styles = self.affine(w) * self.weight_gain
        if self.conv_clamp is None:  # the convolution adds the bias on its way
            return undemodulated_conv2d(x, self.weight, styles, demodulate=False, bias=self.bias)[0]
        x, _ = undemodulated_conv2d(x, self.weight, styles, demodulate=False)
        return modulated_act(x, b=self.bias, act="linear", clamp=self.conv_clamp)

    def added_to(self, image, x, w, f=None):
        """Its result plus `image`, enlarged by the filter f where one is given, in one pass; None if no kernel can."""
        plain = self.conv_clamp is None and self.weight.shape[-1] == 1 and len(w) == len(x)
        plain = plain and w.dtype == self.weight.dtype == x.dtype
        kernels = kernels_for_rgb(x, len(self.bias), image, f) if plain else None
        if kernels is None:
            return None
        styles = self.affine(w) * self.weight_gain
        return fused_rgb(kernels, x, self.weight[:, :, 0, 0] * styles[:, None], self.bias, image, f)
