"""Eyes as balls: what lies between the lids of a mesh is put onto an eyeball.

A mesh of a face closes the eyes by a sheet from lid to lid, with the photo's iris on it. Turned, a sheet shows the iris
elsewhere between the lids than an eye would, so the picture contradicts the label. Only depths change here: in the
photo's own view nothing moves.

An eyeball's radius over the width of the eye, and its centre's place in the picture, are those of
`eg3d.faces.iris_gaze`. How deep it lies follows from the edges of the lids, which lie on it. (On photos of the world
people irises are then as deep as the true ones in the mean, 0.0 mm; a sheet has them 0.8 mm too deep.)
"""

import functools

import numpy as np
import torch

from eg3d.faces.face_mesh import EYE_CORNERS
from eg3d.faces.iris_gaze import EYE_CENTRE, RADIUS_PER_WIDTH
from eg3d.faces.mesh_pose import MeanFace
from eg3d.faces.mesh_surface import FineSurface, fine_surface

# The mesh points on the edges of the lids, along the lower lid from the outer corner to the inner one and back along
# the upper one: of the eye at the image's left, and of the other.
LIDS = (
    (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246),
    (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466),
)
NEAR_CORNERS = 3  # points of the edge at either side of a corner, which is not on the ball
MOST_ASIDE = 0.95  # radii from the ball's axis: farther to the side its surface would go back without end


@functools.cache
def between_lids() -> tuple[np.ndarray, np.ndarray]:
    """The vertices of the fine surface between the lids of each eye, not those on their edges."""
    return tuple(_inside(fine_surface(), lids) for lids in LIDS)


def _inside(surface: FineSurface, lids: tuple[int, ...]) -> np.ndarray:
    """Vertices all of whose mesh points are on the edge of the lids, unless they are on that edge themselves."""
    place = np.full(surface.corners.max() + 1, -1)
    place[list(lids)] = np.arange(len(lids))
    used = surface.shares > 0
    at = np.where(used, place[surface.corners], -1)
    on_lids = (at >= 0).sum(axis=1) == used.sum(axis=1)
    pair = np.sort(at, axis=1)[:, -2:]  # of two mesh points, their places on the edge
    step = (pair[:, 1] - pair[:, 0]) % len(lids)
    on_edge = (used.sum(axis=1) == 1) | ((used.sum(axis=1) == 2) & np.isin(step, (1, len(lids) - 1)))
    return np.flatnonzero(on_lids & ~on_edge)


@functools.cache
def _mean_face() -> MeanFace:
    return MeanFace()


def head_axes(points: np.ndarray) -> np.ndarray:
    """Mesh points [468, 3] (px, z as the network gives it) -> [3, 3]: columns right, down and into the head."""
    rotation = _mean_face().rotation(torch.from_numpy(points)[None])[0].numpy()  # axes right, up, to the camera
    flip = np.diag([1.0, -1.0, -1.0])
    return flip @ rotation @ flip


def with_balls(vertices: np.ndarray, points: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """The vertices [V, 3] of the fine surface with those between the lids on balls.

    Args: points [468, 3] of the same face, px, z in the same unit, larger = further; axes: see `head_axes`.
    """
    vertices = vertices.copy()
    for inside, lids, corners in zip(between_lids(), LIDS, EYE_CORNERS, strict=True):
        outer, inner = points[corners[0]], points[corners[1]]
        radius = RADIUS_PER_WIDTH * np.linalg.norm(outer - inner)
        centre = (outer + inner) / 2 + radius * axes @ (0, -EYE_CENTRE.up, EYE_CENTRE.back)
        edge = points[[*lids[NEAR_CORNERS : 8 - NEAR_CORNERS + 1], *lids[8 + NEAR_CORNERS : 16 - NEAR_CORNERS + 1]]]
        forward = _height(edge, centre, radius)  # of the ball there, toward the camera from its centre
        centre[2] = (edge[:, 2] + forward).mean()
        vertices[inside, 2] = centre[2] - _height(vertices[inside], centre, radius)
    return vertices


def _height(points: np.ndarray, centre: np.ndarray, radius: float) -> np.ndarray:
    """How far before the centre of a ball its surface is, at x and y of points [N, 3]."""
    aside = np.minimum(np.linalg.norm(points[:, :2] - centre[:2], axis=1), MOST_ASIDE * radius)
    return np.sqrt(radius**2 - aside**2)
