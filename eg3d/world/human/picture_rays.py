"""Rays of a picture: one through each pixel, five where they matter."""

from dataclasses import dataclass

import numpy as np

from eg3d.world import raycast
from eg3d.world.human.dressing import DressedMesh
from eg3d.world.human.head_shape import EYE_LEFT, EYE_RIGHT, GLASSES, LASH

CORNERS = ((-0.25, -0.25), (0.25, -0.25), (-0.25, 0.25), (0.25, 0.25))  # of a pixel: rays besides the one at its centre
STEP = 3.0  # pixels by which depth jumps at an edge


@dataclass(frozen=True)
class Samples:
    """Rays of a picture, S in all: one through the centre of each pixel, then four more through each edge pixel.

    pixel [S]; hit [H]: numbers of the rays that hit something; part [S]: -1 for none; of the hits: triangle [H],
    weights [H, 3], distance [H], direction [H, 3]. edge [E]: pixels with five rays. pixel_width: at the distance of
    the world's origin.
    """

    origin: np.ndarray
    pixel: np.ndarray
    hit: np.ndarray
    part: np.ndarray
    triangle: np.ndarray
    weights: np.ndarray
    distance: np.ndarray
    direction: np.ndarray
    edge: np.ndarray
    pixel_width: float

    def averaged(self, values: np.ndarray) -> np.ndarray:
        """Values of the rays [S, ...] -> of the pixels."""
        count = len(values) - len(CORNERS) * len(self.edge)
        whole = values[:count]
        more = values[count:].reshape(len(CORNERS), len(self.edge), *values.shape[1:]).sum(axis=0)
        whole[self.edge] = (whole[self.edge] + more) / np.float32(1 + len(CORNERS))
        return whole

    def nearest(self) -> np.ndarray:
        """Smallest distance of each pixel; inf on the backdrop."""
        distance = np.full(len(self.pixel), np.inf, np.float32)
        distance[self.hit] = self.distance
        count = len(distance) - len(CORNERS) * len(self.edge)
        more = distance[count:].reshape(len(CORNERS), -1)
        whole = distance[:count]
        if len(self.edge):
            whole[self.edge] = np.minimum(whole[self.edge], more.min(axis=0))
        return whole


def cast_picture(scene: raycast.Scene, mesh: DressedMesh, label: np.ndarray, size: int) -> Samples:
    origin, *first = scene.cast(label, size)
    width = float(np.linalg.norm(label[[3, 7, 11]]) / (label[16] * size))
    edge = _edges(mesh, first[1], size, STEP * width)
    _, *more = scene.cast(label, size, edge, CORNERS)
    directions = np.concatenate([first[0], more[0]])
    triangle, distance, weights = (
        np.concatenate([vars(hits)[name] for hits in (first[1], more[1])])
        for name in ("triangle", "distance", "weights")
    )
    hit = np.flatnonzero(triangle >= 0)
    part = np.full(len(triangle), -1, np.int16)
    part[hit] = mesh.part[triangle[hit]]
    return Samples(
        origin=origin,
        pixel=np.concatenate([np.arange(size * size)] + [edge] * len(CORNERS)),
        hit=hit,
        part=part,
        triangle=triangle[hit],
        weights=weights[hit].astype(np.float32),
        distance=distance[hit],
        direction=directions[hit],
        edge=edge,
        pixel_width=width,
    )


def _edges(mesh: DressedMesh, hits: raycast.Hits, size: int, step: float) -> np.ndarray:
    """Pixels where the part changes against a neighbour, or depth by more than `step`; and all of eyes and lashes."""
    part = np.where(hits.triangle >= 0, mesh.part[hits.triangle].astype(np.int16), -1).reshape(size, size)
    depth = np.where(np.isfinite(hits.distance), hits.distance, 1e3).reshape(size, size)
    edge = np.isin(part, (EYE_RIGHT, EYE_LEFT, LASH, GLASSES))
    for before, after in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        differs = (part[before] != part[after]) | (np.abs(depth[before] - depth[after]) > step)
        edge[before] |= differs
        edge[after] |= differs
    return np.flatnonzero(edge)
