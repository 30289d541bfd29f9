"""Light on skin, cloth and hard things."""

import numpy as np

from eg3d.world.human.lamps import Setting

WRAP = np.array(
    ((0.34,), (0.14,), (0.07,)), np.float32
)  # how far light of each colour creeps round an edge inside skin
BLEED = np.array(((0.45,), (0.06,), (0.0,)), np.float32)  # and into half-shadow
F0 = 0.028  # of skin, by Schlick 1994
BROAD, NARROW = 16, 32  # exponents of the two lobes of the sheen


def skin_light(
    setting: Setting, paint: np.ndarray, sheen: np.ndarray, normals: np.ndarray, towards: np.ndarray,
    openness: np.ndarray, shadow: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Light float32 [3, P] that leaves skin toward the camera: soft diffuse light with a red edge, and a sheen.

    Colours and axes come first, so that NumPy works along rows.
    Args: paint [3, P]; sheen [P]; normals [3, P]; towards [3, P]: unit, to the camera; openness [P]: share of the sky
    that arrives; shadow [P]: share of the main lamp that arrives.
    """
    facing = np.clip((normals * towards).sum(axis=0), 0, 1)
    sky, ground = _column(setting.sky), _column(setting.ground)
    closed = 1 - openness
    arrives = openness / (1 - np.float32(0.85) * paint * closed)  # light goes from wall to wall
    light = (ground + (sky - ground) * (np.float32(0.5) + np.float32(0.5) * normals[1])) * arrives
    gate = np.clip(openness * np.float32(2.2) - np.float32(0.25), 0, 1)  # lamps do not reach into a hollow
    grazing = (1 - facing) ** 2
    shine = (np.float32(0.3) * sheen * openness * grazing * grazing * (1 - facing)) * sky
    for number, lamp in enumerate(setting.lamps):
        toward, colour = np.asarray(lamp.toward, np.float32), _column(lamp.colour)
        cosine = toward @ normals
        reach = gate * shadow if number == 0 else gate
        lit = np.clip((cosine + WRAP) * (1 / (1 + WRAP)), 0, 1)
        lit *= reach + (reach * (1 - reach)) * BLEED
        light += lit * colour
        shine += (_lobes(cosine, facing, toward @ towards) * sheen * reach) * colour
    return paint * light + shine


def _column(colour) -> np.ndarray:
    return np.asarray(colour, np.float32)[:, None]


def _lobes(cosine: np.ndarray, facing: np.ndarray, between: np.ndarray) -> np.ndarray:
    """Two lobes of Blinn and Phong with Schlick's Fresnel term, [P].

    Args: cosines between normal and lamp, normal and camera, lamp and camera, each [P].
    """
    half = np.sqrt(
        np.maximum(np.float32(0.5) * (1 + between), np.float32(1e-4))
    )  # cosine between lamp and the half vector
    near = np.clip((cosine + facing) / (2 * half), 0, 1)
    near2 = near * near
    near4 = near2 * near2
    near8 = near4 * near4
    broad = near8 * near8
    narrow = broad * broad
    f = 1 - half
    f2 = f * f
    fresnel = F0 + (1 - F0) * f2 * f2 * f
    lobes = np.float32(0.65 * (BROAD + 8) / (8 * np.pi)) * broad
    lobes += np.float32(0.35 * (NARROW + 8) / (8 * np.pi)) * narrow
    return fresnel * lobes * np.clip(cosine, 0, 1) * np.float32(4.8)


def matt_light(setting: Setting, paint, normals, openness, shadow, wrap: float = 0.1) -> np.ndarray:
    """Light float32 [3, P] that leaves a matt thing such as cloth. Args as in `skin_light`."""
    sky, ground = _column(setting.sky), _column(setting.ground)
    light = (ground + (sky - ground) * (np.float32(0.5) + np.float32(0.5) * normals[1])) * openness
    for number, lamp in enumerate(setting.lamps):
        cosine = np.asarray(lamp.toward, np.float32) @ normals
        lit = np.clip((cosine + np.float32(wrap)) * np.float32(1 / (1 + wrap)), 0, 1)
        light += (lit * (shadow if number == 0 else openness)) * _column(lamp.colour)
    return paint * light
