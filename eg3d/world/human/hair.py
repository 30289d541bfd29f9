"""Hair of a person: style, cut, colour; where it grows on the scalp; how light plays on its strands.

Places are those of the base mesh: decimetres, +y up, +z out of the face, eyes at y = 7.28. So hair sits alike on every
head. `locks.py` grows the geometry.
"""

from dataclasses import dataclass, replace

import numpy as np

from eg3d.world.human.lamps import linear
from eg3d.world.human.pieces import dot, smooth, unit

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
    "fringe": Style(0.0, 0.10, (1.7, 2.8), (0.12, 0.2)),
    "wavy": Style(0.01, 0.14, (2.0, 2.8), (0.16, 0.28), (0.05, 0.09)),
    "long": Style(0.01, 0.14, (2.4, 3.0), (0.10, 0.18)),
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
PARTED = ("parted", "bob", "fringe", "wavy", "long")  # styles whose parting shows

GREY = linear((0.62, 0.615, 0.61)).astype(np.float32)

SCALP_CENTRE = np.array([0.0, 7.45, 0.45])  # middle of the skull
CROWN = np.array([0.0, 0.80, -0.60])  # direction of the whorl
# The hairline: elevation in degrees, seen from the scalp's centre, by azimuth (0 in front, 180 behind).
LINE_AZIMUTH = np.array([0, 22, 38, 48, 57, 64, 71, 78, 90, 103, 113, 130, 150, 180.0])
LINE_ELEVATION = np.array([35, 36, 34, 27, 12, -6, -13, -4, 5, -2, -22, -40, -46, -47.0])


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
    male = float(smooth(male, 0.2, 0.8))
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
    cover = np.zeros(len(rest), np.float32)
    y, z = rest[:, 1], rest[:, 2]
    near = np.flatnonzero((y > 6.65) & ((z < 1.0) | (y > 7.75)))  # nothing grows on the face
    offset = (rest[near] - SCALP_CENTRE.astype(np.float32)) * np.array([hair.side, 1, 1], np.float32)
    directions = unit(offset)
    x, y, z = offset.T
    ragged = 2.2 * np.sin(29 * x + 3 * np.sin(17 * z)) + 1.5 * np.sin(67 * x + 41 * z)
    sides = smooth(np.abs(x), 0.4, 0.65)
    grown = smooth(hairline_height(hair, directions) + ragged * (0.4 + 0.6 * sides), -2.5, 3.0)
    grown = grown * ~((np.abs(x) > 0.77) & (np.abs(z - 0.10) < 0.26) & (y < 0.06))  # the ear
    thin = hair.recession * smooth(directions @ unit(CROWN).astype(np.float32), 0.80, 0.97)
    if hair.style == "buzz":
        grown = grown * (0.62 - 0.35 * thin)
    elif hair.style == "receding":
        grown = grown * (1 - 0.75 * thin) * (0.65 + 0.35 * sides)
    elif hair.style in PARTED:
        parting = np.exp(-(((x - hair.parting - 0.012 * np.sin(23 * z)) / 0.016) ** 2)) * smooth(z, -0.1, 0.1)
        grown = grown * (1 - 0.4 * thin) * (1 - 0.45 * parting)
    else:
        grown = grown * (1 - 0.4 * thin)
    cover[near] = grown
    return cover


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
    fine = ripple(across * 120 + 2.0 * along)
    broad = ripple(across * 38 + 1.2 * along + 500)
    colour = np.asarray(hair.colour, np.float32)
    mixed = 4 * hair.grey * (1 - hair.grey)
    grey = np.clip(hair.grey + mixed * (0.16 * fine + 0.20 * broad), 0, 1)[:, None]
    level = (1 + 0.15 * fine + 0.13 * broad) * light
    return ((colour + grey * (GREY - colour)) * level[:, None]).astype(np.float32)


def hair_shade(hair: Hair, coords, tangents, normals, directions, lamps, ambient) -> np.ndarray:
    """Colour [P, 3] of points on strands (Kajiya & Kay 1989, with the two highlights of Marschner et al. 2003).

    Args: coords, tangents, normals [P, 3] of `Piece`; directions [P, 3]: unit, from the camera to the point;
    lamps: pairs of (unit vector toward the lamp [3], its colour [3] or, with shadows, [P, 3]);
    ambient: colour [3] or [P, 3].
    """
    albedo = strand_colour(hair, coords)
    jitter = 0.10 * ripple(coords[:, 0] * 90 + 900)
    towards = -directions
    normals = normals * np.sign(dot(normals, towards))[:, None]
    primary = unit(tangents + (jitter - 0.08)[:, None] * normals)
    secondary = unit(tangents + (jitter + 0.14)[:, None] * normals)
    colour = albedo * ambient
    for lamp, strength in lamps:
        lamp = np.asarray(lamp, np.float32)
        along = tangents @ lamp
        wrap = np.clip((normals @ lamp + 0.3) / 1.3, 0, 1)
        half = unit(towards + lamp)
        first, second = (np.clip(1 - dot(t, half) ** 2, 0, 1) for t in (primary, secondary))
        for _ in range(3):
            first, second = first * first, second * second
        white = np.square(np.square(first))  # sine to the 64th power; the tinted highlight is to the 16th
        shine = hair.gloss * wrap
        lit = albedo * (0.85 * np.sqrt(1 - np.minimum(along * along, 1)) * wrap + 0.8 * shine * second)[:, None]
        colour = colour + (lit + (0.06 * shine * white)[:, None]) * strength
    return colour.astype(np.float32)
