"""Discriminators: is this picture, at this camera, real? (EG3D, section 4.3 and 4.4; spec sections 1.5 and 2.10)"""

import copy
import math

import torch
from torch import nn

from eg3d.models.backbone import channels_at, check_power_of_two
from eg3d.models.layers import Conv2dLayer, FullyConnectedLayer
from eg3d.models.mapping import MappingNetwork
from eg3d.ops.precision import compute_dtype
from eg3d.ops.resize import filtered_resizing
from eg3d.ops.upfirdn2d import downsample2d, setup_filter
from groundwork.draws import GlobalDraws


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
        self, in_channels, mid_channels, out_channels, resolution, img_channels, first_layer, architecture="resnet",
        activation="lrelu", resample_filter=(1, 3, 3, 1), conv_clamp=None, use_fp16=False, fp16_channels_last=False,
        freeze_layers=0,
    ):  # fmt: skip
        super().__init__()
        if architecture not in ("skip", "orig", "resnet"):
            raise ValueError(f"unknown architecture {architecture!r}: use skip, orig or resnet")
        self.architecture, self.use_fp16 = architecture, use_fp16
        self.block_dtype = None  # see models/precision.py
        self.channels_last = use_fp16 and fp16_channels_last
        self.register_buffer("resample_filter", setup_filter(resample_filter))
        self.num_layers = 0

        def conv(*args, **kwargs):
            layer = Conv2dLayer(
                *args,
                resample_filter=resample_filter,
                trainable=first_layer + self.num_layers >= freeze_layers,
                **kwargs,
            )
            self.num_layers += 1
            return layer

        act = dict(activation=activation, conv_clamp=conv_clamp)
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
            img = img.to(dtype=dtype, memory_format=layout)
            y = self.fromrgb(img)
            x = y if x is None else x + y
            img = downsample2d(img, self.resample_filter) if self.architecture == "skip" else img
        if self.architecture == "resnet":
            y = self.skip(x, gain=math.sqrt(0.5))
            x = self.conv1(self.conv0(x), gain=math.sqrt(0.5))
            return x + y, img
        return self.conv1(self.conv0(x)), img


class DiscriminatorEpilogue(nn.Module):
    """4 x 4 features -> logits [N, 1]; the camera enters as a projection (Miyato & Koyama 2018)."""

    def __init__(
        self, in_channels, cmap_dim, mbstd_group_size=4, mbstd_num_channels=1, activation="lrelu", conv_clamp=None
    ):
        super().__init__()
        self.cmap_dim, self.mbstd_group_size, self.mbstd_num_channels = cmap_dim, mbstd_group_size, mbstd_num_channels
        self.conv = Conv2dLayer(
            in_channels + mbstd_num_channels, in_channels, 3, activation=activation, conv_clamp=conv_clamp
        )
        self.fc = FullyConnectedLayer(in_channels * 16, in_channels, activation=activation)
        self.out = FullyConnectedLayer(in_channels, cmap_dim or 1)

    def forward(self, x, cmap):
        x = x.to(self.fc.weight.dtype)  # float32 even where the blocks run in float16
        if self.mbstd_num_channels > 0:
            x = minibatch_std(x, self.mbstd_group_size, self.mbstd_num_channels)
        x = self.out(self.fc(self.conv(x).flatten(1)))
        return x if cmap is None else (x * cmap).sum(dim=1, keepdim=True) / math.sqrt(self.cmap_dim)


class _CameraDiscriminator(nn.Module):
    """Blocks from the image's resolution down to 8, then the epilogue; conditioned on the 25-number label."""

    def __init__(
        self, c_dim, img_resolution, img_channels, input_channels, architecture="resnet", channel_base=32768,
        channel_max=512, num_fp16_res=4, conv_clamp=256, cmap_dim=None, disc_c_noise=0.0, block_kwargs=None,
        mapping_kwargs=None, epilogue_kwargs=None,
    ):  # fmt: skip
        super().__init__()
        check_power_of_two("img_resolution", img_resolution, 8)
        block_kwargs, mapping_kwargs = dict(block_kwargs or {}), dict(mapping_kwargs or {})
        epilogue_kwargs = dict(epilogue_kwargs or {})
        self.init_kwargs = copy.deepcopy(
            dict(
                c_dim=c_dim, img_resolution=img_resolution, img_channels=img_channels, architecture=architecture,
                channel_base=channel_base, channel_max=channel_max, num_fp16_res=num_fp16_res, conv_clamp=conv_clamp,
                cmap_dim=cmap_dim, disc_c_noise=disc_c_noise, block_kwargs=block_kwargs,
                mapping_kwargs=mapping_kwargs, epilogue_kwargs=epilogue_kwargs,
            )
        )  # fmt: skip
        self.c_dim, self.img_resolution, self.img_channels = c_dim, img_resolution, img_channels
        self.disc_c_noise = disc_c_noise
        self.resolutions = [2**i for i in range(int(math.log2(img_resolution)), 2, -1)]
        fp16_from = max(2 ** (int(math.log2(img_resolution)) + 1 - num_fp16_res), 8)
        cmap_dim = 0 if c_dim == 0 else (cmap_dim or channels_at(4, channel_base, channel_max))
        # The label noise's scale: the spread of the data set's labels, set by the training loop.
        self.register_buffer("label_std", torch.ones(c_dim), persistent=False)
        layer = 0
        for r in self.resolutions:
            width = channels_at(r, channel_base, channel_max)
            block = DiscriminatorBlock(
                width if r < img_resolution else 0, width, channels_at(r // 2, channel_base, channel_max), r,
                input_channels, layer, architecture, use_fp16=r >= fp16_from, conv_clamp=conv_clamp, **block_kwargs,
            )  # fmt: skip
            layer += block.num_layers
            setattr(self, f"b{r}", block)
        if c_dim > 0:
            self.mapping = MappingNetwork(0, c_dim, cmap_dim, None, w_avg_beta=None, **mapping_kwargs)
        self.b4 = DiscriminatorEpilogue(
            channels_at(4, channel_base, channel_max), cmap_dim, conv_clamp=conv_clamp, **epilogue_kwargs
        )

    def score(self, img, c, draws=None, force_fp32=False):
        """img [N, input channels, S, S], camera labels c [N, 25] -> logits [N, 1]."""
        x = None
        for r in self.resolutions:
            x, img = getattr(self, f"b{r}")(x, img, force_fp32)
        cmap = None
        if self.c_dim > 0:
            if self.disc_c_noise > 0 and self.training:
                # Out of place, in training only: the published noise piled up on reused labels (D-14).
                c = c + (draws or GlobalDraws()).normal(c.shape, c.device) * self.label_std * self.disc_c_noise
            cmap = self.mapping(None, c)
        return self.b4(x, cmap)


class DualDiscriminator(_CameraDiscriminator):
    """Sees the picture and the enlarged raw rendering side by side, so that the two must agree."""

    def __init__(self, c_dim, img_resolution, img_channels, **kwargs):
        super().__init__(c_dim, img_resolution, img_channels, input_channels=2 * img_channels, **kwargs)
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

    The published one lowered `raw_fade` by 1/15625 at every call (D-15); here it stays as it is set.
    """

    def __init__(self, c_dim, img_resolution, img_channels, raw_fade=1.0, **kwargs):
        super().__init__(c_dim, img_resolution, img_channels, **kwargs)
        self.raw_fade = raw_fade
        self.init_kwargs["raw_fade"] = raw_fade

    def forward(self, img, c, update_emas=False, draws=None, force_fp32=False):
        faded = {"image": img["image"], "image_raw": img["image_raw"] * self.raw_fade}
        return super().forward(faded, c, update_emas, draws, force_fp32)


class SingleDiscriminator(_CameraDiscriminator):
    """Sees the picture only."""

    def __init__(self, c_dim, img_resolution, img_channels, sr_upsample_factor=1, **kwargs):
        del sr_upsample_factor  # published argument without effect
        super().__init__(c_dim, img_resolution, img_channels, input_channels=img_channels, **kwargs)

    def forward(self, img, c, update_emas=False, draws=None, force_fp32=False):
        """img: dict with image [N, 3, S, S]; c [N, 25] -> logits [N, 1]."""
        del update_emas
        return self.score(img["image"], c, draws, force_fp32)
