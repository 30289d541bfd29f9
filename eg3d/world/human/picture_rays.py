"""Rays of a picture: one through each pixel, five where they matter."""

from dataclasses import dataclass

import numpy as np

from eg3d.world import raycast
from eg3d.world.human.dressing import DressedMesh
from eg3d.world.human.head_shape import CLOTHES, EYE_LEFT, EYE_RIGHT, GLASSES, HAIR, LASH, SKIN

CORNERS = ((-0.25, -0.25), (0.25, -0.25), (-0.25, 0.25), (0.25, 0.25))  # of a pixel: rays besides the one at its centre
SMOOTH = (SKIN, CLOTHES)  # parts whose light changes little within a pixel
STEP = 3.0  # pixels by which depth departs from a straight line at an edge


@dataclass(frozen=True)
class Samples:
    """Rays of a picture, S in all: one through the centre of each pixel, then four more through each edge pixel.

    pixel [S]; part [S]: -1 for none; distance [S]: inf for none. shaded [H]: numbers of the rays whose light is worked
    out; of these: triangle [H], weights [H, 3], direction [H, 3]. copied [C]: rays that see what the ray through the
    centre of their pixel sees. edge [E]: pixels with five rays. pixel_width: at the distance of the world's origin.
    """

    origin: np.ndarray
    pixel: np.ndarray
    part: np.ndarray
    distance: np.ndarray
    shaded: np.ndarray
    triangle: np.ndarray
    weights: np.ndarray
    direction: np.ndarray
    copied: np.ndarray
    edge: np.ndarray
    pixel_width: float

    def averaged(self, values: np.ndarray) -> np.ndarray:
        """Values of the rays [S, ...] -> of the pixels."""
        whole, more = self._split(values)
        whole[self.edge] = (whole[self.edge] + more.sum(axis=1)) / np.float32(1 + len(CORNERS))
        return whole

    def nearest(self) -> np.ndarray:
        """Smallest distance of each pixel; inf on the backdrop."""
        whole, more = self._split(self.distance.copy())
        whole[self.edge] = np.minimum(whole[self.edge], more.min(axis=1))
        return whole

    def _split(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Those of the centres, and [E, 4, ...] of the others."""
        count = len(values) - len(CORNERS) * len(self.edge)
        return values[:count], values[count:].reshape(len(self.edge), len(CORNERS), *values.shape[1:])


def cast_picture(scene: raycast.Scene, mesh: DressedMesh, label: np.ndarray, size: int) -> Samples:
    """Casts the rays of a camera's picture."""
    origin, *first = scene.cast(label, size)
    width = float(np.linalg.norm(label[[3, 7, 11]]) / (label[16] * size))
    edge = _edges(mesh, first[1], size, STEP * width)
    _, *more = scene.cast(label, size, edge, CORNERS)
    directions = np.concatenate([first[0], more[0]])
    triangle, distance, weights = (
        np.concatenate([vars(hits)[name] for hits in (first[1], more[1])])
        for name in ("triangle", "distance", "weights")
    )
    pixel = np.concatenate([np.arange(size * size), np.repeat(edge, len(CORNERS))])
    hit = triangle >= 0
    part = np.where(hit, mesh.part[triangle].astype(np.int16), -1)
    with np.errstate(invalid="ignore"):
        alike = (part == part[pixel]) & (np.abs(distance - distance[pixel]) < STEP * width) & np.isin(part, SMOOTH)
    alike[: size * size] = False
    shaded = np.flatnonzero(hit & ~alike)
    return Samples(
        origin=origin,
        pixel=pixel,
        part=part,
        distance=distance,
        shaded=shaded,
        triangle=triangle.take(shaded),
        weights=weights.take(shaded, axis=0).astype(np.float32, copy=False),
        direction=directions.take(shaded, axis=0),
        copied=np.flatnonzero(alike),
        edge=edge,
        pixel_width=width,
    )


def _edges(mesh: DressedMesh, hits: raycast.Hits, size: int, step: float) -> np.ndarray:
    """Pixels beside which the part changes, or where depth bends by more than `step`; and all of eyes and lashes."""
    part = np.where(hits.triangle >= 0, mesh.part[hits.triangle].astype(np.int16), -1).reshape(size, size)
    depth = np.where(np.isfinite(hits.distance), hits.distance, np.float32(1e3)).reshape(size, size)
    edge = np.isin(part, (EYE_RIGHT, EYE_LEFT, LASH, GLASSES))
    bent = np.where(part == HAIR, np.float32(2 * step), np.float32(step))
    for before, here, after in (
        (np.s_[:, :-2], np.s_[:, 1:-1], np.s_[:, 2:]),
        (np.s_[:-2], np.s_[1:-1], np.s_[2:]),
    ):
        edge[here] |= (part[before] != part[here]) | (part[here] != part[after])
        edge[here] |= np.abs(depth[before] - 2 * depth[here] + depth[after]) > bent[here]
    return np.flatnonzero(edge)
