"""Several views of each of many people, in changing light: what identity, pose and landmark networks learn from.

Nothing but the head makes a person here: light, background, shirt, gaze and camera are drawn anew for every view, and
cameras roll too. Every view depends on (world and its version, split, person, view) alone.
"""

import os
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import numpy as np
from tqdm import tqdm

from eg3d.geometry.landmarks import five_points
from eg3d.world.kept_arrays import kept_arrays
from eg3d.world.rendered_sets import GAZE_SET_CAMERA, camera_label, head_angles_to_vector
from eg3d.world.worlds import world_of
from groundwork.draw_keys import draw_key
from groundwork.files import CACHE, private
from groundwork.workers import in_processes

MAX_ROLL = 0.2  # rad, of the camera about its axis
VIEWS = 6


@dataclass(frozen=True)
class People:
    """N pictures. images uint8 [N, S, S, 3], labels [N, 25], points [N, 5, 2] as a fraction of the side, person [N]."""

    images: np.ndarray
    labels: np.ndarray
    points: np.ndarray
    person: np.ndarray

    def __len__(self) -> int:
        return len(self.person)


def rolled(label: np.ndarray, roll: float) -> np.ndarray:
    """The label [25] of the same camera turned about its own axis by `roll` rad; the picture turns the other way."""
    c, s = np.cos(roll), np.sin(roll)
    pose = label[:16].reshape(4, 4) @ np.array([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    return np.concatenate([pose.reshape(16), label[16:]]).astype(np.float32)


def draw_view(
    index: int, split: str, views: int = VIEWS, world: str = "cartoons"
) -> tuple[Any, np.ndarray, np.ndarray]:
    """Person, camera label [25] and gaze [3] of a picture; pictures `k * views` to `k * views + views - 1` show k."""
    its = world_of(world)
    rng = np.random.default_rng([draw_key(its.version, f"view-{split}", index, views), index])
    person = its.vary(its.draw(split, index // views), its.draw(f"{split}-setting", index))
    label = rolled(camera_label(*(rng.uniform(-1, 1, 2) * GAZE_SET_CAMERA)), rng.uniform(-MAX_ROLL, MAX_ROLL))
    return person, label, head_angles_to_vector(*(rng.uniform(-1, 1, 2) * its.eye_range))


def _render(index: int, split: str, views: int, size: int, world: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    person, label, gaze = draw_view(index, split, views, world)
    head = world_of(world).render(person, label, gaze, size)
    return head.rgb, label, (five_points(head.landmarks) / size).astype(np.float32)


def render_people(
    split: str, people: int, views: int = VIEWS, size: int | None = None, processes: int = 1, progress: bool = False,
    world: str = "cartoons",
) -> People:  # fmt: skip
    """`views` pictures each of the first `people` persons of a split; size None: the world's own."""
    count, size = people * views, size or world_of(world).size
    render = partial(_render, split=split, views=views, size=size, world=world)
    with tqdm(total=count, desc=f"rendering {split}", unit="img", disable=not progress) as bar:

        def gather(results) -> list:
            return [row for row in results if bar.update() or True]

        if processes == 1:
            rows = gather(map(render, range(count)))
        else:
            rows = gather(in_processes(render, range(count), processes))
    images, labels, points = (np.stack(column) for column in zip(*rows, strict=True))
    return People(images, labels, points, np.arange(count) // views)


def people_set(split: str, people: int, views: int = VIEWS, world: str = "cartoons") -> People:
    """The same, kept in the cache: rendered once by up to four processes."""
    its = world_of(world)
    path = private(CACHE) / f"{its.prefix}people-v{its.version}-{split}-{people}x{views}.npz"

    def make() -> dict[str, np.ndarray]:
        processes = min(4, os.cpu_count() or 1)
        return vars(render_people(split, people, views, processes=processes, progress=True, world=world))

    return People(**kept_arrays(path, [field.name for field in fields(People)], make))
