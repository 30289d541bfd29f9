"""The surface that the rays of a picture hit, and the light that leaves it toward the camera."""

import numpy as np
from scipy import sparse

from eg3d.world.human.brows import painted_hair
from eg3d.world.human.complexion import skin_paint, skin_vertices
from eg3d.world.human.creases import Creases, creased
from eg3d.world.human.dressing import DressedMesh
from eg3d.world.human.eyeballs import Lids, eye_light, eye_paint
from eg3d.world.human.hair import hair_shade
from eg3d.world.human.head_shape import (
    CLOTHES,
    EYE_LEFT,
    EYE_RIGHT,
    GLASSES,
    HAIR,
    LASH,
    SKIN,
    TEETH,
    Expression,
    HumanMesh,
)
from eg3d.world.human.makehuman import MASKS
from eg3d.world.human.openness import base_openness
from eg3d.world.human.outfit import cloth_paint, frame_paint
from eg3d.world.human.person import Person
from eg3d.world.human.picture_rays import Samples
from eg3d.world.human.pieces import unit
from eg3d.world.human.shading import matt_light, skin_light

BASE_EYE_RADIUS = 0.109  # decimetres, of the eyeballs on the base mesh
TEETH_PAINT = np.array(((0.80,), (0.72,), (0.58,)), np.float32)


class Surface:
    """One person in one moment, hit by rays."""

    def __init__(
        self, person: Person, expression: Expression, head: HumanMesh, mesh: DressedMesh, samples: Samples,
        shadow: np.ndarray,
    ):  # fmt: skip
        """shadow [V]: share of the main lamp's light that reaches each vertex of the dressed mesh."""
        self.person, self.head, self.mesh, self.samples = person, head, mesh, samples
        self.scale = samples.pixel_width * BASE_EYE_RADIUS / float(head.eye_radius.mean())  # of a pixel, in decimetres
        masks = {name: head.masks[:, k] for k, name in enumerate(MASKS)}
        blocks = head.faces[np.isin(head.part, (SKIN, EYE_RIGHT, EYE_LEFT))]
        openness, coats = base_openness(head.rest, blocks), skin_vertices(person.complexion, head.rest, masks)
        bare = [head.normals, head.rest, shadow[: len(head.vertices)], openness, masks["lips"], coats]
        self.bare = np.column_stack(bare).astype(np.float32)
        self.worn = np.column_stack([mesh.normals, mesh.coords, shadow]).astype(np.float32)
        skin = person.complexion
        lines = skin.lines
        self.creases = Creases(
            forehead=lines + 0.6 * max(0.0, expression.brows),
            fold=0.7 * lines + 0.55 * expression.smile,
            bag=0.8 * lines,
            feet=0.8 * lines + 0.4 * expression.squint,
            side=skin.side,
            seed=skin.seed,
        )

    def light(self, gaze: np.ndarray, painted_eyes: bool) -> np.ndarray:
        """Light float32 [H, 3] of the shaded rays. gaze [3]: unit; painted_eyes: eyeballs in the colour of skin."""
        shaders = {
            SKIN: self.skin,
            EYE_RIGHT: self.painted_eye if painted_eyes else lambda at: self.eye(at, 0, gaze),
            EYE_LEFT: self.painted_eye if painted_eyes else lambda at: self.eye(at, 1, gaze),
            HAIR: self.strands,
            LASH: self.lash,
            CLOTHES: self.cloth,
            GLASSES: self.frame,
            TEETH: self.mouth,
        }
        part = self.samples.part[self.samples.shaded]
        light = np.zeros((len(part), 3), np.float32)
        for number, shader in shaders.items():
            at = np.flatnonzero(part == number)
            if len(at):
                light[at] = shader(at)
        return light

    def _between(self, values: np.ndarray, at: np.ndarray) -> np.ndarray:
        """Values at vertices [V, K], normals first -> at hits [K, P]; normals are of length one again."""
        corners = self.mesh.faces.take(self.samples.triangle.take(at), axis=0)
        weights = self.samples.weights.take(at, axis=0)
        rows = np.arange(0, 3 * len(at) + 1, 3, dtype=np.int32)
        mix = sparse.csr_matrix((weights.ravel(), corners.ravel(), rows), (len(at), len(values)))
        mixed = np.ascontiguousarray((mix @ values).T)
        mixed[:3] /= np.sqrt((mixed[:3] ** 2).sum(axis=0) + np.float32(1e-20))
        return mixed

    def _towards(self, at: np.ndarray) -> np.ndarray:
        """Unit vectors [3, P] from hits to the camera."""
        return -np.ascontiguousarray(self.samples.direction.take(at, axis=0).T)

    def skin(self, at: np.ndarray) -> np.ndarray:
        values = self._between(self.bare, at)
        normals, rest, (shadow, openness, lips), coats = np.split(values, (3, 6, 9))
        if self.creases.any:
            rows, tilt, depth = creased(self.creases, rest)
            normals[:, rows] = unit((normals[:, rows] + tilt).T).T
            coats[:2, rows] += depth * np.array(((0.10,), (0.22,)), np.float32)
        paint, sheen, tilt = skin_paint(self.person.complexion, coats, rest, self.scale)
        normals[:2] += tilt
        cover, colour = painted_hair(self.person.hair, self.person.face_hair, rest.T, lips, self.scale)
        hairy = np.flatnonzero(cover)
        cover = cover[hairy]
        paint[:, hairy] += cover * (colour[hairy].T - paint[:, hairy])
        sheen[hairy] *= 1 - np.float32(0.6) * cover
        return skin_light(self.person.setting, paint, sheen, normals, self._towards(at), openness, shadow).T

    def painted_eye(self, at: np.ndarray) -> np.ndarray:
        values = self._between(self.bare, at)
        paint = self.person.complexion.colour[:, None] * np.float32(0.85)
        sheen, openness = (np.full(len(at), level, np.float32) for level in (0.3, 0.8))
        return skin_light(self.person.setting, paint, sheen, values[:3], self._towards(at), openness, values[6]).T

    def eye(self, at: np.ndarray, left: int, gaze: np.ndarray) -> np.ndarray:
        centre, radius = self.head.eye_centres[left].astype(np.float64), float(self.head.eye_radius[left])
        towards = -self.samples.direction[at].astype(np.float64)
        direction = self.on_eyeball(at, centre, radius)
        slant = np.clip(np.einsum("pk,pk->p", direction, towards), 0.2, 1)
        soft = 0.3 * self.samples.pixel_width / radius / slant  # half an angle that a ray stands for
        lids = Lids.of(self.head.landmarks[36 + 6 * left : 42 + 6 * left], centre)
        shadow = self._between(self.worn, at)[6]
        paint = eye_paint(self.person.complexion.iris, direction, gaze, 1.0 if left else -1.0, soft)
        return eye_light(self.person.setting, paint, direction, gaze, towards, lids.openness(direction), shadow)

    def on_eyeball(self, at: np.ndarray, centre: np.ndarray, radius: float) -> np.ndarray:
        """Unit vectors [P, 3] from the centre [3] of an eyeball to where rays meet the ball, which has no corners."""
        directions = self.samples.direction[at].astype(np.float64)
        return _on_ball(self.samples.origin - centre, directions, radius)

    def _ambient(self, normals: np.ndarray) -> np.ndarray:
        """Light [P, 3] of the surroundings on normals [3, P]."""
        sky, ground = (np.asarray(light, np.float32) for light in (self.person.setting.sky, self.person.setting.ground))
        return ground + (0.5 + 0.5 * normals[1])[:, None].astype(np.float32) * (sky - ground)

    def lash(self, at: np.ndarray) -> np.ndarray:
        normals = self._between(self.worn, at)[:3]
        return np.asarray(self.person.face_hair.lash, np.float32) * (self._ambient(normals) + 0.3)

    def strands(self, at: np.ndarray) -> np.ndarray:
        values = self._between(self.worn, at)
        tangents = self._between(self.mesh.tangents, at)
        lamps = [(lamp.toward, np.asarray(lamp.colour, np.float32)) for lamp in self.person.setting.lamps]
        lamps[0] = lamps[0][0], lamps[0][1] * values[6][:, None]
        ambient, directions = 0.8 * self._ambient(values[:3]), self.samples.direction[at]
        return hair_shade(self.person.hair, values[3:6].T, tangents.T, values[:3].T, directions, lamps, ambient)

    def cloth(self, at: np.ndarray) -> np.ndarray:
        values = self._between(self.worn, at)
        paint = cloth_paint(self.person.outfit, values[3:6].T, self.scale).T
        openness = np.full(len(at), 0.75, np.float32)
        return matt_light(self.person.setting, paint, values[:3], openness, values[6]).T

    def frame(self, at: np.ndarray) -> np.ndarray:
        values = self._between(self.worn, at)
        paint = frame_paint(self.person.outfit, values[3:6].T).T
        sheen, openness = (np.full(len(at), level, np.float32) for level in (1.5, 0.9))
        return skin_light(self.person.setting, paint, sheen, values[:3], self._towards(at), openness, values[6]).T

    def mouth(self, at: np.ndarray) -> np.ndarray:
        values, towards = self._between(self.worn, at), self._towards(at)
        ahead = np.clip((values[:3] * towards).sum(axis=0), 0, 1)
        openness = np.float32(0.55) * ahead  # teeth that face the cheeks are in the dark
        sheen = np.full(len(at), 0.8, np.float32)
        return skin_light(self.person.setting, TEETH_PAINT, sheen, values[:3], towards, openness, values[6]).T


def _on_ball(origin: np.ndarray, directions: np.ndarray, radius: float) -> np.ndarray:
    """Where rays from `origin` [3] first meet the ball about zero, or pass it nearest: unit vectors [P, 3]."""
    along = -(directions @ origin)
    nearest = origin + along[:, None] * directions
    inside = np.maximum(radius**2 - (nearest * nearest).sum(axis=1), 0)
    points = nearest - np.sqrt(inside)[:, None] * directions
    return points / np.linalg.norm(points, axis=1, keepdims=True)
