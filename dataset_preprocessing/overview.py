"""Pictures of a data set: where its cameras stand, and what some of its images look like, by yaw."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from eg3d.geometry.cameras import split_label, yaw_pitch_of
from eg3d.pictures.layout import side_by_side, stack
from eg3d.pictures.text import for_plot, text_strip
from groundwork.archive import Folder, Zip, shown
from groundwork.files import atomic_write
from groundwork.images import read_picture

TILE = 128  # pixels
FINE = 3  # lines are drawn so much larger, so that they come out smooth
COLUMNS, ROWS = 9, 5
AXES = ((1, 0, 0), (0, 1, 0), (0, 0, 1))  # drawn red, green, blue
AXIS_COLOURS = ((230, 60, 60), (40, 170, 70), (60, 110, 240))
MARK_COLOUR = (255, 220, 60)
AXIS_LENGTH = 0.25  # world units


def draw_poses(path: Path, labels: torch.Tensor, title: str) -> None:
    """PNG: yaw and pitch, degrees, of the cameras' positions [N, 25], and their distributions along the margins."""
    from matplotlib.figure import Figure  # slow to import, and only needed here

    yaw, pitch = (angle.nan_to_num().rad2deg().numpy() for angle in yaw_pitch_of(labels.double()))
    figure = Figure(figsize=(7.2, 5.4), layout="constrained")
    grid = figure.add_gridspec(2, 2, width_ratios=(5, 1), height_ratios=(1, 4), wspace=0.02, hspace=0.02)
    axes = figure.add_subplot(grid[1, 0])
    top, right = figure.add_subplot(grid[0, 0], sharex=axes), figure.add_subplot(grid[1, 1], sharey=axes)
    size, alpha = (4, 0.25) if len(labels) > 1000 else (14, 0.6)
    axes.scatter(yaw, pitch, s=size, alpha=alpha, color="tab:blue", linewidths=0, rasterized=True)
    axes.axhline(0, color="0.6", linewidth=0.8, zorder=0)
    axes.axvline(0, color="0.6", linewidth=0.8, zorder=0)
    axes.set(xlabel="yaw of the camera in degrees (positive: toward the subject's left)",
             ylabel="pitch in degrees (positive: above)")  # fmt: skip
    for half, angles, along in ((top, yaw, "vertical"), (right, pitch, "horizontal")):
        half.hist(angles, bins=60, color="tab:blue", alpha=0.6, orientation=along)
        half.tick_params(labelbottom=False, labelleft=False, length=0)
        half.spines[:].set_visible(False)
    spread = (
        f"{what} {x.mean():+.1f} \N{PLUS-MINUS SIGN} {x.std():.1f}" for what, x in (("yaw", yaw), ("pitch", pitch))
    )
    title, how = for_plot(title)
    figure.suptitle(f"{title}: {len(labels)} cameras\n{', '.join(spread)} degrees", fontsize=11, **how)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120, metadata={"Software": None})
    atomic_write(path, buffer.getvalue())


def contact_sheet(
    archive: Folder | Zip, cameras: dict[str, torch.Tensor], point, title: str,
    marks: dict[str, np.ndarray] | None = None,
) -> np.ndarray:  # fmt: skip
    """Picture [H, W, 3]: images by the yaw of their camera, left to right, and the world's axes as the labels see them.

    Args:
        cameras: labels [25] of readable images by name.
        point: where in the world the axes are drawn, the data set's look-at point.
        marks: points [K, 2] of an image as parts of its side, (0, 0) its upper left corner, by name; drawn as dots.
    """
    marks = marks or {}
    names = spread_by_yaw(cameras)
    columns = []
    for column in names:
        yaws = [float(yaw_pitch_of(cameras[name][None])[0].rad2deg()) for name in column]
        head = text_strip(TILE + 4, 24, span(yaws), 14, centred=True)
        tiles = [_tile(archive, name, cameras[name], point, marks.get(name, ())) for name in column]
        tiles = [np.pad(tile, ((2, 2), (2, 2), (0, 0)), constant_values=255) for tile in tiles]
        columns.append(stack([head, *tiles]))
    height = max(column.shape[0] for column in columns)
    columns = [np.pad(c, ((0, height - c.shape[0]), (0, 0), (0, 0)), constant_values=255) for c in columns]
    body = side_by_side(columns)
    captions = (title, "columns by the camera's yaw; axes of the world as the labels place them: "
                "red +x (subject's left), green +y (up), blue +z (out of the face)")  # fmt: skip
    return stack([*(text_strip(body.shape[1], 24, caption, 14) for caption in captions), body])


def spread_by_yaw(cameras: dict[str, torch.Tensor]) -> list[list[str]]:
    """Up to COLUMNS x ROWS names, evenly over the sorted yaws, as columns; the same every time."""
    yaw = yaw_pitch_of(torch.stack(list(cameras.values())))[0].tolist()
    ordered = [name for _, name in sorted(zip(yaw, cameras, strict=True))]
    count = min(len(ordered), COLUMNS * ROWS)
    chosen = [ordered[round(i)] for i in np.linspace(0, len(ordered) - 1, count)]
    rows = max(1, -(-count // COLUMNS))
    return [chosen[i : i + rows] for i in range(0, count, rows)]


def span(yaws: Sequence[float]) -> str:
    """From the least to the largest, in whole degrees; what is nearly 0 is +0."""
    ends = dict.fromkeys(f"{round(yaw):+d}" for yaw in (min(yaws), max(yaws)))
    return f"{' to '.join(ends)}\N{DEGREE SIGN}"


def project(points: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """World points [N, 3] -> positions [N, 2] in the picture, (0, 0) its upper left corner, (1, 1) its lower right."""
    cam2world, intrinsics = split_label(label[None].double())
    seen = (points.double() - cam2world[0, :3, 3]) @ cam2world[0, :3, :3]  # R^T (p - o), in OpenCV camera axes
    homogeneous = seen @ intrinsics[0].mT
    return homogeneous[:, :2] / homogeneous[:, 2:]


def _tile(archive: Folder | Zip, name: str, label: torch.Tensor, point, marks=()) -> np.ndarray:
    """uint8 [TILE, TILE, 3] with the axes drawn in."""
    picture = read_picture(archive.read(name), shown(name)).resize((TILE * FINE,) * 2, Image.Resampling.BICUBIC)
    draw_axes(picture, label, point, marks, FINE)
    return np.asarray(picture.resize((TILE, TILE), Image.Resampling.LANCZOS))


def draw_axes(picture: Image.Image, label: torch.Tensor, point, marks=(), width: int = 1) -> None:
    """Draws the world's axes into a square picture as the label sees them, and dots at its `marks`; lines of
    2 * width px."""
    side = picture.width
    points = torch.as_tensor(point, dtype=torch.float64) + AXIS_LENGTH * torch.tensor([(0, 0, 0), *AXES]).double()
    start, *ends = (side * project(points, label)).tolist()
    canvas = ImageDraw.Draw(picture)
    for x, y in side * np.asarray(marks, dtype=np.float64).reshape(-1, 2):
        r = 2.5 * width
        canvas.ellipse([x - r, y - r, x + r, y + r], fill=MARK_COLOUR, outline=(0, 0, 0))
    for end, colour in zip(ends, AXIS_COLOURS, strict=True):
        if all(abs(x) < 10 * side for x in (*start, *end)):  # a wild camera may see them anywhere, or nowhere
            canvas.line([tuple(start), tuple(end)], fill=colour, width=2 * width)
