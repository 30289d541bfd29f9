"""InterpGaze as a whole: encoder, controller and decoder, their configuration, and how patches go in and come out.

Controllable Continuous Gaze Redirection (Xia et al. 2020), section 3: x_g = G(C(E(x_s), E(x_t), v)).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from groundwork.plain import check_one_of, check_types
from redirection.attributes import PUBLISHED, Attributes
from redirection.interpgaze.controller import Controller
from redirection.interpgaze.latent_discriminator import WIDTH as CRITIC_WIDTH
from redirection.interpgaze.latent_discriminator import LatentDiscriminator
from redirection.interpgaze.patch_decoder import DECODERS
from redirection.interpgaze.vgg_encoder import SIDE, WIDTH, Encoder, narrowed

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet, as VGG-19 expects
SIZES, DIVISORS = (32, 64, 128), (1, 2, 4, 8, 16)  # of patches; of widths
# The published crop was made for photos of faces, and takes the right edge of an eye patch.
FACE_CROP, FACE_SHIFT = 160, 15


@dataclass(frozen=True, kw_only=True)
class InterpGazeConfig:
    """All that is needed to build the networks. The defaults are the published ones.

    size: side of a patch, pixels. divisor: how many times narrower all layers are; the narrowest has 16 channels.
    attributes: as of `redirection.attributes`. decoder: v1, v2, or blend, which is not published.
    legacy_crop, legacy_scale: the published input, the wrong part of a patch and values of 0 to 255 where 0 to 1 is
    meant. Weights that were trained so need patches that are given so.
    """

    size: int = 128
    divisor: int = 1
    attributes: str = PUBLISHED
    decoder: str = "v1"
    legacy_crop: bool = False
    legacy_scale: bool = False

    def __post_init__(self):
        check_types(self)
        for name, choices in (("size", SIZES), ("divisor", DIVISORS)):
            if (value := getattr(self, name)) not in choices:
                raise ValueError(f"{name}={value} must be one of {', '.join(map(str, choices))}")
        check_one_of("decoder", self.decoder, DECODERS)
        Attributes.parse(self.attributes)

    def build(self) -> "InterpGaze":
        return InterpGaze(self)

    @property
    def groups(self) -> Attributes:
        return Attributes.parse(self.attributes)

    @property
    def width(self) -> int:
        """Channels of the features."""
        return narrowed(WIDTH, self.divisor)

    @property
    def halvings(self) -> int:
        """Of the side of a patch, until its features are 8 x 8."""
        return (self.size // SIDE).bit_length() - 1


class InterpGaze(nn.Module):
    """What redirects: source, reference [B, 3, S, S] (`network_input`), v [B, branches] -> [B, 3, S, S]."""

    def __init__(self, config: InterpGazeConfig):
        super().__init__()
        self.config = self.architecture = config
        self.encoder = Encoder(config.divisor, config.halvings)
        self.controller = Controller(config.width, config.groups.branches)
        self.decoder = DECODERS[config.decoder](config.divisor, config.halvings)

    def forward(self, source: torch.Tensor, reference: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        of_source = self.encoder(source)
        return self.draw(source, of_source, self.controller(of_source, self.encoder(reference), v))

    def draw(self, source: torch.Tensor, of_source: torch.Tensor, moved: torch.Tensor) -> torch.Tensor:
        """The patch [B, 3, S, S] of features that were moved; of_source: those of the source, before."""
        return self.decoder(moved, of_source, source) if self.decoder.blends else self.decoder(moved)


def make_critic(config: InterpGazeConfig) -> LatentDiscriminator:
    """D, with a head for each group of attributes."""
    return LatentDiscriminator(config.width, config.groups.lengths, narrowed(CRITIC_WIDTH, config.divisor))


def make_transform(config: InterpGazeConfig) -> nn.Conv2d:
    """KG: a 1x1 convolution from the encoder's features to the teacher's."""
    return nn.Conv2d(config.width, WIDTH, 1)


def network_input(patches: torch.Tensor, config: InterpGazeConfig) -> torch.Tensor:
    """uint8 RGB [B, 3, h, w] -> normalised float32 [B, 3, size, size]."""
    x = patches.float()
    if config.legacy_crop:
        x = _crop_of_a_face(x)
    if x.shape[-2:] != (config.size, config.size):
        x = F.interpolate(x, (config.size, config.size), mode="bilinear", antialias=True)
    x = x if config.legacy_scale else x / 255
    return (x - _channels(MEAN, x)) / _channels(STD, x)


def picture(output: torch.Tensor, config: InterpGazeConfig) -> torch.Tensor:
    """What the decoder gives -> RGB in [0, 1], clamped."""
    rgb = output * _channels(STD, output) + _channels(MEAN, output)
    return (rgb / 255 if config.legacy_scale else rgb).clamp(0, 1)


def _channels(values: tuple[float, ...], like: torch.Tensor) -> torch.Tensor:
    return like.new_tensor(values).view(-1, 1, 1)


def _crop_of_a_face(x: torch.Tensor) -> torch.Tensor:
    """The published crop: 160 x 160, 15 pixels to the right, the edge repeated to the left and right.

    An eye patch is smaller, and starts that are negative count from the end. Of 64 x 64 pixels remain rows 16 to 63
    and the last three columns with 15 copies of the last.
    """
    x = F.pad(x, (FACE_SHIFT, FACE_SHIFT, 0, 0), mode="replicate")
    top, left = (x.shape[-2] - FACE_CROP) // 2, (x.shape[-1] - FACE_CROP) // 2 + FACE_SHIFT
    return x[..., top : x.shape[-2], left : min(left + FACE_CROP, x.shape[-1])]
