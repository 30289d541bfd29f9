"""How well the gaze of a generator can be set: wanted and read directions over a grid of gazes, cameras and heads."""

from dataclasses import asdict, dataclass

import numpy as np
import torch

from eg3d.gaze.term import estimate_gaze
from eg3d.geometry.cameras import split_label
from eg3d.geometry.head_gaze import gaze_along, gaze_direction
from eg3d.metrics.gfas import slope_with_error
from l2cs.estimator import gaze_vector

# Yaw and pitch in the head frame, rad: +-0.5 x +-0.2, all pairs.
GAZE_GRID = tuple((yaw, pitch) for pitch in (-0.2, 0.0, 0.2) for yaw in (-0.5, -0.25, 0.0, 0.25, 0.5))


@torch.no_grad()
def read_in_head(images: torch.Tensor, labels: torch.Tensor, network, crop: str = "none") -> torch.Tensor:
    """What a gaze network reads, turned into the head frame: [N, 2], rad; NaN where it finds no face.

    Args: images [N, 3, H, W] in [-1, 1], labels [N, 25] of their cameras.
    """
    in_camera = gaze_vector(estimate_gaze(images, labels, network, crop))
    rotation = split_label(labels.to(in_camera))[0][:, :3, :3]
    return gaze_along((rotation @ in_camera[:, :, None])[:, :, 0])


@dataclass(frozen=True)
class ControlReport:
    """Errors of the read gaze, degrees, and slopes of its yaw and pitch against what was asked for (1 is best)."""

    angular_error_deg: float
    angular_error_deg_se: float | None  # over heads
    slope_yaw: float
    slope_yaw_se: float | None
    slope_pitch: float
    slope_pitch_se: float | None
    worst_cell_deg: float  # mean error of the worst pair of gaze and camera
    worst_cell: dict  # of which gaze, rad, and camera
    pictures: int
    failed: int  # pictures in which the network finds no face; left out

    def to_dict(self) -> dict:
        return asdict(self)

    def lines(self) -> list[str]:
        """What a person wants to read, one number to a line."""
        cell = self.worst_cell

        def of(name: str, digits: int) -> str:
            error = getattr(self, f"{name}_se")
            return f"{getattr(self, name):.{digits}f}" + ("" if error is None else f" +- {error:.{digits}f}")

        return [
            f"error of the read gaze    {of('angular_error_deg', 2)} degrees",
            f"slope of yaw, of pitch    {of('slope_yaw', 3)}, {of('slope_pitch', 3)}   (0: no effect, 1: as asked)",
            f"worst gaze and camera     {self.worst_cell_deg:.2f} degrees, at yaw {cell['yaw']:g}, pitch "
            f"{cell['pitch']:g} rad, camera {cell['camera']}",
            f"pictures                  {self.pictures} used, {self.failed} without a face",
        ]


def control_report(wanted: np.ndarray, read: np.ndarray, head: np.ndarray, camera: np.ndarray) -> ControlReport:
    """Args: wanted, read [N, 2] in the head frame, rad; head, camera int [N], which they show. ValueError: no face."""
    good = ~np.isnan(read).any(axis=1)
    if not good.any():
        raise ValueError("the gaze network finds no face in any picture; give another --l2cs-path")
    wanted, read, head, camera = (values[good] for values in (wanted, read, head, camera))
    a, b = (gaze_direction(torch.from_numpy(np.asarray(v, np.float64))).numpy() for v in (wanted, read))
    error = np.degrees(np.arctan2(np.linalg.norm(np.cross(a, b), axis=1), (a * b).sum(axis=1)))
    _, group = np.unique(head, return_inverse=True)
    of_head = np.bincount(group, error) / np.bincount(group)
    cells, cell = np.unique(np.column_stack([wanted, camera]), axis=0, return_inverse=True)
    of_cell = np.bincount(cell.ravel(), error) / np.bincount(cell.ravel())
    (yaw, yaw_se), (pitch, pitch_se) = (slope_with_error(wanted[:, i], read[:, i], group) for i in (0, 1))
    worst = cells[of_cell.argmax()]
    return ControlReport(
        angular_error_deg=float(error.mean()),
        angular_error_deg_se=float(of_head.std(ddof=1) / len(of_head) ** 0.5) if len(of_head) > 1 else None,
        slope_yaw=yaw, slope_yaw_se=yaw_se, slope_pitch=pitch, slope_pitch_se=pitch_se,
        worst_cell_deg=float(of_cell.max()),
        worst_cell={"yaw": float(worst[0]), "pitch": float(worst[1]), "camera": int(worst[2])},
        pictures=int(good.sum()), failed=int((~good).sum()),
    )  # fmt: skip
