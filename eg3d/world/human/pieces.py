"""What a head wears is made of pieces: small meshes with smooth normals, coordinates for paint, and tangents."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np


@dataclass(frozen=True)
class Piece:
    """vertices, normals f32 [V, 3], faces i32 [F, 3], part: a constant of `head_shape.py`.

    coords f32 [V, 3]: place of the vertex on its piece, what paint is keyed by; it moves with the piece.
    tangents f32 [V, 3]: unit direction of the strand, from root to tip (hair and lashes), or zero.
    """

    vertices: np.ndarray
    normals: np.ndarray
    faces: np.ndarray
    part: int
    coords: np.ndarray
    tangents: np.ndarray

    def mirrored(self) -> "Piece":
        """The piece in a mirror at x = 0; its coordinates stay, so that its paint is mirrored too."""
        flip = np.array([-1, 1, 1], np.float32)
        return Piece(
            self.vertices * flip, self.normals * flip, self.faces[:, ::-1], self.part, self.coords, self.tangents * flip
        )


def grid_piece(
    points: np.ndarray, part: int, coords: np.ndarray, closed: bool = False, tangents: np.ndarray | None = None
) -> Piece:
    """A sheet [..., R, C, 3] (leading axes: several sheets at once) with normals by central differences.

    closed: the last column joins the first.
    """
    normals = grid_normals(points, closed)
    *sheets, rows, columns, _ = points.shape
    count = int(np.prod(sheets))
    faces = grid_faces(rows, columns, closed)
    faces = faces[None] + (np.arange(count, dtype=np.int32) * rows * columns)[:, None, None]
    if tangents is None:
        tangents = np.zeros_like(points)
    flat = [np.ascontiguousarray(np.reshape(a, (-1, 3)), np.float32) for a in (points, normals, coords, tangents)]
    return Piece(flat[0], flat[1], faces.reshape(-1, 3), part, flat[2], flat[3])


@lru_cache(maxsize=32)
def grid_faces(rows: int, columns: int, closed: bool) -> np.ndarray:
    """Two triangles per cell of a grid [rows, columns], its last column joined to the first if `closed`: i32 [F, 3]."""
    index = np.arange(rows * columns, dtype=np.int32).reshape(rows, columns)
    left, right = (index, np.roll(index, -1, axis=1)) if closed else (index[:, :-1], index[:, 1:])
    a, b, c, d = left[:-1], right[:-1], left[1:], right[1:]
    return np.concatenate([np.stack([a, d, b], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)])


def grid_normals(points: np.ndarray, closed: bool = False) -> np.ndarray:
    """Unit normals of sheets [..., R, C, 3], outward if the rows go down and the columns go to the left as seen from
    inside."""
    if closed:
        along = np.roll(points, -1, axis=-2) - np.roll(points, 1, axis=-2)
    else:
        along = np.gradient(points, axis=-2)
    return unit(cross(np.gradient(points, axis=-3), along))


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors [..., 3] at length one."""
    return vectors / (np.sqrt(dot(vectors, vectors))[..., None] + 1e-12)


def dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Inner products [...] of vectors [..., 3]."""
    return a[..., 0] * b[..., 0] + a[..., 1] * b[..., 1] + a[..., 2] * b[..., 2]


def cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Outer products [..., 3] of vectors [..., 3], axis by axis: in less time than NumPy's for few vectors."""
    (ax, ay, az), (bx, by, bz) = (tuple(np.asarray(v)[..., k] for k in range(3)) for v in (a, b))
    return np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], axis=-1)


def smooth(x, low, high):
    """0 below `low`, 1 above `high`, smooth between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)
