"""What every world gives for a head, a camera and a gaze."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

SUPERSAMPLING = 2  # rays per pixel and axis
WORN, BARE, EYE_AT_LEFT, EYE_AT_RIGHT = range(4)  # parts of a canvas: hair and clothes; skin; eyeballs in the image


@dataclass(frozen=True)
class RenderedHead:
    """rgb uint8 [H, W, 3]; eye_mask bool [H, W]: mostly eyeball; landmarks [68, 2] in pixels; depth [H, W]: distance
    along the ray to the nearest surface in the pixel, inf on the background; irises [2, 2] in pixels: where the gaze
    leaves the eyeballs, image left eye first, whether it is seen or not."""

    rgb: np.ndarray
    eye_mask: np.ndarray
    landmarks: np.ndarray
    depth: np.ndarray
    irises: np.ndarray


@dataclass(frozen=True)
class Canvas:
    """A head in one moment as a mesh in the world, and the colour of every place on it.

    vertices [V, 3], faces int [F, 3]; part uint8 [F]: WORN, BARE, or of which eyeball; landmarks [68, 3]; eye_centres
    [2, 3], image left first; eye_radius.
    paint(triangle [P], weights [P, 3]) -> uint8 [P, 3], sRGB: of places by their triangle and the weights of its
    corners.
    """

    vertices: np.ndarray
    faces: np.ndarray
    part: np.ndarray
    landmarks: np.ndarray
    eye_centres: np.ndarray
    eye_radius: float
    paint: Callable[[np.ndarray, np.ndarray], np.ndarray]
