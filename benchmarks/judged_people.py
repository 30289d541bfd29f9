"""What a judge of faces learns from, and what it is asked about: rendered people of world `people`."""

import functools
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
from redirection.corrected_faces import ALPHAS
from redirection.eye_patches import LIDS, EyeSquare
from redirection.gaze_animation.aimed_eyes import aims
from redirection.gaze_animation.animator_file import open_animator
from redirection.gaze_animation.level_faces import PORTRAIT, SIDE, Placed
from redirection.gaze_animation.moving_eyes import moved_frames
from redirection.gaze_animation.whole_faces import FaceEyes, Fates
from redirection.gaze_animation.world_portraits import (
    CAMERA_PITCH,
    FINER,
    FLATTER,
    HEAD_YAW_DEG,
    WorldPortraits,
    lids_of,
)

PATCH = 64  # px
MOST_DEG, MOST_OTHER_DEG = 30.0, 28.0  # past the lens: of the picture; of the moment that gives the points
OWN_POINTS = 0.3  # of the pictures have the points of their own gaze; the others', as painted ones, those of another
WAYS = ("true", "aimed", "alpha")


@dataclass(frozen=True)
class Seen:
    """patches uint8 [..., 2, 3, S, S]: both eyes, R mirrored, cut by the lids of points [68, 2] in a portrait of
    SIDE px; gaze, lens [2]: yaw, pitch in degrees."""

    patches: np.ndarray
    points: np.ndarray
    gaze: np.ndarray
    lens: np.ndarray


def eyes_cut(picture: np.ndarray, points: np.ndarray) -> np.ndarray:
    """uint8 [2, 3, S, S]."""
    both = [EyeSquare.of_lids(points[LIDS[eye]], eye).cut(picture, PATCH) for eye in "RL"]
    return np.stack(both).transpose(0, 3, 1, 2)


def to_learn_from(split: str, number: int) -> Seen:
    """One person, who looks up to MOST_DEG past the lens. Lids follow the gaze, and whoever reads a painted picture
    knows the points of the picture before it; so most points are those of the same moment with another gaze."""
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
    if np.random.default_rng(1).random(number + 1)[-1] >= OWN_POINTS:
        points = its.look_elsewhere(person, label, gaze, other, size).landmarks
    points = place.to_portrait(points, SIDE)
    c, s = np.cos(place.angle), np.sin(place.angle)
    turn = np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
    angles = [np.rad2deg(vector_to_camera_angles(turn @ (one @ rotation))) for one in (gaze, lens)]
    return Seen(eyes_cut(place.cut(shown.rgb, SIDE), points), points, *angles)


def _past(rng: np.random.Generator, rotation: np.ndarray, lens: np.ndarray, most: float) -> np.ndarray:
    """A direction [3] up to `most` degrees past the lens."""
    around = rng.uniform(-np.pi, np.pi)
    away = np.deg2rad(rng.uniform(0, most) * np.array([np.cos(around), FLATTER * np.sin(around)]))
    return rotation @ camera_angles_to_vector(*(vector_to_camera_angles(lens @ rotation) + away))


def asked(portraits: WorldPortraits, row: int) -> Seen:
    """patches [WAYS, ALPHAS, 2, 3, S, S] of a face of Y: true pictures from the gaze that is there to the lens, and
    what the shipped animator paints, aimed along `gaze 0,0` and along alpha."""
    index = portraits.people * portraits.views + row
    face, (animator, calibration) = portraits.make(index), _animator()
    past = np.subtract(face.truth.gaze, face.truth.lens)
    true = [face.picture, *portraits.looking(index, np.outer(1 - np.array(ALPHAS[1:]), past))]
    eyes, alphas = [FaceEyes.of_lids(lids_of(face))], np.array(ALPHAS)

    def painted(way: np.ndarray, using=None, aimed=None) -> list[np.ndarray]:
        return moved_frames(face.picture, eyes, animator, way, using, Fates(), "cpu", 0, aimed)

    in_degrees = painted(
        alphas[::-1, None] * (0.0, 0.0, 1.0), calibration, aims(face.picture, eyes, animator, calibration)
    )
    ways = (true, in_degrees, painted(alphas))
    patches = np.stack([[eyes_cut(picture, face.points) for picture in frames] for frames in ways])
    return Seen(patches, face.points, np.array(face.truth.gaze), np.array(face.truth.lens))


@functools.cache
def _animator():
    return open_animator("embedded", "cpu")


def made(make, numbers, processes: int) -> Seen:
    """`make` of each number, one behind the other in every array."""
    each = map(make, numbers) if processes == 1 else in_processes(make, numbers, processes, at_once=4)
    return Seen(*map(np.stack, zip(*(vars(one).values() for one in each), strict=True)))
