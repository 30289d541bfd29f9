"""Portraits of an embedded world in both domains, of different people, with what is true of each.

The head turns by up to 30 degrees to either side. In X the eyes look into the lens, as well as people do; in Y they
look 10 to 28 degrees past it, as far as they can turn.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from eg3d.world.rendered_sets import (
    camera_angles_to_vector,
    camera_label,
    vector_to_camera_angles,
    vector_to_head_angles,
)
from eg3d.world.worlds import world_of
from groundwork.draws import draw_key
from groundwork.workers import in_processes
from redirection.eye_patches import LIDS
from redirection.gaze_animation.level_faces import PORTRAIT, SIDE, Placed
from redirection.gaze_animation.portrait_lists import CAMERA, ELSEWHERE
from redirection.gaze_animation.portrait_truth import Truth
from redirection.world_patches import head_yaw_of

HEAD_YAW_DEG, CAMERA_PITCH = 30.0, 0.15  # half-ranges; the second as `eg3d.geometry.cameras.lookat_pose` counts
TO_LENS_DEG = 0.7  # standard deviation of each angle of those who look into the lens
ELSEWHERE_DEG = (10.0, 28.0)
FLATTER = 0.6  # vertical part of such a look, over the horizontal one: eyes turn farther to the side
FINER = 1.5  # pixels of the rendered picture over those of the portrait
MOST_TRIES = 1000


@dataclass(frozen=True)
class WorldPortrait:
    """picture uint8 [S, S, 3]; points [68, 2] px of it; corrected: the same moment, but the eyes look into the lens."""

    domain: str
    name: str
    picture: np.ndarray
    points: np.ndarray
    truth: Truth
    corrected: np.ndarray | None = None

    @property
    def eyes(self) -> np.ndarray:
        """[2, 2] in a portrait of SIDE px."""
        middles = np.stack([self.points[LIDS[eye]].mean(axis=0) for eye in "RL"])
        return middles * SIDE / self.picture.shape[0]


@dataclass(frozen=True)
class Scene:
    """What a portrait is made of: world, person `number`, the camera's label [25], directions [3] of gaze and lens in
    the head's frame, the rendered head, where the portrait of `size` px lies in it."""

    its: object
    domain: str
    number: int
    person: object
    label: np.ndarray
    gaze: np.ndarray
    lens: np.ndarray
    shown: object
    place: Placed
    size: int

    def looking(self, direction: np.ndarray) -> np.ndarray:
        """The portrait uint8 [size, size, 3], the same moment, with this gaze."""
        other = self.its.look_elsewhere(self.person, self.label, self.gaze, direction, round(self.size * FINER))
        return self.place.cut(other.rgb, self.size)


@dataclass(frozen=True)
class WorldPortraits:
    """Which portraits are made: first all of X, then all of Y. Person k of X and of Y are two people.

    jitter: how far the face moves in the portrait: standard deviations of 8 px of 256, and of 6 % of its size, if 1.
    corrected: of how many of the last pictures of Y the true corrected picture is made.
    """

    world: str = "people"
    split: str = "faces"
    people: int = 100
    views: int = 8
    size: int = SIDE
    seed: int = 0
    jitter: float = 0.5
    corrected: int = 0

    def __len__(self) -> int:
        return 2 * self.people * self.views

    def make(self, index: int) -> WorldPortrait:
        scene, half = self._scene(index), self.people * self.views
        corrected = None
        if scene.domain == ELSEWHERE and index >= 2 * half - self.corrected:
            corrected = scene.looking(scene.lens)
        return WorldPortrait(
            scene.domain,
            f"p{scene.number:05d}_{index % half % self.views:02d}",
            scene.place.cut(scene.shown.rgb, self.size),
            scene.place.to_portrait(scene.shown.landmarks, self.size),
            _truth(scene.number, scene.label, scene.gaze, scene.lens, scene.place.angle),
            corrected,
        )

    def looking(self, index: int, away: np.ndarray) -> list[np.ndarray]:
        """Pictures of the same moment with other gazes: yaw and pitch in degrees past the lens [K, 2]."""
        scene = self._scene(index)
        rotation = scene.label[:16].reshape(4, 4)[:3, :3].astype(np.float64)
        lens = vector_to_camera_angles(scene.lens @ rotation)
        return [scene.looking(rotation @ camera_angles_to_vector(*(lens + np.deg2rad(one)))) for one in away]

    def _scene(self, index: int) -> "Scene":
        its, half = world_of(self.world), self.people * self.views
        domain, at = (CAMERA, index) if index < half else (ELSEWHERE, index - half)
        number = 2 * (at // self.views) + int(domain == ELSEWHERE)
        key = draw_key(self.seed, f"portraits-{self.world}-{self.split}-{domain}", at, its.version)
        rng, person = np.random.default_rng([key, index]), its.draw(self.split, number)
        label, gaze, at_lens = _draw(rng, its, person, domain)
        rendered_px = round(self.size * FINER)
        shown = its.render(person, label, gaze, rendered_px)
        eyes = np.stack([shown.landmarks[LIDS[eye]].mean(axis=0) for eye in "RL"])
        moved = rng.normal(0, 1, 3) * self.jitter * (8 / SIDE, 5 / SIDE, 0.06)
        place = Placed.of_eyes(eyes, PORTRAIT, scale=float(np.exp(moved[2])), shift=tuple(moved[:2]))
        return Scene(its, domain, number, person, label, gaze, at_lens, shown, place, self.size)

    def all(self, processes: int = 1) -> Iterator[WorldPortrait]:
        if processes == 1:
            yield from map(self.make, range(len(self)))
        else:
            yield from in_processes(functools.partial(_make, self), range(len(self)), processes, at_once=4)


def _make(portraits: WorldPortraits, index: int) -> WorldPortrait:
    return portraits.make(index)


def _draw(rng: np.random.Generator, its, person, domain: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Label [25] of the camera; gaze [3] and the direction to the lens [3] in the head's frame. The eyes can do both.

    In X the two are nearly the same.
    """
    for _ in range(MOST_TRIES):
        label = camera_label(rng.uniform(-1, 1) * np.deg2rad(HEAD_YAW_DEG), rng.uniform(-1, 1) * CAMERA_PITCH)
        rotation = label[:16].reshape(4, 4)[:3, :3].astype(np.float64)
        lens = label[[3, 7, 11]] - its.eye_centres(person).mean(axis=0)
        lens = lens / np.linalg.norm(lens)
        away = rng.normal(0, TO_LENS_DEG, 2)
        if domain == ELSEWHERE:
            around = rng.uniform(-np.pi, np.pi)
            away = rng.uniform(*ELSEWHERE_DEG) * np.array([np.cos(around), FLATTER * np.sin(around)])
        yaw, pitch = vector_to_camera_angles(lens @ rotation)
        gaze = rotation @ camera_angles_to_vector(yaw + np.deg2rad(away[0]), pitch + np.deg2rad(away[1]))
        if np.hypot(*away) < ELSEWHERE_DEG[0] and domain == ELSEWHERE:
            continue
        turned = np.abs([vector_to_head_angles(one) for one in (gaze, lens)])
        if (turned <= its.eye_range).all():
            return label, gaze, lens
    raise ValueError(f"this world's eyes cannot look {ELSEWHERE_DEG[0]:g} degrees past the lens; give another world")


def _truth(person: int, label: np.ndarray, gaze: np.ndarray, lens: np.ndarray, angle: float) -> Truth:
    """angle: how far the portrait is turned against the picture, rad clockwise; directions turn back with it."""
    rotation = label[:16].reshape(4, 4)[:3, :3].astype(np.float64)
    c, s = np.cos(angle), np.sin(angle)
    turn = np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
    shown = (np.rad2deg(vector_to_camera_angles(turn @ (one @ rotation))).tolist() for one in (gaze, lens))
    return Truth(person, *(round(angle, 3) for pair in shown for angle in pair), round(head_yaw_of(label), 3))
