"""The shadow of a lamp: what it sees of the head is in its light (Williams 1978)."""

import numpy as np

from eg3d.world import raycast
from eg3d.world.human.dressing import DressedMesh
from eg3d.world.human.lamps import Lamp
from eg3d.world.human.pieces import dot

SIZE = 80  # pixels of the picture that a lamp sees
DISTANCE, REACH = 8.0, 0.45  # of the lamp from the head; half of the width it sees
BIAS = 0.009  # by which a surface must lie behind another to be in its shadow
MARGIN = 8  # pixels round that picture where nothing is in the way
TAPS = np.array([(0, 0), (-1, 0), (1, 0), (0, -1), (0, 1), (-0.7, -0.7), (0.7, -0.7), (-0.7, 0.7), (0.7, 0.7)])


def lamp_shadow(mesh: DressedMesh, scene: raycast.Scene, lamp: Lamp) -> np.ndarray:
    """Share [V] of a lamp's light that reaches each vertex, soft as the lamp is large (Reeves et al. 1987)."""
    toward = np.asarray(lamp.toward, np.float64)
    label = lamp_camera(toward)
    hits = scene.cast(label, SIZE)[2]
    side = SIZE + 2 * MARGIN
    seen = np.pad(hits.distance.reshape(SIZE, SIZE), MARGIN, constant_values=np.inf).ravel()
    points = mesh.vertices + np.float32(0.006) * mesh.normals
    away = points - label[[3, 7, 11]].astype(np.float32)
    distance = np.sqrt(dot(away, away)) - np.float32(BIAS)
    places = raycast.project(label, points.astype(np.float64), SIZE).T.astype(np.float32)
    reach = MARGIN / 2  # in the margin, and so far from its rim that no tap leaves it
    column, row = np.clip(places + np.float32(MARGIN), reach, np.float32(side - reach))
    lit = np.zeros(len(points), np.int32)
    for right, down in np.float32(TAPS * min(0.5 + 2 * lamp.spread, reach - 1)):
        lit += seen.take((row + down).astype(np.int32) * side + (column + right).astype(np.int32)) > distance
    return lit.astype(np.float32) / np.float32(len(TAPS))


def lamp_camera(toward: np.ndarray) -> np.ndarray:
    """Label [25] of a camera that sees the head from a lamp."""
    right = np.cross((0.0, 1.0, 0.0), toward)
    right = right / np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, 0], pose[:3, 1], pose[:3, 2], pose[:3, 3] = (
        right,
        np.cross(right, toward),
        -toward,
        DISTANCE * toward,
    )
    focal = 0.5 * DISTANCE / REACH
    return np.concatenate([pose.reshape(16), [focal, 0, 0.5, 0, focal, 0.5, 0, 0, 1]])
