"""The skin of a person: its tone, and how much pigment and blood it has where.

Skin is a tone seen through two absorbers, melanin and blood. A freckle, a lip, a blush and a mole each add some of
them, and so look right on every tone. Where they lie is keyed by the place on the base mesh (decimetres; +y up, +z out
of the face, the eyes at y = 7.28, the tip of the nose at (0, 6.92, 1.68)), so that they move with the skin.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from scipy.ndimage import gaussian_filter

from eg3d.world.human.eyeballs import Iris
from eg3d.world.human.lamps import linear

TONES = np.array(  # sRGB from very light to very dark
    [
        (0.915, 0.780, 0.715), (0.890, 0.735, 0.650), (0.855, 0.680, 0.575), (0.790, 0.605, 0.490),
        (0.705, 0.515, 0.400), (0.595, 0.415, 0.310), (0.475, 0.320, 0.240), (0.360, 0.240, 0.185),
    ]
)  # fmt: skip
TYPICAL_TONE = np.array([0.78, 0.33, 0.14])  # by ancestry (African, Asian, Caucasian)
MELANIN = np.array([0.62, 1.00, 1.38], np.float32)  # what one unit absorbs of red, green, blue
BLOOD = np.array([0.14, 1.00, 0.82], np.float32)
PORES, ROUGH = 0.0085, 0.02  # decimetres; how far they tilt the normal
SIDE = 64  # of the grid of noise
SPOT_TABLE = 4096
FACE_RADIUS = 0.9  # decimetres: of the cylinder on which the skin is unrolled


@dataclass(frozen=True)
class Complexion:
    """Every number of a person's skin and irises. Densities are in units of the two absorbers."""

    side: int  # +1; -1: the mirror image of every spot
    tone: float  # 0 very light .. 1 very dark
    olive: float  # -1 rosy .. 1 yellow
    blush: float  # blood in the cheeks
    nose: float  # blood in the nose
    ears: float
    lips: float
    lip_colour: float  # melanin in the lips
    circles: float  # dark rings below the eyes
    mottle: float  # uneven colour
    freckles: float  # share of places that have one
    moles: float
    spots: float  # of age
    lines: float  # depth of the lines of age
    oil: float  # strength of the sheen
    grain: float  # contrast of pores
    seed: int
    iris: Iris

    @classmethod
    def draw(
        cls, rng: np.random.Generator, male: float, age: float, ancestry: tuple[float, float, float]
    ) -> "Complexion":
        """Skin that is likely for a person. male: 0..1, age in years, ancestry: shares African, Asian, Caucasian."""
        uniform = rng.uniform
        usual = float(np.asarray(ancestry) @ TYPICAL_TONE)
        tone = float(np.clip(rng.normal(usual, 0.09), 0.0, 1.0)) if uniform() < 0.93 else uniform(0, 1)
        fair = max(0.0, 1 - 2.2 * tone)
        old = float(np.clip((age - 30) / 45, 0, 1))
        painted = uniform() < 0.45 * (1 - male) ** 2  # lipstick
        return cls(
            side=1,
            tone=tone,
            olive=float(np.clip(rng.normal(0.25 * (ancestry[1] - 0.3), 0.4), -1, 1)),
            blush=uniform(0.02, 0.22) + 0.22 * fair * uniform(),
            nose=uniform(0.02, 0.16) + 0.2 * fair * uniform() ** 2,
            ears=uniform(0.05, 0.35),
            lips=uniform(0.75, 1.7) if painted else uniform(0.28, 0.62),
            lip_colour=uniform(0.0, 0.5) if painted else uniform(0.05, 0.22),
            circles=uniform(0.0, 0.22) + 0.12 * old,
            mottle=uniform(0.012, 0.04) + 0.02 * old,
            freckles=uniform(0.1, 0.7) if uniform() < 0.30 * fair + 0.03 else 0.0,
            moles=uniform(0.0, 0.16) if uniform() < 0.7 else 0.0,
            spots=uniform(0, 0.25) * old,
            lines=old * uniform(0.5, 1.0) + 0.12 * uniform(),
            oil=uniform(0.35, 1.0),
            grain=uniform(0.5, 1.0) + 0.3 * old,
            seed=int(rng.integers(1 << 31)),
            iris=Iris.draw(rng, tone, age, ancestry),
        )

    def mirrored(self) -> "Complexion":
        return replace(self, side=-self.side)

    @property
    def colour(self) -> np.ndarray:
        """Linear light [3] that plain skin of this person reflects."""
        place = self.tone * (len(TONES) - 1)
        low = min(int(place), len(TONES) - 2)
        srgb = TONES[low] + (place - low) * (TONES[low + 1] - TONES[low])
        return (linear(srgb) * (1 + self.olive * np.array((-0.02, 0.03, -0.10)))).astype(np.float32)


def _blob(rest: np.ndarray, x: float, y: float, sx: float, sy: float) -> np.ndarray:
    """A soft spot on the front of the face, on both sides of the middle: [V]."""
    front = np.clip((rest[:, 2] - 0.55) / 0.5, 0, 1)
    return front * np.exp(-(((np.abs(rest[:, 0]) - x) / sx) ** 2) - ((rest[:, 1] - y) / sy) ** 2)


@lru_cache(maxsize=2)
def _zones(key: bytes, count: int) -> dict[str, np.ndarray]:
    rest = np.frombuffer(key, np.float32).reshape(count, 3)
    nose = _blob(rest, 0.0, 6.93, 0.13, 0.15) + 0.6 * _blob(rest, 0.15, 6.90, 0.10, 0.10)
    return {
        "cheeks": _blob(rest, 0.44, 6.93, 0.24, 0.22),
        "nose": nose,
        "forehead": _blob(rest, 0.0, 7.75, 0.6, 0.25),
        "circles": _blob(rest, 0.27, 7.13, 0.16, 0.07),
        "around_eyes": _blob(rest, 0.31, 7.29, 0.27, 0.14),
        "jaw": _blob(rest, 0.25, 6.40, 0.5, 0.30),
        "oily": np.clip(
            nose + 0.7 * _blob(rest, 0.0, 7.68, 0.33, 0.2) + 0.5 * _blob(rest, 0.42, 7.03, 0.16, 0.1)
            + 0.45 * _blob(rest, 0.0, 6.40, 0.15, 0.1), 0, 1.2,
        ),
        "freckled": np.clip(1.3 * _blob(rest, 0.28, 7.0, 0.32, 0.25) + 0.5 * _blob(rest, 0, 7.6, 0.5, 0.3), 0, 1),
    }  # fmt: skip


def skin_vertices(skin: Complexion, rest: np.ndarray, masks: dict[str, np.ndarray]) -> np.ndarray:
    """Per vertex of the bare head float32 [V, 4]: melanin, blood, sheen, share of freckles.

    rest [V, 3]: places on the base mesh; masks: "lips", "lids", "ears", each [V] in 0..1.
    """
    rest = np.ascontiguousarray(rest, np.float32)
    z = _zones(rest.tobytes(), len(rest))
    lips, lids, ears = masks["lips"], masks["lids"], masks["ears"]
    own = (rest * np.array((skin.side, 1, 1), np.float32)).T
    broad = _noise(skin, own, 0.11)  # blotches of some centimetres
    other = _noise(skin, own[[2, 0, 1]], 0.07)
    bare = 1 - lips
    blood = (
        skin.blush * z["cheeks"] + skin.nose * z["nose"] - 0.05 * z["forehead"] + 0.10 * z["around_eyes"]
        + skin.ears * ears + 0.10 * lids + 0.06 * z["jaw"] * (1 - skin.tone) + skin.mottle * broad
    ) * bare + skin.lips * lips  # fmt: skip
    melanin = (
        skin.circles * z["circles"] + 0.10 * z["around_eyes"] + 0.12 * lids + 0.7 * skin.mottle * other
        - 0.04 * z["cheeks"]
    ) * bare + skin.lip_colour * lips  # fmt: skip
    sheen = skin.oil * (0.45 + 0.75 * z["oily"]) * bare + (0.75 + 0.3 * skin.oil) * lips
    return np.stack([melanin, blood, sheen, z["freckled"] * bare], axis=1).astype(np.float32)


def skin_paint(
    skin: Complexion, coats: np.ndarray, rest: np.ndarray, pixel: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coats [4, P] (`skin_vertices`, interpolated) at places rest [3, P] -> colour [3, P] (linear), sheen [P], and
    what pores add to the normal [2, P] (x, y).

    pixel: width of a pixel in decimetres; what is finer is blurred by it.
    """
    melanin, blood, sheen, freckled = coats
    rest = np.concatenate([rest[:1] * np.float32(skin.side), rest[1:]])
    finer = np.float32(min(1.0, PORES / pixel))
    grain = _noise(skin, rest, PORES) * finer
    patch = _noise(skin, rest[[1, 2, 0]], 0.028) * np.float32(min(1.0, 0.028 / pixel))
    melanin = melanin + np.float32(0.035 * skin.grain) * grain + np.float32(0.3 * skin.mottle) * patch
    blood = blood + np.float32(0.45 * skin.mottle) * patch
    if skin.freckles or skin.spots or skin.moles:
        around = np.float32(FACE_RADIUS) * np.arctan2(rest[0], rest[2] - np.float32(0.3))
        flat = np.stack([around, rest[1]])
    if skin.freckles:
        melanin += freckled * np.float32(0.5) * _spots(skin, flat, 0.042, skin.freckles, (0.13, 0.30), pixel)
    if skin.spots:
        melanin += np.float32(0.3) * _spots(skin, flat + np.float32(51), 0.16, skin.spots, (0.10, 0.30), pixel)
    if skin.moles:
        melanin += np.float32(1.4) * _spots(skin, flat + np.float32(93), 0.30, skin.moles, (0.022, 0.06), pixel)
    colour = skin.colour[:, None] * np.exp(-(MELANIN[:, None] * melanin + BLOOD[:, None] * blood))
    rough = np.float32(ROUGH * skin.grain)
    tilt = np.stack([rough * grain * np.float32(skin.side), rough * finer * _noise(skin, rest[[2, 0, 1]], PORES)])
    return colour, sheen * (1 + np.float32(0.25 * skin.grain) * grain), tilt


def _spots(skin: Complexion, flat: np.ndarray, cell: float, share: float, radii, pixel: float) -> np.ndarray:
    """Round spots, at most one in a square of side `cell`, in a share of the squares: density float32 [P] in 0..1.

    flat [2, P]: places on the skin unrolled; radii: range, as parts of the cell. A spot narrower than a pixel is drawn
    wider and fainter.
    """
    place = flat * np.float32(1 / cell)
    square = np.floor(place)
    index = square.astype(np.int32)
    row = (index[0] * 73856093 ^ index[1] * 19349663 ^ skin.seed) & (SPOT_TABLE - 1)
    drawn = np.flatnonzero(_spot_table()[3, row] < share)
    x, y, size, _, strength = _spot_table()[:, row[drawn]]
    radius = np.float32(radii[0]) + np.float32(radii[1] - radii[0]) * size**2
    wide = np.maximum(radius, np.float32(0.6 * pixel / cell))
    inner, span = np.float32(radii[1]), np.float32(1 - 2 * radii[1])
    away = (place - square)[:, drawn]
    distance = np.hypot(away[0] - inner - span * x, away[1] - inner - span * y)
    density = np.zeros(flat.shape[1], np.float32)
    edge = np.clip((wide - distance) / (np.float32(0.5) * wide) + np.float32(0.25), 0, 1) * (radius / wide) ** 2
    density[drawn] = edge * (np.float32(0.4) + np.float32(0.6) * strength)
    return density


@lru_cache(maxsize=1)
def _spot_table() -> np.ndarray:
    return np.random.default_rng(14).random((5, SPOT_TABLE), dtype=np.float32)


@lru_cache(maxsize=1)
def _volume() -> np.ndarray:
    """Smooth noise of mean 0 and deviation 1 on a periodic grid, float32 [SIDE^3]; its grain is two steps."""
    noise = gaussian_filter(np.random.default_rng(41).standard_normal((SIDE, SIDE, SIDE)), 1.4, mode="wrap")
    return (noise / noise.std()).astype(np.float32).ravel()


def _noise(skin: Complexion, rest: np.ndarray, grain: float) -> np.ndarray:
    """Solid noise [P] at places [3, P]; `grain`: its coarseness in decimetres."""
    shift = np.array([skin.seed & 1023, (skin.seed >> 10) & 1023, (skin.seed >> 20) & 1023], np.float32)[:, None]
    cell = (rest * np.float32(2 / grain) + (shift + 16 * SIDE)).astype(np.int32) & (SIDE - 1)
    return _volume()[(cell[0] * SIDE + cell[1]) * SIDE + cell[2]]
