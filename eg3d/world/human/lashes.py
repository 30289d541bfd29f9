"""Lashes: thin spikes along the rims of the upper lids; they move with the lids."""

from functools import lru_cache

import numpy as np

from eg3d.world.human.brows import FaceHair
from eg3d.world.human.head_shape import LASH, HumanMesh
from eg3d.world.human.makehuman import head_data
from eg3d.world.human.pieces import Piece, grid_piece, unit

SPIKES = 30  # on a lid
ALONG = np.array([0.0, 0.35, 0.7, 1.0])  # of a spike
TAPER = np.array([1.0, 0.8, 0.5, 0.05])
ROOT = 0.05  # half width of a spike's root, in lengths of a lash
LONGEST = 0.095  # decimetres


def lashes(face_hair: FaceHair, head: HumanMesh) -> tuple[Piece, ...]:
    """Upper lashes of the right and the left eye, for the head's lids as they are now."""
    return tuple(_spikes(face_hair, head, side, rim) for side, rim in enumerate(upper_rims()))


@lru_cache(maxsize=1)
def upper_rims() -> tuple[np.ndarray, np.ndarray]:
    """Vertices of the right and the left upper lid's rim, from the nose outward.

    MakeHuman's strips for lashes say where: each vertex of the skin that lies next to a strip's edge on the lid.
    """
    head = head_data()
    skin = head.members("skin")
    left = head.vertices[head.members("lash-left")].astype(np.float64)
    centre = head.vertices[head.members("eye-left")].astype(np.float64).mean(axis=0)
    distance = np.sqrt(((left - centre) ** 2).sum(axis=1))
    root = left[distance < 1.09 * distance.min()]
    near = np.sqrt(((head.vertices[skin][:, None] - root) ** 2).sum(axis=2)).min(axis=1) < 0.012
    rim = skin[near]
    rim = rim[np.argsort(head.vertices[rim, 0])]
    return head.mirror[rim], rim


def _spikes(face_hair: FaceHair, head: HumanMesh, side: int, rim: np.ndarray) -> Piece:
    """Spikes [SPIKES, 4 rows, 2, 3] of one lid."""
    sign = np.array([-1.0, 1.0])[side]
    centre, radius = head.eye_centres[side].astype(np.float64), float(head.eye_radius[side])
    dm = radius / 0.11
    points = head.vertices[rim].astype(np.float64)
    steps = np.sqrt((np.diff(points, axis=0) ** 2).sum(axis=1))
    way = np.concatenate([[0], np.cumsum(steps)]) / steps.sum()
    place = (np.arange(SPIKES) + 0.5) / SPIKES * 0.86 + 0.12  # the corner beside the nose bears none
    jitter = np.random.default_rng(face_hair.seed).uniform(-1, 1, (SPIKES, 3))
    place = place + 0.012 * jitter[:, 0]
    root = np.stack([np.interp(place, way, points[:, k]) for k in range(3)], axis=1)
    fan = sign * (place - 0.42) * 0.9 + 0.12 * jitter[:, 1] * sign
    ahead = unit(root - centre)
    ahead = unit(ahead + fan[:, None] * np.array([1.0, 0, 0]))
    length = (
        dm * LONGEST * face_hair.lash_length * (0.55 + 0.45 * np.sin(np.pi * place**0.8)) * (1 + 0.15 * jitter[:, 2])
    )
    bend = 0.45 * ALONG**2
    spine = root[:, None] + length[:, None, None] * (
        ALONG[:, None] * ahead[:, None] + bend[:, None] * np.array([0.0, 1.0, 0.0])
    )
    across = unit(np.cross(ahead, [0.0, 1.0, 0.0]))
    half = (ROOT * length)[:, None] * TAPER
    sheets = np.stack([spine - half[..., None] * across[:, None], spine + half[..., None] * across[:, None]], axis=2)
    coords = np.broadcast_to(np.stack([ALONG, ALONG], axis=1)[None, :, :, None], sheets.shape)
    return grid_piece(sheets, LASH, coords)
