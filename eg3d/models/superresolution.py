"""Super-resolution: rendered feature image -> full-size image (EG3D, section 4.2)."""

from dataclasses import dataclass, field

import torch.nn.functional as F
from torch import nn

from eg3d.models.blocks import CLAMP, BlockConfig, SynthesisBlock
from eg3d.ops.resize import bilinear
from eg3d.ops.upfirdn2d import setup_filter
from groundwork.draws import GlobalDraws
from groundwork.plain import check_one_of, check_types, check_within

NOISE_MODES = ("random", "const", "none")
# Pixels per side of the pictures -> the class that EG3D takes for them.
SR_OF_RESOLUTION = {
    512: "SuperresolutionHybrid8XDC",
    256: "SuperresolutionHybrid4X",
    128: "SuperresolutionHybrid2X",
}


@dataclass(frozen=True, kw_only=True)
class SuperresolutionConfig:
    """Which super-resolution, and how it works; widths None: the published ones of its class."""

    kind: str  # a name in SUPERRESOLUTIONS
    widths: tuple[int, int] | None = None
    num_fp16_res: int = 0  # any number above 0: both blocks run in float16 on a CUDA device
    antialias: bool = True  # when the rendered features are shrunk
    noise_mode: str = "none"
    blocks: BlockConfig = field(default_factory=BlockConfig)

    def __post_init__(self):
        check_types(self)
        if self.kind not in SUPERRESOLUTIONS:
            known = ", ".join(SUPERRESOLUTIONS)
            raise ValueError(f"unknown super-resolution module {self.kind!r:.60}: known are {known}")
        check_within("num_fp16_res", self.num_fp16_res, 0)
        check_one_of("noise_mode", self.noise_mode, NOISE_MODES)
        for width in self.widths or ():
            check_within("widths", width, 1)


class Superresolution(nn.Module):
    """Two synthesis blocks: features [N, C, R, R], rgb [N, 3, R, R], ws [N, T, w_dim] -> image [N, 3, S, S].

    Both inputs are first resized to `input_resolution` when R differs. Both blocks use the last row of ws only.
    Subclasses say whether block0 enlarges, and the published widths.
    """

    block0_up: int
    published_widths: tuple[int, int]
    has_filter_buffer = True  # an unused published buffer; kept so that state dicts match
    always_fp32 = False

    def __init__(self, channels, img_resolution, w_dim, config: SuperresolutionConfig):
        super().__init__()
        first, second = config.widths or self.published_widths
        self.input_resolution = img_resolution // 2 // self.block0_up
        self.sr_antialias = config.antialias
        use_fp16 = config.num_fp16_res > 0 and not self.always_fp32
        common = dict(w_dim=w_dim, img_channels=3, use_fp16=use_fp16, conv_clamp=CLAMP if use_fp16 else None)
        common["config"] = config.blocks
        middle = img_resolution // 2
        self.block0 = SynthesisBlock(channels, first, resolution=middle, is_last=False, up=self.block0_up, **common)
        self.block1 = SynthesisBlock(first, second, resolution=img_resolution, is_last=True, **common)
        if self.has_filter_buffer:
            self.register_buffer("resample_filter", setup_filter())

    @classmethod
    def painted_rays(cls, img_resolution: int) -> int | None:
        """Rays per side at which the published code paints over the raw picture; None: it never does."""
        return img_resolution // 2 if cls.block0_up == 1 else None

    @classmethod
    def reached(cls, rays, img_resolution: int):
        """Which pixels of the picture depend on which ray pixels: bool [N, 1, R, R] -> bool [N, 1, S, S].

        Each 3 x 3 convolution reaches one pixel farther; one that enlarges has its 3 x 3 on the coarse grid, and a
        filter of two pixels more on the fine one.
        """
        side, found = img_resolution // 2 // cls.block0_up, rays.float()
        if rays.shape[-1] != side:
            found = bilinear(found, side)  # its weights are never negative
        for up in (cls.block0_up, 2):
            found = F.max_pool2d(found, 3, 1, 1)  # conv0
            if up == 2:
                found = F.max_pool2d(F.interpolate(found, scale_factor=2, mode="nearest"), 5, 1, 2)
            found = F.max_pool2d(found, 3, 1, 1)  # conv1
        return found > 0

    def forward(self, rgb, x, ws, noise_mode="none", draws=None, force_fp32=False, legacy_raw=False):
        """legacy_raw: return rgb too, as the published code leaves it (docs/published_defects.md, D-02).

        It adds block0's colours in place: into rgb itself, unless it has been resized or enlarged, which copies it.
        """
        ws, raw = ws[:, -1:].expand(-1, 3, -1), rgb
        if x.shape[-1] != self.input_resolution:
            x, rgb = (bilinear(t, self.input_resolution, self.sr_antialias) for t in (x, rgb))
        kwargs = dict(noise_mode=noise_mode, draws=draws or GlobalDraws(), force_fp32=force_fp32)
        x, middle = self.block0(x, rgb, ws, **kwargs)
        x, image = self.block1(x, middle, ws, **kwargs)
        if not legacy_raw:
            return image
        return image, middle if rgb is raw and self.block0_up == 1 else raw


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
