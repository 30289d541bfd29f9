"""The square of a photo that 3DDFA looks at: where it lies, how it is cut, and the matrix between photo and crop.

Pixels are counted from the centre of the first one (OpenCV). The published program mixes three conventions: it cuts
the box rounded to whole pixels, shrinks it so that edges meet edges, and its matrix takes the box's corners to the
centres of the crop's first and last pixel. `legacy` does the same; all else here uses one convention.
"""

import math

import numpy as np

from groundwork.opencv import opencv

SIDE = 120  # px of the crop
LANDMARK_MARGIN = math.sqrt(2)  # of the square round landmarks
FACE_MARGIN, FACE_DOWN = 1.58, 0.14  # of a detector's box: side and shift, in mean sides


def box_of_landmarks(points: np.ndarray) -> np.ndarray:
    """Landmarks [N, 2] px -> the square (x0, y0, x1, y1) round them, with a margin."""
    low, high = points.min(axis=0), points.max(axis=0)
    half = LANDMARK_MARGIN * (high - low).max() / 2
    centre = (low + high) / 2
    return np.concatenate([centre - half, centre + half])


def box_of_face(face: np.ndarray) -> np.ndarray:
    """A detector's box (left, top, right, bottom) px -> the square (x0, y0, x1, y1); such boxes sit too high."""
    left, top, right, bottom = face
    mean = (right - left + bottom - top) / 2
    half = int(FACE_MARGIN * mean) / 2
    centre = np.array([(left + right) / 2, (top + bottom) / 2 + FACE_DOWN * mean])
    return np.concatenate([centre - half, centre + half])


def crop_matrix(box: np.ndarray, legacy: bool = False) -> np.ndarray:
    """A [3, 3]: photo pixels -> crop pixels. ValueError if the box has no area."""
    x0, y0, x1, y1 = box
    if not (x1 > x0 and y1 > y0):
        raise ValueError(f"a box of {x1 - x0:.4g} x {y1 - y0:.4g} px shows no face")
    if legacy:
        sx, sy = (x1 - x0) / (SIDE - 1), (y1 - y0) / (SIDE - 1)
        return np.array([[1 / sx, 0, -x0 / sx], [0, 1 / sy, -y0 / sy], [0, 0, 1]])
    sx, sy = (x1 - x0) / SIDE, (y1 - y0) / SIDE
    middle = (SIDE - 1) / 2
    return np.array([[1 / sx, 0, middle - (x0 + x1) / 2 / sx], [0, 1 / sy, middle - (y0 + y1) / 2 / sy], [0, 0, 1]])


def cut(photo: np.ndarray, box: np.ndarray, legacy: bool = False) -> np.ndarray:
    """uint8 [120, 120, 3] of a photo [H, W, 3]; black outside it, bilinear without smoothing, as the network learned.

    ValueError if the box has no area, or lies outside the photo.
    """
    cv2, (height, width) = opencv(), photo.shape[:2]
    x0, y0, x1, y1 = box
    if x1 <= 0 or y1 <= 0 or x0 >= width or y0 >= height:
        raise ValueError("the square round the face lies outside the photo")
    matrix = crop_matrix(box)
    if not legacy:
        return cv2.warpAffine(photo, matrix[:2], (SIDE, SIDE), flags=cv2.INTER_LINEAR)
    x0, y0, x1, y1 = (round(float(edge)) for edge in box)
    square = np.zeros((max(y1 - y0, 1), max(x1 - x0, 1), 3), photo.dtype)
    inside = photo[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)]
    top, left = max(-y0, 0), max(-x0, 0)
    square[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
    return cv2.resize(square, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)


def to_photo(points: np.ndarray, crop: np.ndarray) -> np.ndarray:
    """Points [N, 2 or 3] of the crop -> their pixels [N, 2] in the photo. crop: A [3, 3]."""
    return (points[:, :2] - crop[:2, 2]) @ np.linalg.inv(crop[:2, :2]).T


def nearest_colours(photo: np.ndarray, places: np.ndarray) -> np.ndarray:
    """uint8 [N, 3]: of the pixels of a photo [H, W, 3] nearest to places [N, 2]; outside it, those of its edge."""
    height, width = photo.shape[:2]
    x, y = np.rint(places).astype(np.int64).T
    return photo[y.clip(0, height - 1), x.clip(0, width - 1)]


def blended_colours(photo: np.ndarray, places: np.ndarray) -> np.ndarray:
    """uint8 [N, 3] at places [N, 2] between the pixels of a photo [H, W, 3], bilinear; outside it, those of its edge.

    A mesh finer than the photo would show its pixels as steps otherwise.
    """
    height, width = photo.shape[:2]
    places = places.clip(0, (width - 1, height - 1))
    corner = np.minimum(places.astype(np.int64), (max(width - 2, 0), max(height - 2, 0)))
    (x, y), (u, v) = corner.T, (places - corner).T[..., None]
    right, below = np.minimum(x + 1, width - 1), np.minimum(y + 1, height - 1)
    mixed = (1 - v) * ((1 - u) * photo[y, x] + u * photo[y, right])
    mixed += v * ((1 - u) * photo[below, x] + u * photo[below, right])
    return np.rint(mixed).astype(np.uint8)
