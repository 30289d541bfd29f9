"""Clothes: a sheet over the shoulders with a neckline, and a collar where the garment has one.

The picture ends just below the neck, so this is all of a garment that shows.
"""

import numpy as np

from eg3d.world.human.head_shape import CLOTHES, HumanMesh
from eg3d.world.human.outfit import Outfit
from eg3d.world.human.pieces import Piece, grid_piece
from eg3d.world.human.scalp import Scalp, scalp_of

COLUMNS = 48
# Elevation of the neckline, seen from the middle of the chest, in degrees: behind, beside and in front of the neck; how
# pointed it is in front.
NECKLINES = {
    "tee": (66, 58, 52, 1.0), "v-neck": (66, 60, 38, 2.5), "shirt": (69, 66, 56, 2.5), "jumper": (67, 61, 57, 1.0),
    "turtleneck": (70, 68, 66, 1.0), "blouse": (62, 50, 44, 1.0), "jacket": (68, 63, 44, 2.5),
}  # fmt: skip
COLLARS = {  # height and thickness in decimetres, lean outward
    "tee": (0.05, 0.015, 0.3), "v-neck": (0.04, 0.012, 0.2), "shirt": (0.30, 0.02, 0.55), "jumper": (0.10, 0.03, 0.3),
    "turtleneck": (0.42, 0.035, 0.05), "blouse": (0.02, 0.01, 0.0), "jacket": (0.22, 0.03, 0.6),
}  # fmt: skip


def garments(outfit: Outfit, head: HumanMesh) -> tuple[Piece, ...]:
    """The garment of a person as pieces."""
    bust = scalp_of(head.vertices, "bust")
    azimuth = np.linspace(-np.pi, np.pi, COLUMNS, endpoint=False)
    line = _neckline(outfit, azimuth)
    return (_sheet(outfit, bust, azimuth, line), _collar(outfit, bust, azimuth, line))


def _neckline(outfit: Outfit, azimuth: np.ndarray) -> np.ndarray:
    """Elevation [C] in radians, seen from the middle of the chest."""
    back, side, front, power = NECKLINES[outfit.garment]
    ahead = (0.5 + 0.5 * np.cos(azimuth)) ** power
    behind = (0.5 - 0.5 * np.cos(azimuth)) ** 1.5
    wide = 7 * (outfit.neckline - 0.3)
    return np.radians(side + (front - side - wide) * ahead + (back - side) * behind - 0.5 * wide)


def _places(bust: Scalp, azimuth: np.ndarray, elevation: np.ndarray, away: np.ndarray) -> np.ndarray:
    """Points [..., 3] at a distance [dm] from the skin, in directions from the middle of the chest."""
    flat = np.cos(elevation)
    directions = np.stack(
        np.broadcast_arrays(flat * np.sin(azimuth), np.sin(elevation), flat * np.cos(azimuth)), axis=-1
    )
    return directions * (bust.at(directions) + away)[..., None]


def _sheet(outfit: Outfit, bust: Scalp, azimuth: np.ndarray, line: np.ndarray) -> Piece:
    down = np.linspace(0, 1, 12)[:, None]
    elevation = line + down * (np.radians(2) - line)
    fold = 0.012 * np.sin(7 * azimuth + 9 * down) + 0.010 * np.sin(3 * azimuth - 14 * down)
    away = outfit.looseness * (0.35 + 0.65 * np.minimum(1, 3 * down)) + fold * np.minimum(1, 2 * down)
    points = _places(bust, azimuth, elevation, away)
    coords = np.stack(np.broadcast_arrays(azimuth * 0.6, down * 1.6, 0.0 * down), axis=-1)
    return grid_piece(bust.world(points), CLOTHES, coords, closed=True)


def _collar(outfit: Outfit, bust: Scalp, azimuth: np.ndarray, line: np.ndarray) -> Piece:
    """A band that stands on the neckline; that of a shirt and a jacket folds back and opens in front."""
    height, thickness, lean = COLLARS[outfit.garment]
    base = _places(bust, azimuth, line, np.full(COLUMNS, 0.35 * outfit.looseness))
    outward = np.stack([np.sin(azimuth), 0 * azimuth, np.cos(azimuth)], axis=1)
    opening = 1 - 0.75 * np.exp(-((azimuth / 0.22) ** 2)) * (lean > 0.5)
    up = np.array([0.0, 1.0, 0.0]) + 0.25 * lean * outward
    profile = [(0.0, thickness), (0.6, thickness), (1.0, 0.4 * thickness), (1.0, -0.3 * thickness), (0.0, -thickness)]
    if lean > 0.5:  # folded: up inside, then down outside
        profile = [(-0.25, 4.5 * thickness), (0.5, 3 * thickness), (1.0, thickness), (0.95, 0.0), (0.0, -thickness)]
    rings = [base + (rise * height * opening)[:, None] * up + away * outward for rise, away in profile]
    second = 1.0 if lean > 0.5 or outfit.garment in ("tee", "jumper") else 0.0
    down = np.linspace(0, 0.2, len(rings))[:, None]
    coords = np.stack(np.broadcast_arrays(azimuth * 0.6, down, second + 0 * down), axis=-1)
    return grid_piece(bust.world(np.stack(rings)[::-1]), CLOTHES, coords[::-1], closed=True)
