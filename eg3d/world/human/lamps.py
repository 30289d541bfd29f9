"""The setting of a portrait: one to three lamps, the light of the surroundings, and a blurred backdrop.

Colours here are linear light, not the sRGB of the finished picture (`develop` turns one into the other).
"""

from dataclasses import dataclass, replace

import numpy as np

Colour = tuple[float, float, float]

BACKDROPS = np.array(  # sRGB
    [
        (0.46, 0.52, 0.60), (0.42, 0.50, 0.30), (0.62, 0.56, 0.48), (0.30, 0.30, 0.34), (0.72, 0.72, 0.70),
        (0.55, 0.38, 0.28), (0.33, 0.45, 0.58), (0.80, 0.76, 0.66), (0.22, 0.30, 0.20), (0.52, 0.44, 0.54),
        (0.60, 0.72, 0.86), (0.64, 0.62, 0.58), (0.36, 0.30, 0.26), (0.66, 0.52, 0.40),
    ]
)  # fmt: skip
WARM, COOL = np.array((1.0, 0.80, 0.58)), np.array((0.82, 0.92, 1.0))
FACING = np.array([(0, 0, 1), (0.5, 0, 0.87), (-0.5, 0, 0.87), (0, 0.45, 0.89), (0, -0.35, 0.94)])  # how faces turn
LEVELS = 32768  # of the table that develops a picture
BRIGHTEST = 4.0  # linear light beyond this is white


@dataclass(frozen=True)
class Lamp:
    """A far lamp: `toward` is the unit vector to it in the head frame, `colour` its light times its strength,
    `spread` (rad) half of what it spans as seen from the head: the size of its highlights."""

    toward: tuple[float, float, float]
    colour: Colour
    spread: float

    def mirrored(self) -> "Lamp":
        return replace(self, toward=(-self.toward[0], *self.toward[1:]))


@dataclass(frozen=True)
class Glow:
    """A blurred thing behind the person: exp(-|x|^power - |y|^power) of the colour, in fractions of the picture."""

    x: float
    y: float
    width: float
    height: float
    power: float
    colour: Colour  # what is added to the backdrop


@dataclass(frozen=True)
class Setting:
    """What does not make a person: light and backdrop."""

    lamps: tuple[Lamp, ...]  # the first casts the shadows
    sky: Colour  # light of the surroundings on what faces up
    ground: Colour  # and on what faces down
    top: Colour  # of the backdrop
    bottom: Colour
    glows: tuple[Glow, ...]

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Setting":
        uniform = rng.uniform
        side = rng.choice((-1.0, 1.0))
        warmth = rng.normal(0, 0.45)
        outside = uniform() < 0.35  # broad daylight: more light from the sky, softer lamps
        main = _lamp(rng, side * uniform(0.1, 1.15), uniform(0.15, 0.95), 1.0, warmth, (0.12, 0.45))
        lamps = [main]
        if uniform() < 0.65:
            fill = uniform(0.12, 0.5)
            lamps.append(
                _lamp(rng, -side * uniform(0.4, 1.3), uniform(-0.1, 0.6), fill, rng.normal(0, 0.5), (0.2, 0.5))
            )
        if uniform() < 0.45:
            rim = uniform(0.4, 1.6)
            behind = rng.choice((-1.0, 1.0)) * uniform(2.0, 2.7)
            lamps.append(_lamp(rng, behind, uniform(0.1, 0.9), rim, rng.normal(0, 0.7), (0.1, 0.3)))
        ambient = uniform(0.4, 0.9) if outside else uniform(0.16, 0.45)
        sky = ambient * _tint(rng.normal(-0.3 if outside else 0.1, 0.3))
        ground = sky * uniform(0.35, 0.75) * np.array((1.0, 0.93, 0.86))
        exposure = uniform(0.78, 1.08) / _brightness(lamps, sky, ground)
        lamps = tuple(replace(lamp, colour=_plain(exposure * np.asarray(lamp.colour))) for lamp in lamps)
        return cls(lamps, _plain(exposure * sky), _plain(exposure * ground), *_backdrop(rng))

    def mirrored(self) -> "Setting":
        return replace(
            self,
            lamps=tuple(lamp.mirrored() for lamp in self.lamps),
            glows=tuple(replace(glow, x=1 - glow.x) for glow in self.glows),
        )


def _plain(colour) -> Colour:
    return tuple(float(x) for x in colour)


def _tint(warmth: float) -> np.ndarray:
    """White at 0, the light of a bulb at 1, of the sky at -1."""
    return 1 + np.clip(abs(warmth), 0, 1.2) * ((WARM if warmth > 0 else COOL) - 1)


def _lamp(rng, azimuth: float, elevation: float, strength: float, warmth: float, spread) -> Lamp:
    toward = (np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation))
    return Lamp(_plain(toward), _plain(strength * _tint(warmth)), float(rng.uniform(*spread)))


def _brightness(lamps, sky: np.ndarray, ground: np.ndarray) -> float:
    """Mean light on the sides of a face; a photographer would expose for it."""
    up = 0.5 + 0.5 * FACING[:, 1:2]
    light = ground + (sky - ground) * up
    for lamp in lamps:
        light = light + np.clip(FACING @ np.asarray(lamp.toward), 0, 1)[:, None] * np.asarray(lamp.colour)
    return float(light.mean())


def _backdrop(rng: np.random.Generator):
    uniform = rng.uniform
    base = BACKDROPS[rng.integers(len(BACKDROPS))] * uniform(0.45, 1.2)
    other = base + uniform(0.2, 0.9) * (BACKDROPS[rng.integers(len(BACKDROPS))] - base)
    glows = []
    for _ in range(int(rng.choice((0, 2, 4, 7, 10)))):
        width = uniform(0.03, 0.35)
        glows.append(
            Glow(
                x=uniform(-0.1, 1.1),
                y=uniform(-0.1, 1.1),
                width=width,
                height=width * uniform(0.7, 2.5),
                power=float(rng.choice((2, 2, 4, 6))),
                colour=_plain(uniform(-0.35, 1.0) * linear(base) * rng.uniform(0.75, 1.25, 3)),
            )
        )
    shade = uniform(0.75, 1.0)
    return _plain(linear(np.clip(base, 0, 1))), _plain(linear(np.clip(other * shade, 0, 1))), tuple(glows)


def linear(srgb) -> np.ndarray:
    """sRGB in 0..1 -> linear light (IEC 61966-2-1)."""
    srgb = np.asarray(srgb, np.float64)
    return np.where(srgb <= 0.04045, srgb / 12.92, ((np.maximum(srgb, 0) + 0.055) / 1.055) ** 2.4)


def _table() -> np.ndarray:
    """Linear light in steps of BRIGHTEST / LEVELS -> uint8 sRGB; bright light bends towards white as on film."""
    light = (np.arange(LEVELS) + 0.5) * BRIGHTEST / LEVELS
    knee = 0.55
    bent = np.where(light < knee, light, knee + (1 - knee) * np.tanh((light - knee) / (1 - knee) * 0.8))
    srgb = np.where(bent <= 0.0031308, 12.92 * bent, 1.055 * bent ** (1 / 2.4) - 0.055)
    return np.clip(srgb * 255 + 0.5, 0, 255).astype(np.uint8)


_DEVELOPED = _table()


def develop(light: np.ndarray) -> np.ndarray:
    """Linear light [...] -> uint8 sRGB of the same shape."""
    return _DEVELOPED[np.clip(light * (LEVELS / BRIGHTEST), 0, LEVELS - 1).astype(np.int32)]


def backdrop(setting: Setting, size: int) -> np.ndarray:
    """What is behind the person: linear light float32 [size, size, 3]."""
    place = (np.arange(size, dtype=np.float64) + 0.5) / size
    top, bottom = np.asarray(setting.top), np.asarray(setting.bottom)
    picture = np.repeat((top + place[:, None] * (bottom - top))[:, None], size, axis=1)
    if setting.glows:
        g = [
            np.array([getattr(glow, name) for glow in setting.glows])[:, None] for name in ("x", "y", "width", "height")
        ]
        power = np.array([glow.power for glow in setting.glows])[:, None]
        across, down = (np.exp(-(np.abs((place - g[k]) / g[k + 2]) ** power)) for k in (0, 1))
        colours = np.array([glow.colour for glow in setting.glows])
        glowing = picture + np.einsum("ky,kx,kc->yxc", down, across, colours, optimize=True)
        picture = np.maximum(glowing, 0.3 * picture)
    return np.clip(picture, 0.003, BRIGHTEST).astype(np.float32)
