"""Eye patches of an embedded world: each person at many head poses and gazes, in one setting.

As in the Columbia Gaze set the camera goes round the head (P), and the gaze (V, H) counts from the line to the camera.
H is positive toward the image's left, V is positive up, P is the head's yaw as the picture shows it, positive toward
the image's left.
"""

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from eg3d.geometry.cameras import FFHQ_PIVOT, FFHQ_RADIUS
from eg3d.world.rendered_sets import (
    camera_angles_to_vector,
    camera_label,
    vector_to_camera_angles,
    vector_to_head_angles,
)
from eg3d.world.worlds import world_of
from groundwork.draw_keys import draw_key
from groundwork.workers import in_processes
from redirection.patch_names import PatchName

GRID = {"P": (-30, -15, 0, 15, 30), "V": (-10, 0, 10), "H": (-15, -10, -5, 0, 5, 10, 15)}  # of Columbia
MOST_TRIES = 200  # for each picture of a person
FURTHEST = {"P": 30.0, "V": 10.0, "H": 15.0}


@dataclass(frozen=True)
class Shown:
    """A picture of a person: uint8 [H, W, 3], its 68 points [68, 2], and its name without an eye."""

    name: PatchName
    picture: np.ndarray
    points: np.ndarray


@dataclass(frozen=True)
class WorldViews:
    """Which pictures are made. between: part of them that lies between the points of the grid.

    size: pixels of a picture's side. split: whose people.
    """

    world: str = "cartoons"
    split: str = "faces"
    people: int = 60
    views: int = 24
    between: float = 0.5
    size: int = 256
    seed: int = 0

    def __post_init__(self):
        if self.between == 0:
            looks = (dict(zip(GRID, angles, strict=True)) for angles in itertools.product(*GRID.values()))
            if self.views > (most := sum(map(self.possible, looks))):
                raise ValueError(f"--views={self.views}: the grid has {most}; give fewer, or a --between above 0")

    def __len__(self) -> int:
        return self.people * self.views

    def angles(self, index: int) -> dict[str, float]:
        """P, V, H of picture `index`, in degrees, as far as the eyes can turn; no two of a person agree."""
        return dict(zip(FURTHEST, _angles_of_person(self, index // self.views)[index % self.views], strict=True))

    def possible(self, angles: dict[str, float]) -> bool:
        """Whether the eyes turn so far in the head."""
        label, gaze = _camera_and_gaze(angles)
        del label
        yaw, pitch = vector_to_head_angles(gaze)
        most = world_of(self.world).eye_range
        return abs(yaw) <= most[0] and abs(pitch) <= most[1]

    def make(self, index: int) -> Shown:
        """Picture number `index`: person index // views."""
        its, number = world_of(self.world), index // self.views
        person, angles = its.draw(self.split, number), self.angles(index)
        rendered = its.render(person, *_camera_and_gaze(angles), self.size)
        return Shown(PatchName(number + 1, **angles), rendered.rgb, rendered.landmarks)

    def pictures(self, processes: int = 1) -> Iterator[Shown]:
        """All of them, in order."""
        if processes == 1:
            yield from map(self.make, range(len(self)))
        else:
            yield from in_processes(functools.partial(_make, self), range(len(self)), processes, at_once=4)


@functools.cache
def _angles_of_person(views: WorldViews, number: int) -> list[tuple[float, float, float]]:
    rng = np.random.default_rng([draw_key(views.seed, f"patches-{views.world}-{views.split}", number, 0), number])
    found: list[tuple[float, float, float]] = []
    for _ in range(MOST_TRIES * views.views):
        if rng.uniform() < views.between:
            angles = tuple(round(float(rng.uniform(-1, 1)) * most, 1) for most in FURTHEST.values())
        else:
            angles = tuple(float(rng.choice(values)) for values in GRID.values())
        if angles not in found and views.possible(dict(zip(FURTHEST, angles, strict=True))):
            found.append(angles)
        if len(found) == views.views:
            return found
    raise ValueError(f"--views={views.views}: the grid has fewer; give fewer, or a --between above {views.between:g}")


def _make(views: WorldViews, index: int) -> Shown:
    return views.make(index)


def _camera_and_gaze(angles: dict[str, float]) -> tuple[np.ndarray, np.ndarray]:
    """Label [25] of the camera and gaze [3] in the head's frame."""
    label = camera_label(np.deg2rad(_orbit_yaw(angles["P"])), 0.0)
    rotation = label[:16].reshape(4, 4)[:3, :3].astype(np.float64)
    return label, rotation @ camera_angles_to_vector(np.deg2rad(angles["H"]), np.deg2rad(angles["V"]))


def _orbit_yaw(head_yaw: float) -> float:
    """Degrees round the world's origin at which a camera, which looks at the pivot before it, sees this head yaw."""
    return head_yaw - float(np.rad2deg(np.arcsin(FFHQ_PIVOT[2] / FFHQ_RADIUS * np.sin(np.deg2rad(head_yaw)))))


def head_yaw_of(label: np.ndarray) -> float:
    """Yaw in degrees, positive toward the image's left, of the head that a camera sees; the world's front is +z."""
    yaw, _ = vector_to_camera_angles(label[8:11])
    return float(np.rad2deg(yaw))
