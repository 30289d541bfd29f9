"""A cartoon head, a camera and a gaze -> picture, eye mask, landmarks and depth; or its mesh with colours."""

from dataclasses import replace

import numpy as np

from eg3d.world import raycast
from eg3d.world.cartoon.heads import Identity
from eg3d.world.cartoon.meshes import EYE_LEFT, EYE_RIGHT, head_mesh
from eg3d.world.cartoon.paint import background, shade
from eg3d.world.render import BARE, EYE_AT_LEFT, EYE_AT_RIGHT, SUPERSAMPLING, WORN, Canvas, RenderedHead

# Of skin, neck, hair, the two eyes and their lids, as `meshes.py` numbers them.
CANVAS_PART = np.array([BARE, WORN, WORN, EYE_AT_LEFT, EYE_AT_RIGHT, BARE, BARE], np.uint8)


def render_head(identity: Identity, label, gaze_world, size: int = 64, eyes: str = "open", caster=None) -> RenderedHead:
    """Renders one head by casting 2 x 2 rays per pixel and averaging them.

    Args:
        label: camera, 25 numbers (`eg3d.geometry.cameras`).
        gaze_world: [3], direction both eyes look in, in the world (= head) frame; need not be of unit length.
        eyes: "open", or "painted": eyeballs in the colour of skin, to test that a gaze network reads eyes.
        caster: `raycast.cast_embree` or `raycast.cast_zbuffer`; default is the faster one installed.
    """
    if eyes not in ("open", "painted"):
        raise ValueError(f"eyes='{eyes}' is unknown; use 'open' or 'painted'")
    label = np.asarray(label, np.float64).reshape(-1)
    gaze = np.asarray(gaze_world, np.float64).reshape(3)
    gaze = gaze / np.linalg.norm(gaze)
    mesh, fine = head_mesh(identity), size * SUPERSAMPLING
    caster = caster or (raycast.cast_embree if raycast.HAVE_EMBREE else raycast.cast_zbuffer)
    box = (slice(0, fine),) * 2  # the z-buffer needs the whole square
    if caster is raycast.cast_embree:
        box = _box_of(mesh.vertices, label, fine)
    origin, directions = raycast.camera_rays(label, fine, *box)
    near = (np.arange(fine)[box[0], None] * fine + np.arange(fine)[box[1]]).ravel()
    hits = caster(mesh.vertices, mesh.faces, origin, directions)
    hit = np.flatnonzero(hits.triangle >= 0)
    index, triangle, weights = near[hit], hits.triangle[hit], hits.weights[hit]
    part = mesh.part[triangle]
    corners = mesh.faces[triangle]
    normals = np.einsum("pk,pkc->pc", weights, mesh.normals[corners])
    points = origin + directions[hit] * hits.distance[hit, None]

    rows = np.repeat((np.arange(fine, dtype=np.float32) + 0.5) / fine, fine)
    colours = background(identity, rows)
    colours[index] = shade(identity, part, points, normals, directions[hit], gaze, painted_eyes=eyes == "painted")
    distance = np.full(fine * fine, np.inf, np.float32)
    distance[near] = hits.distance
    eyeball = np.zeros(fine * fine, np.float32)
    eyeball[index] = (part == EYE_RIGHT) | (part == EYE_LEFT)

    blocks = (size, SUPERSAMPLING, size, SUPERSAMPLING)
    rgb = colours.reshape(*blocks, 3).mean(axis=(1, 3))
    return RenderedHead(
        rgb=_bytes(rgb),
        eye_mask=eyeball.reshape(blocks).mean(axis=(1, 3)) >= 0.5,
        landmarks=raycast.project(label, mesh.landmarks, size),
        depth=distance.reshape(blocks).min(axis=(1, 3)),
        irises=raycast.project(label, identity.eye_centres + identity.eye_radius * gaze, size),
    )


def _box_of(vertices: np.ndarray, label: np.ndarray, fine: int) -> tuple[slice, slice]:
    """Rows and columns of the picture that hold a mesh; all of them, if a part of it is behind the camera."""
    if ((vertices - label[[3, 7, 11]]) @ label[[2, 6, 10]]).min() <= 0:
        return slice(0, fine), slice(0, fine)
    corners = raycast.project(label, vertices, fine)
    first = np.clip(np.floor(corners.min(axis=0)).astype(int) - 1, 0, fine - 1)
    last = np.clip(np.ceil(corners.max(axis=0)).astype(int) + 1, first + 1, fine)
    return slice(first[1], last[1]), slice(first[0], last[0])


def cartoon_canvas(identity: Identity, label, gaze_world, even_light: bool = False) -> Canvas:
    """The head as `render_head` shows it from any side, its back too; the light does not depend on the camera.

    even_light: the light comes from everywhere alike, for who adds lamps.
    """
    if even_light:
        identity = replace(identity, ambient=0.95)  # `shade` adds nothing by the lamp then
    gaze = np.asarray(gaze_world, np.float64).reshape(3)
    gaze, mesh = gaze / np.linalg.norm(gaze), head_mesh(identity)

    def paint(triangle: np.ndarray, weights: np.ndarray) -> np.ndarray:
        corners, weights = mesh.faces[triangle], weights.astype(np.float32)
        points, normals = (
            np.einsum("pk,pkc->pc", weights, values[corners]) for values in (mesh.vertices, mesh.normals)
        )
        # Normals of the grids point inward. Seen from inside, all of them are turned: what is lit is the outer side.
        return _bytes(shade(identity, mesh.part[triangle], points, normals, normals, gaze))

    return Canvas(
        vertices=mesh.vertices,
        faces=mesh.faces,
        part=CANVAS_PART[mesh.part],
        landmarks=mesh.landmarks,
        eye_centres=identity.eye_centres,
        eye_radius=identity.eye_radius,
        paint=paint,
    )


def _bytes(colours: np.ndarray) -> np.ndarray:
    return np.clip(colours * 255 + 0.5, 0, 255).astype(np.uint8)
