"""Hair of the face: brows, beard and stubble are painted on the skin; lashes are made by `lashes.py`.

Places are those of the base mesh, as in `hair.py`.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from eg3d.world.human.hair import GREY, Colour, Hair, ripple, scalp_cover
from eg3d.world.human.pieces import smooth

# The middle of a brow from its head beside the nose to its tail, on the base mesh.
BROW_X = np.array([0.10, 0.16, 0.24, 0.33, 0.42, 0.50, 0.58])
BROW_Y = np.array([7.464, 7.474, 7.486, 7.508, 7.519, 7.495, 7.440])
BEARDS = ("none", "stubble", "moustache", "goatee", "full")
BEARD_SHARES = np.array([0.46, 0.26, 0.06, 0.08, 0.14])  # among men


@dataclass(frozen=True)
class FaceHair:
    """Every number of a person's brows, lashes and beard."""

    side: int  # +1; -1: the mirror image
    seed: int
    brow: Colour
    thickness: float  # half of a brow's height, in decimetres
    density: float  # 0..1
    height: float  # by which brows lie higher, in decimetres
    tilt: float  # of the tail, upward
    arch: float
    reach: float  # length of a brow, 1: as usual
    lash_length: float  # in decimetres
    lash: Colour
    beard: str
    stubble: float  # shadow of a shaven beard, 0..1
    fullness: float  # density of a worn beard, 0..1
    beard_colour: Colour
    beard_grey: float

    @classmethod
    def draw(
        cls, rng: np.random.Generator, male: float, age: float, ancestry: tuple[float, float, float], hair: Hair
    ) -> "FaceHair":
        """Hair of the face that is likely with this hair of the head. male: 0..1, age in years, ancestry: shares
        African, Asian, Caucasian."""
        uniform = rng.uniform
        colour = np.asarray(hair.colour)
        dark = np.minimum(colour, 0.08 + 0.35 * colour)  # the brows of blonds are darker than their hair
        brow = dark * uniform(0.7, 1.0) + 0.35 * hair.grey * uniform() * (GREY - dark)
        painted = uniform() < 0.5 * (1 - male) ** 2
        grown = (male - 0.55) / 0.3 - 0.4 * ancestry[1]
        wears = rng.choice(len(BEARDS), p=BEARD_SHARES) if uniform() < grown else 0
        return cls(
            side=1,
            seed=int(rng.integers(1 << 31)),
            brow=_plain(brow),
            thickness=uniform(0.032, 0.050) + uniform(0.0, 0.018) * male,
            density=uniform(0.55, 0.95),
            height=uniform(-0.014, 0.014),
            tilt=uniform(-0.07, 0.015),
            arch=uniform(-0.018, 0.014) * (1.3 - male),
            reach=uniform(0.92, 1.04),
            lash_length=uniform(0.75, 1.0) if painted else uniform(0.45, 0.8) - 0.12 * male,
            lash=_plain((0.004, 0.0035, 0.0035) if painted else np.minimum(colour, 0.05 + 0.2 * colour) * 0.6),
            beard=BEARDS[wears],
            stubble=float(np.clip((male - 0.5) / 0.4, 0, 1)) * uniform(0.05, 0.5) * (1 - 0.5 * ancestry[1]),
            fullness=uniform(0.6, 1.0),
            beard_colour=_plain(colour * np.array((1.08, 0.98, 0.92)) * uniform(0.8, 1.1)),
            beard_grey=float(np.clip(hair.grey * 1.3 + 0.1 * (age > 45), 0, 1)),
        )

    def mirrored(self) -> "FaceHair":
        """The same hair in a mirror."""
        return replace(self, side=-self.side)


def _plain(colour) -> Colour:
    return tuple(float(c) for c in np.clip(colour, 0, 1))


def brow_cover(face_hair: FaceHair, rest: np.ndarray, pixel: float) -> np.ndarray:
    """How much of the skin [P] the hairs of the brows hide at places [P, 3]; pixel: its width in decimetres."""
    cover = np.zeros(len(rest), np.float32)
    near = np.flatnonzero((np.abs(rest[:, 1] - 7.49) < 0.16) & (rest[:, 2] > 0.9) & (np.abs(rest[:, 0]) < 0.66))
    if not len(near):
        return cover
    x, y = rest[near, 0] * face_hair.side, rest[near, 1]
    ax = np.abs(x)
    along = (ax - BROW_X[0]) / ((BROW_X[-1] - BROW_X[0]) * face_hair.reach)
    middle = np.interp(BROW_X[0] + along * (BROW_X[-1] - BROW_X[0]), BROW_X, BROW_Y) + face_hair.height
    middle = middle + face_hair.tilt * (along - 0.4) + face_hair.arch * np.sin(np.pi * np.clip(along, 0, 1) ** 1.6)
    half = face_hair.thickness * np.interp(along, [-0.06, 0.0, 0.12, 0.55, 1.0], [0.7, 0.9, 1.0, 0.85, 0.25])
    off = (y - middle) / half
    # Hairs rise from the head of the brow and lie down along it toward the tail.
    lain = smooth(along, 0.05, 0.55)
    rise, lie = ((y - middle) - slope * ax for slope in (1.5, 0.22))
    apart = 31 * np.sign(x) + face_hair.seed % 997
    strand, clump = (
        (1 - lain) * ripple(rise / (1.7 * size) + apart) + lain * ripple(lie / size + apart + 40)
        for size in (0.0075, 0.019)
    )
    fine = min(1.0, 0.012 / pixel)
    edge = np.abs(off) + 0.20 * clump + 0.30 * fine * strand
    body = smooth(-edge, -1.35, -0.35) * smooth(along, -0.10, 0.12) * (1 - smooth(along, 0.93, 1.05))
    texture = 0.95 + 0.35 * fine * strand + 0.2 * clump
    cover[near] = np.clip(face_hair.density * body * texture, 0, 0.97)
    return cover


def beard_region(rest: np.ndarray, lips: np.ndarray) -> np.ndarray:
    """Where a beard grows [P, 3]: moustache, chin, and cheeks with throat; each 0..1, at places [P, 3]."""
    x, y, z = np.abs(rest[:, 0]), rest[:, 1], rest[:, 2]
    bare = (1 - smooth(lips, 0.15, 0.5)) * (z > 0.2)
    upper = np.interp(x, [0.0, 0.20, 0.29, 0.42, 0.60, 0.70, 0.74], [6.48, 6.54, 6.76, 6.80, 6.98, 7.16, 7.30])
    cheeks = smooth(upper - y, -0.03, 0.11) * smooth(y + 0.35 * z, 6.42, 6.62) * (1 - smooth(x, 0.70, 0.76))
    moustache = smooth(6.87 - 0.30 * x - y, -0.01, 0.06) * smooth(y - 6.62, -0.06, 0.04) * (1 - smooth(x, 0.27, 0.36))
    chin = (1 - smooth(np.hypot(x / 0.24, (y - 6.40) / 0.20), 0.7, 1.15)) * (1 - smooth(y, 6.54, 6.62))
    patch = 1 - 0.75 * np.exp(-(((x - 0.17) / 0.05) ** 2) - ((y - 6.50) / 0.05) ** 2)  # thin beside the lower lip
    return np.stack([moustache * bare, chin * bare, cheeks * bare * patch], axis=1) * smooth(z, 0.42, 0.62)[:, None]


WORN = {  # share of moustache, chin, cheeks
    "none": (0, 0, 0), "stubble": (1, 1, 1), "moustache": (1, 0, 0), "goatee": (1, 1, 0), "full": (1, 1, 1),
}  # fmt: skip


@lru_cache(maxsize=1)
def _dashes() -> np.ndarray:
    """Smooth noise on a periodic grid [256, 256], of mean 0 and deviation 0.5."""
    noise = gaussian_filter(np.random.default_rng(23).standard_normal((256, 256)), 0.7, mode="wrap")
    return (0.5 * noise / noise.std()).astype(np.float32)


def _speckle(place: np.ndarray, size: float, apart: float = 0.0) -> np.ndarray:
    """Noise in dashes round the jaw [P] at places [P, 3]: `size` decimetres across, three times that down.
    apart: another number gives other noise."""
    around = 0.62 * np.arctan2(place[:, 0], place[:, 2] - 0.45)
    down = place[:, 1] - 0.7 * place[:, 2]
    return map_coordinates(
        _dashes(), np.stack([around, 0.35 * down]) / size + apart, order=1, mode="grid-wrap", prefilter=False
    )


def beard_cover(face_hair: FaceHair, rest: np.ndarray, lips: np.ndarray, pixel: float) -> np.ndarray:
    """How much of the skin [P] a beard or its shaven shadow hides."""
    if face_hair.beard == "none" and face_hair.stubble < 0.02:
        return np.zeros(len(rest), np.float32)
    cover = np.zeros(len(rest), np.float32)
    near = np.flatnonzero((rest[:, 1] < 7.35) & (rest[:, 1] > 5.8) & (rest[:, 2] > 0.42))
    region = beard_region(rest[near], lips[near])
    place = rest[near] * np.array([face_hair.side, 1, 1], np.float32)
    speckle = _speckle(place, 0.0045) * min(1.0, 0.008 / pixel)
    shadow = 0.42 * face_hair.stubble * region.max(axis=1)
    worn = (region * np.array(WORN[face_hair.beard], np.float32)).max(axis=1)
    if face_hair.beard != "none":
        share = {"stubble": 0.34}.get(face_hair.beard, 0.93) * (0.75 + 0.25 * face_hair.fullness)
        clump = _speckle(place, 0.035, apart=33.0) * (0.1 if face_hair.beard == "stubble" else 0.6)
        worn = smooth(worn + 0.25 * clump * worn * (1 - worn) * 4, 0.15, 0.85) * share
    cover[near] = np.clip(np.maximum(shadow, worn) * (1 + 0.7 * speckle), 0, 0.97)
    return cover


def _grained(colour: Colour, grey: float, place: np.ndarray) -> np.ndarray:
    """Colour [P, 3] of short hair with a share of grey, in grains."""
    own = np.asarray(colour, np.float32)
    grains = _speckle(place, 0.007, apart=77.0)
    mixed = own + np.clip(grey * (1 + 0.4 * grains), 0, 1)[:, None] * (GREY - own)
    return mixed * (1 + 0.25 * grains[:, None])


def painted_hair(hair: Hair, face_hair: FaceHair, rest, lips, pixel: float) -> tuple[np.ndarray, np.ndarray]:
    """All hair that is paint on the skin: how much it hides [P], and its colour [P, 3] (linear light).

    Args: rest [P, 3]: places on the base mesh; lips [P]: mask; pixel: width of a pixel in decimetres.
    """
    scalp, brow = scalp_cover(hair, rest), brow_cover(face_hair, rest, pixel)
    beard = beard_cover(face_hair, rest, lips, pixel)
    cover = np.maximum(np.maximum(scalp, brow), beard)
    colour = np.zeros((len(rest), 3), np.float32)
    at = np.flatnonzero((scalp > 0) & (scalp >= beard))
    colour[at] = _grained(hair.colour, hair.grey, rest[at] * np.array([hair.side, 1, 1], np.float32))
    at = np.flatnonzero((beard > 0) & (beard > scalp))
    place = rest[at] * np.array([face_hair.side, 1, 1], np.float32)
    colour[at] = _grained(face_hair.beard_colour, face_hair.beard_grey, place)
    colour[(brow > 0) & (brow >= scalp) & (brow >= beard)] = face_hair.brow
    return cover, colour
