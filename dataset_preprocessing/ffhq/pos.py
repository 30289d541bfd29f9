"""Where a face lies in a picture, from five points: scale and shift of Deep3DFaceRecon's mean face, and crops by them.

Least squares under a scaled orthographic camera, without a rotation (Deng et al. 2019, "Accurate 3D Face
Reconstruction with Weakly-Supervised Learning").
"""

from typing import NamedTuple

import numpy as np
from PIL import Image

from eg3d.geometry.landmarks import STANDARD_DM

RECON_CROP, RECON_RESCALE = 224, 102.0  # px, and what a decimetre is scaled to in there
EG3D_RESCALE, EG3D_CROP = 300.0, 700  # of EG3D's crops: on a canvas of 1024, of which the middle is kept
LARGEST = 16384  # px; points close together would enlarge the picture without end


class Placement(NamedTuple):
    """px per decimetre, and the picture's place (from the left, from the bottom) of the face's origin."""

    scale: float
    x: float
    y: float


def place(points: np.ndarray, height: int) -> Placement:
    """Five points [5, 2] in pixels (x right, y down, counted from the first pixel's centre) -> where the face lies."""
    u, v = points[:, 0], height - 1 - points[:, 1]
    equations = np.concatenate([STANDARD_DM.double().numpy(), np.ones((5, 1))], axis=1)
    a, b = (np.linalg.lstsq(equations, side, rcond=None)[0] for side in (u, v))
    return Placement((np.linalg.norm(a[:3]) + np.linalg.norm(b[:3])) / 2, a[3], b[3])


class Window(NamedTuple):
    """A square of a picture that was resized to width x height: its corner there, and its side; all in px."""

    width: int
    height: int
    left: int
    top: int
    side: int


def window(
    size: tuple[int, int], at: Placement, side: int = RECON_CROP, rescale: float = RECON_RESCALE,
    canvas: int | None = None,
) -> Window:  # fmt: skip
    """The square of `side` px round the face in which a decimetre is `rescale` px, in a picture of this size.

    canvas: px of a larger square of which that one is the middle, as EG3D cuts; its corner is what is rounded.
    """
    width, height = size
    s = rescale / at.scale
    w, h = int(width * s), int(height * s)
    if not 1 <= min(w, h) <= max(w, h) <= LARGEST:
        raise ValueError(f"the points place the face at {at.scale:.3g} px per decimetre")
    canvas = canvas or side
    left = int(w / 2 - canvas / 2 + (at.x - width / 2) * s) + (canvas - side) // 2
    top = int(h / 2 - canvas / 2 + (height / 2 - at.y) * s) + (canvas - side) // 2
    return Window(w, h, left, top, side)


def cut(image: Image.Image, of: Window) -> Image.Image:
    """That square; black outside the picture. The rest of the picture is not resized, as it need not be."""
    square = Image.new(image.mode, (of.side, of.side))
    x0, y0 = max(of.left, 0), max(of.top, 0)
    x1, y1 = min(of.left + of.side, of.width), min(of.top + of.side, of.height)
    if x0 >= x1 or y0 >= y1:
        return square
    across, down = image.width / of.width, image.height / of.height
    box = (x0 * across, y0 * down, min(x1 * across, image.width), min(y1 * down, image.height))
    square.paste(image.resize((x1 - x0, y1 - y0), Image.Resampling.BICUBIC, box), (x0 - of.left, y0 - of.top))
    return square


def crop(image: Image.Image, at: Placement, side: int = RECON_CROP, rescale: float = RECON_RESCALE) -> Image.Image:
    """The square of `side` px round the face in which a decimetre is `rescale` px; black outside the picture."""
    return cut(image, window(image.size, at, side, rescale))


def frontal_points(side: int) -> np.ndarray:
    """Where the five points of a frontal mean face lie in EG3D's crop: [5, 2] px, from the first pixel's centre.

    Such crops are made by `place`, so whatever the pose, their scale and shift are those of these points.
    """
    scale = EG3D_RESCALE / EG3D_CROP * side
    return side / 2 - 0.5 + STANDARD_DM.double().numpy()[:, :2] * scale * (1, -1)
