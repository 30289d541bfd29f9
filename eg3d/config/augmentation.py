"""What a run may ask of augmentation: which transforms, how often. `eg3d/training/augment_pipe.py` carries them out."""

import math
from dataclasses import dataclass, fields, replace

from groundwork.settings import FRACTION, POSITIVE, Need, at_least, check_settings, one_of, setting

MODES = ("noaug", "ada", "fixed")


@dataclass(frozen=True, kw_only=True)
class Transforms:
    """How often each transform happens, as a multiple of the common strength p; 0 turns it off.

    Karras et al. 2020 (StyleGAN2-ADA), appendix B.
    """

    xflip: float = 0.0
    rotate90: float = 0.0
    xint: float = 0.0  # shift by whole pixels
    scale: float = 0.0
    rotate: float = 0.0  # any angle
    aniso: float = 0.0  # other scale in x than in y
    xfrac: float = 0.0  # shift by fractions of a pixel
    brightness: float = 0.0
    contrast: float = 0.0
    lumaflip: float = 0.0  # dark for light
    hue: float = 0.0
    saturation: float = 0.0
    imgfilter: float = 0.0  # gains of four frequency bands
    noise: float = 0.0
    cutout: float = 0.0

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 <= value < math.inf:
                raise ValueError(f"augmentation: the multiplier {field.name}={value} must be a number >= 0; 0 is off")

    @property
    def move_pixels(self) -> bool:
        """Whether the camera label may stop being true."""
        return any(getattr(self, name) > 0 for name in GEOMETRIC)

    @property
    def per_pixel(self) -> bool:
        """Whether a pixel's new colour is a function of its old one alone."""
        return not self.move_pixels and self.imgfilter == self.noise == self.cutout == 0


GEOMETRIC = ("xflip", "rotate90", "xint", "scale", "rotate", "aniso", "xfrac")

# colour, ours: nothing that moves a pixel. The label says where the camera stood, how it was turned, and how it saw.
#   A flip mirrors the pose, a rotation rolls the camera, a scale changes focal length or distance, a shift the
#   principal point: D, told the old label, would learn that cameras do not mean what they say, and G that heads may
#   lean. A change of colour is true for every camera.
# bgc: as published ("blit, geometry, colour"), for sets too small to do without.
# bgcfnc: and the filter, noise and cutout, which are published, true for every camera, and on in no published run.
_COLOUR = Transforms(brightness=1, contrast=1, lumaflip=1, hue=1, saturation=1)
_BGC = replace(_COLOUR, **dict.fromkeys(GEOMETRIC, 1))
PIPES = {"colour": _COLOUR, "bgc": _BGC, "bgcfnc": replace(_BGC, imgfilter=1, noise=1, cutout=1)}


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """Augmentation of everything the discriminator sees (StyleGAN2-ADA, Karras et al. 2020)."""

    mode: str = setting(
        "noaug",
        flag="--aug",
        help="None, of a strength that adapts (ada), or fixed.",
        check=one_of(MODES),
    )
    pipe: str = setting(
        "colour",
        flag="--augpipe",
        help="What may change; colour moves no pixel, so that cameras stay true; bgc: as published.",
        check=one_of(PIPES),
        needs=(Need(lambda run: run.augment.mode != "noaug", "{augment.mode:ada} and {augment.mode:fixed}: add one"),),
    )
    p: float = setting(
        0.2,
        flag="--p",
        help="Strength of --aug=fixed.",
        check=FRACTION,
        needs=(Need(lambda run: run.augment.mode == "fixed", "{augment.mode:fixed}: add it", published=True),),
    )
    target: float = setting(
        0.6,
        flag="--target",
        help="Mean sign of D(real) that --aug=ada holds.",
        check=FRACTION,
        needs=(Need(lambda run: run.augment.mode == "ada", "{augment.mode:ada}: add it", published=True),),
    )
    # In which p can go from 0 to 1; published: 100 for a run that starts from weights.
    kimg: float = setting(500.0, check=POSITIVE, label="the augmentation's kimg")
    # Batches between two changes of p.
    interval: int = setting(4, check=at_least(1, "batch"), label="the augmentation's interval")

    def __post_init__(self):
        check_settings(self)

    @property
    def on(self) -> bool:
        """Whether the run needs a pipe."""
        return self.mode == "ada" or (self.mode == "fixed" and self.p > 0)

    @property
    def transforms(self) -> Transforms:
        return PIPES[self.pipe]
