"""A person as a mesh with the colours that the picture of a camera would have."""

from dataclasses import replace

import numpy as np

from eg3d.world import raycast
from eg3d.world.human.dressing import dressed
from eg3d.world.human.head_shape import EYE_LEFT, EYE_RIGHT, SKIN, Expression, human_head
from eg3d.world.human.lamp_shadow import lamp_shadow
from eg3d.world.human.lamps import Lamp, develop
from eg3d.world.human.person import Person
from eg3d.world.human.picture_rays import Samples
from eg3d.world.human.pieces import unit
from eg3d.world.human.surface import Surface
from eg3d.world.render import BARE, EYE_AT_LEFT, EYE_AT_RIGHT, WORN, Canvas

PARTS = {SKIN: BARE, EYE_RIGHT: EYE_AT_LEFT, EYE_LEFT: EYE_AT_RIGHT}  # all else is worn
DARK = (Lamp((0.0, 0.0, 1.0), (0.0, 0.0, 0.0), 0.2),)
GRAIN = 0.0008  # world units: what is finer than vertices lie apart is blurred, as in a picture with pixels so wide


class PaintedSurface(Surface):
    """A surface at places of the mesh, seen by the camera or not."""

    def on_eyeball(self, at: np.ndarray, centre: np.ndarray, radius: float) -> np.ndarray:
        # A ray from the camera would meet the front of the ball, also for a place on its back.
        corners = self.mesh.faces[self.samples.triangle[at]]
        return unit(np.einsum("pk,pkc->pc", self.samples.weights[at], self.mesh.coords[corners]).astype(np.float64))


def person_canvas(
    person: Person, label: np.ndarray, gaze: np.ndarray, expression: Expression, even_light: bool = False
) -> Canvas:
    """The head as `render_person` shows it; sheen and glints are those that this camera sees.

    label [25]; gaze [3] unit. even_light: the light comes from everywhere alike, for who adds lamps.
    """
    if even_light:
        person = replace(person, setting=replace(person.setting, lamps=DARK, sky=(1.0,) * 3, ground=(1.0,) * 3))
    head = human_head(person, gaze, expression)
    mesh = dressed(person, head)
    scene = raycast.Scene(mesh.vertices, mesh.faces)
    shadow = np.zeros(len(mesh.vertices), np.float32)
    if not even_light:
        shadow = lamp_shadow(mesh, scene, person.setting.lamps[0])
    origin = np.asarray(label, np.float64).reshape(-1)[[3, 7, 11]].astype(np.float32)

    def paint(triangle: np.ndarray, weights: np.ndarray) -> np.ndarray:
        weights = weights.astype(np.float32)
        points = np.einsum("pk,pkc->pc", weights, mesh.vertices[mesh.faces[triangle]])
        every = np.arange(len(triangle))
        samples = Samples(
            origin=origin,
            pixel=every,
            part=mesh.part[triangle].astype(np.int16),
            distance=np.linalg.norm(points - origin, axis=1),
            shaded=every,
            triangle=triangle,
            weights=weights,
            direction=unit(points - origin).astype(np.float32),
            copied=every[:0],
            edge=every[:0],
            pixel_width=GRAIN,
        )
        surface = PaintedSurface(person, expression, head, mesh, samples, shadow)
        return develop(surface.light(gaze, painted_eyes=False))

    return Canvas(
        vertices=mesh.vertices,
        faces=mesh.faces,
        part=np.select([mesh.part == number for number in PARTS], list(PARTS.values()), WORN).astype(np.uint8),
        landmarks=head.landmarks,
        eye_centres=head.eye_centres,
        eye_radius=float(head.eye_radius.mean()),
        paint=paint,
    )
