"""A sheet of heads whose gaze is set: the base's own eyes first, then some gazes, each from some cameras."""

from collections.abc import Sequence

import numpy as np
import torch

from eg3d.geometry.head_gaze import CAMERA, FACE, Aim
from eg3d.models.eye_field import EyeField
from eg3d.pictures.layout import enlarge, side_by_side, stack, to_uint8
from eg3d.pictures.text import text_strip
from eg3d.pictures.views import PUBLISHED, ViewOptions, camera_labels, check_finite, render_ws, ws_of_seeds

YAWS = (0.4, 0.0, -0.4)  # parameters of the cameras
AIMS = {
    "25 deg to the left": Aim(yaw=float(np.radians(25))),
    "25 to the right": Aim(yaw=-float(np.radians(25))),
    "along the face": FACE,
    "into the camera": CAMERA,
}


def gaze_grid(
    G: EyeField, seeds: Sequence[int], view: ViewOptions = PUBLISHED, yaws: Sequence[float] = YAWS, side: int = 96
) -> np.ndarray:
    """One row for each head; columns: the base's picture, then each of AIMS, from each camera. uint8 [H, W, 3]."""
    labels, ws = camera_labels(yaws, [0.0] * len(yaws), G.orbit, view.fov_deg), ws_of_seeds(G, seeds, view)
    shown = {"the base": render_ws(G.base, ws, labels)}
    shown |= {name: render_ws(G, ws, labels, aim.gaze(labels)) for name, aim in AIMS.items()}
    panels = []
    for name, drawn in shown.items():
        images = drawn["image"]
        check_finite(images, [f"seed {seed}" for seed in seeds for _ in yaws])
        rows = [_row(head, side) for head in images.split(len(yaws))]
        panels.append(stack([text_strip(rows[0].shape[1], 26, name, 14, centred=True), *rows]))
    return side_by_side(panels)


def _row(views: torch.Tensor, side: int) -> np.ndarray:
    return side_by_side([enlarge(picture, side) for picture in to_uint8(views)])
