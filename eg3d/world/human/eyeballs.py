"""Eyeballs: sclera, limbus, iris and pupil by the angle to the gaze; the wet cornea that mirrors the lamps.

The visual axis is taken to be the axis of the eye: the angle kappa of real eyes (some 5 degrees) is zero here.
"""

from dataclasses import dataclass

import numpy as np

from eg3d.world.human.lamps import Setting, linear
from eg3d.world.human.pieces import cross, dot, smooth, unit

IRIS_ANGLE = 0.45  # rad, half of what an iris of 11.7 mm spans, seen from the centre of the eyeball
CORNEA = 0.47  # distance of the cornea's own centre from that of the eyeball, in radii of the eyeball
SCLERA = np.array((0.72, 0.66, 0.61), np.float32)  # linear light

# sRGB of the outer and the inner iris: black-brown, brown, light brown, hazel, green, grey, blue, pale blue.
OUTER = np.array(
    [
        (0.17, 0.095, 0.06), (0.28, 0.16, 0.08), (0.40, 0.25, 0.12), (0.36, 0.31, 0.18), (0.36, 0.43, 0.29),
        (0.43, 0.49, 0.52), (0.31, 0.45, 0.60), (0.48, 0.61, 0.70),
    ]
)  # fmt: skip
INNER = np.array(
    [
        (0.22, 0.12, 0.06), (0.36, 0.20, 0.09), (0.48, 0.30, 0.13), (0.50, 0.33, 0.14), (0.50, 0.42, 0.20),
        (0.52, 0.52, 0.47), (0.47, 0.55, 0.60), (0.60, 0.66, 0.68),
    ]
)  # fmt: skip
SHARES = np.array(  # by ancestry (African, Asian, Caucasian)
    [
        (0.66, 0.28, 0.04, 0.01, 0.01, 0.0, 0.0, 0.0), (0.55, 0.36, 0.07, 0.01, 0.01, 0.0, 0.0, 0.0),
        (0.06, 0.19, 0.14, 0.14, 0.11, 0.11, 0.17, 0.08),
    ]
)  # fmt: skip
FIBRES = np.array([7, 11, 16, 23, 31, 43])


@dataclass(frozen=True)
class Iris:
    """outer, inner: sRGB; pupil: half angle, rad; ring: darkness of the limbus; fibres: contrast."""

    outer: tuple[float, float, float]
    inner: tuple[float, float, float]
    pupil: float
    ring: float
    fibres: float
    phases: tuple[float, ...]
    veins: float  # red in the white of the eye
    yellow: float

    @classmethod
    def draw(cls, rng: np.random.Generator, tone: float, age: float, ancestry: tuple[float, float, float]) -> "Iris":
        """An iris that is likely for a person; very light eyes in very dark skin are not drawn."""
        shares = np.asarray(ancestry) @ SHARES
        shares = shares * np.where(np.arange(len(shares)) > 3, max(0.0, 1 - 1.6 * tone), 1.0)
        kind = int(rng.choice(len(OUTER), p=shares / shares.sum()))
        light = rng.uniform(0.8, 1.2)
        return cls(
            outer=tuple(float(c) for c in np.clip(OUTER[kind] * light, 0, 1)),
            inner=tuple(float(c) for c in np.clip(INNER[kind] * light * rng.uniform(0.9, 1.1), 0, 1)),
            pupil=float(np.clip(rng.normal(0.205, 0.02) - 0.0006 * (age - 40), 0.17, 0.25)),
            ring=rng.uniform(0.3, 0.8),
            fibres=rng.uniform(0.35, 1.0),
            phases=tuple(float(x) for x in rng.uniform(0, 2 * np.pi, len(FIBRES))),
            veins=rng.uniform(0.0, 0.5) + 0.004 * max(0.0, age - 40),
            yellow=rng.uniform(0.0, 0.6) * (0.3 + tone),
        )


@dataclass(frozen=True)
class Lids:
    """Where the lids' rims are, as seen from the eye's centre: pitch as a cubic of yaw (rad, head frame)."""

    upper: np.ndarray
    lower: np.ndarray
    first: float  # yaw of the corner at -x
    last: float

    @classmethod
    def of(cls, points: np.ndarray, centre: np.ndarray) -> "Lids":
        """points [6, 3]: the eye's landmarks, from the corner at -x over the upper lid."""
        d = unit(points - centre)
        yaw, pitch = np.arctan2(d[:, 0], d[:, 2]), np.arcsin(d[:, 1])
        upper, lower = [0, 1, 2, 3], [0, 5, 4, 3]
        return cls(np.polyfit(yaw[upper], pitch[upper], 3), np.polyfit(yaw[lower], pitch[lower], 3), yaw[0], yaw[3])

    def openness(self, direction: np.ndarray) -> np.ndarray:
        """How much light reaches the ball in direction [P, 3]: less near the lids, least under the upper one; [P]."""
        yaw, pitch = np.arctan2(direction[:, 0], direction[:, 2]), np.arcsin(np.clip(direction[:, 1], -1, 1))
        inside = np.clip(yaw, self.first, self.last)
        below = np.maximum(np.polyval(self.upper, inside) - pitch, 0)
        above = np.maximum(pitch - np.polyval(self.lower, inside), 0)
        sides = np.maximum(np.minimum(yaw - self.first, self.last - yaw), 0)
        return (
            (1 - 0.62 * np.exp(-below / 0.13)) * (1 - 0.35 * np.exp(-above / 0.09)) * (1 - 0.4 * np.exp(-sides / 0.14))
        )


def angles(direction: np.ndarray, gaze: np.ndarray) -> np.ndarray:
    """Angle [P] between unit vectors [P, 3] and the gaze [3], exact near zero too."""
    aside = cross(direction, gaze)
    return np.arctan2(np.sqrt(dot(aside, aside)), direction @ gaze)


def eye_paint(iris: Iris, direction: np.ndarray, gaze: np.ndarray, outward: float, soft: np.ndarray) -> np.ndarray:
    """Paint (linear light) [P, 3] of an eyeball.

    Args:
        direction: [P, 3] unit, from the eye's centre; gaze: [3] unit.
        outward: sign of x towards the temple, so that the two irises mirror each other.
        soft: [P] half width (rad) over which edges are blurred: about half a pixel.
    """
    angle = angles(direction, gaze)
    side = outward * unit(cross((0.0, 1.0, 0.0), gaze))
    above = outward * cross(gaze, side)
    turn = np.arctan2(direction @ above, direction @ side)
    along = np.clip((angle - iris.pupil) / (IRIS_ANGLE - iris.pupil), 0, 1)  # 0 at the pupil, 1 at the limbus

    waves = sum(
        np.cos(n * turn + phase + 5 * along * np.cos(phase * 3)) / k
        for k, (n, phase) in enumerate(zip(FIBRES, iris.phases, strict=True), start=2)
    )
    bumpy = along + 0.10 * waves
    inner = 1 - smooth(bumpy, 0.25, 0.60)
    colour = linear(iris.outer) + inner[:, None] * (linear(iris.inner) - linear(iris.outer))
    bright = 1 + iris.fibres * (0.55 * waves + 0.25 * np.exp(-(((bumpy - 0.33) / 0.08) ** 2)))
    rim = 1 - iris.ring * smooth(along, 0.72, 1.0) - 0.35 * (1 - smooth(along, 0.0, 0.12))
    colour = colour * (np.clip(bright, 0.3, 2.0) * rim)[:, None]

    white = SCLERA * (1 + iris.yellow * np.array((0.0, -0.04, -0.22)))
    red = iris.veins * (0.25 + smooth(angle, 0.6, 1.1)) * (0.6 + 0.4 * np.cos(9 * turn + 31 * angle + iris.phases[0]))
    white = white * np.exp(-red[:, None] * np.array((0.05, 0.40, 0.38)))
    limbus = smooth(angle, IRIS_ANGLE - 0.045 - soft, IRIS_ANGLE + 0.03 + soft)[:, None]
    dark = smooth(angle, iris.pupil - soft, iris.pupil + soft)[:, None]
    eye = colour + limbus * (white - colour)
    return (0.004 + dark * (eye - 0.004)).astype(np.float32)


def eye_light(
    setting: Setting, paint: np.ndarray, direction: np.ndarray, gaze: np.ndarray, towards: np.ndarray,
    openness: np.ndarray, shadow: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Light float32 [P, 3] that leaves an eyeball toward the camera.

    Args: paint, direction [P, 3]; gaze [3]; towards [P, 3]: unit, to the camera; openness [P] (`Lids`); shadow [P]:
    share of the main lamp that arrives.
    """
    angle = angles(direction, gaze)
    on_iris = (1 - smooth(angle, IRIS_ANGLE - 0.04, IRIS_ANGLE + 0.09))[:, None]
    bulge = unit(direction - CORNEA * gaze)
    wet = unit(direction + on_iris * (bulge - direction))  # the cornea stands out of the ball
    flat = unit(direction + on_iris * (gaze - 0.45 * (direction - gaze) - direction))  # the iris is a shallow bowl
    mirror = 2 * (wet * towards).sum(axis=1, keepdims=True) * wet - towards

    up = 0.5 + 0.5 * flat[:, 1:2]
    sky, ground = np.asarray(setting.sky), np.asarray(setting.ground)
    light = (ground + (sky - ground) * up) * openness[:, None]
    shine = 0.05 * sky * (smooth(mirror[:, 1], -0.1, 0.7) * openness)[:, None]
    for number, lamp in enumerate(setting.lamps):
        toward, colour = np.asarray(lamp.toward), np.asarray(lamp.colour)
        arrives = (shadow if number == 0 else 1.0) * openness
        lit = np.clip((flat @ toward + 0.25) / 1.25, 0, 1) * arrives
        light = light + lit[:, None] * colour
        away = angles(mirror, toward)
        glint = (1 - smooth(away, lamp.spread * 0.75, lamp.spread * 1.25)) * np.sqrt(np.clip(arrives, 0, 1))
        shine = shine + (glint * min(0.09 / (np.pi * lamp.spread**2), 3.0))[:, None] * colour
    return (paint * light + shine).astype(np.float32)
