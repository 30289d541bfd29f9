"""Every score of a generator: gaze, identity and pose of the same heads and planes, distances of their own pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from PIL import Image

from eg3d.metrics.gfas import GazeTally, GfasReport
from eg3d.metrics.identity import IdentityTally
from eg3d.metrics.pose import pose_report
from eg3d.models.eye_field import EyeField
from eg3d.pictures.layout import to_uint8
from eg3d.pictures.views import GFAS_CAMERAS, ViewOptions, camera_labels, random_labels, render_batch
from eg3d.running import distributed, processes
from eg3d.scores.controlled_views import look, reports, together
from eg3d.scores.distances import Distances
from eg3d.scores.judges import Judges

VIEW_BATCH = 8  # heads rendered at a time
HEADS = ViewOptions(psi=0.7)  # how heads are drawn that are looked at from chosen cameras
PICTURES_PSI = 1.0  # of pictures for distances, which are not truncated
# Field of a report -> what it is called in the table, and which way is better.
GAZE = {
    "gfas_mse_sum": ("gfas_mse_sum", "lower"),
    "gfas_eq1": ("gfas_eq1", "lower"),
    "gfas_legacy": ("gfas_legacy", "lower"),
    "angular_error_deg": ("gaze error, degrees", "lower"),
    "slope": ("slope of yaw", "1 is best"),
}
IDENTITY = {
    "id_similarity_mean": ("id_similarity", "higher"),
    "id_distance_mean": ("id_distance (published as ID)", "lower"),
    "id_failed": ("pairs without two faces", "lower"),
}
POSE = {
    "pose_mse": ("pose_mse", "lower"),
    "pitch_rmse_deg": ("pitch, degrees RMS", "lower"),
    "yaw_rmse_deg": ("yaw, degrees RMS", "lower"),
    "roll_rmse_deg": ("roll, degrees RMS", "lower"),
    "rotation_error_deg": ("pose rotation error (degrees)", "lower"),
    "pose_legacy25": ("pose_legacy25", "lower"),
    "pose_failed": ("pictures without a pose", "lower"),
}
CONTROL = {  # of eye fields (models/eye_field.py)
    "angular_error_deg": ("gaze as asked, error in degrees", "lower"),
    "slope_yaw": ("gaze as asked, slope of yaw", "1 is best"),
    "slope_pitch": ("gaze as asked, slope of pitch", "1 is best"),
    "worst_cell_deg": ("gaze as asked, worst gaze and camera", "lower"),
}
BASE = {"id_similarity_mean": ("identity with the base's picture", "higher")}
CONTROL_HEADS = 64  # at most, each with every gaze of a grid


@dataclass(frozen=True)
class Row:
    """One score of one network. better: higher, lower, or what else it should be; error: standard error or None."""

    name: str
    better: str
    value: float | None
    error: float | None


def view_scores(G, seeds: Sequence[int], judges: Judges, seed: int, progress: str) -> list[Row]:
    """Scores that look at heads from chosen cameras; the planes of a head serve all six of its views.

    On rank 0; none elsewhere.
    seed: of the cameras, which are those of calc_gfas.py, calc_id.py and gen_samples_pose.py.
    """
    fixed = camera_labels(*zip(*GFAS_CAMERAS, strict=True), G.orbit)
    k = len(fixed)
    tallies = {name: GazeTally(network) for name, network in judges.gaze.items()}
    alike, rendered, estimated = IdentityTally(judges.identity, judges.points), [], []

    def read(part: Sequence[int]):
        drawn = [random_labels(G, part, 2, "identity", seed), random_labels(G, part, 1, "pose", seed)]
        views = render_batch(G, part, torch.cat([fixed.expand(len(part), -1, -1), *drawn], dim=1), HEADS)
        single = views.cameras(k + 2, k + 3)
        pictures = [judges.pose.prepare(Image.fromarray(picture), "") for picture in to_uint8(single.images)]
        return (
            [tally.read(views.cameras(0, k)) for tally in tallies.values()],
            alike.read(views.cameras(k, k + 2)),
            single.labels.cpu(),
            judges.pose.labels(torch.stack(pictures)),
        )

    for readings, similarity, true, found in processes.batches(seeds, VIEW_BATCH, read, progress, "seed"):
        for tally, reading in zip(tallies.values(), readings, strict=True):
            tally.take(reading)
        alike.take(similarity)
        rendered.append(true)
        estimated += found
    if distributed.rank() > 0:
        return []
    rows = [row for name, tally in tallies.items() for row in _gaze_rows(name, tally.report())]
    return rows + _rows_of(IDENTITY, alike.report()) + _pose_rows(torch.cat(rendered), estimated)


def control_scores(G, seeds: Sequence[int], judges: Judges, progress: str) -> list[Row]:
    """How well the gaze of an eye field can be set, by the first gaze network; rows without a value for others.

    On rank 0; none elsewhere.
    """
    if not isinstance(G, EyeField):
        rows = [Row(name, better, None, None) for name, better in (CONTROL | BASE).values()]
        return rows if distributed.rank() == 0 else []
    judge, identity = next(iter(judges.gaze.values())), (judges.identity, judges.points)
    read = partial(look, G, judge=judge, identity=identity, view=HEADS)
    parts = list(processes.batches(seeds[:CONTROL_HEADS], VIEW_BATCH, read, progress, "seed"))
    if distributed.rank() > 0:
        return []
    report, alike = reports(together(parts), identity)
    return _rows_of(CONTROL, report) + _rows_of(BASE, alike)


def _gaze_rows(name: str, report: GfasReport) -> list[Row]:
    """Of one gaze network; a star beside each number of one with limits, which `Judges.footnote` names."""
    if report.limits is None:
        return _rows_of(GAZE, report, f" ({name})")
    missed = Row(f"pictures without a face ({name})", "lower", report.views_failed, None)
    return [*_rows_of(GAZE, report, f" ({name}*)"), missed]


def _pose_rows(rendered: torch.Tensor, estimated: list) -> list[Row]:
    """Of the true labels [N, 25] and, for each, an estimated one or the reason why there is none."""
    good = np.array([not isinstance(label, str) for label in estimated])
    if not good.any():
        raise ValueError(f"no picture gave a pose: {estimated[0]}")
    found = torch.stack([label for label in estimated if not isinstance(label, str)])
    return _rows_of(POSE, pose_report(rendered[torch.from_numpy(good)], found, int((~good).sum())))


def _rows_of(fields: dict[str, tuple[str, str]], report, who: str = "") -> list[Row]:
    """Fields of a report with their standard errors, where it has any."""
    return [
        Row(title + who, better, getattr(report, name), getattr(report, _error_of(name), None))
        for name, (title, better) in fields.items()
    ]


def _error_of(name: str) -> str:
    return f"{name.removesuffix('_mean')}_se"


def sample_scores(G, distances: Distances, seed: int, batch: int) -> list[Row]:
    """Distances of pictures with the data set's cameras, as calc_metrics.py measures them.

    On rank 0; none elsewhere.
    """
    rows = []
    for score, _ in distances.measure(G, seed, PICTURES_PSI, batch, progress=True):
        for key, value in score.results.items():
            direction = score.directions[key].removesuffix(" is better")
            rows.append(Row(key, direction, value, score.standard_errors.get(key)))
    return rows


def table(columns: dict[str, list[Row]]) -> list[list[str]]:
    """Header and lines of text cells, one column per network."""
    first = next(iter(columns.values()))
    lines = [["score", "better", *columns]]
    for i, row in enumerate(first):
        lines.append([row.name, row.better, *(_cell(rows[i]) for rows in columns.values())])
    return lines


def _cell(row: Row) -> str:
    if row.value is None:
        return "-"
    return f"{row.value:.4g}" + ("" if row.error is None else f" +- {row.error:.2g}")


def aligned(lines: list[list[str]]) -> str:
    """For a terminal."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines)


def markdown(lines: list[list[str]]) -> str:
    """For a document."""
    rows = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join([rows[0], "|" + " --- |" * len(lines[0]), *rows[1:]]) + "\n"
