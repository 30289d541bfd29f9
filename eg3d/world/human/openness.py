"""How much of the surroundings each place of a head sees: what darkens eye sockets, nostrils, the throat."""

from functools import lru_cache

import numpy as np

BEND = 1.9  # more than 1: the surfaces near by are coarse triangles, which cover too little
BLOCK = 512  # receivers at a time: bounds the memory


def openness(vertices: np.ndarray, normals: np.ndarray, areas: np.ndarray) -> np.ndarray:
    """Share [V] of the sky over each vertex that the rest of the surface leaves open, in 0..1.

    What surfaces that face a vertex cover of its sky is the sum of their form factors between two discs,
    A cos(i) cos(j) / (pi r^2 + A) (Wallace et al. 1989); surfaces one behind the other would count twice, so the sum
    is bent below 1.
    Args: vertices, normals [V, 3], areas [V] of the surface round each vertex.
    """
    points, n = vertices.astype(np.float32), normals.astype(np.float32)
    square, offset = (points * points).sum(axis=1), (points * n).sum(axis=1)
    covered = np.empty(len(points), np.float32)
    for start in range(0, len(points), BLOCK):
        rows = slice(start, start + BLOCK)
        r2 = np.maximum(square[rows, None] + square - 2 * points[rows] @ points.T, 1e-6)
        ahead = np.maximum(n[rows] @ points.T - offset[rows, None], 0)  # r cos(i)
        facing = np.maximum(points[rows] @ n.T - offset, 0)  # r cos(j): how far the receiver lies before surface j
        covered[rows] = (ahead * facing / (r2 * (np.pi * r2 + areas)) * areas).sum(axis=1)
    return np.exp(-BEND * covered)


def vertex_areas(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """A third of the area of the triangles round each vertex: [V]."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    third = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 6
    return np.bincount(faces.ravel(), np.repeat(third, 3), minlength=len(vertices)).astype(np.float32)


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Smooth unit normals [V, 3]: means of the triangles round a vertex, weighted by area."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    normal = np.cross(b - a, c - a)
    total = [np.bincount(faces.ravel(), np.repeat(normal[:, k], 3), minlength=len(vertices)) for k in range(3)]
    total = np.stack(total, axis=1)
    return total / (np.linalg.norm(total, axis=1, keepdims=True) + 1e-12)


@lru_cache(maxsize=2)
def _cached(rest: bytes, faces: bytes) -> np.ndarray:
    vertices = np.frombuffer(rest, np.float32).reshape(-1, 3).astype(np.float64)
    triangles = np.frombuffer(faces, np.int32).reshape(-1, 3)
    return openness(vertices, vertex_normals(vertices, triangles), vertex_areas(vertices, triangles))


def base_openness(rest: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """`openness` of the base mesh, worked out once per process: rest f32 [V, 3], faces i32 [F, 3] that block light."""
    return _cached(np.ascontiguousarray(rest, np.float32).tobytes(), np.ascontiguousarray(faces, np.int32).tobytes())
