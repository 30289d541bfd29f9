"""Photos of a world's heads: life-size, by a camera with any matrix and a lens that distorts, and all that is true.

Frames. World: that of `cameras.py`, +y up, +z out of the face, +x to the subject's left. Head: the same origin in mm,
x to the subject's left (image right), y down, z into the head, so that a head that faces the camera has no rotation.
Camera: x right, y down, z forward, mm. Pixels: whole numbers are the centres of pixels, as OpenCV counts.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from eg3d.world.lens import distorted, undistorted
from eg3d.world.worlds import SPLITS, WORLDS, world_of
from groundwork.plain import check_one_of, check_types, check_within, from_plain
from groundwork.strict_json import JsonError, read_json

LARGEST = 8192  # pixels of a side
EYES_APART = 63.0  # mm, between the centres of the eyeballs: it decides how large a head is
FLIP = np.diag([1.0, -1.0, -1.0])  # axes of the world -> of the head
EYE_CORNERS_AND_MOUTH = (36, 39, 42, 45, 48, 54)  # of 68 landmarks: their mean is the face centre


@dataclass(frozen=True)
class Shot:
    """All that a photo depends on, in plain numbers.

    world, split, person: whose head; setting: the number of the person of this split whose light and background it is.
    label: 25 numbers, the camera that renders the canvas: the square picture without distortion, `side` pixels wide,
    that the photo is cut out of; corner: (x, y) of its first pixel in the pinhole photo. gaze: in the world, unit.
    matrix: 9 numbers in pixels; lens: k1, k2, p1, p2, k3; width and height of the photo.
    """

    world: str
    split: str
    person: int
    setting: int
    label: tuple[float, ...]
    side: int
    corner: tuple[int, ...]
    gaze: tuple[float, ...]
    matrix: tuple[float, ...]
    lens: tuple[float, ...]
    width: int
    height: int

    def __post_init__(self):
        check_types(self)
        check_one_of("world", self.world, WORLDS)
        check_one_of("split", self.split, SPLITS)
        lengths = {"label": 25, "corner": 2, "gaze": 3, "matrix": 9, "lens": 5}
        for name, length in lengths.items():
            check_within(f"length of {name}", len(getattr(self, name)), length, length)
        for name in ("side", "width", "height"):
            check_within(name, getattr(self, name), 2, LARGEST)
        for name in ("person", "setting"):
            check_within(name, getattr(self, name), 0, 2**48)


@dataclass(frozen=True)
class Truth:
    """What is true of a photo. rotation [3, 3] and translation [3] mm: head -> camera; model [68, 3] mm: landmarks in
    the head frame; landmarks [68, 2] px: in the photo; centre [3] mm: of the face; gaze [3]: unit. All but the first
    three in the camera's frame."""

    rotation: np.ndarray
    translation: np.ndarray
    model: np.ndarray
    landmarks: np.ndarray
    centre: np.ndarray
    gaze: np.ndarray


def person_of(shot: Shot) -> Any:
    """The person in the light, and before the background, of the photo."""
    world = world_of(shot.world)
    return world.vary(world.draw(shot.split, shot.person), world.draw(f"{shot.split}-setting", shot.setting))


@lru_cache(maxsize=64)
def millimetres(world: str, split: str, person: int) -> float:
    """Of one unit of the world, on this person."""
    centres = world_of(world).eye_centres(world_of(world).draw(split, person))
    return EYES_APART / float(np.linalg.norm(centres[1] - centres[0]))


def pose_of(shot: Shot) -> tuple[np.ndarray, np.ndarray]:
    """Rotation [3, 3] and translation [3] mm of the head: a point x of its frame is at R x + t in the camera's."""
    pose = np.reshape(shot.label[:16], (4, 4))
    scale = millimetres(shot.world, shot.split, shot.person)
    return pose[:3, :3].T @ FLIP, -scale * pose[:3, :3].T @ pose[:3, 3]


def truth_of(shot: Shot) -> Truth:
    world, person, (rotation, translation) = world_of(shot.world), person_of(shot), pose_of(shot)
    scale = millimetres(shot.world, shot.split, shot.person)
    model = scale * np.asarray(world.landmarks(person, shot.label, shot.gaze), np.float64) @ FLIP
    points = model @ rotation.T + translation
    return Truth(
        rotation=rotation,
        translation=translation,
        model=model,
        landmarks=in_photo(shot, points),
        centre=points[list(EYE_CORNERS_AND_MOUTH)].mean(axis=0),
        gaze=rotation @ (FLIP @ shot.gaze),
    )


def in_photo(shot: Shot, points: np.ndarray) -> np.ndarray:
    """Points [..., 3] of the camera's frame -> pixels [..., 2] of the photo."""
    seen = distorted(points[..., :2] / points[..., 2:], shot.lens)
    matrix = np.reshape(shot.matrix, (3, 3))
    return seen @ matrix[:2, :2].T + matrix[:2, 2]


def posed(
    rotation: np.ndarray, translation: np.ndarray, *, world: str, split: str, person: int, setting: int, gaze, matrix,
    lens, width: int, height: int,
) -> Shot:  # fmt: skip
    """The shot in which a person's head has this rotation [3, 3] and translation [3] mm; the rest as in `Shot`."""
    matrix, lens, gaze = (tuple(map(float, np.ravel(numbers))) for numbers in (matrix, lens, gaze))
    (left, top), side = _frame(matrix, lens, width, height)
    pose = np.eye(4)
    pose[:3, :3] = FLIP @ rotation.T
    pose[:3, 3] = -pose[:3, :3] @ translation / millimetres(world, split, person)
    # The renderer counts from the edge of the first pixel, in sides of its picture.
    intrinsics = np.reshape(matrix, (3, 3)) - [[0, 0, left - 0.5], [0, 0, top - 0.5], [0, 0, 0]]
    label = tuple(map(float, [*pose.ravel(), *(intrinsics / [[side], [side], [1]]).ravel()]))
    return Shot(world, split, person, setting, label, side, (left, top), gaze, matrix, lens, width, height)


def photograph(shot: Shot, eyes: str = "open") -> np.ndarray:
    """The photo, uint8 [height, width, 3]. eyes: as renderers have it."""
    rendered = world_of(shot.world).render(person_of(shot), shot.label, shot.gaze, shot.side, eyes)
    return through_lens(shot, rendered.rgb)


def through_lens(shot: Shot, canvas: np.ndarray) -> np.ndarray:
    """Canvas uint8 [side, side, ...] -> the photo that the lens makes of it; between pixels it is linear."""
    place = _places(shot.matrix, shot.lens, shot.width, shot.height) - shot.corner
    first = np.clip(np.floor(place).astype(np.int64), 0, shot.side - 2)
    across, down = np.moveaxis((place - first).astype(np.float32), -1, 0)
    column, row = first[..., 0], first[..., 1]
    extra = (...,) + (None,) * (canvas.ndim - 2)
    rows = [canvas[row + k, column] * (1 - across[extra]) + canvas[row + k, column + 1] * across[extra] for k in (0, 1)]
    return (rows[0] * (1 - down[extra]) + rows[1] * down[extra] + np.float32(0.5)).astype(np.uint8)


@lru_cache(maxsize=2)
def _places(matrix: tuple[float, ...], lens: tuple[float, ...], width: int, height: int) -> np.ndarray:
    """Where each pixel of the photo is in the pinhole photo: [height, width, 2] px."""
    matrix = np.reshape(matrix, (3, 3))
    pixels = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1)
    straight = undistorted((pixels - matrix[:2, 2]) @ np.linalg.inv(matrix[:2, :2]).T, lens)
    return straight @ matrix[:2, :2].T + matrix[:2, 2]


def _frame(matrix: tuple[float, ...], lens: tuple[float, ...], width: int, height: int) -> tuple[tuple[int, int], int]:
    """First pixel (x, y) and side of the canvas that all of the photo lies in."""
    places = _places(matrix, lens, width, height).reshape(-1, 2)
    first, last = np.floor(places.min(axis=0)).astype(int), np.ceil(places.max(axis=0)).astype(int)
    return (int(first[0]), int(first[1])), int((last - first).max()) + 1


# ---------------------------------------------------------------- the file of a set of photos

TRUTH_FILE = "world.json"  # beside the folders of the photos


def read_shots(path: Path) -> dict[str, Shot]:
    """{"p00/day01/0001.jpg": Shot} of a TRUTH_FILE; ValueError, one line, if it is none."""
    try:
        found = read_json(path)
    except JsonError as error:
        raise ValueError(f"{path}: is not JSON ({error}); make the photos again") from None
    people = found.get("people") if isinstance(found, dict) else None
    if not isinstance(people, dict) or not people:
        raise ValueError(f"{path}: names no photo; run make_mpii.py again, which goes on with photos that are there")
    shots = {}
    for person, facts in people.items():
        photos = facts.get("photos") if isinstance(facts, dict) else None
        if not isinstance(photos, dict):
            raise ValueError(f"{path}: '{person[:40]}' has no photos; make the photos again")
        shared = {name: value for name, value in facts.items() if name != "photos"}
        for name, own in photos.items():
            try:
                shots[name] = from_plain(Shot, shared | (own if isinstance(own, dict) else {}))
            except ValueError as error:
                raise ValueError(f"{path}: {name[:80]}: {error}") from None
    return shots
