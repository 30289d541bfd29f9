"""A person, a camera and a gaze -> picture, eye mask, landmarks, irises and depth."""

import numpy as np

from eg3d.world import raycast
from eg3d.world.human.dressing import dressed
from eg3d.world.human.head_shape import EYE_LEFT, EYE_RIGHT, Expression, human_head
from eg3d.world.human.lamp_shadow import lamp_shadow
from eg3d.world.human.lamps import backdrop, develop
from eg3d.world.human.person import Person, drawn_expression
from eg3d.world.human.picture_rays import cast_picture
from eg3d.world.human.surface import Surface
from eg3d.world.render import RenderedHead


def render_person(
    person: Person,
    label,
    gaze_world,
    size: int = 128,
    eyes: str = "open",
    caster=None,
    expression: Expression | None = None,
) -> RenderedHead:
    """Renders one person: one ray per pixel, five at edges and eyes.

    Args:
        label: camera, 25 numbers (`eg3d.geometry.cameras`).
        gaze_world: [3], direction both eyes look in, in the world (= head) frame; need not be of unit length.
        eyes: "open", or "painted": eyeballs in the colour of skin, to test that a gaze network reads eyes.
        caster: `raycast.cast_embree` or `raycast.cast_zbuffer`; default is the faster one installed.
        expression: default is the first one drawn for the person.
    """
    if eyes not in ("open", "painted"):
        raise ValueError(f"eyes='{eyes}' is unknown; use 'open' or 'painted'")
    label = np.asarray(label, np.float64).reshape(-1)
    gaze = np.asarray(gaze_world, np.float64).reshape(3)
    gaze = gaze / np.linalg.norm(gaze)
    expression = drawn_expression(person) if expression is None else expression
    head = human_head(person, gaze, expression)
    mesh = dressed(person, head)
    scene = raycast.Scene(mesh.vertices, mesh.faces, caster)
    samples = cast_picture(scene, mesh, label, size)
    shadow = lamp_shadow(mesh, scene, person.setting.lamps[0])
    surface = Surface(person, expression, head, mesh, samples, shadow)

    light = np.empty((len(samples.pixel), 3), np.float32)
    beside = np.flatnonzero(samples.part < 0)
    light[beside] = backdrop(person.setting, size).reshape(-1, 3)[samples.pixel[beside]]
    light[samples.shaded] = surface.light(gaze, painted_eyes=eyes == "painted")
    light[samples.copied] = light[samples.pixel[samples.copied]]
    eyeball = np.isin(samples.part, (EYE_RIGHT, EYE_LEFT)).astype(np.float32)
    return RenderedHead(
        rgb=develop(samples.averaged(light)).reshape(size, size, 3),
        eye_mask=(samples.averaged(eyeball) >= 0.5).reshape(size, size),
        landmarks=raycast.project(label, head.landmarks, size),
        depth=samples.nearest().reshape(size, size),
        irises=raycast.project(label, head.irises, size),
    )
