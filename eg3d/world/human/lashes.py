"""Lashes: thin spikes along the rims of the upper lids; they move with the lids."""

from functools import lru_cache

import numpy as np

from eg3d.world.human.brows import FaceHair
from eg3d.world.human.head_shape import LASH, HumanMesh
from eg3d.world.human.makehuman import head_data
from eg3d.world.human.pieces import Piece, cross, grid_piece, unit

# Numbers, in MakeHuman's mesh, of the vertices along the rim of the left upper lid.
UPPER_RIM = np.array([11490, 11485, 11484, 11483, 11465, 11466, 11467, 11468, 11469, 6799, 6802, 6805])
SPIKES = 30  # on a lid
ALONG = np.array([0.0, 0.35, 0.7, 1.0])  # of a spike
TAPER = np.array([1.0, 0.8, 0.5, 0.05])
ROOT = 0.05  # half width of a spike's root, in lengths of a lash
LONGEST = 0.68  # radii of the eyeball
KNOTS = 24  # points along a rim


def lashes(face_hair: FaceHair, head: HumanMesh) -> tuple[Piece, ...]:
    """Upper lashes of the right and the left eye, for the head's lids as they are now."""
    pieces = []
    for side, rim in enumerate(upper_rims()):
        points, ahead = _rim(head, side, rim)
        pieces += [_line(face_hair, head, side, points, ahead), _spikes(face_hair, head, side, points, ahead)]
    return tuple(pieces)


@lru_cache(maxsize=1)
def upper_rims() -> tuple[np.ndarray, np.ndarray]:
    """Vertices of the right and the left upper lid's rim, from the nose outward."""
    head = head_data()
    rim = head.places(UPPER_RIM)
    return head.mirror[rim], rim


def _rim(head: HumanMesh, side: int, rim: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points [KNOTS, 3] along a rim, evenly spaced, and directions [KNOTS, 3] away from the eyeball."""
    points = head.vertices[rim].astype(np.float64)
    steps = np.sqrt((np.diff(points, axis=0) ** 2).sum(axis=1))
    way = np.concatenate([[0], np.cumsum(steps)]) / steps.sum()
    points = np.stack([np.interp(np.linspace(0, 1, KNOTS), way, points[:, k]) for k in range(3)], axis=1)
    return points, unit(points - head.eye_centres[side])


def _line(face_hair: FaceHair, head: HumanMesh, side: int, points: np.ndarray, ahead: np.ndarray) -> Piece:
    """The dark line that the roots make on the rim: a thin sheet [2, KNOTS, 3] that stands out from it."""
    reach = float(head.eye_radius[side]) * (0.06 + 0.12 * face_hair.lash_length)
    size = reach * np.interp(np.linspace(0, 1, KNOTS), [0.08, 0.3, 0.8, 1.0], [0.0, 0.8, 1.0, 0.5])[:, None]
    sheet = np.stack([points - 0.4 * size * ahead, points + size * unit(ahead + 0.6 * np.array([0.0, 1.0, 0.0]))])
    return grid_piece(sheet, LASH, np.zeros_like(sheet))


def _spikes(face_hair: FaceHair, head: HumanMesh, side: int, points: np.ndarray, ahead: np.ndarray) -> Piece:
    """Spikes [SPIKES, 4 rows, 2, 3] of one lid."""
    sign = np.array([-1.0, 1.0])[side]
    place = (np.arange(SPIKES) + 0.5) / SPIKES * 0.84 + 0.14  # the corner beside the nose bears none
    jitter = np.random.default_rng(face_hair.seed).uniform(-1, 1, (SPIKES, 3))
    place = place + 0.012 * jitter[:, 0]
    way = np.linspace(0, 1, KNOTS)
    root, ahead = (np.stack([np.interp(place, way, a[:, k]) for k in range(3)], axis=1) for a in (points, ahead))
    fan = sign * (place - 0.42) * 0.9 + 0.12 * jitter[:, 1] * sign
    ahead = unit(ahead + fan[:, None] * np.array([1.0, 0, 0]))
    length = float(head.eye_radius[side]) * LONGEST * face_hair.lash_length
    length = length * (0.55 + 0.45 * np.sin(np.pi * place**0.8)) * (1 + 0.15 * jitter[:, 2])
    bend = 0.45 * ALONG**2
    up = np.array([0.0, 1.0, 0.0])
    spine = root[:, None] + length[:, None, None] * (ALONG[:, None] * ahead[:, None] + bend[:, None] * up)
    across = unit(cross(ahead, up))
    half = (ROOT * length)[:, None] * TAPER
    sheets = np.stack([spine - half[..., None] * across[:, None], spine + half[..., None] * across[:, None]], axis=2)
    coords = np.broadcast_to(np.stack([ALONG, ALONG], axis=1)[None, :, :, None], sheets.shape)
    return grid_piece(sheets, LASH, coords)
