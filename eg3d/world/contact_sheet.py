"""A contact sheet: what a data set of the embedded world looks like, with its true gaze drawn as arrows."""

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from eg3d.world.heads import EYE_MAX_YAW, Identity
from eg3d.world.render import render_head
from eg3d.world.rendered_sets import (
    IDENTITIES_PER_SEED,
    Sample,
    camera_label,
    head_angles_to_vector,
    make_sample,
    vector_to_camera_angles,
)
from groundwork.files import atomic_write

ZOOM = 3
YAWS = np.linspace(-0.8, 0.8, 9)
ARROW_LENGTH = 0.3  # of the picture's width, for a gaze at right angles to the camera's axis


def write_sheet(
    path: Path, kind: str, split: str, seed: int, size: int = 64, identities: int = 5, rows: int = 5
) -> None:
    """Writes a PNG: each of some identities from nine yaws while its gaze sweeps the eyes' range, then the data set's
    first images. kind: "faces" or "gaze"."""
    columns = len(YAWS)
    top = [_turned(_person(split, seed, i), yaw, i, size) for i in range(identities) for yaw in YAWS]
    bottom = [_picture(make_sample(i, kind, split, seed, size)) for i in range(rows * columns)]
    pictures = np.stack(top + bottom).reshape(identities + rows, columns, size * ZOOM, size * ZOOM, 3)
    sheet = pictures.transpose(0, 2, 1, 3, 4).reshape(-1, columns * size * ZOOM, 3)
    out = io.BytesIO()
    Image.fromarray(sheet).save(out, format="png")
    atomic_write(Path(path), out.getvalue())


def _person(split: str, seed: int, index: int) -> Identity:
    return Identity.draw(split, seed * IDENTITIES_PER_SEED + index)


def _turned(identity: Identity, yaw: float, row: int, size: int) -> np.ndarray:
    """One identity seen from `yaw`; by row its eyes look along the face, at the camera, or sweep left, up or down."""
    sweep = {0: (0.0, 0.0), 1: (yaw, 0.0), 2: (-yaw, 0.0), 3: (0.0, yaw / 2), 4: (yaw, -yaw / 2)}[row % 5]
    gaze = head_angles_to_vector(np.clip(sweep[0], -EYE_MAX_YAW, EYE_MAX_YAW), sweep[1])
    label = camera_label(yaw, 0.0)
    rotation = label[:16].reshape(4, 4)[:3, :3].astype(np.float64)
    angles = np.array(vector_to_camera_angles(gaze @ rotation))
    return _picture(Sample(label, gaze, angles, row, False, render_head(identity, label, gaze, size)))


def _picture(sample: Sample) -> np.ndarray:
    """The enlarged image with an arrow from between the eyes along the gaze, drawn as L2CS-Net's demo draws it."""
    picture = Image.fromarray(sample.rendered.rgb)
    picture = picture.resize((picture.width * ZOOM, picture.height * ZOOM), Image.Resampling.NEAREST)
    start = sample.rendered.landmarks[36:48].mean(axis=0) * ZOOM
    yaw, pitch = sample.gaze_cam
    end = start - ARROW_LENGTH * picture.width * np.array([np.sin(yaw) * np.cos(pitch), np.sin(pitch)])
    canvas = ImageDraw.Draw(picture)
    canvas.line([tuple(start), tuple(end)], fill=(255, 40, 40), width=2)
    canvas.ellipse([*(end - 4), *(end + 4)], fill=(255, 40, 40))
    return np.asarray(picture)
