"""Gaze arrows on face crops, and the plot of an evaluation."""

import math
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from groundwork.files import atomic_file

ARROW_COLOUR = (255, 40, 40)
TIP = 0.18  # of the arrow's length, as in the published demo


def arrow_offset(yaw: float, pitch: float, length: float) -> tuple[float, float]:
    """Image projection (x right, y down) of the gaze direction: what the arrow adds to its start, in pixels."""
    return -length * math.sin(yaw) * math.cos(pitch), -length * math.sin(pitch)


def draw_gaze(image: np.ndarray, yaw: float, pitch: float, min_side: int = 256) -> Image.Image:
    """Face crop uint8 [S, S, 3] with an arrow from its centre; small crops are enlarged first so it can be seen."""
    factor = max(1, math.ceil(min_side / image.shape[0]))
    picture = Image.fromarray(image).resize((image.shape[1] * factor,) * 2, Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(picture)
    centre, thickness = picture.width / 2, max(2, picture.width // 100)
    dx, dy = arrow_offset(yaw, pitch, centre)  # published: a whole box width, but the crop ends here
    end = (centre + dx, centre + dy)
    draw.line([(centre, centre), end], fill=ARROW_COLOUR, width=thickness)
    for turn in (0.75 * math.pi, -0.75 * math.pi):  # the two strokes of the tip, 45 degrees off the shaft
        x, y = (TIP * (dx * math.cos(turn) - dy * math.sin(turn)), TIP * (dx * math.sin(turn) + dy * math.cos(turn)))
        draw.line([end, (end[0] + x, end[1] + y)], fill=ARROW_COLOUR, width=thickness)
    return picture


def picture_names(names: Sequence[Path]) -> list[Path]:
    """A name that ends in .png for each picture; no two are alike, also where a disk does not tell A from a.

    a.png -> a.png, but a.png and a.jpg -> a.png.png and a.jpg.png.
    """

    def key(name: Path) -> str:
        return unicodedata.normalize("NFC", str(name)).casefold()

    plain = [name.with_suffix(".png") for name in names]
    times = Counter(map(key, plain)) + Counter({key(parent) for name in names for parent in name.parents})
    found: dict[str, Path] = {}
    for name, own in zip(names, plain, strict=True):
        if times[key(own)] > 1:
            tails = ("", *(f"_{number}" for number in range(2, 3 + len(names))))
            longer = (name.with_name(f"{name.name}{tail}.png") for tail in tails)
            own = next(other for other in longer if not times[key(other)] and key(other) not in found)
        found[key(own)] = own
    return list(found.values())


def check_plot(path: Path | None, flag: str) -> None:
    """Raises ValueError unless the ending names a format that can be drawn; None passes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    formats = FigureCanvasAgg.get_supported_filetypes()
    if path is not None and path.suffix.lower().lstrip(".") not in formats:
        raise ValueError(f"{flag}={path}: no picture format ends like this; use .png or .pdf")


def plot_evaluation(
    path: Path, truth: torch.Tensor, estimated: torch.Tensor, error: torch.Tensor, by_head: dict | None = None
) -> None:
    """Three panels: estimated against true yaw and pitch [N, 2] rad, and the histogram of the error [N] rad.

    by_head: of `l2cs.head_bins.errors_by_head`; a bar for each bin of the head's yaw and pitch, in two more panels.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = 3 if by_head is None else 5
    figure = Figure(figsize=(4 * panels, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, panels)
    for place, (axis, rows) in zip(axes[3:], (by_head or {}).items(), strict=True):
        names = [f"{row['from_deg']:g} to {row['to_deg']:g}" for row in rows]
        bars = place.bar(names, [row["mean_angular_error_deg"] or 0 for row in rows])
        place.bar_label(bars, [row["images"] for row in rows], fontsize="small")
        place.set(xlabel=f"head {axis} (deg); on the bars: images", ylabel="mean angular error (deg)")
    for i, name in enumerate(("yaw", "pitch")):
        true_deg, found_deg = truth[:, i].rad2deg(), estimated[:, i].rad2deg()
        axes[i].scatter(true_deg, found_deg, s=4, alpha=0.4)
        limits = [float(true_deg.min()), float(true_deg.max())]
        axes[i].plot(limits, limits, color="black", linewidth=1)
        axes[i].set(xlabel=f"true {name} (deg)", ylabel=f"estimated {name} (deg)")
    axes[2].hist(error.rad2deg().numpy(), bins=40)
    axes[2].set(xlabel="angular error (deg)", ylabel="images", title=f"mean {float(error.mean().rad2deg()):.2f} deg")
    with atomic_file(path) as file:
        figure.savefig(file, dpi=100, format=path.suffix.lower().lstrip("."))


def plot_snapshots(path: Path, results: dict[str, dict]) -> None:
    """The mean angular error of each snapshot, degrees, in their order; results: `measure` by the snapshots' names."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(max(4, 0.3 * len(results)), 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.plot(list(results), [of["mean_angular_error_deg"] for of in results.values()], marker="o")
    axes.tick_params(axis="x", rotation=90)
    axes.set(ylabel="mean angular error (deg)")
    with atomic_file(path) as file:
        figure.savefig(file, dpi=100, format="png")
