"""What is in files of views, for people: pictures with arrows, sheets, histograms."""

import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from eg3d.pictures.layout import tiles
from groundwork.files import atomic_file, atomic_write
from l2cs.drawing import ARROW_COLOUR, arrow_offset
from l2cs.view_files import ViewFile

HEAD_COLOUR = (60, 150, 255)
GAZE_LENGTH, HEAD_LENGTH = 0.5, 0.35  # of the picture's width, at right angles to the camera's axis
SIDE = 112  # px of a picture of a sheet
BINS = np.arange(-90, 91, 5)  # degrees


def with_arrows(picture: np.ndarray, gaze: np.ndarray, head: np.ndarray | None = None) -> np.ndarray:
    """A picture uint8 RGB [S, S, 3] with arrows from its centre along gaze and head, each (pitch, yaw) rad."""
    image = Image.fromarray(np.ascontiguousarray(picture))
    draw, middle, width = ImageDraw.Draw(image), image.width / 2, max(2, image.width // 75)
    for angles, colour, length in ((head, HEAD_COLOUR, HEAD_LENGTH), (gaze, ARROW_COLOUR, GAZE_LENGTH)):
        if angles is not None:
            across, down = arrow_offset(angles[1], angles[0], length * image.width)
            end = (middle + across, middle + down)
            draw.line([(middle, middle), end], fill=colour, width=width)
            draw.ellipse([end[0] - width, end[1] - width, end[0] + width, end[1] + width], fill=colour)
    return np.asarray(image)


def write_samples(file: ViewFile, folder: Path, most: int) -> None:
    """The first rows as single pictures, named as published: image_PERSON_ROW_PITCH_YAW.jpg with the arrow of the gaze,
    and mask_... ; the angles are those of the head, in degrees."""
    gaze, head = file.gaze(), file.head_pose()
    for row in range(min(most, len(file))):
        pitch, yaw = np.degrees(head[row] if head is not None else gaze[row])
        name = f"{file.person}_{row}_{pitch:.1f}_{yaw:.1f}.jpg"
        write_jpeg(folder / f"image_{name}", with_arrows(file.images([row])[0], gaze[row]))
        if (masks := file.masks([row])) is not None:
            write_jpeg(folder / f"mask_{name}", masks[0])


def sheet(file: ViewFile, rows: Sequence[int], columns: int = 8, side: int = SIDE) -> np.ndarray:
    """Pictures of some rows with arrows of gaze (red) and head (blue), uint8 RGB, with their masks below them."""
    gaze, head, shown = file.gaze(), file.head_pose(), []
    for row in rows:
        picture = sized(file.images([row])[0], side)
        parts = [with_arrows(picture, gaze[row], None if head is None else head[row])]
        if (masks := file.masks([row])) is not None:
            parts.append(sized(np.repeat(masks[0][..., None], 3, axis=2), side))
        shown.append(np.concatenate(parts))
    return tiles(shown, min(columns, len(shown)))


def plot_angles(path: Path, angles: dict[str, Iterable[np.ndarray]]) -> dict[str, int]:
    """Histograms of pitch and yaw, and of both together, for each name: arrays [N, 2] rad of several files.

    Returns how many rows of each name have an angle beyond the histograms' 90 degrees, which the title says too.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    found = {name: np.degrees(np.concatenate(list(parts))) for name, parts in angles.items()}
    beyond = {name: int((np.abs(values) > BINS[-1]).any(axis=1).sum()) for name, values in found.items()}
    figure = Figure(figsize=(12, 4 * len(found)), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (name, values) in zip(figure.subplots(len(found), 3, squeeze=False), found.items(), strict=True):
        for axis, part, values_of in ((axes[0], "pitch", values[:, 0]), (axes[1], "yaw", values[:, 1])):
            axis.hist(values_of, BINS)
            axis.set(xlabel=f"{part} of the {name} (deg)", ylabel="views")
        axes[2].hist2d(values[:, 1], values[:, 0], bins=[BINS, BINS], cmin=1)
        axes[2].set(xlabel=f"yaw of the {name} (deg)", ylabel=f"pitch of the {name} (deg)")
        if beyond[name]:
            axes[1].set_title(f"{beyond[name]} beyond {BINS[-1]} degrees are not shown")
    with atomic_file(path) as file:
        figure.savefig(file, dpi=80, format="png", metadata={"Software": None})
    return beyond


def write_jpeg(path: Path, picture: np.ndarray) -> None:
    """uint8 [H, W] or RGB [H, W, 3]."""
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "JPEG", quality=95)
    atomic_write(path, out.getvalue())


def sized(picture: np.ndarray, side: int) -> np.ndarray:
    """uint8 [S, S, 3] -> [side, side, 3]."""
    resampling = Image.Resampling.BOX if picture.shape[0] % side == 0 else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(picture).resize((side, side), resampling))


def rows_of_sheet(count: int, most: int) -> list[int]:
    """Row numbers spread over all of a file."""
    return [math.floor(place * count / min(count, most)) for place in range(min(count, most))]
