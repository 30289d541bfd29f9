"""Hair of the face: brows, beard and stubble are painted on the skin; lashes are made by `lashes.py`.

Places are those of the base mesh, as in `hair.py`.
"""

from dataclasses import dataclass, replace

import numpy as np

from eg3d.world.human.hair import GREY, Colour, Hair, ripple, scalp_cover, strand_colour
from eg3d.world.human.pieces import smooth

# The middle of a brow from its head beside the nose to its tail, on the base mesh.
BROW_X = np.array([0.10, 0.16, 0.24, 0.33, 0.42, 0.50, 0.58])
BROW_Y = np.array([7.495, 7.515, 7.537, 7.556, 7.562, 7.538, 7.485])
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
            thickness=uniform(0.026, 0.042) + uniform(0.0, 0.016) * male,
            density=uniform(0.55, 0.95),
            height=uniform(-0.014, 0.014),
            tilt=uniform(-0.05, 0.04),
            arch=uniform(-0.012, 0.022) * (1.3 - male),
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
    near = np.flatnonzero((np.abs(rest[:, 1] - 7.53) < 0.16) & (rest[:, 2] > 0.9) & (np.abs(rest[:, 0]) < 0.66))
    if not len(near):
        return cover
    x, y = rest[near, 0] * face_hair.side, rest[near, 1]
    ax = np.abs(x)
    along = (ax - BROW_X[0]) / ((BROW_X[-1] - BROW_X[0]) * face_hair.reach)
    middle = np.interp(BROW_X[0] + along * (BROW_X[-1] - BROW_X[0]), BROW_X, BROW_Y) + face_hair.height
    middle = middle + face_hair.tilt * (along - 0.4) + face_hair.arch * np.sin(np.pi * np.clip(along, 0, 1) ** 1.6)
    half = face_hair.thickness * np.interp(along, [-0.06, 0.0, 0.12, 0.55, 1.0], [0.55, 0.8, 1.0, 0.85, 0.18])
    off = (y - middle) / half
    # Hairs rise from the head of the brow and lie down along it toward the tail.
    slant = np.interp(along, [0.0, 0.25, 0.7, 1.0], [1.6, 0.5, 0.15, 0.1])
    strand = ripple((y - middle - slant * ax) / 0.0095 + 31 * np.sign(x) + face_hair.seed % 997)
    clump = ripple((y - middle - slant * ax) / 0.028 + 77 * np.sign(x) + face_hair.seed % 463)
    fine = min(1.0, 0.012 / pixel)
    edge = np.abs(off) + 0.22 * clump + 0.28 * fine * strand
    body = smooth(-edge, -1.25, -0.55) * smooth(along, -0.07, 0.09) * (1 - smooth(along, 0.93, 1.05))
    texture = 1 + 0.35 * fine * strand + 0.15 * clump
    cover[near] = np.clip(face_hair.density * body * texture, 0, 0.97)
    return cover


def beard_region(rest: np.ndarray, lips: np.ndarray) -> np.ndarray:
    """Where a beard grows [P, 3]: moustache, chin, and cheeks with throat; each 0..1, at places [P, 3]."""
    x, y, z = np.abs(rest[:, 0]), rest[:, 1], rest[:, 2]
    bare = (1 - smooth(lips, 0.15, 0.5)) * (z > 0.2)
    upper = np.interp(x, [0.0, 0.22, 0.30, 0.50, 0.66, 0.74], [6.50, 6.56, 6.70, 6.82, 7.12, 7.30])
    cheeks = smooth(upper - y, -0.03, 0.08) * smooth(y, 6.02, 6.22) * (1 - smooth(x, 0.74, 0.80))
    moustache = (
        smooth(6.86 - 0.18 * x - y, -0.01, 0.05) * smooth(y - 6.68 + 0.2 * x, -0.02, 0.03) * (1 - smooth(x, 0.27, 0.34))
    )
    chin = (1 - smooth(x, 0.17, 0.27)) * (1 - smooth(y, 6.56, 6.64)) * smooth(y, 6.22, 6.32)
    patch = 1 - 0.75 * np.exp(-(((x - 0.17) / 0.05) ** 2) - ((y - 6.50) / 0.05) ** 2)  # thin beside the lower lip
    return np.stack([moustache * bare, chin * bare, cheeks * bare * patch], axis=1) * (z > 0.35)[:, None]


WORN = {  # share of moustache, chin, cheeks
    "none": (0, 0, 0), "stubble": (1, 1, 1), "moustache": (1, 0, 0), "goatee": (1, 1, 0), "full": (1, 1, 1),
}  # fmt: skip


def beard_cover(face_hair: FaceHair, rest: np.ndarray, lips: np.ndarray, pixel: float) -> np.ndarray:
    """How much of the skin [P] a beard or its shaven shadow hides."""
    if face_hair.beard == "none" and face_hair.stubble < 0.02:
        return np.zeros(len(rest), np.float32)
    region = beard_region(rest, lips)
    x = rest[:, 0] * face_hair.side
    fine = min(1.0, 0.011 / pixel)
    speckle = ripple(x * 83 + 57 * rest[:, 1] + 3 * ripple(rest[:, 1] * 91 + 40 * x)) * fine
    clump = ripple(x * 21 + 13 * rest[:, 2] + face_hair.seed % 811) * ripple(rest[:, 1] * 17 + 5 * x)
    shadow = 0.42 * face_hair.stubble * region.max(axis=1)
    share = {"none": 0.0, "stubble": 0.32}.get(face_hair.beard, 0.88) * face_hair.fullness
    worn = (region * np.array(WORN[face_hair.beard])).max(axis=1)
    worn = smooth(worn + 0.25 * clump * worn * (1 - worn) * 4, 0.15, 0.85) * share
    return np.clip(np.maximum(shadow, worn) * (1 + 0.4 * speckle), 0, 0.96).astype(np.float32)


def painted_hair(hair: Hair, face_hair: FaceHair, rest, lips, pixel: float) -> tuple[np.ndarray, np.ndarray]:
    """All hair that is paint on the skin: how much it hides [P], and its colour [P, 3] (linear light).

    Args: rest [P, 3]: places on the base mesh; lips [P]: mask; pixel: width of a pixel in decimetres.
    """
    scalp, brow, beard = (
        scalp_cover(hair, rest),
        brow_cover(face_hair, rest, pixel),
        beard_cover(face_hair, rest, lips, pixel),
    )
    cover = np.maximum(np.maximum(scalp, brow), beard)
    across = rest[:, 0] * hair.side + 0.3 * rest[:, 1] + 0.2 * rest[:, 2]
    strands = np.stack([across, rest[:, 1] * 0.5, np.full(len(rest), 0.75)], axis=1)
    colour = strand_colour(hair, strands)
    grey = face_hair.beard_grey * smooth(ripple(across * 140), -0.6, 0.6)[:, None]
    chin = np.asarray(face_hair.beard_colour) + grey * (GREY - np.asarray(face_hair.beard_colour))
    colour = np.where((brow >= scalp)[:, None], np.asarray(face_hair.brow, np.float32), colour)
    return cover, np.where((beard >= np.maximum(scalp, brow))[:, None], chin, colour).astype(np.float32)
