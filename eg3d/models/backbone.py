"""Backbone: latent and camera -> three feature planes, by a StyleGAN2 generator (EG3D, section 4.1)."""

import math
from dataclasses import dataclass, field

from torch import nn

from eg3d.models.blocks import BlockConfig, SynthesisBlock, part_of
from eg3d.models.mapping import MappingConfig, MappingNetwork
from groundwork.draws import GlobalDraws
from groundwork.plain import check_types, check_within

# How far from a row of a block's result, in rows of its input, lies what the row depends on: enlarging filters of four
# taps and two convolutions of 3 x 3. Nearer to the edge of a part of the input, the zeros beyond it are felt.
REACH = 2


def channels_at(resolution: int, channel_base: int, channel_max: int) -> int:
    """Width of the network at one resolution."""
    return min(channel_base // resolution, channel_max)


def check_power_of_two(name: str, value: int, least: int) -> None:
    if value < least or value & (value - 1):
        raise ValueError(f"{name} must be a power of two and at least {least}, not {value}")


@dataclass(frozen=True, kw_only=True)
class BackboneConfig:
    """Planes, and the StyleGAN2 generator that makes them. The defaults are those of the published models."""

    plane_resolution: int = 256
    plane_channels: int = 32
    channel_base: int = 32768  # a block of r px is channel_base // r wide, channel_max at most
    channel_max: int = 512
    num_fp16_res: int = 4  # the last blocks run in float16 on a CUDA device
    conv_clamp: float | None = None
    blocks: BlockConfig = field(default_factory=BlockConfig)

    def __post_init__(self):
        check_types(self)
        check_power_of_two("plane_resolution", self.plane_resolution, 8)
        for name in ("plane_channels", "channel_base", "channel_max"):
            check_within(name, getattr(self, name), 1)
        check_within("num_fp16_res", self.num_fp16_res, 0)


class SynthesisNetwork(nn.Module):
    """ws [N, num_ws, w_dim] -> planes side by side [N, 3 * plane_channels, R, R]; blocks b4, b8, ..., bR."""

    def __init__(self, w_dim, config: BackboneConfig):
        super().__init__()
        side = config.plane_resolution
        self.resolutions = [2**i for i in range(2, int(math.log2(side)) + 1)]
        fp16_from = max(2 ** (int(math.log2(side)) + 1 - config.num_fp16_res), 8)
        self.num_ws = 1
        for r in self.resolutions:
            block = SynthesisBlock(
                channels_at(r // 2, config.channel_base, config.channel_max) if r > 4 else 0,
                channels_at(r, config.channel_base, config.channel_max),
                w_dim=w_dim, resolution=r, img_channels=3 * config.plane_channels, is_last=r == side,
                use_fp16=r >= fp16_from, conv_clamp=config.conv_clamp, config=config.blocks,
            )  # fmt: skip
            self.num_ws += block.num_conv
            setattr(self, f"b{r}", block)

    def forward(self, ws, noise_mode="random", draws=None, force_fp32=False, window: tuple[int, int] | None = None):
        """Each block takes the rows of its convolutions; its torgb shares the first row of the next block.

        window: first row of the planes that is needed, and the one after the last; columns alike. The last blocks then
        work on a part alone, and what they give is the part that `drawn` says. None: all.
        """
        draws = draws or GlobalDraws()
        x = img = None
        first, start = 0, 0  # row of ws; where x starts in its whole
        parts = self._parts(window)
        for r in self.resolutions:
            block = getattr(self, f"b{r}")
            rows = ws[:, first : first + block.num_conv + block.num_torgb]
            given, made = parts[r]
            if r > self.resolutions[0]:
                x = part_of(x, given.start // 2 - start, given.stop // 2 - start)
                img = part_of(img, made.start // 2 - start, made.stop // 2 - start)
            x, img = block(
                x, img, rows, noise_mode=noise_mode, draws=draws, force_fp32=force_fp32, given=given, made=made
            )
            first, start = first + block.num_conv, made.start
        return img

    def drawn(self, window: tuple[int, int] | None) -> tuple[int, int]:
        """Which rows, and columns, `forward` gives for a window: it, and a margin of which not all is right."""
        made = self._parts(window)[self.resolutions[-1]][1]
        return made.start, made.stop

    def _parts(self, window) -> dict[int, tuple[slice, slice]]:
        """`given` and `made` of `SynthesisBlock.forward`, by the block's side.

        Just so many rows that the last block is right within the window, from an even row to an even one. `made` has a
        row more on each side than is needed, for at the edge of a part a convolution is wrong.
        """
        parts, (start, end) = {}, window or (0, self.resolutions[-1])
        for r in reversed(self.resolutions[1:]):
            made = slice(max((start - 1) // 2 * 2, 0), min((end + 2) // 2 * 2, r))
            start, end = max(-(-start // 2) - REACH, 0), min(end // 2 + REACH, r // 2)  # in rows of the input
            parts[r] = slice(2 * start, 2 * end), made
        r = self.resolutions[0]
        return parts | {r: (slice(0, r),) * 2}


class Backbone(nn.Module):
    """StyleGAN2 generator whose image is the stack of planes: [N, 3 * plane_channels, R, R]."""

    def __init__(self, z_dim, c_dim, w_dim, config: BackboneConfig, mapping: MappingConfig):
        super().__init__()
        self.synthesis = SynthesisNetwork(w_dim, config)
        self.num_ws = self.synthesis.num_ws
        self.mapping = MappingNetwork(z_dim, c_dim, w_dim, self.num_ws, mapping)
