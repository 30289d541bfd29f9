"""A person, a camera and a gaze -> picture, eye mask, landmarks, irises and depth."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from eg3d.world import raycast
from eg3d.world.human.brows import painted_hair
from eg3d.world.human.complexion import skin_paint, skin_vertices
from eg3d.world.human.dressing import DressedMesh, dressed
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
    human_head,
)
from eg3d.world.human.lamps import Lamp, backdrop, develop
from eg3d.world.human.makehuman import MASKS
from eg3d.world.human.openness import base_openness
from eg3d.world.human.outfit import cloth_paint, frame_paint
from eg3d.world.human.person import Person, drawn_expression
from eg3d.world.human.shading import matt_light, skin_light
from eg3d.world.render import RenderedHead

CORNERS = ((-0.25, -0.25), (0.25, -0.25), (-0.25, 0.25), (0.25, 0.25))  # of a pixel: rays besides the one at its centre
STEP = 3.0  # pixels by which depth jumps at an edge

SHADOW_SIZE = 112  # pixels of the picture that the main lamp sees
SHADOW_DISTANCE, SHADOW_REACH = 8.0, 0.45  # of the lamp from the head; half of the width it sees
SHADOW_BIAS = 0.009
TAPS = np.array([(x, y) for x in (-1.0, 0.0, 1.0) for y in (-1.0, 0.0, 1.0)])
BASE_EYE_RADIUS = 0.109  # decimetres, of the eyeballs on the base mesh
TEETH_PAINT, GUM_PAINT = np.array((0.62, 0.55, 0.44), np.float32), np.array((0.30, 0.07, 0.06), np.float32)


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
    head = human_head(person, gaze, drawn_expression(person) if expression is None else expression)
    mesh = dressed(person, head)
    scene = raycast.Scene(mesh.vertices, mesh.faces, caster)
    samples = _cast(scene, mesh, label, size)
    light = backdrop(person.setting, size).reshape(-1, 3)[samples.pixel]
    light[samples.hit] = _shade(person, head, mesh, scene, samples, gaze, label, size, painted=eyes == "painted")
    part = samples.part
    return RenderedHead(
        rgb=develop(samples.averaged(light)).reshape(size, size, 3),
        eye_mask=(samples.averaged(((part == EYE_RIGHT) | (part == EYE_LEFT)).astype(np.float32)) >= 0.5).reshape(
            size, size
        ),
        landmarks=raycast.project(label, head.landmarks, size),
        depth=samples.nearest().reshape(size, size),
        irises=raycast.project(label, head.irises, size),
    )


@dataclass(frozen=True)
class _Samples:
    """Rays of a picture, S in all: one through the centre of each pixel, then four more through each edge pixel.

    pixel [S]; hit [H]: numbers of the rays that hit something; part [S]: -1 for none; of the hits: triangle [H],
    weights [H, 3], distance [H], direction [H, 3]. edge [E]: pixels with five rays.
    """

    origin: np.ndarray
    pixel: np.ndarray
    hit: np.ndarray
    part: np.ndarray
    triangle: np.ndarray
    weights: np.ndarray
    distance: np.ndarray
    direction: np.ndarray
    edge: np.ndarray

    def averaged(self, values: np.ndarray) -> np.ndarray:
        """Values of the rays [S, ...] -> of the pixels."""
        count = len(values) - len(CORNERS) * len(self.edge)
        whole = values[:count]
        more = values[count:].reshape(len(CORNERS), len(self.edge), *values.shape[1:]).sum(axis=0)
        whole[self.edge] = (whole[self.edge] + more) / np.float32(1 + len(CORNERS))
        return whole

    def nearest(self) -> np.ndarray:
        """Smallest distance of each pixel; inf on the backdrop."""
        distance = np.full(len(self.pixel), np.inf, np.float32)
        distance[self.hit] = self.distance
        count = len(distance) - len(CORNERS) * len(self.edge)
        more = distance[count:].reshape(len(CORNERS), -1)
        whole = distance[:count]
        if len(self.edge):
            whole[self.edge] = np.minimum(whole[self.edge], more.min(axis=0))
        return whole


def _cast(scene: raycast.Scene, mesh: DressedMesh, label: np.ndarray, size: int) -> _Samples:
    origin, *first = scene.cast(label, size)
    edge = _edges(mesh, first[1], label, size)
    _, *more = scene.cast(label, size, edge, CORNERS)
    directions = np.concatenate([first[0], more[0]])
    triangle, distance, weights = (
        np.concatenate([vars(hits)[name] for hits in (first[1], more[1])])
        for name in ("triangle", "distance", "weights")
    )
    hit = np.flatnonzero(triangle >= 0)
    part = np.full(len(triangle), -1, np.int16)
    part[hit] = mesh.part[triangle[hit]]
    return _Samples(
        origin=origin,
        pixel=np.concatenate([np.arange(size * size)] + [edge] * len(CORNERS)),
        hit=hit,
        part=part,
        triangle=triangle[hit],
        weights=weights[hit].astype(np.float32),
        distance=distance[hit],
        direction=directions[hit],
        edge=edge,
    )


def _edges(mesh: DressedMesh, hits: raycast.Hits, label: np.ndarray, size: int) -> np.ndarray:
    """Pixels where the part or the depth changes against a neighbour, and those of the eyes and lashes."""
    part = np.where(hits.triangle >= 0, mesh.part[hits.triangle].astype(np.int16), -1).reshape(size, size)
    depth = np.where(np.isfinite(hits.distance), hits.distance, 1e3).reshape(size, size)
    step = STEP * np.float32(pixel_width(label, size))
    edge = np.isin(part, (EYE_RIGHT, EYE_LEFT, LASH, GLASSES))
    for before, after in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        differs = (part[before] != part[after]) | (np.abs(depth[before] - depth[after]) > step)
        edge[before] |= differs
        edge[after] |= differs
    return np.flatnonzero(edge)


def pixel_width(label: np.ndarray, size: int) -> float:
    """Width of a pixel at the distance of the world's origin."""
    return float(np.linalg.norm(label[[3, 7, 11]]) / (label[16] * size))


def _shade(
    person, head: HumanMesh, mesh: DressedMesh, scene, samples: _Samples, gaze, label, size, painted
) -> np.ndarray:
    """Light float32 [H, 3] of all hits."""
    surface = _Surface(person, head, mesh, samples, _main_shadow(mesh, scene, person.setting.lamps[0]))
    scale = pixel_width(label, size) * BASE_EYE_RADIUS / float(head.eye_radius.mean())  # in decimetres
    part = samples.part[samples.hit]
    shaders = {
        SKIN: lambda at: surface.skin(at, scale),
        EYE_RIGHT: lambda at: surface.eye(at, 0, gaze, pixel_width(label, size)),
        EYE_LEFT: lambda at: surface.eye(at, 1, gaze, pixel_width(label, size)),
        HAIR: surface.strands,
        LASH: surface.lash,
        CLOTHES: lambda at: surface.cloth(at, scale),
        GLASSES: surface.frame,
        TEETH: surface.mouth,
    }
    if painted:
        shaders |= {EYE_RIGHT: surface.painted_eye, EYE_LEFT: surface.painted_eye}
    light = np.zeros((len(part), 3), np.float32)
    for number, shader in shaders.items():
        at = np.flatnonzero(part == number)
        if len(at):
            light[at] = shader(at)
    return light


class _Surface:
    """The surface that the rays hit, and what light does there."""

    def __init__(self, person: Person, head: HumanMesh, mesh: DressedMesh, samples: _Samples, shadow: np.ndarray):
        self.person, self.head, self.mesh, self.samples = person, head, mesh, samples
        masks = {name: head.masks[:, k] for k, name in enumerate(MASKS)}
        blocks = head.faces[np.isin(head.part, (SKIN, EYE_RIGHT, EYE_LEFT))]
        self.lips = masks["lips"]
        bare = np.column_stack(
            [
                head.normals,
                head.rest,
                shadow[: len(head.vertices)],
                base_openness(head.rest, blocks),
                masks["lips"],
                skin_vertices(person.complexion, head.rest, masks),
            ]
        )
        self.hairy = _hairy(person, head)
        self.bare = bare.astype(np.float32)
        self.worn = np.column_stack([mesh.normals, mesh.coords, shadow]).astype(np.float32)

    def _between(self, values: np.ndarray, at: np.ndarray) -> np.ndarray:
        """Values at vertices [V, K] -> at hits."""
        corners, weights = self.mesh.faces[self.samples.triangle[at]], self.samples.weights[at]
        rows = np.arange(0, 3 * len(at) + 1, 3, dtype=np.int32)
        mix = sparse.csr_matrix((weights.ravel(), corners.ravel(), rows), (len(at), len(values)))
        return mix @ values

    def skin(self, at: np.ndarray, scale: float) -> np.ndarray:
        values = self._between(self.bare, at)
        normals, rest, shadow, openness, lips, coats = np.split(_unit(values), (3, 6, 7, 8, 9), axis=1)
        paint, sheen = skin_paint(self.person.complexion, coats, rest, scale)
        hairy = np.flatnonzero(self.hairy[self.samples.triangle[at]])
        hair = self.person.hair, self.person.face_hair
        cover, colour = painted_hair(*hair, rest[hairy], lips[hairy, 0], scale)
        paint[hairy] += cover[:, None] * (colour - paint[hairy])
        sheen[hairy] *= 1 - np.float32(0.6) * cover
        towards = -self.samples.direction[at]
        return skin_light(self.person.setting, paint, sheen, normals, towards, openness[:, 0], shadow[:, 0])

    def painted_eye(self, at: np.ndarray) -> np.ndarray:
        values = _unit(self._between(self.bare, at))
        paint = np.tile(self.person.complexion.colour * np.float32(0.85), (len(at), 1))
        dull = np.full(len(at), 0.3, np.float32)
        openness = np.full(len(at), 0.8, np.float32)
        return skin_light(
            self.person.setting, paint, dull, values[:, :3], -self.samples.direction[at], openness, values[:, 6]
        )

    def eye(self, at: np.ndarray, left: int, gaze: np.ndarray, pixel: float) -> np.ndarray:
        centre, radius = self.head.eye_centres[left].astype(np.float64), float(self.head.eye_radius[left])
        towards = -self.samples.direction[at].astype(np.float64)
        direction = _on_ball(self.samples.origin - centre, -towards, radius)
        slant = np.clip(np.einsum("pk,pk->p", direction, towards), 0.2, 1)
        soft = 0.3 * pixel / radius / slant
        lids = Lids.of(self.head.landmarks[36 + 6 * left : 42 + 6 * left], centre)
        shadow = self._between(self.worn[:, 6:], at)[:, 0]
        iris = self.person.complexion.iris
        paint = eye_paint(iris, direction, gaze, 1.0 if left else -1.0, soft)
        return eye_light(self.person.setting, paint, direction, gaze, towards, lids.openness(direction), shadow)

    def _ambient(self, normals: np.ndarray) -> np.ndarray:
        sky, ground = (np.asarray(light, np.float32) for light in (self.person.setting.sky, self.person.setting.ground))
        return ground + (0.5 + 0.5 * normals[:, 1:2]) * (sky - ground)

    def lash(self, at: np.ndarray) -> np.ndarray:
        normals = _unit(self._between(self.worn, at))[:, :3]
        return np.asarray(self.person.face_hair.lash, np.float32) * (self._ambient(normals) + 0.3)

    def strands(self, at: np.ndarray) -> np.ndarray:
        values = _unit(self._between(self.worn, at))
        normals, coords, shadow = values[:, :3], values[:, 3:6], values[:, 6:]
        tangents = _unit(self._between(self.mesh.tangents, at))
        lamps = [(lamp.toward, np.asarray(lamp.colour, np.float32)) for lamp in self.person.setting.lamps]
        lamps[0] = lamps[0][0], lamps[0][1] * shadow
        ambient = 0.8 * self._ambient(normals)
        return hair_shade(self.person.hair, coords, tangents, normals, self.samples.direction[at], lamps, ambient)

    def cloth(self, at: np.ndarray, scale: float) -> np.ndarray:
        values = _unit(self._between(self.worn, at))
        paint = cloth_paint(self.person.outfit, values[:, 3:6], scale)
        openness = np.full(len(at), 0.75, np.float32)
        return matt_light(self.person.setting, paint, values[:, :3], openness, values[:, 6])

    def frame(self, at: np.ndarray) -> np.ndarray:
        values = _unit(self._between(self.worn, at))
        paint = frame_paint(self.person.outfit, values[:, 3:6])
        shiny = np.full(len(at), 1.5, np.float32)
        lit = np.full(len(at), 0.9, np.float32)
        return skin_light(
            self.person.setting, paint, shiny, values[:, :3], -self.samples.direction[at], lit, values[:, 6]
        )

    def mouth(self, at: np.ndarray) -> np.ndarray:
        values = _unit(self._between(self.worn, at))
        openness = np.full(len(at), 0.35, np.float32)
        return matt_light(self.person.setting, TEETH_PAINT, values[:, :3], openness, values[:, 6] * 0.6)


def _hairy(person: Person, head: HumanMesh) -> np.ndarray:
    """Which triangles of a bare head [F] may have painted hair on them: elsewhere nobody needs to look for it."""
    lips = head.masks[:, MASKS.index("lips")]
    near = painted_hair(person.hair, person.face_hair, head.rest, lips, 0.02)[0] > 0
    near[head.faces[near[head.faces].any(axis=1)]] = True  # hairs between the vertices of a triangle, too
    return near[head.faces].any(axis=1)


def _unit(values: np.ndarray) -> np.ndarray:
    """The first three columns at length one, in place."""
    first = values[:, :3]
    first /= np.sqrt(np.einsum("pk,pk->p", first, first) + np.float32(1e-20))[:, None]
    return values


def _on_ball(origin: np.ndarray, directions: np.ndarray, radius: float) -> np.ndarray:
    """Where rays from `origin` [3] first meet the ball about zero, or pass it nearest: unit vectors [P, 3]."""
    along = -(directions @ origin)
    nearest = origin + along[:, None] * directions
    inside = np.maximum(radius**2 - (nearest * nearest).sum(axis=1), 0)
    points = nearest - np.sqrt(inside)[:, None] * directions
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def _main_shadow(mesh: DressedMesh, scene: raycast.Scene, lamp: Lamp) -> np.ndarray:
    """Share [V] of a lamp's light that reaches each vertex, soft as the lamp is large (Reeves et al. 1987)."""
    toward = np.asarray(lamp.toward, np.float64)
    label = lamp_camera(toward)
    hits = scene.cast(label, SHADOW_SIZE)[2]
    seen = np.pad(hits.distance.reshape(SHADOW_SIZE, SHADOW_SIZE), 1, constant_values=np.inf)
    points = mesh.vertices + np.float32(0.006) * mesh.normals
    place = raycast.project(label, points.astype(np.float64), SHADOW_SIZE)
    distance = np.linalg.norm(points - label[[3, 7, 11]], axis=1) - SHADOW_BIAS
    lit = np.zeros(len(points), np.float32)
    for tap in TAPS * (0.6 + 2.5 * lamp.spread):
        column, row = np.clip(np.floor(place + tap).astype(np.int64) + 1, 0, SHADOW_SIZE + 1).T
        lit += seen[row, column] > distance
    return lit / np.float32(len(TAPS))


def lamp_camera(toward: np.ndarray) -> np.ndarray:
    """Label [25] of a camera that sees the head from a lamp."""
    right = np.cross((0.0, 1.0, 0.0), toward)
    right = right / np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, 0], pose[:3, 1], pose[:3, 2], pose[:3, 3] = (
        right,
        np.cross(right, toward),
        -toward,
        SHADOW_DISTANCE * toward,
    )
    focal = 0.5 * SHADOW_DISTANCE / SHADOW_REACH
    return np.concatenate([pose.reshape(16), [focal, 0, 0.5, 0, focal, 0.5, 0, 0, 1]])
