"""Colours: the paint on skin, hair and eyeballs as functions of position, and the light on them."""

import numpy as np

from eg3d.world.cartoon.heads import Identity
from eg3d.world.cartoon.meshes import (
    EYE_LEFT,
    EYE_RIGHT,
    HAIR,
    LID_LEFT,
    LID_RIGHT,
    NECK,
    SKIN,
    brow_curve,
    lid_edge,
    lip_curves,
    smooth,
)

PUPIL_ANGLE = 0.22  # rad, seen from the centre of the eyeball
IRIS_ANGLE = 0.52
COLLAR_Y = -0.285


def background(identity: Identity, rows: np.ndarray) -> np.ndarray:
    """Backdrop at heights `rows` [P] (0 top .. 1 bottom of the picture): one soft colour with a gentle gradient."""
    brightness = identity.background_slope * (0.5 - rows)
    return np.asarray(identity.background, np.float32) + brightness[:, None].astype(np.float32)


def shade(identity: Identity, part, points, normals, directions, gaze, painted_eyes: bool = False) -> np.ndarray:
    """Colour [P, 3] of hit points: paint times (ambient + Lambert + a little light from above).

    Args: part [P]; points, normals, directions [P, 3] in the head frame; gaze [3] unit; painted_eyes: eyeballs get
    the colour of skin.
    """
    paint = np.empty((len(part), 3), np.float32)
    light = np.asarray(identity.light, np.float32)
    skin = np.asarray(identity.skin, np.float32)
    normals = normals.astype(np.float32)
    facing = np.einsum("pc,pc->p", normals, directions)
    normals = np.where(facing[:, None] > 0, -normals, normals)  # every sheet is lit on the side that is seen
    normals /= np.sqrt((normals * normals).sum(-1, keepdims=True)) + 1e-9
    diffuse = np.maximum(normals @ light, 0)
    level = identity.ambient + (0.95 - identity.ambient) * diffuse + 0.08 * normals[:, 1]

    for number, colour in (
        (SKIN, lambda p, n: _skin(identity, p)),
        (NECK, lambda p, n: np.where(p[:, 1:2] < COLLAR_Y, np.asarray(identity.shirt, np.float32), skin * 0.92)),
        (HAIR, lambda p, n: _hair(identity, p)),
        (LID_RIGHT, lambda p, n: _lid(identity, p - identity.eye_centres[0])),
        (LID_LEFT, lambda p, n: _lid(identity, p - identity.eye_centres[1])),
    ):
        at = np.flatnonzero(part == number)
        if len(at):
            paint[at] = colour(points[at], normals[at])
    for number, centre in ((EYE_RIGHT, identity.eye_centres[0]), (EYE_LEFT, identity.eye_centres[1])):
        at = np.flatnonzero(part == number)
        if len(at) and painted_eyes:
            paint[at] = skin
        elif len(at):
            paint[at] = _eyeball(identity, points[at] - centre, gaze)
            level[at] = 0.80 + 0.25 * (
                level[at] - 0.5
            )  # a wet, bright surface: hardly shaded, so that gaze stays legible
    return paint * level[:, None].astype(np.float32)


def _blend(base: np.ndarray, colour, amount: np.ndarray) -> np.ndarray:
    return base + amount[:, None] * (np.asarray(colour, np.float32) - base)


def _skin(identity: Identity, points: np.ndarray) -> np.ndarray:
    """Skin with blush, nostrils, lips, brows and beard; only the front of the head carries them."""
    i = identity
    skin = np.asarray(i.skin, np.float32)
    paint = np.tile(skin, (len(points), 1))
    front = np.flatnonzero(points[:, 2] > 0.02)
    x, y, z = points[front].T
    ax = np.abs(x)
    tip = i.eye_y - i.nose_length
    face = paint[front]
    blush = i.blush * np.exp(-(((ax - 0.108) / 0.045) ** 2) - ((y - i.eye_y + 0.098) / 0.035) ** 2)
    face = _blend(face, skin * np.array([1.0, 0.62, 0.60], np.float32), blush)
    upper, line, lower = lip_curves(i, x)
    if i.beard:
        region = smooth(i.mouth_y + 0.036 + 1.3 * np.maximum(ax - 0.10, 0) - y, -0.006, 0.018)
        lips = smooth(upper + 0.005 - y, 0, 0.004) * smooth(y - lower + 0.005, 0, 0.004) * (ax < i.mouth_width)
        region = region * (1 - lips)
        face = _blend(face, np.asarray(i.brow), i.beard * region)
    nostril = np.exp(-(((ax - i.nose_width * 0.5) / 0.009) ** 2) - ((y - tip + 0.014) / 0.007) ** 2)
    face = _blend(face, skin * 0.45, 0.85 * nostril)
    mouth = smooth(upper - y, -0.001, 0.003) * smooth(y - lower, -0.001, 0.003) * (ax < i.mouth_width)
    face = _blend(face, i.lips, mouth)
    crease = np.exp(-(((y - line) / 0.0042) ** 2)) * smooth(i.mouth_width * 1.04 - ax, 0, 0.008)
    face = _blend(face, np.asarray(i.lips) * 0.42, 0.9 * crease)
    offset = ax - i.eye_x
    thickness = i.brow_thickness * (1 - 0.45 * smooth(offset, 0.0, 0.055))
    brow = 1 - smooth(np.abs(y - brow_curve(i, offset)), thickness * 0.75, thickness * 1.25)
    brow = brow * smooth(offset, -0.056, -0.046) * (1 - smooth(offset, 0.05, 0.06))
    paint[front] = _blend(face, i.brow, 0.92 * brow)
    return paint


def _hair(identity: Identity, points: np.ndarray) -> np.ndarray:
    """Hair colour with broad strands round the head."""
    strands = np.sin(np.arctan2(points[:, 0], points[:, 2] + 0.05) * 17 + 9 * points[:, 1])
    return np.asarray(identity.hair, np.float32) * (1 + 0.10 * strands[:, None]).astype(np.float32)


def _lid(identity: Identity, offset: np.ndarray) -> np.ndarray:
    """Lids: skin a little darker than the face, with a lash line on the rim of the upper one."""
    skin = np.asarray(identity.skin, np.float32)
    unit = offset / (np.sqrt((offset * offset).sum(-1, keepdims=True)) + 1e-9)
    polar = np.arccos(np.clip(unit[:, 2], -1, 1))
    rim = polar - lid_edge(identity, np.arctan2(unit[:, 1], unit[:, 0]))
    paint = np.tile(skin * np.array([0.97, 0.93, 0.91], np.float32), (len(offset), 1))
    lash = (1 - smooth(rim, 0.05, 0.13)) * smooth(unit[:, 1], 0.0, 0.15)
    return _blend(paint, skin * 0.25, 0.85 * lash)


def _eyeball(identity: Identity, offset: np.ndarray, gaze: np.ndarray) -> np.ndarray:
    """Pupil, iris and sclera by the angle between the point, seen from the eye's centre, and the gaze."""
    unit = offset / (np.sqrt((offset * offset).sum(-1, keepdims=True)) + 1e-9)
    angle = np.arccos(np.clip(unit @ gaze.astype(np.float32), -1, 1))
    iris = np.asarray(identity.iris, np.float32)
    ring = 1 - 0.45 * smooth(angle, IRIS_ANGLE - 0.14, IRIS_ANGLE - 0.02)
    paint = np.tile(np.array([0.98, 0.97, 0.95], np.float32), (len(offset), 1))
    inside = angle < IRIS_ANGLE
    paint[inside] = iris * ring[inside, None]
    paint[angle < PUPIL_ANGLE] = 0.03
    return paint
