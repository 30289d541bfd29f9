"""Lines of age and of smiling: shallow grooves that tilt the normal and darken the skin.

Places are those of the base mesh (decimetres), whose axes are nearly those of the world.
"""

from dataclasses import dataclass

import numpy as np

# Middle lines of the grooves on the left half of the face: x of y, or y of x.
FOLD_Y = np.array([6.50, 6.60, 6.72, 6.84, 6.95])  # from beside the mouth up to the wing of the nose
FOLD_X = np.array([0.385, 0.355, 0.318, 0.262, 0.205])
BAG_X = np.array([0.12, 0.20, 0.30, 0.40, 0.48])  # below the eye
BAG_Y = np.array([7.16, 7.105, 7.085, 7.12, 7.19])
FOREHEAD = (7.66, 7.74, 7.82, 7.91)  # heights
CORNER = np.array([0.485, 7.275])  # of the eye, whence crow's feet spread
FEET = np.array([-0.55, -0.15, 0.3])  # their angles, rad


@dataclass(frozen=True)
class Creases:
    """Depths of the grooves, 0 none .. 1 deep."""

    forehead: float
    fold: float  # from the nose to the corners of the mouth
    bag: float
    feet: float
    side: int  # +1; -1: the mirror image
    seed: int  # of the waves of the forehead's lines

    @property
    def any(self) -> bool:
        return max(self.forehead, self.fold, self.bag, self.feet) > 0.03


def creased(creases: Creases, rest: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Numbers [Q] of the places [3, P] that may be in a groove; there: what the normal gains [3, Q], and depth [Q]."""
    at = np.flatnonzero((rest[2] > 1.05) & (rest[1] > 6.45) & (rest[1] < 8.0))
    x, y = rest[0, at], rest[1, at]
    side, ax = np.sign(x), np.abs(x)
    tilt, depth = np.zeros((3, len(at)), np.float32), np.zeros(len(at), np.float32)

    def groove(rows, distance, half_width, strength, across_x, across_y):
        """A valley along the zero line of `distance` at some places; its walls tilt along (across_x, across_y)."""
        t = distance / half_width
        valley = strength * np.exp(-t * t)
        slope = 1.2 * t * valley
        depth[rows] = np.maximum(depth[rows], valley)
        tilt[0, rows] -= slope * across_x * side[rows]
        tilt[1, rows] -= slope * across_y

    if creases.fold > 0.03:
        rows = np.flatnonzero((y < 6.96) & (ax > 0.15) & (ax < 0.45))
        ends = _window(y[rows], 6.50, 6.95, 0.10)
        groove(rows, ax[rows] - np.interp(y[rows], FOLD_Y, FOLD_X), 0.022, creases.fold * ends, 0.85, 0.5)
    if creases.bag > 0.03:
        rows = np.flatnonzero((y > 7.04) & (y < 7.24) & (ax > 0.11) & (ax < 0.49))
        ends = _window(ax[rows], 0.12, 0.48, 0.12)
        groove(rows, y[rows] - np.interp(ax[rows], BAG_X, BAG_Y), 0.016, 0.8 * creases.bag * ends, 0.0, 1.0)
    if creases.forehead > 0.03:
        rows = np.flatnonzero((y > 7.6) & (ax < 0.43))
        across = ax[rows]
        own, phase = x[rows] * creases.side, creases.seed % 628 / 100
        wavy = y[rows] - 0.05 * across**2 + 0.009 * np.sin(9 * own + phase) + 0.005 * np.sin(23 * own + 3 * phase)
        for number, height in enumerate(FOREHEAD):
            ends = _window(across, -1.0, 0.42 - 0.05 * abs(number - 1.3), 0.2)
            weight = (0.75 + 0.25 * np.sin(phase + 2 * number)) * creases.forehead
            groove(rows, wavy - height, 0.013, 0.8 * weight * ends, 0.0, 1.0)
    if creases.feet > 0.03:
        rows = np.flatnonzero((ax > CORNER[0]) & (np.abs(y - CORNER[1]) < 0.17))
        radius = np.hypot(ax[rows] - CORNER[0], y[rows] - CORNER[1])
        angle = np.arctan2(y[rows] - CORNER[1], ax[rows] - CORNER[0])
        for foot in FEET:
            strength = 0.7 * creases.feet * _window(radius, 0.03, 0.16, 0.07)
            groove(rows, (angle - foot) * radius, 0.008, strength, -np.sin(foot), np.cos(foot))
    return at, tilt, depth


def _window(x: np.ndarray, low: float, high: float, soft: float) -> np.ndarray:
    """1 between low and high, falling to 0 over `soft` beyond the middle of each end."""
    return np.clip((x - low) / soft, 0, 1) * np.clip((high - x) / soft, 0, 1)
