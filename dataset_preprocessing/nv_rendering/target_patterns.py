"""Patterns of targets: which head poses, or which gazes, novel views have. Angles are (pitch, yaw), as everywhere here.

A pattern draws one target for one attempt at one view. Every draw is keyed by (seed, person, row, view), so a view does
not depend on how many were made before it, nor on which process makes it.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from groundwork.array_file import NPY, read_npy
from groundwork.draw_keys import draw_key
from groundwork.files import open_regular

HEAD, GAZE = "head", "gaze"  # what has the target's angles
# Modes of the published program, each a file of head poses: ETH-XGaze's training set; EYEDIAP's continuous screen
# targets, and its floating targets.
FILE_MODES = ("xgaze-train", "eyediap-cs", "eyediap-ft")
MOST_BYTES = 1 << 28  # of a file of angles; ETH-XGaze's has 12 MB
MOST_RAD = math.pi + 1e-3  # of an angle; larger ones are degrees


class Pattern(Protocol):
    """of: HEAD or GAZE. count: how many views it has; None: as many as are asked for. str(pattern): for errors."""

    of: str
    count: int | None

    def draw(self, rng: np.random.Generator, view: int) -> np.ndarray:
        """(pitch, yaw) rad [2], for the next attempt at this view."""


def generator(seed: int, person: str, row: int, view: int) -> np.random.Generator:
    """The draws of one view; keys of 32 bits alone would meet among as many views as a set has."""
    return np.random.default_rng([draw_key(seed, f"turn/{person}", row, view), row, view])


@dataclass(frozen=True)
class Rows:
    """A row of a table [N, 2], rad, drawn anew for each attempt."""

    table: np.ndarray
    name: str = "rows"
    of: str = HEAD
    count: int | None = None

    def draw(self, rng, view):
        return self.table[rng.integers(len(self.table))]

    def __str__(self):
        return f"pattern {self.name}, {len(self.table)} rows of {self.of} angles"


@dataclass(frozen=True)
class Gaussian:
    """Pitch and yaw, in this order, each normal with mean 0 and this deviation, degrees."""

    sigma_deg: float
    of: str = GAZE
    count: int | None = None

    def __post_init__(self):
        if not 0 < self.sigma_deg <= 90:
            raise ValueError(f"sigma is {self.sigma_deg:g} degrees; give one above 0 and at most 90")

    def draw(self, rng, view):
        return np.radians(rng.normal(0, self.sigma_deg, 2))

    def __str__(self):
        return f"pattern gaussian, sigma {self.sigma_deg:g} degrees of the {self.of}"


@dataclass(frozen=True)
class Uniform:
    """Pitch and yaw, each uniform in its range (low, high), degrees."""

    pitch_deg: tuple[float, float]
    yaw_deg: tuple[float, float]
    of: str = HEAD
    count: int | None = None

    def __post_init__(self):
        for name, (low, high) in (("pitch", self.pitch_deg), ("yaw", self.yaw_deg)):
            if not -180 <= low <= high <= 180:
                raise ValueError(f"the range of {name} is {low:g} to {high:g} degrees; give low, then high, within 180")

    def draw(self, rng, view):
        low, high = np.radians(np.transpose([self.pitch_deg, self.yaw_deg]))
        return rng.uniform(low, high)

    def __str__(self):
        return f"pattern uniform, pitch {self.pitch_deg} and yaw {self.yaw_deg} degrees of the {self.of}"


@dataclass(frozen=True)
class PoseList:
    """View j has row j of a table [N, 2], rad. Nothing is drawn."""

    table: np.ndarray
    of: str = HEAD

    @property
    def count(self) -> int:
        return len(self.table)

    def draw(self, rng, view):
        if view >= len(self.table):
            raise ValueError(f"view {view} of {self}: its views are numbered 0 to {len(self.table) - 1}; ask for fewer")
        return self.table[view]

    def __str__(self):
        return f"pattern list, {len(self.table)} {self.of} angles"


def grid(pitch_deg, yaw_deg, of: str = HEAD) -> PoseList:
    """Every pitch with every yaw, degrees; yaw runs faster."""
    pitch, yaw = np.meshgrid(np.radians(pitch_deg), np.radians(yaw_deg), indexing="ij")
    return PoseList(checked_angles(np.stack([pitch.ravel(), yaw.ravel()], axis=1), "the grid"), of)


def read_angles(path: Path) -> np.ndarray:
    """A file of targets -> (pitch, yaw) rad [N, 2].

    `.npy`: an array [..., 2]; other files are text, two numbers in a line. ValueError, naming the file, for another
    shape, for numbers that are not finite, and for degrees.
    """
    with open_regular(path) as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise ValueError(f"{path}: has more than {MOST_BYTES >> 20} MiB; give a file of angles")
    table = read_npy(path) if data.startswith(NPY) else _of_text(path, data)
    return checked_angles(table, str(path))


def checked_angles(table: np.ndarray, where: str) -> np.ndarray:
    """A table [..., 2] of finite angles, rad -> float64 [N, 2]; ValueError, beginning with `where`, if it is none."""
    if table.dtype.kind not in "fiu" or table.ndim < 2 or table.shape[-1] != 2 or not table.size:
        raise ValueError(f"{where}: holds {table.dtype} {table.shape}; give pitch and yaw in rad, two numbers a row")
    table = table.astype(np.float64).reshape(-1, 2)
    if not np.isfinite(table).all():
        row = int(np.argmin(np.isfinite(table).all(axis=1)))
        raise ValueError(f"{where}: row {row} holds {table[row].tolist()}, which are no finite angles; mend the file")
    if (most := np.abs(table).max()) > MOST_RAD:
        raise ValueError(f"{where}: an angle is {most:.4g}, beyond pi; are they degrees? Multiply all by pi/180")
    return table


def _of_text(path: Path, data: bytes) -> np.ndarray:
    rows = []
    for number, line in enumerate(data.decode(errors="replace").splitlines(), start=1):
        words = line.split("#")[0].replace(",", " ").split()
        if not words:
            continue
        try:
            pitch, yaw = map(float, words)
        except ValueError:
            raise ValueError(
                f"{path}: line {number} must be pitch and yaw in rad, two numbers; it is '{line[:60]}'"
            ) from None
        rows.append((pitch, yaw))
    return np.array(rows, dtype=np.float64).reshape(-1, 2)
