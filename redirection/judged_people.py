"""What the judge of faces learns from, and is asked about: rendered people of world `people`, one picture each."""

import io
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from eg3d.world.rendered_sets import (
    camera_angles_to_vector,
    camera_label,
    vector_to_camera_angles,
    vector_to_head_angles,
)
from eg3d.world.worlds import world_of
from groundwork.draws import draw_key
from groundwork.files import atomic_write
from groundwork.workers import in_processes
from redirection.eye_patches import LIDS, EyeSquare
from redirection.gaze_animation.level_faces import PORTRAIT, SIDE, Placed
from redirection.gaze_animation.world_portraits import CAMERA_PITCH, FINER, FLATTER, HEAD_YAW_DEG

PATCH = 64  # px
MOST_DEG, MOST_OTHER_DEG = 30.0, 28.0  # past the lens: of the picture; of the moment that gives the points
OWN_POINTS = 0.3  # of the pictures to learn from have the points of their own gaze


@dataclass(frozen=True)
class Seen:
    """N faces. patches uint8 [N, 2, 3, S, S]: both eyes, R mirrored, cut by the lids of points [N, 68, 2] in a portrait
    of SIDE px; gaze [N, 2]: yaw, pitch in degrees."""

    patches: np.ndarray
    points: np.ndarray
    gaze: np.ndarray

    def __len__(self) -> int:
        return len(self.patches)

    @property
    def squares(self) -> list[list[EyeSquare]]:
        """Of eyes R and L of each face."""
        return [squares_of(points) for points in self.points]


def squares_of(points: np.ndarray) -> list[EyeSquare]:
    """Of eyes R and L, of points [68, 2]."""
    return [EyeSquare.of_face(points, eye) for eye in "RL"]


def eyes_cut(picture: np.ndarray, points: np.ndarray) -> np.ndarray:
    """uint8 [2, 3, S, S]."""
    return np.stack([square.cut(picture, PATCH) for square in squares_of(points)]).transpose(0, 3, 1, 2)


def judged_person(split: str, own_points: float, number: int) -> dict[str, np.ndarray]:
    """Patches, points and gaze, as of `Seen`, of one person, who looks up to MOST_DEG past the lens.

    Lids follow the gaze, and whoever reads a painted picture knows the points of the picture before it; so points are
    those of the same moment with another gaze, but for a share `own_points` of the people.
    """
    its, person = world_of("people"), world_of("people").draw(split, number)
    rng = np.random.default_rng([draw_key(5, f"face-judge-{split}", number, its.version), number])
    turned, size = None, round(SIDE * FINER)
    while turned is None or not (turned <= its.eye_range).all():
        label = camera_label(rng.uniform(-1, 1) * np.deg2rad(HEAD_YAW_DEG), rng.uniform(-1, 1) * CAMERA_PITCH)
        rotation = label[:16].reshape(4, 4)[:3, :3].astype(np.float64)
        lens = label[[3, 7, 11]] - its.eye_centres(person).mean(axis=0)
        lens = lens / np.linalg.norm(lens)
        gaze = _past(rng, rotation, lens, MOST_DEG)
        turned = np.abs([vector_to_head_angles(one) for one in (gaze, lens)])
    other = None
    while other is None or not (np.abs(vector_to_head_angles(other)) <= its.eye_range).all():
        other = _past(rng, rotation, lens, MOST_OTHER_DEG)
    shown = its.render(person, label, gaze, size)
    place = Placed.of_eyes(np.stack([shown.landmarks[LIDS[eye]].mean(axis=0) for eye in "RL"]), PORTRAIT)
    points = shown.landmarks
    if np.random.default_rng(1).random(number + 1)[-1] >= own_points:
        points = its.look_elsewhere(person, label, gaze, other, size).landmarks
    points = place.to_portrait(points, SIDE)
    c, s = np.cos(place.angle), np.sin(place.angle)
    turn = np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
    angles = np.rad2deg(vector_to_camera_angles(turn @ (gaze @ rotation)))
    return {"patches": eyes_cut(place.cut(shown.rgb, SIDE), points), "points": points, "gaze": angles}


def _past(rng: np.random.Generator, rotation: np.ndarray, lens: np.ndarray, most: float) -> np.ndarray:
    """A direction [3] up to `most` degrees past the lens."""
    around = rng.uniform(-np.pi, np.pi)
    away = np.deg2rad(rng.uniform(0, most) * np.array([np.cos(around), FLATTER * np.sin(around)]))
    return rotation @ camera_angles_to_vector(*(vector_to_camera_angles(lens @ rotation) + away))


def judged_people(split: str, numbers: Iterable[int], own_points: float, processes: int = 1) -> Seen:
    """These people of a split."""
    make = partial(judged_person, split, own_points)
    each = map(make, numbers) if processes == 1 else in_processes(make, numbers, processes, at_once=4)
    found = list(each)
    return Seen(**{name: np.stack([one[name] for one in found]) for name in found[0]})


def kept_people(path: Path, *asked, **more) -> Seen:
    """As `judged_people`; rendered if `path`, an .npz, is not there, which is written whole."""
    if not path.is_file():
        found = judged_people(*asked, **more)
        buffer = io.BytesIO()
        np.savez(buffer, **vars(found))
        atomic_write(path, buffer.getvalue())
    with np.load(path) as stored:
        return Seen(**stored)
