"""Pictures of a coloured mesh in new poses, with the mask of its face.

The camera is the plain pinhole u = 224 + 960 X/Z, v = 224 + 960 Y/Z of data normalisation, the first pixel spans 0..1,
and a pixel shows what lies at its centre: the nearest triangle, from either side, colours interpolated between its
corners. A head turns by turning the camera round it, so the mesh is prepared once for all its views.
"""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import ConvexHull, QhullError

from eg3d.world.raycast import Scene
from groundwork.opencv import opencv
from l2cs.normalization import FOCAL, SIZE

MASK_SIDE = 224  # px at which a mask is closed, as published
CLOSING, ROUNDS = 5, 3  # side of the square, and how often it is applied
INSIDE = 0.5  # of the weights of a triangle's corners: from here on a pixel is of the face
GREY = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Light:
    """How bright the mesh is: colours times ambient + directional * max(0, cosine between normal and `toward`).

    toward: unit vector [3] in the frame of the picture's camera (x right, y down, z away), from the face to the light.
    """

    ambient: float = 1.0
    directional: float = 0.0
    toward: tuple[float, float, float] = (0.0, 0.0, -1.0)


@dataclass(frozen=True)
class Seen:
    """What the pixels of one picture of `size` px show of a mesh.

    pixels: int [P], row-major numbers of those that show any of it; weights float32 [P, 3]: of the corners of the
    triangle there; corners int32 [P, 3]: numbers of its vertices. rotation [3, 3]: mesh to the picture's camera.
    """

    pixels: np.ndarray
    corners: np.ndarray
    weights: np.ndarray
    rotation: np.ndarray
    size: int

    def of(self, values: np.ndarray) -> np.ndarray:
        """Values of the vertices [V, C] -> [P, C] between the corners."""
        # `take` is twice as fast as an index in brackets.
        found = values.take(self.corners[:, 0], axis=0) * self.weights[:, :1]
        found += values.take(self.corners[:, 1], axis=0) * self.weights[:, 1:2]
        found += values.take(self.corners[:, 2], axis=0) * self.weights[:, 2:]
        return found


class ColouredMesh:
    """A mesh in the normalised frame of its source, from which pictures of its views are made."""

    def __init__(self, points: np.ndarray, faces: np.ndarray, colours: np.ndarray, chosen: np.ndarray, caster=None):
        """points [V, 3] mm, faces int [F, 3], colours uint8 [V, 3] RGB, chosen bool [V]: vertices of the face's mask.

        caster: see `eg3d.world.raycast.Scene`.
        """
        self._points, self._faces = np.asarray(points, np.float64), np.asarray(faces, np.int32)
        self._colours, self._chosen = np.asarray(colours, np.float32), np.asarray(chosen, np.float32)[:, None]
        self._normals: np.ndarray | None = None
        # Near the origin, where float32 is finest.
        self._middle = self._points.mean(axis=0)
        self._outermost = _outermost(self._points)
        self._scene = Scene((self._points - self._middle).astype(np.float32), self._faces, caster)

    def seen(self, rotation: np.ndarray, centre: np.ndarray, size: int = SIZE, focal: float = FOCAL) -> Seen:
        """What the camera at the origin sees of the mesh after X -> rotation (X - centre) + centre.

        size: px of the square picture, whose focal length is `focal` px if it has 448.
        """
        focal = focal * size / SIZE
        label = np.zeros(25)
        pose = label[:16].reshape(4, 4)
        pose[:3, :3], pose[3, 3] = rotation.T, 1
        pose[:3, 3] = centre - rotation.T @ centre - self._middle
        label[16:] = np.array([[focal / size, 0, 0.5], [0, focal / size, 0.5], [0, 0, 1]]).ravel()
        turned = (self._outermost - centre) @ rotation.T + centre
        pixels = _box(turned, focal, size)
        _, _, hits = self._scene.cast(label, size, pixels)
        hit = hits.triangle >= 0
        corners = self._faces.take(hits.triangle[hit], axis=0)
        weights = hits.weights.compress(hit, axis=0).astype(np.float32, copy=False)
        return Seen(pixels[hit], corners, weights, rotation, size)

    def picture(self, seen: Seen, light: Light, background: np.ndarray) -> np.ndarray:
        """float32 RGB [size, size, 3], 0 to 255, before a background [3] or [size, size, 3], which no light changes."""
        colours = seen.of(self._colours)
        if light.directional:
            normals = seen.of(self.normals) @ seen.rotation.T.astype(np.float32)
            toward = normals @ np.asarray(light.toward, np.float32)
            length = np.sqrt((normals * normals).sum(axis=1))
            # A triangle seen from behind has its normal turned away.
            cosine = np.where(normals[:, 2] > 0, -toward, toward) / np.maximum(length, 1e-12)
            colours *= (light.ambient + light.directional * np.maximum(cosine, 0))[:, None]
        elif light.ambient != 1:
            colours *= light.ambient
        picture = np.empty((seen.size * seen.size, 3), np.float32)
        picture[:] = np.asarray(background, np.float32).reshape(-1, 3)
        picture[seen.pixels] = np.minimum(colours, 255)
        return picture.reshape(seen.size, seen.size, 3)

    def mask(self, seen: Seen, legacy: bool = False) -> np.ndarray:
        """uint8 [size, size]: 255 if what a pixel shows is of the face.

        legacy: as published, where the colours decide: those of the chosen vertices, grey above 2 of 255.
        """
        if legacy:
            inside = seen.of(self._colours * self._chosen) @ np.array(GREY, np.float32) > 2
        else:
            inside = seen.of(self._chosen)[:, 0] > INSIDE
        mask = np.zeros(seen.size * seen.size, np.uint8)
        mask[seen.pixels[inside]] = 255
        return mask.reshape(seen.size, seen.size)

    @property
    def normals(self) -> np.ndarray:
        """float32 [V, 3], of any length: the sum of the triangles' normals, each as long as twice its area."""
        if self._normals is None:
            a, b, c = (self._points[self._faces[:, corner]] for corner in range(3))
            area, found = np.cross(b - a, c - a), np.zeros_like(self._points)
            for axis in range(3):
                sums = sum(np.bincount(self._faces[:, corner], area[:, axis], len(found)) for corner in range(3))
                found[:, axis] = sums
            self._normals = found.astype(np.float32)
        return self._normals


def _outermost(points: np.ndarray) -> np.ndarray:
    """The corners of the convex hull of points [V, 3], some hundred: no other point is ever at the edge of a picture.

    All points if they lie in a plane.
    """
    try:
        return points[ConvexHull(points).vertices]
    except (QhullError, ValueError):  # of a few points too
        return points


def _box(points: np.ndarray, focal: float, size: int) -> np.ndarray:
    """Row-major numbers of the pixels of the smallest rectangle in which points [V, 3] mm may be seen.

    All pixels if one of the points lies behind the camera.
    """
    if points[:, 2].min() <= 1:
        return np.arange(size * size)
    places = points[:, :2] / points[:, 2:] * focal + size / 2
    (left, top), (right, bottom) = (
        np.clip(np.floor(edge + more), 0, size).astype(int)
        for edge, more in ((places.min(axis=0), -1), (places.max(axis=0), 2))
    )
    return (np.arange(top, bottom)[:, None] * size + np.arange(left, right)).ravel()


def shrunk(picture: np.ndarray, side: int, legacy: bool = False) -> np.ndarray:
    """float32 RGB [size, size, 3] -> uint8 **BGR** [side, side, 3], each pixel the mean of those it covers.

    legacy: the fraction is cut off, as published, so that pictures are half a step darker.
    """
    cv2 = opencv()
    small = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)[..., ::-1]
    return (small if legacy else small + np.float32(0.5)).astype(np.uint8)


def shrunk_mask(mask: np.ndarray, side: int, legacy: bool = False) -> np.ndarray:
    """uint8 [size, size] -> [side, side]: brought to 224 px, closed, and brought to the side. Edges are grey.

    Closed: grown thrice, then shrunk thrice, by 5 x 5 px, and holes are filled: eyes that lie deeper than the cheek.
    legacy: as published, where holes stay, and what has grown to the picture's edge does not shrink there again.
    """
    cv2 = opencv()
    small = cv2.resize(mask, (MASK_SIDE, MASK_SIDE), interpolation=cv2.INTER_AREA)
    square, edge = np.ones((CLOSING, CLOSING), np.uint8), 0 if legacy else CLOSING * ROUNDS
    small = cv2.copyMakeBorder(small, edge, edge, edge, edge, cv2.BORDER_CONSTANT, value=0)
    small = cv2.erode(cv2.dilate(small, square, iterations=ROUNDS), square, iterations=ROUNDS)
    if not legacy:
        # First the holes, then their grey edges: as rings they would let other backgrounds shine through the face.
        for darkest in (0, 254):
            around = (small > darkest).astype(np.uint8)
            cv2.floodFill(around, None, (0, 0), 1)  # from the border, which is outside; what stays 0 is inside
            small[around == 0] = 255
    small = small[edge : edge + MASK_SIDE, edge : edge + MASK_SIDE]
    if side != MASK_SIDE:
        small = cv2.resize(small, (side, side), interpolation=cv2.INTER_AREA)
    return small


def projected(points: np.ndarray, side: int) -> np.ndarray:
    """Points [..., 3] mm of the picture's frame -> pixels [..., 2] of a picture of that side; the first pixel spans
    0..1."""
    return (points[..., :2] / points[..., 2:] * FOCAL / SIZE + 0.5) * side
