"""Ways along which eyes move: in degrees, through a map from degrees to gaze codes, or in the paper's alpha.

GazeAnimation's code of the gaze has two numbers without a unit, and its animation is one line: from the gaze that is
there (alpha 0) to the camera (alpha 1), and beyond (Zhang et al. 2020). Here a 2 x 2 matrix, fitted once on faces whose
gaze is known, says how the code changes with each degree; so any direction can be asked for.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from groundwork.plain import check_types

MOST_DEG = 45.0
LEAST_FACES = 20
EXAMPLE = "'0,0 -15,0 15,0 0,0'"
OWN, OWN_DEG = "gaze", 15.0  # the corner that is the photo's own gaze; how far from the camera it counts as, for speed


@dataclass(frozen=True)
class Calibration:
    """code = c + M (yaw, pitch), where c is the code of eyes that look into the camera.

    code_per_degree: M [2, 2], row by row. code_at_camera: c; None: R(s) of each face, of which s is the correction.
    rmse_deg: of the angles that the fitted map reads off codes, yaw and pitch. Axes are those of `l2cs.estimator`.
    lens_reads: yaw, pitch that the gaze reader reads on the mean of portraits that look into the lens; None: faces of
    this kind are not aimed (`aimed_eyes`).
    """

    code_per_degree: tuple[float, float, float, float]
    rmse_deg: tuple[float, float]
    faces: int
    code_at_camera: tuple[float, float] | None = None
    lens_reads: tuple[float, float] | None = None

    def __post_init__(self):
        check_types(self)
        a, b, c, d = self.code_per_degree
        if abs(a * d - b * c) < 1e-12:
            raise ValueError("code_per_degree must be a map that can be undone")

    @classmethod
    def fit(cls, codes: np.ndarray, camera: np.ndarray, angles: np.ndarray) -> "Calibration":
        """Least squares. codes, camera [N, 2]: R(y) and R(s) of each face; angles [N, 2]: yaw, pitch of its gaze, less
        those of the direction to the lens, degrees. ValueError if they do not say all four numbers.

        One code for the camera is taken if it says the angles better than each face's own R(s): codes that were told
        the gaze in training are degrees, and R(s) only adds the error of s; other codes may begin anywhere.
        """
        if len(codes) < LEAST_FACES:
            raise ValueError(f"{len(codes)} faces of known gaze are too few to calibrate, least {LEAST_FACES}")
        own = cls._fitted(codes - camera, angles)
        middle = codes.mean(axis=0) - angles.mean(axis=0) @ _matrix(codes, angles)
        one = cls._fitted(codes - middle, angles)
        return replace(one, code_at_camera=tuple(middle.tolist())) if sum(one.rmse_deg) < sum(own.rmse_deg) else own

    @classmethod
    def _fitted(cls, steps: np.ndarray, angles: np.ndarray) -> "Calibration":
        per_degree, *_ = np.linalg.lstsq(angles, steps, rcond=1e-6)  # angles @ this = steps
        rank = np.linalg.matrix_rank(angles)
        if rank < 2 or not np.isfinite(per_degree).all() or abs(np.linalg.det(per_degree)) < 1e-12:
            raise ValueError("the gaze codes do not follow the gaze in both directions; train longer")
        off = steps @ np.linalg.inv(per_degree) - angles
        rmse = np.sqrt((off**2).mean(axis=0)).tolist()
        return cls(tuple(per_degree.T.ravel().tolist()), (rmse[0], rmse[1]), len(steps))

    def code(self, angles: torch.Tensor, camera: torch.Tensor) -> torch.Tensor:
        """Yaw, pitch in degrees [..., 2], and R(s) [..., 2] of the faces -> codes [..., 2]."""
        start = camera if self.code_at_camera is None else camera.new_tensor(self.code_at_camera)
        return start + self.codes(angles)

    def own_gaze(self, codes: torch.Tensor, camera: torch.Tensor) -> torch.Tensor:
        """R(y) and R(s) [..., 2] of faces -> yaw, pitch in degrees of y; undoes `code`."""
        return self.angles(codes - self.code(torch.zeros_like(codes), camera))

    def codes(self, angles: torch.Tensor) -> torch.Tensor:
        """Yaw, pitch in degrees [..., 2] -> what is added to the code of the camera [..., 2]."""
        return angles @ torch.tensor(self.code_per_degree, dtype=angles.dtype, device=angles.device).view(2, 2).T

    def angles(self, codes: torch.Tensor) -> torch.Tensor:
        """R(y), less the code of the camera [..., 2] -> yaw, pitch in degrees."""
        matrix = torch.tensor(self.code_per_degree, dtype=codes.dtype, device=codes.device).view(2, 2)
        return codes @ matrix.inverse().T


@dataclass(frozen=True)
class Aim:
    """What one face needs (`aimed_eyes`). bend: degrees wanted [N, 2] -> degrees to ask of the map [N, 2]; None: the
    same. own: its own gaze, yaw and pitch in degrees; None: as Er says."""

    bend: Callable[[np.ndarray], np.ndarray] | None = None
    own: tuple[float, float] | None = None


def _matrix(codes: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """[2, 2]: angles @ this = codes, apart from a constant."""
    return np.linalg.lstsq(angles - angles.mean(axis=0), codes - codes.mean(axis=0), rcond=1e-6)[0]


def path_of(text: str) -> np.ndarray:
    """`gaze 0,0 15,5` -> corners [K, 3] of the way: yaw, pitch in degrees, and what part of the photo's own gaze is
    added, 1 for the word `gaze`. ValueError, one line."""
    corners = []
    for part in text.split():
        if part == OWN:
            corners.append((0.0, 0.0, 1.0))
            continue
        try:
            yaw, pitch = map(float, part.split(","))
        except ValueError:
            yaw = math.nan
        if not (math.isfinite(yaw) and abs(yaw) <= MOST_DEG and math.isfinite(pitch) and abs(pitch) <= MOST_DEG):
            raise ValueError(
                f"--path={text}: '{part}' is neither {OWN} nor yaw,pitch in degrees up to {MOST_DEG:g}; "
                f"write for example {EXAMPLE}"
            )
        corners.append((yaw, pitch, 0.0))
    if not corners:
        raise ValueError("--path: has no corner; write for example " + EXAMPLE)
    return np.array(corners)


def along(corners: np.ndarray, frames: int) -> np.ndarray:
    """`frames` places [frames, 3] along the lines between corners [K, 3], at one speed, both ends among them."""
    steps = np.linalg.norm(np.diff(corners, axis=0) * (1, 1, OWN_DEG), axis=1)
    way = np.concatenate([[0], np.cumsum(steps)])
    if way[-1] == 0:
        return np.repeat(corners[:1], frames, axis=0)
    at = np.linspace(0, way[-1], frames) if frames > 1 else way[-1:]
    return np.stack([np.interp(at, way, column) for column in corners.T], axis=1)


def alphas_of(text: str) -> np.ndarray:
    """`0,0.5,1` -> these; `0:1.4:15` -> 15 from 0 to 1.4. ValueError, one line."""
    try:
        if ":" in text:
            first, last, count = text.split(":")
            values = np.linspace(float(first), float(last), int(count)) if 1 <= int(count) <= 10_000 else np.empty(0)
        else:
            values = np.array([float(part) for part in text.split(",")])
    except ValueError:
        values = np.empty(0)
    if not len(values) or not (np.abs(values) <= 10).all():  # NaN too
        raise ValueError(f"--alpha={text}: must be numbers up to 10 as 0,0.5,1, or first:last:count as 0:1.4:15")
    return values
