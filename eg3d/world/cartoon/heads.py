"""Identities of the cartoon world: every number that makes one face differ from another.

The head frame is the world frame of `cameras.py`: +y up, +z out of the face, +x toward the subject's left (image
right in a frontal view). Lengths are world units: the head is about 0.42 wide, its eyeballs about 0.1.
"""

from dataclasses import dataclass

import numpy as np

from groundwork.draw_keys import draw_key

WORLD_VERSION = (
    1  # raise it when a face, a camera or a gaze of the same index changes: caches and draws are keyed by it
)

EYE_RADIUS = 0.05
EYE_MAX_YAW = 0.85  # rad, eye in head, either way
EYE_MAX_PITCH = 0.5
SETTING = ("light", "ambient", "background", "background_slope", "shirt")  # what does not make a person

Colour = tuple[float, float, float]  # RGB in 0..1

# Anchors of the palettes; an identity mixes two neighbours.
SKIN_TONES = np.array(
    [
        (0.98, 0.84, 0.76), (0.95, 0.77, 0.65), (0.90, 0.69, 0.54), (0.80, 0.58, 0.43), (0.65, 0.44, 0.31),
        (0.48, 0.31, 0.22),
    ]
)  # fmt: skip
HAIR_COLOURS = np.array(
    [
        (0.09, 0.07, 0.07), (0.17, 0.11, 0.08), (0.33, 0.20, 0.12), (0.52, 0.32, 0.17), (0.60, 0.25, 0.10),
        (0.80, 0.62, 0.34), (0.88, 0.78, 0.56), (0.72, 0.71, 0.72),
    ]
)  # fmt: skip
HAIR_SHARES = np.array([0.20, 0.20, 0.16, 0.12, 0.09, 0.10, 0.07, 0.06])
IRIS_COLOURS = np.array(
    [(0.22, 0.12, 0.06), (0.33, 0.19, 0.08), (0.12, 0.30, 0.48), (0.16, 0.36, 0.22), (0.28, 0.31, 0.35)]
)
IRIS_SHARES = np.array([0.3, 0.2, 0.22, 0.16, 0.12])
SHIRT_COLOURS = np.array(
    [
        (0.75, 0.22, 0.22),
        (0.20, 0.35, 0.65),
        (0.22, 0.50, 0.36),
        (0.88, 0.86, 0.82),
        (0.20, 0.20, 0.24),
        (0.80, 0.62, 0.20),
    ]
)
BACKGROUNDS = np.array(
    [
        (0.62, 0.74, 0.86),
        (0.72, 0.82, 0.72),
        (0.86, 0.78, 0.70),
        (0.76, 0.72, 0.84),
        (0.55, 0.60, 0.66),
        (0.86, 0.86, 0.84),
    ]
)
HAIR_STYLES = ("bald", "short", "fringe", "bob", "long", "bun", "pigtails", "afro")
STYLE_SHARES = np.array([0.06, 0.26, 0.14, 0.14, 0.17, 0.08, 0.06, 0.09])


@dataclass(frozen=True)
class Identity:
    """One person: shape, colours, light and background; hashable, so geometry can be cached by it."""

    name: str  # split/index it was drawn for
    half_width: float
    crown: float  # height of the skull above the origin
    chin: float  # depth of the chin below the origin
    jaw_power: float  # smaller: squarer jaw
    face_depth: float  # half-depth of the front of the head
    skin: Colour
    hair_style: str
    hair_thickness: float
    hair_length: float  # how far the hair hangs below the origin
    hairline: float  # height of the hairline above the eyes
    hair_parting: float  # shift of the hairline's top to one side
    hair: Colour
    brow: Colour
    brow_thickness: float
    brow_height: float  # above the eyes
    brow_tilt: float
    nose_length: float
    nose_width: float
    nose_height: float
    mouth_width: float
    lip_thickness: float
    mouth_drop: float  # below the nose tip
    smile: float
    lips: Colour
    beard: float  # 0 none .. 1 full
    blush: float
    eye_x: float  # half the distance of the eyes
    eye_y: float
    eye_z: float
    eye_radius: float
    eye_openness: float
    iris: Colour
    shirt: Colour
    light: tuple[float, float, float]  # unit vector toward the light
    ambient: float
    background: Colour
    background_slope: float  # brightness gained from the bottom to the top of the picture

    @classmethod
    def draw(cls, split: str, index: int) -> "Identity":
        """The identity at a place; two splits never share one, because the split is part of the key."""
        rng = np.random.default_rng(draw_key(WORLD_VERSION, f"identity-{split}", index, 0) + (index << 32))
        uniform = rng.uniform

        skin = _mix(rng, SKIN_TONES, None)
        hair = _mix(rng, HAIR_COLOURS, HAIR_SHARES, spread=0.25)
        style = str(rng.choice(HAIR_STYLES, p=STYLE_SHARES))
        length = {"bob": uniform(0.10, 0.19), "long": uniform(0.24, 0.33)}.get(style, 0.09)
        thickness = {"bald": 0.0, "afro": uniform(0.06, 0.085), "short": uniform(0.016, 0.04)}.get(
            style, uniform(0.025, 0.045)
        )
        azimuth, elevation = uniform(-0.9, 0.9), uniform(0.2, 0.9)
        light = (np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation))
        redness = uniform(0.35, 0.85)
        beard = uniform(0.3, 0.8) if style in ("bald", "short", "afro", "fringe") and uniform() < 0.3 else 0.0
        return cls(
            name=f"{split}/{index}",
            half_width=uniform(0.190, 0.215),
            crown=uniform(0.225, 0.25),
            chin=uniform(0.215, 0.25),
            jaw_power=uniform(0.6, 0.95),
            face_depth=uniform(0.172, 0.188),
            skin=_colour(skin),
            hair_style=style,
            hair_thickness=thickness,
            hair_length=length,
            hairline=uniform(0.098, 0.112) if style == "fringe" else uniform(0.125, 0.165),
            hair_parting=uniform(-0.12, 0.12),
            hair=_colour(hair),
            brow=_colour(hair * uniform(0.5, 0.85)) if hair.mean() < 0.6 else _colour(hair * 0.55),
            brow_thickness=uniform(0.007, 0.015),
            brow_height=uniform(0.072, 0.086),
            brow_tilt=uniform(-0.25, 0.25),
            nose_length=uniform(0.082, 0.105),
            nose_width=uniform(0.024, 0.036),
            nose_height=uniform(0.065, 0.09),
            mouth_width=uniform(0.05, 0.075),
            lip_thickness=uniform(0.010, 0.019),
            mouth_drop=uniform(0.05, 0.064),
            smile=uniform(-0.004, 0.02),
            lips=_colour(skin * (1 - redness) + redness * skin * np.array([0.95, 0.42, 0.45])),
            beard=beard,
            blush=uniform(0.1, 0.5),
            eye_x=uniform(0.079, 0.090),
            eye_y=uniform(0.022, 0.036),
            eye_z=uniform(0.150, 0.160),
            eye_radius=EYE_RADIUS * uniform(0.9, 1.1),
            eye_openness=uniform(0.82, 1.0),
            iris=_colour(_mix(rng, IRIS_COLOURS, IRIS_SHARES, spread=0.15)),
            shirt=_colour(_mix(rng, SHIRT_COLOURS, None, spread=0.1)),
            light=tuple(float(x) for x in light),
            ambient=uniform(0.5, 0.65),
            background=_colour(_mix(rng, BACKGROUNDS, None) * uniform(0.85, 1.1)),
            background_slope=uniform(-0.05, 0.12),
        )

    @property
    def mouth_y(self) -> float:
        return self.eye_y - self.nose_length - self.mouth_drop

    @property
    def eye_centres(self) -> np.ndarray:
        """[2, 3]: the eye at -x (image left, the subject's right), then the one at +x."""
        return np.array([[-self.eye_x, self.eye_y, self.eye_z], [self.eye_x, self.eye_y, self.eye_z]])


def _mix(rng: np.random.Generator, palette: np.ndarray, shares: np.ndarray | None, spread: float = 0.5) -> np.ndarray:
    """A palette colour moved by up to `spread` toward the next one, with a little brightness noise."""
    first = int(rng.choice(len(palette), p=shares))
    second = min(first + 1, len(palette) - 1)
    return (palette[first] + spread * rng.uniform() * (palette[second] - palette[first])) * rng.uniform(0.94, 1.06)


def _colour(rgb: np.ndarray) -> Colour:
    return tuple(float(x) for x in np.clip(rgb, 0, 1))
