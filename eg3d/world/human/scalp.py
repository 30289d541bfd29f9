"""The head without its ears, and the bust, each as a distance from a point inside in every direction.

Hair and clothes need to know where the skin is: they start there and may not go below. A table of directions, each a
fixed point of the base mesh's triangles, gives that for every person by one sparse product.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from scipy.sparse import csr_matrix
from scipy.spatial import Delaunay

from eg3d.world.human.hair import SCALP_CENTRE
from eg3d.world.human.makehuman import MASKS, Head, head_data
from eg3d.world.human.pieces import unit

BUST_CENTRE = np.array([0.0, 4.8, 0.15])
CENTRES = {"head": SCALP_CENTRE, "bust": BUST_CENTRE}
ELEVATIONS = np.arange(-60, 91, 5.0)  # degrees
AZIMUTHS = np.arange(0, 360, 7.5)  # 0 in front, 90 at the subject's left


@dataclass(frozen=True)
class Scalp:
    """Skin of a person in decimetres of the base mesh round a point inside: world = origin + scale * turn @ place.

    points [E, A, 3]: places of the skin, by the directions (`ELEVATIONS`, `AZIMUTHS`) they have on the base mesh;
    radius [E, A]: their distance.
    """

    origin: np.ndarray
    scale: float
    turn: np.ndarray  # [3, 3], about x: how much the head is tilted
    points: np.ndarray
    radius: np.ndarray

    def at(self, places: np.ndarray) -> np.ndarray:
        """Distance [...] of the skin from the point inside, in the directions of places [..., 3]."""
        return _bilinear(self.radius, places)

    def skin(self, directions: np.ndarray) -> np.ndarray:
        """Places [..., 3] of the skin that have these directions [..., 3] on the base mesh."""
        return _bilinear(self.points, directions)

    def mirrored(self) -> "Scalp":
        """The head in a mirror."""
        flip = np.array([-1, 1, 1])
        other = -np.arange(len(AZIMUTHS))
        return replace(
            self, origin=self.origin * flip, points=self.points[:, other] * flip, radius=self.radius[:, other]
        )

    def world(self, places: np.ndarray) -> np.ndarray:
        """Places round the point inside -> the head frame."""
        return self.origin + self.scale * self.turned(places)

    def turned(self, directions: np.ndarray) -> np.ndarray:
        """Directions there -> in the head frame."""
        return directions @ self.turn.T

    def places(self, points: np.ndarray) -> np.ndarray:
        """Points of the head frame -> places round the point inside."""
        return (points - self.origin) @ self.turn / self.scale


def scalp_of(vertices: np.ndarray, part: str = "head") -> Scalp:
    """The "head" or the "bust" of a person, from its vertices [V, 3] (the base mesh's come first, in its order)."""
    at_rest, weights = _table(part)
    points = weights @ vertices[: weights.shape[1]].astype(np.float64)
    middle, middle_at_rest = points.mean(axis=0), at_rest.mean(axis=0)
    here, there = points - middle, at_rest - middle_at_rest
    (yy, yz), (zy, zz) = there[:, 1:].T @ here[:, 1:]
    tilt = np.arctan2(yz - zy, yy + zz)  # least squares, about x
    turn = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    scale = float(np.sqrt((here**2).sum() / (there**2).sum()))
    origin = middle - scale * turn @ middle_at_rest
    places = ((points - origin) @ turn / scale).reshape(len(ELEVATIONS), len(AZIMUTHS), 3)
    return Scalp(origin, scale, turn, places, np.sqrt((places**2).sum(axis=-1)))


def _bilinear(table: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Values of a table [E, A, ...] between its directions."""
    x, y, z = np.moveaxis(places, -1, 0)
    row = np.clip((np.degrees(np.arctan2(y, np.hypot(x, z))) - ELEVATIONS[0]) / 5.0, 0, len(ELEVATIONS) - 1.001)
    column = np.degrees(np.arctan2(x, z)) / 7.5
    i, j = np.floor(row).astype(int), np.floor(column).astype(int)
    a, b = row - i, column - j
    if table.ndim == 3:
        a, b = a[..., None], b[..., None]
    j, k = j % len(AZIMUTHS), (j + 1) % len(AZIMUTHS)
    return (1 - a) * ((1 - b) * table[i, j] + b * table[i, k]) + a * ((1 - b) * table[i + 1, j] + b * table[i + 1, k])


@lru_cache(maxsize=2)
def _table(part: str) -> tuple[np.ndarray, csr_matrix]:
    """Points [E * A, 3] of the base mesh round a point inside, and the weights of its vertices [E * A, V]."""
    head = head_data()
    offset = head.vertices.astype(np.float64) - CENTRES[part]
    outside = np.unique(_outer_triangles(head, offset, part))
    flat = _flat(offset[outside])
    elevation, azimuth = np.radians(np.meshgrid(ELEVATIONS, AZIMUTHS[: len(AZIMUTHS) // 2 + 1], indexing="ij"))
    directions = np.stack(
        [np.cos(elevation) * np.sin(azimuth), np.sin(elevation), np.cos(elevation) * np.cos(azimuth)], axis=-1
    )
    mesh = Delaunay(flat)
    corners, shares = _barycentric(mesh, _flat(directions.reshape(-1, 3)))
    corners = outside[corners].reshape(*elevation.shape, 3)
    shares = shares.reshape(*elevation.shape, 3)

    # The right half is the left one's mirror image; the column in the middle is its own.
    other = -np.arange(len(AZIMUTHS)) % len(AZIMUTHS)
    columns = np.arange(len(AZIMUTHS))
    left = np.minimum(columns, other)
    own, twin = corners[:, left], head.mirror[corners[:, left]]
    share = np.stack([columns <= other, columns >= other], axis=-1).astype(float)
    share /= share.sum(axis=-1, keepdims=True)
    which = np.stack([own, twin], axis=-2)  # [E, A, 2, 3]
    amount = shares[:, left][:, :, None] * share[None, :, :, None]
    rows = np.repeat(np.arange(which.shape[0] * which.shape[1]), 6)
    shape = (which.shape[0] * which.shape[1], len(offset))
    weights = csr_matrix((amount.ravel(), (rows, which.ravel())), shape=shape)
    return weights @ offset, weights


def _outer_triangles(head: Head, offset: np.ndarray, part: str) -> np.ndarray:
    """Triangles of the skin that face away from the point inside: no ears, nostrils, mouth."""
    faces = head.faces("skin")
    corners = offset[faces]
    normal = unit(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]))
    outward = (normal * unit(corners.mean(axis=1))).sum(axis=1) > (0.3 if part == "head" else 0.1)
    hidden = (
        np.maximum(head.masks[:, MASKS.index("ears")], head.masks[:, MASKS.index("mouth")])[faces].max(axis=1) > 0.3
    )
    x, y, z = np.moveaxis(corners.mean(axis=1) + CENTRES[part], -1, 0)
    if part == "bust":
        return faces[outward & (y < 6.35) & (z < 0.95)]
    ear = (np.abs(x) > 0.68) & (np.abs(y - 7.25) < 0.45) & (np.abs(z - 0.55) < 0.33)
    return faces[outward & ~hidden & ~ear & (y > 6.0)]


def _flat(places: np.ndarray) -> np.ndarray:
    """Directions [P, 3] -> the plane [P, 2], with the crown in the middle."""
    from_crown = np.arccos(np.clip(unit(places)[:, 1], -1, 1))
    azimuth = np.arctan2(places[:, 0], places[:, 2])
    return np.stack([from_crown * np.sin(azimuth), from_crown * np.cos(azimuth)], axis=1)


def _barycentric(mesh: Delaunay, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Corners [P, 3] and their shares [P, 3]; a point outside the mesh takes its nearest corner."""
    simplex = mesh.find_simplex(points)
    affine = mesh.transform[simplex]
    two = np.einsum("pij,pj->pi", affine[:, :2], points - affine[:, 2])
    shares = np.concatenate([two, 1 - two.sum(axis=1, keepdims=True)], axis=1)
    corners = mesh.simplices[simplex].copy()
    for row in np.flatnonzero(simplex < 0):
        corners[row] = ((mesh.points - points[row]) ** 2).sum(axis=1).argmin()
        shares[row] = (1, 0, 0)
    return corners, shares
