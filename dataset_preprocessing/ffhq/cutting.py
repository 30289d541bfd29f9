"""Photos -> the squares that EG3D learns from, cut out round five points of a face.

EG3D's chain turns nothing: a head that leans to one side does so in the crop too, and its camera has that roll. To
level the eyes first is a choice here, as the people who project photos into a generator make it. The label must then
be read from the crop.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from dataset_preprocessing.ffhq import pos
from groundwork.archive import read_file
from groundwork.images import open_image, read_picture

SIDE, CANVAS = 512, 1024  # px of a crop, and of the square of which it shows the middle, shrunk
ENOUGH = 1000  # px of the shorter side of a photo in which faces are looked for
GRID = 64  # points per side at which is asked whether a crop lies in the photo
DETAIL_SIDE = 128  # px to which a crop is shrunk before its sharpness is measured
FACE_IN_CROP = (0.25, 0.25, 0.75, 0.8)  # left, top, right, bottom: there is no background, whose blur is no fault


@dataclass(frozen=True)
class Cut:
    """A crop.

    Attributes:
        picture: SIDE px.
        points: [5, 2] px in it, the first pixel spans 0..1.
        source_px: how many pixels of the photo its side has.
        outside: the part of it that lies outside the photo, and is black.
        turned_deg: how far the photo was turned, counter-clockwise.
    """

    picture: Image.Image
    points: np.ndarray
    source_px: float
    outside: float
    turned_deg: float


class Photo:
    """A picture in which faces are looked for; of a large JPEG first a smaller copy, which is read much faster.

    Attributes:
        picture: the photo or its copy.
        size: width and height of the photo.
    """

    def __init__(self, picture: Image.Image, size: tuple[int, int] | None = None, read: Callable | None = None):
        """read: if `picture` is a copy, `read(enough)` gives a finer one, or the photo (`groundwork.images`)."""
        self.picture, self.size, self._read = picture, size or picture.size, read
        self._finest = picture

    @classmethod
    def open(cls, file: Path, where: str) -> "Photo":
        """`Unreadable` if it is damaged or no picture."""
        data = read_file(file)
        picture = read_picture(data, where, enough=ENOUGH)
        with open_image(data, where) as header:
            size = header.size
        if (size[0] > size[1]) != (picture.width > picture.height):  # a photo that lies on its side
            size = size[::-1]
        return cls(picture, size, lambda enough: read_picture(data, where, enough=enough))

    def cut(self, points: np.ndarray, level: bool) -> Cut:
        """The crop of a face by five points [5, 2] of `picture`; from a finer copy if that one is too coarse.

        ValueError if there can be no crop.
        """
        found = self._cut(points, level)
        if found.source_px < pos.EG3D_CROP and self._finest.width < self.size[0]:
            enough = math.ceil(min(self._finest.size) * pos.EG3D_CROP / found.source_px)
            self._finest = self._read(min(enough, *self.size))
            found = self._cut(points, level)
        return replace(found, source_px=found.source_px * self.size[0] / self._finest.width)

    def _cut(self, points: np.ndarray, level: bool) -> Cut:
        return cut_face(self._finest, points * self._finest.width / self.picture.width, level)


def cut_face(picture: Image.Image, points: np.ndarray, level: bool = False) -> Cut:
    """The crop of a face by its five points [5, 2] in px, the first pixel spans 0..1; level: the eyes become level."""
    turn = eye_roll(points) if level else 0.0
    c, s = math.cos(turn), math.sin(turn)
    upright = np.array([[c, -s], [s, c]])  # rows times this are turned so that the eyes are level
    middle, height = points.mean(axis=0), picture.height
    # `pos` takes points from the first pixel's centre, and cuts as if they were from its edge: half a pixel that would
    # move the face.
    at = pos.place((points - middle) @ upright + middle, height + 1)
    centre = (np.array([at.x, height - at.y]) - middle) @ upright.T + middle  # of the crop, in the picture
    if turn:
        around = math.ceil(pos.EG3D_CROP * (abs(c) + abs(s))) + 4  # px of an upright square that holds the turned one
        of = pos.window(picture.size, pos.Placement(at.scale, centre[0], height - centre[1]), around, pos.EG3D_RESCALE)
    else:
        of = pos.window(picture.size, at, pos.EG3D_CROP, pos.EG3D_RESCALE, CANVAS)
    square, scale = pos.cut(picture, of), np.array([of.width / picture.width, of.height / picture.height])
    pivot, corner = centre * scale - (of.left, of.top), np.zeros(2)
    if turn:
        corner = np.round(pivot - pos.EG3D_CROP / 2)
        square = square.rotate(math.degrees(turn), Image.Resampling.BICUBIC, center=tuple(pivot))
        square = square.crop((*corner.astype(int), *(corner.astype(int) + pos.EG3D_CROP)))

    def in_crop(places: np.ndarray) -> np.ndarray:
        """Places [N, 2] of the picture in the crop."""
        return ((places * scale - (of.left, of.top) - pivot) @ upright + pivot - corner) * SIDE / pos.EG3D_CROP

    return Cut(
        picture=square.resize((SIDE, SIDE), Image.Resampling.LANCZOS),
        points=in_crop(points),
        source_px=pos.EG3D_CROP / float(scale.mean()),
        outside=share_outside(in_crop, picture.size),
        turned_deg=math.degrees(turn),
    )


def eye_roll(points: np.ndarray) -> float:
    """How far the line through the eyes of five points [5, 2] falls to the right, radians."""
    x, y = points[1] - points[0]
    return math.atan2(y, x)


def share_outside(in_crop: Callable, size: tuple[int, int]) -> float:
    """The part of a crop that lies outside a picture of this size; `in_crop` is affine."""
    origin = in_crop(np.zeros((1, 2)))
    linear = in_crop(np.eye(2)) - origin
    ticks = (np.arange(GRID) + 0.5) * SIDE / GRID
    grid = np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2)
    places = (grid - origin) @ np.linalg.inv(linear)
    return float(1 - ((places >= 0) & (places <= size)).all(axis=1).mean())


def sharpness(crop: Image.Image) -> float:
    """How strong the finest details of a face are against all it has: of 29 sharp photos 0.23 to
    1.2, after a blur of 6 px in the crop 0.08 to 0.2.

    The standard deviation of the Laplacian over that of the grey values, in the crop shrunk to DETAIL_SIDE px, so that
    it does not matter how large the photo was.
    """
    grey = crop.convert("L").resize((DETAIL_SIDE, DETAIL_SIDE), Image.Resampling.BOX)
    left, top, right, bottom = (round(edge * DETAIL_SIDE) for edge in FACE_IN_CROP)
    g = np.asarray(grey, dtype=np.float64)[top:bottom, left:right]
    laplacian = g[1:-1, :-2] + g[1:-1, 2:] + g[:-2, 1:-1] + g[2:, 1:-1] - 4 * g[1:-1, 1:-1]
    return float(laplacian.std() / max(g.std(), 1e-6))
