"""What is true of the portraits of a world, and its file truth.csv."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from eg3d.world.rendered_sets import camera_angles_to_vector
from redirection.patch_tables import read_table

FILE = "truth.csv"


@dataclass(frozen=True)
class Truth:
    """What is true of a portrait, in degrees as the portrait shows it: gaze, and the direction to the lens, as
    `l2cs.estimator` draws them; the head's yaw, positive toward the image's left."""

    person: int
    gaze_yaw: float
    gaze_pitch: float
    lens_yaw: float
    lens_pitch: float
    head_yaw: float

    @property
    def off_lens(self) -> float:
        """Degrees between the gaze and the lens."""
        gaze, lens = (camera_angles_to_vector(*np.deg2rad(a)) for a in (self.gaze, self.lens))
        return float(np.rad2deg(np.arccos(np.clip(gaze @ lens, -1, 1))))

    @property
    def gaze(self) -> tuple[float, float]:
        return self.gaze_yaw, self.gaze_pitch

    @property
    def lens(self) -> tuple[float, float]:
        return self.lens_yaw, self.lens_pitch


COLUMNS = ("domain", "name", *(one.name for one in fields(Truth)), "off_lens")


def truth_rows(truths: Iterable[tuple[str, str, Truth]]) -> list[list]:
    """Header and rows of the file, of (domain, name, truth)."""
    rows = [[domain, name, *asdict(one).values(), f"{one.off_lens:.3f}"] for domain, name, one in truths]
    return [list(COLUMNS), *rows]


def read_truth(folder: Path) -> dict[tuple[str, str], Truth]:
    """{(domain, name): truth} of a set that prepare.py --world made. Errors: ValueError, one line, or OSError."""
    path = folder / FILE
    if not path.is_file():
        raise ValueError(f"{folder}: has no {FILE}, so nothing is known to be true; make it by prepare.py --world")
    header, rows = read_table(path)
    if header != list(COLUMNS):
        raise ValueError(f"{path}: must have the columns {', '.join(COLUMNS)}; make it again")
    found = {}
    for number, (domain, name, person, *angles, _) in enumerate(rows, 2):
        try:
            values = [float(text) for text in angles]
            if not all(abs(value) <= 180 for value in values):
                raise ValueError
            found[domain, name] = Truth(int(person), *values)
        except ValueError:
            raise ValueError(f"{path}: line {number} holds no angles in degrees; make it again") from None
    return found


def known_gaze(folder: Path, domain: str, names: Iterable[str]) -> np.ndarray:
    """[N, 2]: yaw and pitch of the gazes of portraits in degrees from the lens. Errors: as `read_truth`."""
    truth = read_truth(folder)
    if unknown := [name for name in names if (domain, name) not in truth]:
        raise ValueError(f"{folder / FILE}: has no line of {domain}/{unknown[0]:.60}; make it again")
    found = [truth[domain, name] for name in names]
    return np.array([np.subtract(one.gaze, one.lens) for one in found], np.float32)
