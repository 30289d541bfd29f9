"""Errors of a gaze network by the head's pose: mean angular error in bins of the head's yaw and of its pitch."""

import math
from collections.abc import Sequence

import click
import torch

DEFAULT_EDGES = "0,15,30,45,60,80"
AXES = ("yaw", "pitch")


class Edges(click.ParamType):
    """Edges of bins in degrees, rising: "0,15,30"."""

    name = "degrees"

    def convert(self, value, param, ctx) -> tuple[float, ...]:
        if isinstance(value, tuple):
            return value
        try:
            edges = tuple(float(number) for number in value.split(","))
        except ValueError:
            self.fail(f"'{value}': write numbers with commas between them, as {DEFAULT_EDGES}", param, ctx)
        rising = all(a < b for a, b in zip(edges, edges[1:], strict=False))
        if len(edges) < 2 or not rising or not all(abs(edge) <= 180 for edge in edges):
            self.fail(f"'{value}': at least two rising numbers within -180 and 180 are needed", param, ctx)
        return edges


head_bins_option = click.option(
    "--head-bins", type=Edges(), default=DEFAULT_EDGES, show_default=True,
    help="Edges of the bins of head pose, degrees; of |angle| unless one is negative.",
)  # fmt: skip


def errors_by_head(error: torch.Tensor, heads: torch.Tensor, edges: Sequence[float]) -> dict[str, list[dict]]:
    """Mean error in each bin: {"yaw": [{"from_deg", "to_deg", "images", "mean_angular_error_deg"}], "pitch": [...]}.

    A bin holds its lower edge. The mean of a bin without images is None. Heads beyond the edges, or of unknown pose,
    are in no bin.
    Args: error [N] and heads [N, 2] (yaw, pitch), radians; edges in degrees, of |angle| unless one is negative.
    """
    bins: dict[str, list[dict]] = {}
    for axis, angle in zip(AXES, heads.double().rad2deg().T, strict=True):
        angle = angle if min(edges) < 0 else angle.abs()
        bins[axis] = []
        for low, high in zip(edges, edges[1:], strict=False):
            inside = (angle >= low) & (angle < high)
            mean = float(error[inside].double().rad2deg().mean()) if inside.any() else None
            bins[axis].append({"from_deg": low, "to_deg": high, "images": int(inside.sum()),
                               "mean_angular_error_deg": mean})  # fmt: skip
    return bins


def bin_lines(bins: dict[str, list[dict]], images: int) -> list[str]:
    """The table for people: a line for each bin, and one for images that are in none."""
    lines = []
    for axis, rows in bins.items():
        for row in rows:
            mean = row["mean_angular_error_deg"]
            shown = "-" if mean is None else f"{mean:.2f}"
            lines.append(f"head {axis} {row['from_deg']:g} to {row['to_deg']:g}: {shown} deg, {row['images']} images")
        if left := images - sum(row["images"] for row in rows):
            lines.append(f"head {axis} beyond these, or not known: {left} images")
    assert not any(math.isnan(row["mean_angular_error_deg"] or 0) for rows in bins.values() for row in rows)
    return lines
