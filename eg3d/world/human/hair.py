"""Hair of a person: style, cut, colour; where it grows on the scalp; how light plays on its strands.

Places are those of the base mesh: decimetres, +y up, +z out of the face, eyes at y = 7.28. So hair sits alike on every
head. `locks.py` grows the geometry.
"""

from dataclasses import dataclass, replace

import numpy as np

from eg3d.world.human.lamps import linear
from eg3d.world.human.pieces import smooth, unit

Colour = tuple[float, float, float]  # linear light, 0..1


@dataclass(frozen=True)
class Style:
    """What hairdressers would say: ranges of a style's lengths in decimetres, and how likely it is."""

    male: float  # share among men; the shares of a column need not sum to one
    female: float
    length: tuple[float, float]
    thickness: tuple[float, float]  # of the coat over the scalp
    curl: tuple[float, float] = (0.0, 0.02)  # amplitude of waves


STYLES = {
    "bald": Style(0.05, 0.0, (0, 0), (0, 0)),
    "buzz": Style(0.12, 0.01, (0, 0), (0, 0)),
    "receding": Style(0.14, 0.0, (0.25, 0.45), (0.03, 0.07)),
    "short": Style(0.20, 0.05, (0.35, 0.6), (0.08, 0.2)),
    "crop": Style(0.12, 0.03, (0.3, 0.5), (0.06, 0.14)),
    "parted": Style(0.16, 0.05, (0.6, 1.0), (0.10, 0.2)),
    "swept": Style(0.10, 0.04, (0.7, 1.1), (0.12, 0.24)),
    "curls": Style(0.05, 0.11, (0.7, 1.6), (0.25, 0.4), (0.06, 0.10)),
    "afro": Style(0.04, 0.06, (0.12, 0.2), (0.25, 0.6)),
    "bob": Style(0.0, 0.16, (1.7, 2.3), (0.12, 0.22)),
    "fringe": Style(0.0, 0.10, (1.7, 3.4), (0.12, 0.2)),
    "wavy": Style(0.01, 0.14, (2.4, 3.4), (0.16, 0.28), (0.05, 0.09)),
    "long": Style(0.01, 0.14, (2.8, 3.8), (0.10, 0.18)),
    "bun": Style(0.0, 0.08, (1.0, 1.0), (0.03, 0.07)),
    "tail": Style(0.0, 0.05, (1.0, 1.0), (0.03, 0.07)),
}

# Black, darkest brown, brown, light brown, red, dark blond, blond (sRGB).
COLOURS = np.array(
    [
        (0.070, 0.062, 0.060), (0.125, 0.092, 0.075), (0.22, 0.145, 0.10), (0.36, 0.245, 0.16), (0.47, 0.21, 0.10),
        (0.54, 0.41, 0.26), (0.76, 0.62, 0.42),
    ]
)  # fmt: skip
SHARES = np.array(  # of the colours, by ancestry (African, Asian, Caucasian)
    [
        (0.66, 0.24, 0.05, 0.02, 0.01, 0.01, 0.01),
        (0.60, 0.26, 0.08, 0.03, 0.01, 0.01, 0.01),
        (0.10, 0.20, 0.24, 0.19, 0.08, 0.11, 0.08),
    ]
)
GREY = linear((0.70, 0.695, 0.69)).astype(np.float32)

SCALP_CENTRE = np.array([0.0, 7.45, 0.45])  # middle of the skull
CROWN = np.array([0.0, 0.80, -0.60])  # direction of the whorl
# The hairline: elevation in degrees, seen from the scalp's centre, by azimuth (0 in front, 180 behind).
LINE_AZIMUTH = np.array([0, 22, 38, 48, 57, 64, 71, 78, 90, 103, 113, 130, 150, 180.0])
LINE_ELEVATION = np.array([38, 39, 38, 31, 17, 0, -9, -3, 6, -2, -22, -40, -46, -47.0])


@dataclass(frozen=True)
class Hair:
    """Every number of a person's hair."""

    style: str
    side: int  # +1: parted on the subject's left; -1: all of it is the mirror image
    seed: int  # of the locks
    length: float  # of a lock, in decimetres
    thickness: float
    parting: float  # distance of the parting from the middle
    curl: float
    tousle: float  # disorder of directions, 0..1
    forward: float  # share of long hair that falls before the shoulders
    hairline: float  # degrees by which the hairline lies higher
    recession: float  # 0 none .. 1: bare temples, thin crown
    colour: Colour
    grey: float  # share of grey strands
    gloss: float

    @classmethod
    def draw(cls, rng: np.random.Generator, male: float, age: float, ancestry: tuple[float, float, float]) -> "Hair":
        """Hair that is likely for a person. male: 0..1, age in years, ancestry: shares African, Asian, Caucasian."""
        uniform = rng.uniform
        style = _draw_style(rng, male, age, ancestry)
        cut = STYLES[style]
        shares = np.asarray(ancestry) @ SHARES
        colour = COLOURS[rng.choice(len(COLOURS), p=shares / shares.sum())] * uniform(0.85, 1.2)
        dyed = uniform() < 0.5 * (1 - male)
        recession = male * float(np.clip((age - 20) / 40, 0, 1)) * uniform() ** 1.5
        return cls(
            style=style,
            side=1 if uniform() < 0.5 else -1,
            seed=int(rng.integers(1 << 31)),
            length=uniform(*cut.length),
            thickness=uniform(*cut.thickness),
            parting=uniform(0.03, 0.36),
            curl=uniform(*cut.curl),
            tousle=uniform(0.15, 1.0),
            forward=uniform(0, 1),
            hairline=uniform(-3, 4) + 2 * male,
            recession=uniform(0.55, 1.0) if style == "receding" else recession,
            colour=tuple(float(c) for c in linear(np.clip(colour, 0, 1))),
            grey=float(np.clip((age - 32 - uniform(0, 22)) / 30, 0, 1)) * (0.15 if dyed else 1.0),
            gloss=uniform(0.4, 1.0),
        )

    def mirrored(self) -> "Hair":
        """The same hair in a mirror."""
        return replace(self, side=-self.side)


def _draw_style(rng: np.random.Generator, male: float, age: float, ancestry: tuple[float, float, float]) -> str:
    african, asian, _ = ancestry
    likely = {
        "bald": (age > 28) * (0.5 + age / 60),
        "receding": smooth(age, 25, 50) * 1.6,
        "afro": 6 * african,
        "curls": 1 + 1.5 * african - 0.7 * asian,
        "buzz": 1 + 1.5 * african,
    }
    shares = np.array(
        [(male * s.male + (1 - male) * s.female) * likely.get(n, 1 - 0.6 * african) for n, s in STYLES.items()]
    )
    return str(rng.choice(list(STYLES), p=shares / shares.sum()))


def hairline_height(hair: Hair, directions: np.ndarray) -> np.ndarray:
    """Degrees by which unit directions [..., 3] from the scalp's centre lie above the hairline."""
    x, y, z = np.moveaxis(directions, -1, 0)
    azimuth = np.degrees(np.abs(np.arctan2(x, z)))
    line = np.interp(azimuth, LINE_AZIMUTH, LINE_ELEVATION)
    front = 1 - smooth(azimuth, 60, 75)
    temples = np.exp(-(((azimuth - 36) / 15) ** 2))
    line = line + hair.hairline * front + hair.recession * (22 * temples + 9 * front)
    return np.degrees(np.arcsin(np.clip(y, -1, 1))) - line


def scalp_cover(hair: Hair, rest: np.ndarray) -> np.ndarray:
    """How much of the skin [P] at places [P, 3] of the base mesh the roots of the hair hide: 0..1, soft at its edge."""
    if hair.style == "bald":
        return np.zeros(len(rest), np.float32)
    mirror = np.array([hair.side, 1, 1])
    offset = (rest - SCALP_CENTRE) * mirror
    directions = unit(offset)
    above = hairline_height(hair, directions)
    ragged = 2.2 * np.sin(29 * offset[:, 0] + 3 * np.sin(17 * offset[:, 2])) + 1.5 * np.sin(
        67 * offset[:, 0] + 41 * offset[:, 2]
    )
    sides = smooth(np.abs(offset[:, 0]), 0.4, 0.65)
    cover = smooth(above + ragged * (0.4 + 0.6 * sides), -1.5, 5.0)
    ear = (
        (np.abs(offset[:, 0]) > 0.70) & (np.abs(offset[:, 2] - 0.10) < 0.26) & (offset[:, 1] < 0.12)
    )  # the ear's own skin
    cover = cover * ~ear
    thin = hair.recession * smooth(directions @ unit(CROWN), 0.80, 0.97)
    if hair.style == "buzz":
        return (cover * (0.62 - 0.35 * thin)).astype(np.float32)
    if hair.style == "receding":
        return (cover * (1 - 0.75 * thin) * (0.65 + 0.35 * sides)).astype(np.float32)
    if hair.style in ("parted", "bob", "wavy", "long", "fringe", "swept"):
        line = offset[:, 0] - hair.parting - 0.012 * np.sin(23 * offset[:, 2])
        parting = np.exp(-((line / 0.016) ** 2)) * smooth(offset[:, 2], -0.1, 0.1) * (hair.style != "swept")
        cover = cover * (1 - 0.6 * parting)
    return (cover * (1 - 0.4 * thin)).astype(np.float32)


_STRANDS = np.random.default_rng(7).uniform(-1, 1, 4096).astype(np.float32)


def ripple(at: np.ndarray) -> np.ndarray:
    """Smooth noise in -1..1 along a line, one knot per unit."""
    knot = np.floor(at).astype(np.int64)
    t = (at - knot).astype(np.float32)
    a, b = _STRANDS[knot & 4095], _STRANDS[(knot + 1) & 4095]
    return a + t * t * (3 - 2 * t) * (b - a)


def strand_colour(hair: Hair, coords: np.ndarray) -> np.ndarray:
    """Albedo [P, 3] by (place across the strands in decimetres, place along them 0..1, brightness)."""
    across, along, light = coords.T
    fine = ripple(across * 210 + 2.0 * along)
    broad = ripple(across * 60 + 1.2 * along + 500)
    colour = np.asarray(hair.colour, np.float32)
    grey = smooth(0.5 * fine + 0.5 * broad + 2 * hair.grey - 1, -0.45, 0.45)[:, None]
    level = (1 + 0.22 * fine + 0.16 * broad) * light
    return ((colour + grey * (GREY - colour)) * level[:, None]).astype(np.float32)


def hair_shade(hair: Hair, coords, tangents, normals, directions, lamps, ambient) -> np.ndarray:
    """Colour [P, 3] of points on strands (Kajiya & Kay 1989, with the two highlights of Marschner et al. 2003).

    Args: coords, tangents, normals [P, 3] of `Piece`; directions [P, 3]: unit, from the camera to the point;
    lamps: pairs of (unit vector toward the lamp [3], its colour [3] or, with shadows, [P, 3]);
    ambient: colour [3] or [P, 3].
    """
    albedo = strand_colour(hair, coords)
    jitter = 0.10 * ripple(coords[:, 0] * 90 + 900)
    toward = -directions
    facing = np.sign((normals * toward).sum(-1, keepdims=True))
    normals = unit(normals * facing)
    primary = unit(tangents + (jitter - 0.08)[:, None] * normals)
    secondary = unit(tangents + (jitter + 0.14)[:, None] * normals)
    colour = albedo * ambient
    for lamp, strength in lamps:
        lamp = np.asarray(lamp, np.float32)
        along = tangents @ lamp
        wrap = np.clip((normals @ lamp + 0.3) / 1.3, 0, 1)
        half = unit(toward + lamp)
        first, second = (np.clip(1 - (t * half).sum(-1) ** 2, 0, 1) for t in (primary, secondary))
        diffuse = np.sqrt(np.clip(1 - along**2, 0, 1)) * wrap
        shine = wrap * hair.gloss
        lit = albedo * (0.85 * diffuse + 0.9 * shine * second**10)[:, None] + (0.10 * shine * first**45)[:, None]
        colour = colour + lit * strength
    return colour.astype(np.float32)
