"""FFHQ's alignment: a photo, turned, cut and scaled by its eyes and its mouth, filled up where the photo ends.

Karras et al. 2019 (StyleGAN), appendix A, with a field of view 1.8 times as wide, as EG3D's data set has it (EG3D,
supplement). Points are in pixels, x right and y down, and count from the centre of the first pixel.
"""

from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

SIDE, WARPED = 1500, 4096  # px: of an aligned picture, and of the warp that it is reduced from
WIDER = 1.8  # than FFHQ's own crop
SMALL = 0.1  # scale of the copy on which a padded photo's blur and median are taken


class Eyes(NamedTuple):
    """What the alignment looks at: eyes [2, 2] and corners of the mouth [2, 2], that at the image's left first."""

    eyes: np.ndarray
    mouth: np.ndarray


def eyes_of(points: np.ndarray) -> Eyes:
    """Of 68 points by the mean of all six of an eye, as FFHQ has them; of five points as they are."""
    if len(points) == 5:
        return Eyes(points[:2], points[3:])
    return Eyes(np.stack([points[36:42].mean(axis=0), points[42:48].mean(axis=0)]), points[[48, 54]])


def quad_of(face: Eyes) -> np.ndarray:
    """The square of the photo that is kept: corners [4, 2], top left, bottom left, bottom right, top right."""
    across = face.eyes[1] - face.eyes[0]
    middle = face.eyes.mean(axis=0)
    down = face.mouth.mean(axis=0) - middle
    x = across - _turned(down)
    x *= WIDER * max(2.0 * np.hypot(*across), 1.8 * np.hypot(*down)) / np.hypot(*x)
    y, centre = _turned(x), middle + 0.1 * down
    return np.stack([centre - x - y, centre - x + y, centre + x + y, centre + x - y])


def side_of(quad: np.ndarray) -> float:
    """Pixels of the photo along a side of the square."""
    return float(np.hypot(*(quad[3] - quad[0])))


def to_photo(points: np.ndarray, quad: np.ndarray, side: int = SIDE) -> np.ndarray:
    """Points [N, 2] of the aligned picture -> where they are in the photo."""
    share = (points + 0.5) / side
    return quad[0] + share[:, :1] * (quad[3] - quad[0]) + share[:, 1:] * (quad[1] - quad[0])


def to_aligned(points: np.ndarray, quad: np.ndarray, side: int = SIDE) -> np.ndarray:
    """Points [N, 2] of the photo -> where they are in the aligned picture."""
    axes = np.stack([quad[3] - quad[0], quad[1] - quad[0]])
    return (points - quad[0]) @ axes.T / (axes**2).sum(axis=1) * side - 0.5


def align(photo: Image.Image, quad: np.ndarray, side: int = SIDE, warped: int | None = None) -> Image.Image:
    """The square `quad` of an RGB photo, upright, as a picture of `side` px; warped: see WARPED."""
    warped = warped or WARPED
    photo, quad = _shrunk(photo, quad, side)
    photo, quad = _cut(photo, quad)
    photo, quad = _padded(photo, quad)
    corners = (quad + 0.5).flatten().tolist()
    picture = photo.transform((warped, warped), Image.Transform.QUAD, corners, Image.Resampling.BILINEAR)
    return picture.resize((side, side), Image.Resampling.LANCZOS)


def _shrunk(photo: Image.Image, quad: np.ndarray, side: int) -> tuple[Image.Image, np.ndarray]:
    """A photo far larger than it need be, reduced by a whole factor."""
    factor = int(side_of(quad) / side * 0.5)
    if factor <= 1:
        return photo, quad
    size = tuple(max(1, round(n / factor)) for n in photo.size)
    return photo.resize(size, Image.Resampling.LANCZOS), quad / factor


def _cut(photo: Image.Image, quad: np.ndarray) -> tuple[Image.Image, np.ndarray]:
    """The part round the square."""
    border = _border(quad)
    left, top = np.maximum(np.floor(quad.min(axis=0)).astype(int) - border, 0)
    right, bottom = np.minimum(np.ceil(quad.max(axis=0)).astype(int) + border, photo.size)
    if right <= left or bottom <= top:
        raise ValueError("the face lies outside the photo")
    return photo.crop((left, top, right, bottom)), quad - (left, top)


def _padded(photo: Image.Image, quad: np.ndarray) -> tuple[Image.Image, np.ndarray]:
    """Where the square reaches over the photo's edge: mirrored pixels, that get blurred and lose their pattern."""
    size, border = side_of(quad), _border(quad)
    before = -np.floor(quad.min(axis=0)).astype(int) + border
    after = np.ceil(quad.max(axis=0)).astype(int) - photo.size + border
    pads = np.maximum([before, after], 0)
    if pads.max() <= border - 4:
        return photo, quad
    (left, top), (right, bottom) = np.maximum(pads, int(np.rint(0.3 * size)))
    pixels = np.pad(np.asarray(photo), ((top, bottom), (left, right), (0, 0)), "reflect")
    height, width = pixels.shape[:2]
    x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    # 1 at the new edge, 0 at the photo's own, and less inside
    outside = np.maximum(1 - np.minimum(x / left, x[::-1] / right), 1 - np.minimum(y / top, y[::-1] / bottom))
    for colour in range(3):  # one by one: the photo may be large
        sharp = pixels[..., colour].astype(np.float32)
        small = _resized(sharp, (max(1, round(width * SMALL)), max(1, round(height * SMALL))), Image.Resampling.BOX)
        blurred = gaussian_filter(small, 0.02 * SMALL * size)
        sharp += (_resized(blurred, (width, height), Image.Resampling.LANCZOS) - sharp) * np.clip(3 * outside + 1, 0, 1)
        sharp += (np.median(small) - sharp) * np.clip(outside, 0, 1)
        pixels[..., colour] = np.rint(sharp).clip(0, 255)
    return Image.fromarray(pixels), quad + (left, top)


def _resized(values: np.ndarray, size: tuple[int, int], how: Image.Resampling) -> np.ndarray:
    """Floats [H, W] -> floats of another size."""
    return np.asarray(Image.fromarray(values).resize(size, how))


def _border(quad: np.ndarray) -> int:
    return max(int(np.rint(0.1 * side_of(quad))), 3)


def _turned(vector: np.ndarray) -> np.ndarray:
    """By a quarter turn, from right to down."""
    return np.array([-vector[1], vector[0]])
