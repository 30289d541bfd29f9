"""Gaze-face alignment score (GFAS): do the eyes of rendered heads look where the faces look?

Five readings of the same estimates, so that numbers can be compared with the paper, with the published code and with
what a picture shows (docs/published_defects.md, G-6 and B-2):

* `gfas_eq1`: mean of Eq. (1), the Euclidean distance of (yaw, pitch), rad.
* `gfas_mse_sum`: sum over the views of the mean squared difference, rad^2 (the published code's aggregation).
* `gfas_legacy`: the same against the published targets, whose pitch has the wrong sign. Eyes that look into the camera
  score 0.245, perfect ones 0.162; the published 0.230 is on this scale.
* `angular_error_deg`: mean angle between the two 3-D directions.
* `slope`: of estimated yaw against yaw*. 0: the eyes follow the camera; 1: they follow the face.
"""

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import NamedTuple

import numpy as np
import torch

from eg3d.gaze.crop import crop_for
from eg3d.gaze.networks import GazeNetwork
from eg3d.gaze.term import angle_error, estimate_gaze, gaze_target, legacy_target
from l2cs.estimator import GazeAngles, angular_error


@dataclass(frozen=True)
class GfasReport:
    """The scores of one generator by one gaze network. Standard errors (`*_se`) are over seeds; None with one seed."""

    gfas_eq1: float
    gfas_eq1_se: float | None
    gfas_mse_sum: float
    gfas_mse_sum_se: float | None
    gfas_legacy: float
    gfas_legacy_se: float | None
    angular_error_deg: float
    angular_error_deg_se: float | None
    slope: float | None  # None where all cameras share a yaw
    slope_se: float | None  # cluster-robust: the views of a seed are not independent
    # The network's own slope on heads whose eyes are painted over: how far it reads the head instead of the eyes. 0 is
    # best; None: unknown.
    slope_painted_eyes: float | None
    seeds: int
    views: list[dict]  # one per camera: targets, mean estimates (rad) and mean errors
    gaze_network: str  # sha256 of the weights that judged
    crop: str
    per_seed_mse_sum: dict[int, float] = field(repr=False)
    # Pictures in which the network finds no face: all views of such a head are left out. L2CS-Net always answers.
    views_failed: int = 0
    limits: str | None = None  # what the network's readings are good for, if it says so

    def to_dict(self) -> dict:
        return asdict(self)

    def lines(self) -> list[str]:
        """What a person wants to read, one number to a line; a footnote if there is something to know of each."""
        degrees = (self.angular_error_deg, self.angular_error_deg_se)
        lines = [
            f"GFAS (sum of mean squares)  {_with_error(self.gfas_mse_sum, self.gfas_mse_sum_se, 4)} rad^2",
            f"GFAS (paper, Eq. 1)         {_with_error(self.gfas_eq1, self.gfas_eq1_se, 4)} rad",
            f"GFAS (published code)       {_with_error(self.gfas_legacy, self.gfas_legacy_se, 4)}",
            f"mean angular error          {_with_error(*degrees, 2)} degrees",
            f"slope of yaw                {_with_error(self.slope, self.slope_se, 3)}   (0: camera, 1: face)",
            f"slope, eyes painted over    {_with_error(self.slope_painted_eyes, None, 3)}   (the network's own bias)",
        ]
        if self.limits:
            lines = [f"{line}   *" for line in lines]
        left_out = f"pictures without a face     {self.views_failed}   (all views of these heads are left out)"
        return lines + [left_out] * bool(self.views_failed) + [f"* {self.limits}"] * bool(self.limits)


def _with_error(value: float | None, error: float | None, digits: int) -> str:
    if value is None:
        return "not measured"
    return f"{value:.{digits}f}" + (f" +- {error:.{digits}f}" if error is not None else "")


def gaze_face_alignment(views: Iterable, estimator: GazeNetwork, crop: str = "none") -> GfasReport:
    """The score of rendered views (batches of `eg3d.pictures.views.Views`) by one gaze network."""
    return gaze_face_alignments(views, {"": estimator}, crop)[""]


def gaze_face_alignments(views: Iterable, estimators: dict, crop: str = "none") -> dict[str, GfasReport]:
    """The scores of the same views by several gaze networks {name: GazeNetwork}; every view is rendered once."""
    tallies = {name: GazeTally(estimator, crop) for name, estimator in estimators.items()}
    for batch in views:
        for tally in tallies.values():
            tally.add(batch)
    return {name: tally.report() for name, tally in tallies.items()}


COLUMNS = ("yaw_target", "pitch_target", "yaw", "pitch", "eq1", "mse", "legacy", "angular_error_deg")


class Readings(NamedTuple):
    """What a gaze network reads in some pictures: their rows of COLUMNS, on the CPU, seeds and cameras."""

    rows: torch.Tensor
    seeds: list[int]
    camera: list[int]


class GazeTally:
    """What one gaze network reads in views, batch by batch: for loops that do more with them than score.

    Where several processes share the batches, `read` is done by any of them and `take` by the one that reports.
    """

    def __init__(self, estimator, crop: str = "none"):
        self.estimator, self.crop = estimator, crop_for(estimator, crop)
        self._taken: list[Readings] = []

    def add(self, batch) -> torch.Tensor:
        """Measures a batch of `eg3d.pictures.views.Views` -> one row of COLUMNS per picture."""
        readings = self.read(batch)
        self.take(readings)
        return readings.rows

    @torch.no_grad()
    def read(self, batch) -> Readings:
        """Measures a batch of `eg3d.pictures.views.Views` for `take`."""
        return Readings(_measure(batch, self.estimator, self.crop).cpu(), batch.seeds, batch.camera)

    def take(self, readings: Readings) -> None:
        """Counts what was read."""
        self._taken.append(readings)

    def report(self) -> GfasReport:
        """The scores of everything taken so far."""
        if not self._taken:
            raise ValueError("GFAS needs at least one seed; give for example --seeds=0-127")
        rows, seeds, camera = zip(*self._taken, strict=True)
        return _report(torch.cat(rows), np.concatenate(seeds), np.concatenate(camera), self.estimator, self.crop)


def _without_face(table: torch.Tensor) -> np.ndarray:
    """Bool [N]: rows of pictures in which the network finds no face, which it says by NaN."""
    return table[:, [COLUMNS.index("yaw"), COLUMNS.index("pitch")]].isnan().any(dim=1).numpy()


def _measure(batch, estimator, crop: str) -> torch.Tensor:
    """One row of COLUMNS per image of a batch."""
    estimate = GazeAngles(*(a.float() for a in estimate_gaze(batch.images, batch.labels, estimator, crop)))
    target = gaze_target(batch.labels)
    legacy = legacy_target(batch.labels)
    return torch.stack(
        [
            target.yaw,
            target.pitch,
            estimate.yaw,
            estimate.pitch,
            angle_error(estimate, target, "euclid"),
            angle_error(estimate, target, "mse"),
            angle_error(estimate, legacy, "mse"),
            torch.rad2deg(angular_error(estimate, target)),
        ],
        dim=1,
    )


def _report(table: torch.Tensor, seeds: np.ndarray, camera: np.ndarray, estimator, crop: str) -> GfasReport:
    failed = _without_face(table)
    if (whole := ~np.isin(seeds, seeds[failed])).sum() == 0:
        raise ValueError(
            f"the gaze network finds no face in {failed.sum()} of {len(table)} pictures, so no head is left with one "
            "in all of its views; take another network for such pictures"
        )
    table, seeds, camera = table.double().numpy()[whole], seeds[whole], camera[whole]
    column = {name: table[:, i] for i, name in enumerate(COLUMNS)}
    names, group = np.unique(seeds, return_inverse=True)
    n, k = len(names), int(camera.max()) + 1
    if len(table) != n * k:
        raise ValueError(f"{len(table)} views of {n} seeds from {k} cameras: give every seed once, with every camera")

    def per_seed(name: str) -> np.ndarray:
        return np.bincount(group, column[name]) / k

    eq1, mse, legacy = per_seed("eq1"), per_seed("mse") * k, per_seed("legacy") * k
    angle = per_seed("angular_error_deg")
    slope, slope_se = slope_with_error(column["yaw_target"], column["yaw"], group)
    return GfasReport(
        gfas_eq1=float(eq1.mean()),
        gfas_eq1_se=_standard_error(eq1),
        gfas_mse_sum=float(mse.mean()),
        gfas_mse_sum_se=_standard_error(mse),
        gfas_legacy=float(legacy.mean()),
        gfas_legacy_se=_standard_error(legacy),
        angular_error_deg=float(angle.mean()),
        angular_error_deg_se=_standard_error(angle),
        slope=slope,
        slope_se=slope_se,
        slope_painted_eyes=getattr(estimator, "facts", {}).get("painted_eyes_slope"),
        seeds=n,
        views=[{name: float(values[camera == i].mean()) for name, values in column.items()} for i in range(k)],
        gaze_network=getattr(estimator, "sha256", "unknown"),
        crop=crop,
        views_failed=int(failed.sum()),
        limits=getattr(estimator, "facts", {}).get("limits"),
        per_seed_mse_sum={int(seed): float(value) for seed, value in zip(names, mse, strict=True)},
    )


def _standard_error(per_seed: np.ndarray) -> float | None:
    return float(per_seed.std(ddof=1) / math.sqrt(len(per_seed))) if len(per_seed) > 1 else None


def slope_with_error(x: np.ndarray, y: np.ndarray, group: np.ndarray) -> tuple[float | None, float | None]:
    """Least-squares slope of y on x with an intercept, and its standard error with whole groups as the clusters.

    Cluster-robust ("sandwich") variance with the usual small-sample factor g/(g-1) * (n-1)/(n-2). Either is None where
    it is undefined: a single x, or a single group.
    """
    dx = x - x.mean()
    spread = float(dx @ dx)
    if spread < 1e-12 * len(x):
        return None, None
    slope = float(dx @ y) / spread
    residual = y - y.mean() - slope * dx
    groups, n = int(group.max()) + 1, len(x)
    if groups < 2:
        return slope, None
    meat = float(np.square(np.bincount(group, dx * residual)).sum())
    return slope, math.sqrt(meat * groups / (groups - 1) * (n - 1) / (n - 2)) / spread
