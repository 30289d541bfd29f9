"""Synthesis block: the unit of the backbone and of the super-resolution (StyleGAN2, figure 7)."""

import math
from dataclasses import dataclass

import torch
from torch import nn

from eg3d.models.layers import Conv2dLayer, SynthesisLayer, ToRGBLayer
from eg3d.ops.bias_act import ACTIVATIONS
from eg3d.ops.conv2d import conv2d_resample
from eg3d.ops.precision import compute_dtype
from eg3d.ops.upfirdn2d import setup_filter, upsample2d
from groundwork.plain import check_one_of, check_types, check_within

ARCHITECTURES = ("skip", "orig", "resnet")
CLAMP = 256  # of every convolution's result where float16 is in use, which overflows at 65504


@dataclass(frozen=True, kw_only=True)
class BlockConfig:
    """What all synthesis blocks of a network share."""

    architecture: str = "skip"  # published; 'orig' and 'resnet': image only from the last block
    resample_filter: tuple[float, ...] = (1, 3, 3, 1)
    fp16_channels_last: bool = False
    use_noise: bool = True
    activation: str = "lrelu"
    kernel_size: int = 3

    def __post_init__(self):
        check_types(self)
        check_one_of("architecture", self.architecture, ARCHITECTURES)
        check_one_of("activation", self.activation, ACTIVATIONS)
        check_within("kernel_size", self.kernel_size, 1, 15)


def part_of(image: torch.Tensor | None, start: int, end: int):
    """Rows of an image, and columns too. Channels that lie last do so without gaps, as kernels want them."""
    if image is None or (start, end) == (0, image.shape[-1]):
        return image
    last = image.is_contiguous(memory_format=torch.channels_last)
    part = image[..., start:end, start:end]
    return part.contiguous(memory_format=torch.channels_last) if last else part


class SynthesisBlock(nn.Module):
    """x [N, in, r/up, r/up], image [N, img, r/up, r/up] or None -> x [N, out, r, r], image [N, img, r, r].

    Args:
        in_channels: 0 for the first block, which starts from a learned constant.
        up: 2 doubles the side; 1 keeps it (the first block of the 2X and 4X super-resolutions).
        use_fp16: run in float16 on a CUDA device; the image is always accumulated in float32.
    """

    def __init__(
        self, in_channels, out_channels, w_dim, resolution, img_channels, is_last, up=2, conv_clamp=None,
        use_fp16=False, config=BlockConfig(),
    ):  # fmt: skip
        super().__init__()
        architecture, resample_filter = config.architecture, config.resample_filter
        self.in_channels, self.resolution, self.up = in_channels, resolution, up
        self.architecture, self.use_fp16 = architecture, use_fp16
        self.block_dtype = None  # see ops/precision.py
        self.channels_last = use_fp16 and config.fp16_channels_last
        self.register_buffer("resample_filter", setup_filter(resample_filter))
        conv = dict(
            w_dim=w_dim, resolution=resolution, resample_filter=resample_filter, conv_clamp=conv_clamp,
            kernel_size=config.kernel_size, use_noise=config.use_noise, activation=config.activation,
        )  # fmt: skip
        self.num_conv = 1 if in_channels == 0 else 2
        if in_channels == 0:
            self.const = nn.Parameter(torch.randn(out_channels, resolution, resolution))
        else:
            self.conv0 = SynthesisLayer(in_channels, out_channels, up=up, **conv)
        self.conv1 = SynthesisLayer(out_channels, out_channels, **conv)
        self.num_torgb = int(is_last or architecture == "skip")
        if self.num_torgb:
            self.torgb = ToRGBLayer(out_channels, img_channels, w_dim, conv_clamp=conv_clamp)
        if in_channels != 0 and architecture == "resnet":
            self.skip = Conv2dLayer(in_channels, out_channels, 1, bias=False, resample_filter=resample_filter)

    def forward(
        self, x, img, ws, noise_mode="random", draws=None, force_fp32=False, given=slice(None), made=slice(None)
    ):  # fmt: skip
        """ws [N, num_conv + num_torgb, w_dim]: one row per layer in order.

        given, made: for a part of the result; rows of the whole result, and the same columns. given: what the first
        convolution draws from x, which is a part of the whole input. made: what comes back, all of it within `given`;
        img is the part of the whole image that lies there.
        """
        rows = iter(ws.unbind(dim=1))
        dtype = compute_dtype(self, ws, force_fp32)
        half = dtype != ws.dtype
        layout = torch.channels_last if ws.is_cpu or (half and self.channels_last) else torch.contiguous_format
        noise = dict(noise_mode=noise_mode, draws=draws)
        if self.in_channels == 0:
            x = self.const.to(dtype)[None].expand(len(ws), -1, -1, -1).contiguous(memory_format=layout)
            x = self.conv1(x, next(rows), **noise, window=made)
        else:
            x = x.to(dtype=dtype, memory_format=layout)
            skip = self._resampled_skip(x) if self.architecture == "resnet" else None
            x = self.conv0(x, next(rows), **noise, window=given)
            if given != made:
                x, skip = (part_of(value, made.start - given.start, made.stop - given.start) for value in (x, skip))
            x = self.conv1(x, next(rows), gain=1.0 if skip is None else math.sqrt(0.5), **noise, window=made)
            x = x if skip is None else x + skip
        if self.num_torgb:
            img = self._with_colours(x, img, next(rows))
        elif img is not None and self.up == 2:  # a super-resolution is given an image, whatever its architecture
            img = upsample2d(img, self.resample_filter)
        return x, img

    def _with_colours(self, x, img, w):
        """The image of the blocks before, if any, at this one's size and with its colours."""
        enlarge = img is not None and self.up == 2
        if img is None or enlarge:
            rgb = self.torgb.added_to(img, x, w, self.resample_filter if enlarge else None)
            if rgb is not None:
                return rgb
        if enlarge:
            img = upsample2d(img, self.resample_filter)
        rgb = self.torgb(x, w).to(w.dtype)
        # Never into `img`, maybe a view of the rendered feature image (docs/published_defects.md, D-02); into `rgb`
        # only if no gradient needs what it was.
        if img is None:
            return rgb
        return rgb + img if torch.is_grad_enabled() else rgb.add_(img)

    def _resampled_skip(self, x):
        weight = (self.skip.weight * self.skip.weight_gain * math.sqrt(0.5)).to(x.dtype)
        return conv2d_resample(x, weight, self.skip.resample_filter, up=self.up)
