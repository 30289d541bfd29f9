"""FaceMesh's 468 points as a surface: triangles between them, finer ones, and which of them are the 68 landmarks.

Nothing here comes with the network. The triangles are those of Delaunay between the points of our own mean face, spread
out as seen from a point far behind it: from there even the sides of the nose and the underside of its tip are visible.
"""

import functools
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.spatial import Delaunay

from eg3d.faces.mesh_pose import MEAN_FACE
from eg3d.geometry.halving import edges_of, pieces_of

SEEN_FROM = (0.0, 0.1, -2.0)  # dm, in the frame of the mean face
# dlib's 68 points. Jaw, brows and nose: the mesh point that lies nearest on 180 pictures of 60 heads of the world
# people, whose 68 points are known (root mean square 3 to 9 mm). Lids and lips: points of the mesh's own rings round
# eyes and mouth, their corners those of `face_mesh`, the others at thirds.
OF_68 = (
    127, 234, 132, 58, 172, 136, 149, 176, 152, 400, 378, 365, 397, 288, 361, 454, 356,  # jaw
    70, 105, 66, 65, 55, 285, 295, 296, 334, 300,  # brows
    168, 197, 5, 1, 98, 97, 2, 326, 327,  # nose
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,  # lids
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181,  # lips, outside
    78, 82, 13, 312, 308, 317, 14, 87,  # lips, inside
)  # fmt: skip
EDGE_MM, EYE_EDGE_MM = 2.0, 0.8  # longest edges of the finer surface on the mean face
EYE_REGION = ((0.12, 0.50), (0.15, 0.40))  # |x|, y of the mean face, dm: lids and what lies between them


@dataclass(frozen=True)
class FineSurface:
    """A surface through the mesh points with more vertices, each between three of the points.

    Attributes: corners int32 [V, 3]: numbers of mesh points; shares float64 [V, 3]: their weights, which sum to 1;
    faces int32 [F, 3]: numbers of vertices; their normals (b - a) x (c - a) leave the head if x goes right, y down and
    z away from the camera. The first 468 vertices are the mesh points.
    """

    corners: np.ndarray
    shares: np.ndarray
    faces: np.ndarray

    def vertices(self, points: np.ndarray) -> np.ndarray:
        """Mesh points [468, D] -> vertices [V, D]."""
        return (points[self.corners] * self.shares[..., None]).sum(axis=1)


@functools.cache
def mean_points() -> np.ndarray:
    """float64 [468, 3]: the mean face, dm, x right, y up, z toward the camera."""
    with np.load(MEAN_FACE) as file:
        return file["points"].astype(np.float64)


@functools.cache
def triangles() -> np.ndarray:
    """int32 [898, 3] between the mesh points; normals leave the head if y points down and z away from the camera.

    (The same order of corners, since to turn both axes round is a rotation.)
    """
    ways = mean_points() - SEEN_FROM
    ways /= np.linalg.norm(ways, axis=1, keepdims=True)
    radius = np.arccos(ways[:, 2].clip(-1, 1)) / np.maximum(np.hypot(ways[:, 0], ways[:, 1]), 1e-12)
    flat = ways[:, :2] * radius[:, None]  # azimuthal: angles from the middle, and round it, are kept
    found = Delaunay(flat).simplices
    a, b, c = (flat[found[:, k]] for k in range(3))
    turned = (b - a)[:, 0] * (c - a)[:, 1] < (b - a)[:, 1] * (c - a)[:, 0]
    found[turned] = found[turned][:, ::-1]
    return found.astype(np.int32)


@functools.cache
def fine_surface() -> FineSurface:
    """Edges are halved until none is longer than EDGE_MM, round the eyes EYE_EDGE_MM, on the mean face."""
    faces = triangles()
    shares = sparse.identity(len(mean_points()), format="csr")  # of each vertex in the mesh points
    while True:
        places = shares @ mean_points()
        edges, of_face, _ = edges_of(faces)
        middles = places[edges].mean(axis=1)
        longest = np.where(_in_eye_region(middles), EYE_EDGE_MM, EDGE_MM) / 100
        halved = np.linalg.norm(places[edges[:, 0]] - places[edges[:, 1]], axis=1) > longest
        if not halved.any():
            break
        numbers = np.where(halved, shares.shape[0] + np.cumsum(halved) - 1, -1)
        one, other = edges[halved].T
        shares = sparse.vstack([shares, (shares[one] + shares[other]) / 2], format="csr")
        whole, within, corners = pieces_of(numbers[of_face] >= 0)
        faces = np.concatenate([faces[whole], np.hstack([faces, numbers[of_face]])[within[:, None], corners]])
    corners, parts = np.zeros((shares.shape[0], 3), np.int32), np.zeros((shares.shape[0], 3))
    rows, place = np.repeat(np.arange(shares.shape[0]), np.diff(shares.indptr)), np.arange(shares.nnz)
    place -= shares.indptr[rows]
    corners[rows, place], parts[rows, place] = shares.indices, shares.data
    return FineSurface(corners, parts, faces.astype(np.int32))


def _in_eye_region(places: np.ndarray) -> np.ndarray:
    (x0, x1), (y0, y1) = EYE_REGION
    x, y = np.abs(places[:, 0]), places[:, 1]
    return (x > x0) & (x < x1) & (y > y0) & (y < y1)
