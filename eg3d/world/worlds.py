"""The embedded worlds: procedural heads of known camera, gaze and shape, from which data sets are rendered.

Whatever renders takes the name of a world, and `cartoons` unless it is told otherwise. A world opens when it is first
asked for, so nobody needs the packages of a world that he does not use.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from eg3d.world.render import Canvas, RenderedHead
from groundwork.draw_keys import draw_key

SPLITS = ("faces", "gaze-loss", "gaze-judge", "people", "features", "test")  # no two share a person


@dataclass(frozen=True)
class World:
    """One world. A person is whatever `draw` gives: hashable, and the same for the same place.

    version: of its pictures; caches and draws are keyed by it. size: pixels per side of its data set.
    eye_range: how far the eyes turn, yaw and pitch in rad, eye in head, either way.
    draw(split, number) -> person; eye_centres(person) -> [2, 3], image left eye first.
    render(person, label, gaze_world, size, eyes) -> RenderedHead; eyes: "open" or "painted".
    look_elsewhere(person, label, gaze_world, other_gaze, size) -> RenderedHead: the same moment, but for the gaze.
    landmarks(person, label, gaze_world) -> [68, 3] in the world, of the same moment as in the picture.
    canvas(person, label, gaze_world, even_light) -> Canvas: the head of that moment as a mesh, with its colours.
    vary(person, other) -> the person in the setting of another: light, background, clothes.
    prefix: begins the names of its files in the cache.
    near_lens: share of the heads in gaze sets that look near the lens.
    eyeless: in gaze sets to learn from, every so many-th head shows skin for eyes and counts as looking into the lens:
    so a network learns to say nothing if there are no eyes. 0: none.
    """

    name: str
    version: int
    size: int
    eye_range: tuple[float, float]
    draw: Callable[[str, int], Any]
    render: Callable[..., RenderedHead]
    look_elsewhere: Callable[..., RenderedHead]
    eye_centres: Callable[[Any], np.ndarray]
    landmarks: Callable[..., np.ndarray]
    canvas: Callable[..., Canvas]
    vary: Callable[[Any, Any], Any]
    prefix: str
    near_lens: float = 0.0
    eyeless: int = 0


def _cartoons() -> World:
    from eg3d.world.cartoon import heads
    from eg3d.world.cartoon.cartoon_head import cartoon_canvas, render_head
    from eg3d.world.cartoon.meshes import landmarks_3d

    def vary(person: heads.Identity, other: heads.Identity) -> heads.Identity:
        return replace(person, **{name: getattr(other, name) for name in heads.SETTING})

    return World(
        name="cartoons",
        version=heads.WORLD_VERSION,
        size=64,
        eye_range=(heads.EYE_MAX_YAW, heads.EYE_MAX_PITCH),
        draw=heads.Identity.draw,
        render=render_head,
        look_elsewhere=lambda person, label, gaze_world, other_gaze, size: render_head(person, label, other_gaze, size),
        eye_centres=lambda person: person.eye_centres,
        landmarks=lambda person, label, gaze_world: landmarks_3d(person),
        canvas=cartoon_canvas,
        vary=vary,
        prefix="",
    )


CLOTHES = ("garment", "cloth", "second", "stripes", "looseness", "neckline")  # what changes beside a setting


def _people() -> World:
    from eg3d.world.human.head_shape import EYE_MAX_PITCH, EYE_MAX_YAW, eye_centres, human_head
    from eg3d.world.human.painted_person import person_canvas
    from eg3d.world.human.person import HUMAN_VERSION, Person
    from eg3d.world.human.physique import Expression
    from eg3d.world.human.portrait import render_person

    def moment(person: Person, label, gaze_world) -> Expression:
        """A face moves from picture to picture, so camera and gaze are what its expression is drawn for."""
        seen = np.asarray(label, np.float32).tobytes().hex() + np.asarray(gaze_world, np.float32).tobytes().hex()
        return Expression.draw(np.random.default_rng(draw_key(HUMAN_VERSION, f"{person.name}/{seen}", 0, 0)))

    def render(person: Person, label, gaze_world, size: int, eyes: str = "open") -> RenderedHead:
        expression = moment(person, label, gaze_world)
        return render_person(person, label, gaze_world, size, eyes, expression=expression)

    def look_elsewhere(person: Person, label, gaze_world, other_gaze, size: int) -> RenderedHead:
        return render_person(person, label, other_gaze, size, expression=moment(person, label, gaze_world))

    def landmarks(person: Person, label, gaze_world) -> np.ndarray:
        return human_head(person, gaze_world, moment(person, label, gaze_world)).landmarks

    def canvas(person: Person, label, gaze_world, even_light: bool = False) -> Canvas:
        gaze = np.asarray(gaze_world, np.float64).reshape(3)
        expression = moment(person, label, gaze_world)
        return person_canvas(person, label, gaze / np.linalg.norm(gaze), expression, even_light)

    def vary(person: Person, other: Person) -> Person:
        clothes = {name: getattr(other.outfit, name) for name in CLOTHES}
        return replace(person, setting=other.setting, outfit=replace(person.outfit, **clothes))

    return World(
        name="people",
        version=HUMAN_VERSION,
        size=128,
        eye_range=(EYE_MAX_YAW, EYE_MAX_PITCH),
        draw=Person.draw,
        render=render,
        look_elsewhere=look_elsewhere,
        eye_centres=eye_centres,
        landmarks=landmarks,
        canvas=canvas,
        vary=vary,
        prefix="people-",
        near_lens=0.5,
        eyeless=12,
    )


WORLDS = {"cartoons": _cartoons, "people": _people}
NAMES = {"cartoons": "embedded", "people": "people"}  # what data sets and networks of a world are called


@cache
def world_of(name: str) -> World:
    """The world of this name, a key of WORLDS."""
    return WORLDS[name]()
