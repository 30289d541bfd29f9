"""Clothes: a sheet over the shoulders with a neckline, and a collar where the garment has one.

The picture ends just below the neck, so this is all of a garment that shows.
"""

import numpy as np
from scipy.ndimage import gaussian_filter1d

from eg3d.world.human.head_shape import CLOTHES, SKIN, HumanMesh
from eg3d.world.human.outfit import Outfit
from eg3d.world.human.pieces import Piece, grid_piece, unit
from eg3d.world.human.scalp import BUST_CENTRE, Scalp, scalp_of

COLUMNS = 48
# Elevation of the neckline, seen from the middle of the chest, in degrees: behind, beside and in front of the neck; how
# pointed it is in front.
NECKLINES = {
    "tee": (67, 63, 56, 1.0), "v-neck": (67, 63, 40, 2.5), "shirt": (69, 67, 58, 2.5), "jumper": (68, 65, 60, 1.0),
    "turtleneck": (66, 65, 61, 1.0), "blouse": (63, 55, 46, 1.0), "jacket": (68, 66, 46, 2.5),
}  # fmt: skip
COLLARS = {  # height and thickness in decimetres, lean outward: beyond 0.5 it is folded
    "tee": (0.05, 0.015, 0.3), "v-neck": (0.04, 0.012, 0.2), "shirt": (0.20, 0.02, 0.55), "jumper": (0.08, 0.03, 0.3),
    "blouse": (0.02, 0.01, 0.0), "jacket": (0.16, 0.03, 0.6),
}  # fmt: skip

# Distance from the skin up the collar of a turtleneck, in decimetres.
TUBE = np.array([0.10, 0.075, 0.06, 0.065, 0.05, 0.0])


def garments(outfit: Outfit, head: HumanMesh) -> tuple[Piece, ...]:
    """The garment of a person as pieces."""
    bust = scalp_of(head.vertices, "bust")
    azimuth = np.linspace(-np.pi, np.pi, COLUMNS, endpoint=False)
    line = _neckline(outfit, azimuth)
    return (_cover(outfit, head), _sheet(outfit, bust, azimuth, line), _collar(outfit, bust, azimuth, line))


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
    skin = gaussian_filter1d(bust.skin(directions), 1.2, axis=-2, mode="wrap")  # cloth does not follow each tendon
    return skin + away[..., None] * _outward(directions)


def _outward(directions: np.ndarray) -> np.ndarray:
    """Away from the body [..., 3]: level at the neck, upward on the shoulders."""
    return unit(directions * np.array([1.0, 0.5, 1.0]))


def _coords(outfit: Outfit, azimuth: np.ndarray, below: np.ndarray, second: float = 0.0) -> np.ndarray:
    """Coordinates for paint [..., 3] of cloth at an azimuth, this far (radians, from the chest) below the neckline."""
    return np.stack(np.broadcast_arrays(outfit.side * azimuth * 0.6, below * 1.4, second), axis=-1)


def _cover(outfit: Outfit, head: HumanMesh) -> Piece:
    """The cloth that lies on the shoulders: the skin's own triangles below the neckline, moved outward."""
    offset = head.rest.astype(np.float64) - BUST_CENTRE
    azimuth = np.arctan2(offset[:, 0], offset[:, 2])
    below = _neckline(outfit, azimuth) - np.arctan2(offset[:, 1], np.hypot(offset[:, 0], offset[:, 2]))
    faces = head.faces[head.part == SKIN]
    faces = faces[(below[faces] > 0.06).all(axis=1) & ~_of_face(head.rest)[faces].any(axis=1)]
    used, index = np.unique(faces, return_inverse=True)
    normals = head.normals[used]
    scale = np.float32(scalp_of(head.vertices).scale)
    fold = 0.006 * np.sin(9 * outfit.side * azimuth + 11 * below) * np.minimum(1, 2 * below)
    away = scale * (outfit.looseness + fold[used, None]).astype(np.float32)
    coords = _coords(outfit, azimuth[used], below[used]).astype(np.float32)
    place = head.vertices[used] + away * normals
    return Piece(place, normals, index.reshape(-1, 3).astype(np.int32), CLOTHES, coords, np.zeros_like(place))


def _of_face(rest: np.ndarray) -> np.ndarray:
    return (rest[:, 1] > 6.35) | ((rest[:, 1] > 5.9) & (rest[:, 2] > 0.95))


def _sheet(outfit: Outfit, bust: Scalp, azimuth: np.ndarray, line: np.ndarray) -> Piece:
    """The edge of the cloth: from the neckline down to where the cover is sure to be."""
    down = np.linspace(0, 1, 6)[:, None]
    below = down * np.radians(16)
    away = outfit.looseness * (0.6 + 0.7 * down) + 0.015
    points = _places(bust, azimuth, line - below, away)
    return grid_piece(bust.world(points), CLOTHES, _coords(outfit, azimuth, below), closed=True)


def _collar(outfit: Outfit, bust: Scalp, azimuth: np.ndarray, line: np.ndarray) -> Piece:
    """A band that stands on the neckline; that of a shirt and a jacket folds back and opens in front."""
    if outfit.garment == "turtleneck":
        return _tube(outfit, bust, azimuth, line)
    height, thickness, lean = COLLARS[outfit.garment]
    folded = lean > 0.5
    base = _places(bust, azimuth, line, np.full(COLUMNS, 0.35 * outfit.looseness))
    outward = np.stack([np.sin(azimuth), 0 * azimuth, np.cos(azimuth)], axis=1)
    opening = 1 - 0.75 * np.exp(-((azimuth / 0.22) ** 2)) * folded
    up = np.array([0.0, 1.0, 0.0]) + 0.25 * lean * outward
    if folded:  # up inside, then down outside
        profile = [(-0.25, 4.5), (0.5, 3.0), (1.0, 1.0), (0.95, 0.0), (0.0, -1.0)]
    else:
        profile = [(0.0, 1.0), (0.6, 1.0), (1.0, 0.4), (1.0, -0.3), (0.0, -1.0)]
    rings = [base + (rise * height * opening)[:, None] * up + away * thickness * outward for rise, away in profile]
    second = 1.0 if folded or outfit.garment in ("tee", "jumper") else 0.0
    coords = _coords(outfit, azimuth, np.linspace(0, 0.15, len(rings))[:, None], second)
    return grid_piece(bust.world(np.stack(rings)[::-1]), CLOTHES, coords[::-1], closed=True)


def _tube(outfit: Outfit, bust: Scalp, azimuth: np.ndarray, line: np.ndarray) -> Piece:
    """The collar of a turtleneck: goes up with the skin of the neck and turns in at the top."""
    climb = np.radians([-2, 0, 2, 4, 5, 4.5])[:, None]
    points = _places(bust, azimuth, line + climb, np.broadcast_to(TUBE[:, None], (len(TUBE), COLUMNS)))
    points = gaussian_filter1d(points, 2.0, axis=1, mode="wrap")
    return grid_piece(bust.world(points[::-1]), CLOTHES, _coords(outfit, azimuth, -climb)[::-1], closed=True)
