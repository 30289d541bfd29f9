"""What every world gives for a head, a camera and a gaze."""

from dataclasses import dataclass

import numpy as np

SUPERSAMPLING = 2  # rays per pixel and axis


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
