"""Discriminators: is this picture, at this camera, real? (EG3D, sections 4.3 and 4.4)"""

import math
from dataclasses import dataclass, field

import torch
from torch import nn

from eg3d.geometry.cameras import LABEL_DIM
from eg3d.models.backbone import channels_at, check_power_of_two
from eg3d.models.blocks import ARCHITECTURES, CLAMP
from eg3d.models.layers import Conv2dLayer, FullyConnectedLayer
from eg3d.models.mapping import MappingConfig, MappingNetwork
from eg3d.models.protocol import NetworkConfig
from eg3d.ops.bias_act import ACTIVATIONS
from eg3d.ops.precision import compute_dtype
from eg3d.ops.resize import filtered_resizing
from eg3d.ops.upfirdn2d import downsample2d, setup_filter
from groundwork.draws import GlobalDraws
from groundwork.plain import check_one_of, check_types, check_within

IMG_CHANNELS = 3


@dataclass(frozen=True, kw_only=True)
class DiscriminatorBlockConfig:
    """What all blocks of a discriminator share."""

    activation: str = "lrelu"
    resample_filter: tuple[float, ...] = (1, 3, 3, 1)
    fp16_channels_last: bool = False
    freeze_layers: int = 0  # so many layers, from the picture on, are never trained (Freeze-D, Mo et al. 2020)

    def __post_init__(self):
        check_types(self)
        check_one_of("activation", self.activation, ACTIVATIONS)
        check_within("freeze_layers", self.freeze_layers, 0)


@dataclass(frozen=True, kw_only=True)
class EpilogueConfig:
    """The last part of a discriminator, from 4 px on."""

    mbstd_group_size: int | None = 4  # samples whose spread is measured together; None: the whole batch
    mbstd_num_channels: int = 1  # 0: no spread
    activation: str = "lrelu"

    def __post_init__(self):
        check_types(self)
        check_within("mbstd_group_size", 1 if self.mbstd_group_size is None else self.mbstd_group_size, 1, 2**16)
        check_within("mbstd_num_channels", self.mbstd_num_channels, 0)
        check_one_of("activation", self.activation, ACTIVATIONS)


@dataclass(frozen=True, kw_only=True)
class DiscriminatorConfig(NetworkConfig):
    """A discriminator but for its weights, the size of its pictures and the length of its label.

    The defaults are those of the published models.
    """

    FLAGS = {
        "cbase": "channel_base",
        "cmax": "channel_max",
        "d_num_fp16_res": "num_fp16_res",
        "disc_c_noise": "disc_c_noise",
        "freezed": "blocks.freeze_layers",
        "mbstd_group": "epilogue.mbstd_group_size",
    }

    architecture: str = "resnet"
    channel_base: int = 32768
    channel_max: int = 512
    num_fp16_res: int = 4  # the first blocks run in float16 on a CUDA device
    conv_clamp: float | None = CLAMP
    cmap_dim: int | None = None  # length of the mapped label; None: as wide as the last block
    disc_c_noise: float = 0.0  # noise on the label, in deviations of the data set's labels
    blocks: DiscriminatorBlockConfig = field(default_factory=DiscriminatorBlockConfig)
    mapping: MappingConfig = field(default_factory=MappingConfig)
    epilogue: EpilogueConfig = field(default_factory=EpilogueConfig)

    def __post_init__(self):
        check_types(self)
        check_one_of("architecture", self.architecture, ARCHITECTURES)
        for name in ("channel_base", "channel_max"):
            check_within(name, getattr(self, name), 1)
        check_within("num_fp16_res", self.num_fp16_res, 0)
        check_within("disc_c_noise", self.disc_c_noise, 0)

    def freezable_layers(self, resolution: int) -> int:
        """Of the blocks from the picture down to 8 px: three convolutions each, and one from RGB."""
        return 3 * (int(math.log2(resolution)) - 2) + 1


def minibatch_std(x, group_size=4, num_channels=1):
    """Appends the spread of features across groups of samples (Karras et al. 2018, section 3).

    x [N, C, H, W] -> [N, C + num_channels, H, W]; N must be a multiple of min(group_size, N). Sample n is in group
    n mod (N / group size), as published.
    """
    n, c, h, w = x.shape
    group = n if group_size is None else min(group_size, n)
    if n % group:
        raise ValueError(f"a batch of {n} cannot be cut into groups of {group} for the minibatch deviation: "
                         "choose another --batch-gpu or --mbstd-group")  # fmt: skip
    y = x.reshape(group, n // group, num_channels, c // num_channels, h, w)
    y = (y - y.mean(dim=0)).square().mean(dim=0)
    y = (y + 1e-8).sqrt().mean(dim=(2, 3, 4))  # [N / group, num_channels]
    y = y.reshape(n // group, num_channels, 1, 1).repeat(group, 1, h, w)
    return torch.cat([x, y], dim=1)


class DiscriminatorBlock(nn.Module):
    """x [N, in, r, r] and image [N, img, r, r] -> x [N, out, r/2, r/2], image (only 'skip' passes it on)."""

    def __init__(
        self, in_channels, mid_channels, out_channels, img_channels, first_layer, architecture, conv_clamp, use_fp16,
        config: DiscriminatorBlockConfig,
    ):  # fmt: skip
        super().__init__()
        self.architecture, self.use_fp16 = architecture, use_fp16
        self.block_dtype = None  # see ops/precision.py
        self.channels_last = use_fp16 and config.fp16_channels_last
        self.register_buffer("resample_filter", setup_filter(config.resample_filter))
        self.num_layers = 0

        def conv(*args, **kwargs):
            layer = Conv2dLayer(
                *args,
                resample_filter=config.resample_filter,
                trainable=first_layer + self.num_layers >= config.freeze_layers,
                **kwargs,
            )
            self.num_layers += 1
            return layer

        act = dict(activation=config.activation, conv_clamp=conv_clamp)
        if in_channels == 0 or architecture == "skip":
            self.fromrgb = conv(img_channels, mid_channels, 1, **act)
        self.conv0 = conv(mid_channels, mid_channels, 3, **act)
        self.conv1 = conv(mid_channels, out_channels, 3, down=2, **act)
        if architecture == "resnet":
            self.skip = conv(mid_channels, out_channels, 1, bias=False, down=2)

    def forward(self, x, img, force_fp32=False):
        dtype = compute_dtype(self, self.conv0.weight, force_fp32)
        half = dtype != self.conv0.weight.dtype
        layout = torch.channels_last if img.is_cpu or (half and self.channels_last) else torch.contiguous_format
        x = None if x is None else x.to(dtype=dtype, memory_format=layout)
        if hasattr(self, "fromrgb"):
            # Six channels in bfloat16 end training on a CPU with AMX: oneDNN divides by zero (PyTorch 2.15).
            few = torch.float32 if img.is_cpu and dtype == torch.bfloat16 else dtype
            img = img.to(dtype=few, memory_format=layout)
            y = self.fromrgb(img).to(dtype)
            x = y if x is None else x + y
            img = downsample2d(img, self.resample_filter) if self.architecture == "skip" else img
        if self.architecture == "resnet":
            y = self.skip(x, gain=math.sqrt(0.5))
            x = self.conv1(self.conv0(x), gain=math.sqrt(0.5))
            return x + y, img
        return self.conv1(self.conv0(x)), img


class DiscriminatorEpilogue(nn.Module):
    """4 x 4 features -> logits [N, 1]; the camera enters as a projection (Miyato & Koyama 2018)."""

    def __init__(self, in_channels, cmap_dim, conv_clamp, config: EpilogueConfig):
        super().__init__()
        self.cmap_dim = cmap_dim
        self.mbstd_group_size, self.mbstd_num_channels = config.mbstd_group_size, config.mbstd_num_channels
        act = dict(activation=config.activation)
        self.conv = Conv2dLayer(in_channels + config.mbstd_num_channels, in_channels, 3, conv_clamp=conv_clamp, **act)
        self.fc = FullyConnectedLayer(in_channels * 16, in_channels, **act)
        self.out = FullyConnectedLayer(in_channels, cmap_dim or 1)

    def forward(self, x, cmap):
        x = x.to(self.fc.weight.dtype)  # float32 even if the blocks run in float16
        if self.mbstd_num_channels > 0:
            x = minibatch_std(x, self.mbstd_group_size, self.mbstd_num_channels)
        x = self.out(self.fc(self.conv(x).flatten(1)))
        return x if cmap is None else (x * cmap).sum(dim=1, keepdim=True) / math.sqrt(self.cmap_dim)


class CameraDiscriminator(nn.Module):
    """Blocks from the image's resolution down to 8, then the epilogue; conditioned on a label of c_dim numbers."""

    pictures_seen: int  # of three channels each

    def __init__(self, config: DiscriminatorConfig, img_resolution: int, c_dim: int = LABEL_DIM):
        super().__init__()
        check_power_of_two("img_resolution", img_resolution, 8)
        check_within("c_dim", c_dim, 0)
        self.config, self.img_resolution, self.c_dim = config, img_resolution, c_dim
        self.resolutions = [2**i for i in range(int(math.log2(img_resolution)), 2, -1)]
        fp16_from = max(2 ** (int(math.log2(img_resolution)) + 1 - config.num_fp16_res), 8)
        base, most = config.channel_base, config.channel_max
        cmap_dim = 0 if c_dim == 0 else (config.cmap_dim or channels_at(4, base, most))
        # The label noise's scale: the spread of the data set's labels, set by the training loop.
        self.register_buffer("label_std", torch.ones(c_dim), persistent=False)
        layer = 0
        for r in self.resolutions:
            width = channels_at(r, base, most)
            block = DiscriminatorBlock(
                width if r < img_resolution else 0, width, channels_at(r // 2, base, most),
                IMG_CHANNELS * self.pictures_seen, layer, config.architecture, config.conv_clamp, r >= fp16_from,
                config.blocks,
            )  # fmt: skip
            layer += block.num_layers
            setattr(self, f"b{r}", block)
        if c_dim > 0:
            self.mapping = MappingNetwork(0, c_dim, cmap_dim, None, config.mapping)
        self.b4 = DiscriminatorEpilogue(channels_at(4, base, most), cmap_dim, config.conv_clamp, config.epilogue)

    def score(self, img, c, draws=None, force_fp32=False):
        """img [N, input channels, S, S], camera labels c [N, 25] -> logits [N, 1]."""
        x = None
        for r in self.resolutions:
            x, img = getattr(self, f"b{r}")(x, img, force_fp32)
        cmap = None
        if self.c_dim > 0:
            noise = self.config.disc_c_noise
            if noise > 0 and self.training:
                # Out of place, in training only: the published noise added up (docs/published_defects.md, D-14).
                c = c + (draws or GlobalDraws()).normal(c.shape, c.device) * self.label_std * noise
            cmap = self.mapping(None, c)
        return self.b4(x, cmap)


class DualDiscriminator(CameraDiscriminator):
    """Sees the picture and the enlarged raw rendering side by side, so that the two must agree."""

    pictures_seen = 2

    def __init__(self, config: DiscriminatorConfig, img_resolution: int, c_dim: int = LABEL_DIM):
        super().__init__(config, img_resolution, c_dim)
        # Published buffer; only the 'classic' resizing mode would use it.
        filters = {"resample_filter": setup_filter()}
        self._buffers = filters | self._buffers

    def forward(self, img, c, update_emas=False, draws=None, force_fp32=False):
        """img: dict with image [N, 3, S, S] and image_raw [N, 3, R, R]; c [N, 25] -> logits [N, 1]."""
        del update_emas
        raw = filtered_resizing(img["image_raw"], img["image"].shape[-1])
        return self.score(torch.cat([img["image"], raw], dim=1), c, draws, force_fp32)


class DummyDualDiscriminator(DualDiscriminator):
    """As the dual one, with the raw rendering multiplied by `raw_fade`, so that it can be taken away slowly.

    The published one lowered `raw_fade` at every call (docs/published_defects.md, D-15); here it stays as it is set.
    """

    def __init__(self, config, img_resolution, c_dim=LABEL_DIM, raw_fade: float = 1.0):
        super().__init__(config, img_resolution, c_dim)
        self.raw_fade = raw_fade

    def forward(self, img, c, update_emas=False, draws=None, force_fp32=False):
        faded = {"image": img["image"], "image_raw": img["image_raw"] * self.raw_fade}
        return super().forward(faded, c, update_emas, draws, force_fp32)


class SingleDiscriminator(CameraDiscriminator):
    """Sees the picture only."""

    pictures_seen = 1

    def forward(self, img, c, update_emas=False, draws=None, force_fp32=False):
        """img: dict with image [N, 3, S, S]; c [N, 25] -> logits [N, 1]."""
        del update_emas
        return self.score(img["image"], c, draws, force_fp32)
