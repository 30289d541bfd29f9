"""The decoder: features -> a patch, in the two published forms and one of ours.

Sides double four times; for smaller patches the first doublings are left out (`vgg_encoder`).
"""

from collections import OrderedDict

import torch
from torch import nn

from redirection.interpgaze.vgg_encoder import POOLS, narrowed

V1 = ((512,), (256, 256, 256, 256), (128, 128, 128, 128), (64, 64), (64,))  # channels of each side's convolutions
V2 = ((512, 3), (512, 3), (256, 3), (128, 2), (64, 1))  # channels and number of convolutions of each side


def _layers_of_v1(before: int, divisor: int, ups: int, channels: int) -> list[nn.Module]:
    """From `before` channels of features to `channels` of a picture."""
    layers: list[nn.Module] = []
    for i, side in enumerate(V1):
        if i:  # what does nothing keeps the numbers in the names
            layers.append(nn.Upsample(scale_factor=2, mode="nearest") if i > POOLS - ups else nn.Identity())
        for width in side:
            conv = nn.Conv2d(before, before := narrowed(width, divisor), 3, padding=1)
            layers += [conv, nn.BatchNorm2d(before), nn.ReLU()]
    return [*layers, nn.Conv2d(before, channels, 3, padding=1)]


class DecoderV1(nn.Module):
    """G, published default: convolution, batch norm and ReLU; nearest neighbours between the sides.

    features [B, 512 / divisor, h, w] -> normalised patch [B, 3, 2^ups h, 2^ups w], without bounds
    """

    blends = False

    def __init__(self, divisor: int = 1, ups: int = POOLS):
        super().__init__()
        self.model = nn.Sequential(*_layers_of_v1(narrowed(V1[0][0], divisor), divisor, ups, 3))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.model(features)


class DecoderBlend(nn.Module):
    """Not published: v1 that draws only what moves, and keeps the rest of the source.

    Small networks cannot carry skin through 8 x 8 features. Decoder v2 has an option to add the source picture, which
    is off there; here a mask says where. Only true targets train it: reconstruction alone would teach it to keep all.
    """

    blends = True

    def __init__(self, divisor: int = 1, ups: int = POOLS):
        super().__init__()
        self.model = nn.Sequential(*_layers_of_v1(2 * narrowed(V1[0][0], divisor), divisor, ups, 4))
        *_, conv, _, _, last = self.model  # the last two convolutions also see the source, at its own size
        width, inputs = last.in_channels, conv.in_channels
        self.model[-4] = nn.Conv2d(inputs + 3, width, 3, padding=1)

    def forward(self, moved: torch.Tensor, features: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
        """Features after and before the move [B, C, h, w], source [B, 3, S, S] -> normalised patch [B, 3, S, S]."""
        x = self.model[:-4](torch.cat([moved, moved - features], 1))
        x = self.model[-4:](torch.cat([x, source], 1))
        return torch.lerp(source, x[:, :3], x[:, 3:].sigmoid())


class _Enlarge(nn.Module):
    """Twice the side by bilinear interpolation, or the same, then another width."""

    def __init__(self, before: int, after: int, factor: int):
        super().__init__()
        self.factor = factor
        self.interp_conv = nn.Conv2d(before, after, 3, padding=1)
        self.interp_norm = nn.BatchNorm2d(after)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        larger = nn.functional.interpolate(x, scale_factor=self.factor, mode="bilinear", align_corners=False)
        return self.interp_norm(self.interp_conv(larger))


class DecoderV2(nn.Module):
    """G, `--dec_type v2`: deeper, bilinear. `forward` is as that of `DecoderV1`.

    The published one also has four transposed convolutions that it never calls; they are left out here. It could not be
    built, as its names have a dot in the middle; here it is an underscore: `recon5.conv_1`.
    """

    blends = False

    def __init__(self, divisor: int = 1, ups: int = POOLS):
        super().__init__()
        before = narrowed(V2[0][0], divisor)
        for level, (channels, count) in zip(range(5, 0, -1), V2, strict=True):
            width = narrowed(channels, divisor)
            if level < 5:
                self.add_module(f"upsample{level}", _Enlarge(before, width, 2 if level <= ups else 1))
            parts: OrderedDict[str, nn.Module] = OrderedDict()
            for k in range(1, count + 1):
                parts |= {f"conv_{k}": nn.Conv2d(width, width, 3, padding=1), f"norm_{k}": nn.BatchNorm2d(width),
                          f"relu_{k}": nn.ReLU()}  # fmt: skip
            self.add_module(f"recon{level}", nn.Sequential(parts))
            before = width
        self.recon0 = nn.Conv2d(before, 3, 3, padding=1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        for layer in self.children():  # in the order in which they were added
            features = layer(features)
        return features


DECODERS = {"v1": DecoderV1, "v2": DecoderV2, "blend": DecoderBlend}
