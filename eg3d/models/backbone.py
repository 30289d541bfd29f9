"""Backbone: latent and camera -> three feature planes, by a StyleGAN2 generator (EG3D, section 4.2)."""

import math

from torch import nn

from eg3d.models.blocks import SynthesisBlock
from eg3d.models.mapping import MappingNetwork
from groundwork.draws import GlobalDraws


def channels_at(resolution: int, channel_base: int, channel_max: int) -> int:
    """Width of the network at one resolution."""
    return min(channel_base // resolution, channel_max)


def check_power_of_two(name: str, value: int, least: int) -> None:
    if value < least or value & (value - 1):
        raise ValueError(f"{name} must be a power of two and at least {least}, not {value}")


class SynthesisNetwork(nn.Module):
    """ws [N, num_ws, w_dim] -> image [N, img_channels, R, R]; blocks b4, b8, ..., bR."""

    def __init__(
        self, w_dim, img_resolution, img_channels, channel_base=32768, channel_max=512, num_fp16_res=4, **block_kwargs
    ):
        super().__init__()
        check_power_of_two("plane_resolution", img_resolution, 8)
        self.resolutions = [2**i for i in range(2, int(math.log2(img_resolution)) + 1)]
        fp16_from = max(2 ** (int(math.log2(img_resolution)) + 1 - num_fp16_res), 8)
        self.num_ws = 1
        for r in self.resolutions:
            block = SynthesisBlock(
                channels_at(r // 2, channel_base, channel_max) if r > 4 else 0,
                channels_at(r, channel_base, channel_max),
                w_dim=w_dim, resolution=r, img_channels=img_channels, is_last=r == img_resolution,
                use_fp16=r >= fp16_from, **block_kwargs,
            )  # fmt: skip
            self.num_ws += block.num_conv
            setattr(self, f"b{r}", block)

    def forward(self, ws, noise_mode="random", draws=None, force_fp32=False):
        """Each block takes the rows of its convolutions; its torgb shares the first row of the next block."""
        draws = draws or GlobalDraws()
        x = img = None
        first = 0
        for r in self.resolutions:
            block = getattr(self, f"b{r}")
            rows = ws[:, first : first + block.num_conv + block.num_torgb]
            x, img = block(x, img, rows, noise_mode=noise_mode, draws=draws, force_fp32=force_fp32)
            first += block.num_conv
        return img


class Backbone(nn.Module):
    """StyleGAN2 generator whose image is the stack of planes: [N, 3 * plane_channels, R, R]."""

    def __init__(self, z_dim, c_dim, w_dim, img_resolution, img_channels, mapping_kwargs, **synthesis_kwargs):
        super().__init__()
        self.synthesis = SynthesisNetwork(w_dim, img_resolution, img_channels, **synthesis_kwargs)
        self.num_ws = self.synthesis.num_ws
        self.mapping = MappingNetwork(z_dim, c_dim, w_dim, self.num_ws, **mapping_kwargs)
