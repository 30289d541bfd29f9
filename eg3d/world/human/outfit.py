"""What a person wears: glasses and clothes, and their paint. `glasses.py` and `garments.py` make the geometry."""

from dataclasses import dataclass, replace

import numpy as np

from eg3d.world.human.hair import Colour, ripple
from eg3d.world.human.lamps import linear

FRAMES = ("round", "panto", "rectangle", "aviator", "cat")
GARMENTS = ("tee", "v-neck", "shirt", "jumper", "turtleneck", "blouse", "jacket")
GARMENT_SHARES = np.array([0.24, 0.14, 0.20, 0.16, 0.07, 0.10, 0.09])
CLOTH = np.array(  # sRGB
    [
        (0.93, 0.93, 0.92), (0.86, 0.84, 0.80), (0.12, 0.12, 0.13), (0.22, 0.23, 0.26), (0.13, 0.17, 0.30),
        (0.22, 0.34, 0.56), (0.55, 0.66, 0.80), (0.55, 0.15, 0.16), (0.74, 0.30, 0.26), (0.24, 0.36, 0.27),
        (0.46, 0.45, 0.33), (0.80, 0.66, 0.32), (0.62, 0.48, 0.38), (0.45, 0.28, 0.42), (0.85, 0.62, 0.64),
        (0.50, 0.52, 0.55),
    ]
)  # fmt: skip
FRAME_COLOURS = np.array(  # sRGB: black, tortoise, brown, clear, gold, silver, gun metal, red, blue
    [
        (0.06, 0.06, 0.065), (0.30, 0.17, 0.09), (0.22, 0.14, 0.10), (0.72, 0.70, 0.66), (0.72, 0.56, 0.32),
        (0.70, 0.71, 0.73), (0.28, 0.28, 0.30), (0.45, 0.10, 0.11), (0.12, 0.18, 0.34),
    ]
)  # fmt: skip
METAL = (4, 5, 6)


@dataclass(frozen=True)
class Outfit:
    """Every number of what a person wears."""

    side: int  # +1; -1: the mirror image
    frame: str  # of FRAMES, or "none"
    frame_colour: Colour
    metal: bool
    rim: float  # half width of the rim, in decimetres
    lens: float  # width of a lens, 1: as usual
    garment: str
    cloth: Colour
    second: Colour  # of collar, stripes, or the shirt below
    stripes: float  # per decimetre; 0: plain
    looseness: float  # distance of the cloth from the skin, in decimetres
    neckline: float  # 0 high .. 1 wide

    @classmethod
    def draw(cls, rng: np.random.Generator, male: float, age: float, ancestry: tuple[float, float, float]) -> "Outfit":
        """Clothes and, on about one of eight, glasses. male: 0..1, age in years; ancestry changes nothing."""
        uniform = rng.uniform
        likely = GARMENT_SHARES * np.array([1, 1, 1, 1, 1, 2 * (1 - male), 0.6 + 0.4 * male])
        garment = str(rng.choice(GARMENTS, p=likely / likely.sum()))
        cloth, second = CLOTH[rng.integers(len(CLOTH), size=2)] * uniform(0.85, 1.06, (2, 1))
        if garment == "jacket":
            cloth, second = cloth * 0.55, np.maximum(second, CLOTH[0] * uniform(0.7, 1.0))
        if uniform() < 0.6:
            second = cloth * uniform(0.85, 1.0)
        worn = uniform() < 0.06 + 0.12 * float(np.clip((age - 25) / 40, 0, 1)) + 0.02
        colour = int(rng.integers(len(FRAME_COLOURS)))
        metal = colour in METAL
        return cls(
            side=1,
            frame=str(rng.choice(FRAMES)) if worn else "none",
            frame_colour=_plain(FRAME_COLOURS[colour]),
            metal=metal,
            rim=uniform(0.006, 0.009) if metal else uniform(0.010, 0.022),
            lens=uniform(0.92, 1.08),
            garment=garment,
            cloth=_plain(cloth),
            second=_plain(second),
            stripes=uniform(4, 14) if uniform() < 0.16 and garment != "jacket" else 0.0,
            looseness=uniform(0.03, 0.07),
            neckline=uniform(0, 1),
        )

    def mirrored(self) -> "Outfit":
        """The same clothes in a mirror."""
        return replace(self, side=-self.side)


def _plain(srgb) -> Colour:
    return tuple(float(c) for c in linear(np.clip(srgb, 0, 1)))


def cloth_paint(outfit: Outfit, coords: np.ndarray, pixel: float) -> np.ndarray:
    """Albedo [P, 3] (linear light) of clothes at coords [P, 3]: (round the neck, from the neckline outward: both in
    decimetres; 0 cloth .. 1 second colour). pixel: its width in decimetres."""
    around, outward, which = coords.T
    cloth, second = np.asarray(outfit.cloth, np.float32), np.asarray(outfit.second, np.float32)
    colour = cloth + which[:, None] * (second - cloth)
    if outfit.stripes:
        stripe = (np.abs((outward * outfit.stripes) % 1 - 0.5) < 0.25) & (which < 0.5)
        colour = np.where(stripe[:, None], second * 0.9, colour)
    weave = ripple(around * 130) + ripple(outward * 130 + 300)
    return (colour * (1 + 0.05 * min(1.0, 0.012 / pixel) * weave[:, None])).astype(np.float32)


def frame_paint(outfit: Outfit, coords: np.ndarray) -> np.ndarray:
    """Albedo [P, 3] of the frame of glasses at coords [P, 3] (decimetres)."""
    mottle = 0.0 if outfit.metal else 0.25
    level = 1 + mottle * ripple(coords[:, 0] * 17) * ripple(coords[:, 1] * 23 + 100)
    return (np.asarray(outfit.frame_colour, np.float32) * level[:, None]).astype(np.float32)
