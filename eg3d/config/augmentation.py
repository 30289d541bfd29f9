"""What a run may ask of augmentation: which transforms, how often. `eg3d/training/augment_pipe.py` carries them out."""

import math
from dataclasses import dataclass, fields, replace

MODES = ("noaug", "ada", "fixed")


@dataclass(frozen=True, kw_only=True)
class Transforms:
    """How often each transform happens, as a multiple of the common strength p; 0 turns it off (spec section 8)."""

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

    mode: str = "noaug"
    pipe: str = "colour"
    p: float = 0.2  # strength of mode `fixed`
    target: float = 0.6  # mode `ada` holds the mean sign of D(real) here
    kimg: float = 500.0  # in which p can go from 0 to 1; published: 100 for a run that starts from weights
    interval: int = 4  # batches between two changes of p

    def __post_init__(self):
        _one_of("--aug", self.mode, MODES)
        _one_of("--augpipe", self.pipe, tuple(PIPES))
        for flag, value in (("--p", self.p), ("--target", self.target)):
            if not 0 <= value <= 1:
                raise ValueError(f"{flag}={value} must be a number from 0 to 1")
        if not 0 < self.kimg < math.inf:
            raise ValueError(f"the augmentation's kimg={self.kimg} must be a number > 0")
        if self.interval < 1:
            raise ValueError(f"the augmentation's interval={self.interval} must be at least 1 batch")

    @property
    def on(self) -> bool:
        """Whether the run needs a pipe."""
        return self.mode == "ada" or (self.mode == "fixed" and self.p > 0)

    @property
    def transforms(self) -> Transforms:
        return PIPES[self.pipe]


def _one_of(flag: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{flag}={value} is unknown; use one of {', '.join(choices)}")
