"""Super-resolution: rendered feature image -> full-size image (EG3D, section 4.3; spec section 1.4)."""

from torch import nn

from eg3d.models.blocks import SynthesisBlock
from eg3d.ops.resize import bilinear
from eg3d.ops.upfirdn2d import setup_filter
from groundwork.draws import GlobalDraws


class Superresolution(nn.Module):
    """Two synthesis blocks: features [N, C, R, R], rgb [N, 3, R, R], ws [N, T, w_dim] -> image [N, 3, S, S].

    Both inputs are first resized to `input_resolution` when R differs. Both blocks use the last row of ws only.
    Subclasses say whether block0 enlarges, and the published widths; `widths` overrides those for small models.
    """

    block0_up: int
    published_widths: tuple[int, int]
    has_filter_buffer = True  # an unused published buffer; kept so that state dicts match
    always_fp32 = False

    def __init__(
        self, channels, img_resolution, sr_num_fp16_res=0, sr_antialias=True, w_dim=512, widths=None,
        num_fp16_res=None, conv_clamp=None, channel_base=None, channel_max=None, **block_kwargs,
    ):  # fmt: skip
        super().__init__()
        del num_fp16_res, conv_clamp, channel_base, channel_max  # published arguments that never had an effect
        first, second = widths or self.published_widths
        self.input_resolution = img_resolution // 2 // self.block0_up
        self.sr_antialias = sr_antialias
        use_fp16 = sr_num_fp16_res > 0 and not self.always_fp32
        common = dict(w_dim=w_dim, img_channels=3, use_fp16=use_fp16, conv_clamp=256 if use_fp16 else None)
        common |= block_kwargs
        middle = img_resolution // 2
        self.block0 = SynthesisBlock(channels, first, resolution=middle, is_last=False, up=self.block0_up, **common)
        self.block1 = SynthesisBlock(first, second, resolution=img_resolution, is_last=True, **common)
        if self.has_filter_buffer:
            self.register_buffer("resample_filter", setup_filter())

    def forward(self, rgb, x, ws, noise_mode="none", draws=None, force_fp32=False):
        ws = ws[:, -1:].expand(-1, 3, -1)
        if x.shape[-1] != self.input_resolution:
            x, rgb = (bilinear(t, self.input_resolution, self.sr_antialias) for t in (x, rgb))
        kwargs = dict(noise_mode=noise_mode, draws=draws or GlobalDraws(), force_fp32=force_fp32)
        x, rgb = self.block0(x, rgb, ws, **kwargs)
        x, rgb = self.block1(x, rgb, ws, **kwargs)
        return rgb


class SuperresolutionHybrid2X(Superresolution):
    """Published for 64 -> 128 pixels."""

    block0_up, published_widths = 1, (128, 64)


class SuperresolutionHybrid4X(Superresolution):
    """Published for 128 -> 256 pixels."""

    block0_up, published_widths = 1, (128, 64)


class SuperresolutionHybrid8X(Superresolution):
    """Published for 128 -> 512 pixels, narrow."""

    block0_up, published_widths = 2, (128, 64)


class SuperresolutionHybrid8XDC(Superresolution):
    """Published for 128 -> 512 pixels: the FFHQ and AFHQ models."""

    block0_up, published_widths = 2, (256, 128)
    has_filter_buffer = False


class SuperresolutionHybridDeepfp32(Superresolution):
    """As 4X, in float32 throughout."""

    block0_up, published_widths = 1, (128, 64)
    always_fp32 = True


SUPERRESOLUTIONS = {
    cls.__name__: cls
    for cls in (
        SuperresolutionHybrid2X, SuperresolutionHybrid4X, SuperresolutionHybrid8X, SuperresolutionHybrid8XDC,
        SuperresolutionHybridDeepfp32,
    )
}  # fmt: skip


def superresolution_class(name: str) -> type[Superresolution]:
    """Class of a plain or dotted name, such as the published 'training.superresolution.SuperresolutionHybrid8XDC'."""
    short = name.rsplit(".", 1)[-1]
    if short not in SUPERRESOLUTIONS:
        raise ValueError(f"unknown super-resolution module {name!r}: known are {', '.join(SUPERRESOLUTIONS)}")
    return SUPERRESOLUTIONS[short]
