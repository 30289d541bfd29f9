"""A contact sheet: what a data set of an embedded world looks like, with its true gaze drawn as arrows."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from eg3d.world.rendered_sets import (
    IDENTITIES_PER_SEED,
    Sample,
    camera_label,
    head_angles_to_vector,
    make_sample,
    vector_to_camera_angles,
)
from eg3d.world.worlds import World, world_of
from groundwork.files import atomic_write

ZOOM, LARGE = 3, 128  # pictures of so many pixels are shown as they are
YAWS = np.linspace(-0.8, 0.8, 9)
ARROW_LENGTH = 0.3  # of the picture's width, for a gaze at right angles to the camera's axis


def write_sheet(
    path: Path, kind: str, split: str, seed: int, size: int | None = None, identities: int = 5, rows: int = 5,
    world: str = "cartoons",
) -> None:  # fmt: skip
    """Writes a PNG: each of some identities from nine yaws while its gaze sweeps the eyes' range, then the data set's
    first images. kind: "faces" or "gaze"."""
    its, columns, first = world_of(world), len(YAWS), seed * IDENTITIES_PER_SEED
    size = size or its.size
    top = [_turned(its, its.draw(split, first + i), yaw, i, size) for i in range(identities) for yaw in YAWS]
    bottom = [_picture(make_sample(i, kind, split, seed, size, world=world)) for i in range(rows * columns)]
    side = len(top[0])
    pictures = np.stack(top + bottom).reshape(identities + rows, columns, side, side, 3)
    sheet = pictures.transpose(0, 2, 1, 3, 4).reshape(-1, columns * side, 3)
    out = io.BytesIO()
    Image.fromarray(sheet).save(out, format="png")
    atomic_write(Path(path), out.getvalue())


def _turned(world: World, person: Any, yaw: float, row: int, size: int) -> np.ndarray:
    """One person seen from `yaw`; by row its eyes look along the face, at the camera, or sweep left, up or down."""
    sweep = {0: (0.0, 0.0), 1: (yaw, 0.0), 2: (-yaw, 0.0), 3: (0.0, yaw / 2), 4: (yaw, -yaw / 2)}[row % 5]
    gaze = head_angles_to_vector(*np.clip(sweep, np.negative(world.eye_range), world.eye_range))
    label = camera_label(yaw, 0.0)
    rotation = label[:16].reshape(4, 4)[:3, :3].astype(np.float64)
    angles = np.array(vector_to_camera_angles(gaze @ rotation))
    return _picture(Sample(label, gaze, angles, row, False, world.render(person, label, gaze, size)))


def _picture(sample: Sample) -> np.ndarray:
    """The enlarged image with an arrow from between the eyes along the gaze, drawn as L2CS-Net's demo draws it."""
    picture = Image.fromarray(sample.rendered.rgb)
    zoom = ZOOM if picture.width < LARGE else 1
    picture = picture.resize((picture.width * zoom, picture.height * zoom), Image.Resampling.NEAREST)
    start = sample.rendered.landmarks[36:48].mean(axis=0) * zoom
    yaw, pitch = sample.gaze_cam
    end = start - ARROW_LENGTH * picture.width * np.array([np.sin(yaw) * np.cos(pitch), np.sin(pitch)])
    canvas = ImageDraw.Draw(picture)
    canvas.line([tuple(start), tuple(end)], fill=(255, 40, 40), width=2)
    canvas.ellipse([*(end - 4), *(end + 4)], fill=(255, 40, 40))
    return np.asarray(picture)
