"""A cartoon head, a camera and a gaze -> picture, eye mask, landmarks and depth."""

import numpy as np

from eg3d.world import raycast
from eg3d.world.cartoon.heads import Identity
from eg3d.world.cartoon.meshes import EYE_LEFT, EYE_RIGHT, head_mesh
from eg3d.world.cartoon.paint import background, shade
from eg3d.world.render import SUPERSAMPLING, RenderedHead


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
    origin, directions = raycast.camera_rays(label, fine)
    caster = caster or (raycast.cast_embree if raycast.HAVE_EMBREE else raycast.cast_zbuffer)
    hits = caster(mesh.vertices, mesh.faces, origin, directions)
    index = np.flatnonzero(hits.triangle >= 0)
    triangle, weights = hits.triangle[index], hits.weights[index]
    part = mesh.part[triangle]
    corners = mesh.faces[triangle]
    normals = np.einsum("pk,pkc->pc", weights, mesh.normals[corners])
    points = origin + directions[index] * hits.distance[index, None]

    rows = np.repeat((np.arange(fine, dtype=np.float32) + 0.5) / fine, fine)
    colours = background(identity, rows)
    colours[index] = shade(identity, part, points, normals, directions[index], gaze, painted_eyes=eyes == "painted")
    eyeball = np.zeros(fine * fine, np.float32)
    eyeball[index] = (part == EYE_RIGHT) | (part == EYE_LEFT)

    blocks = (size, SUPERSAMPLING, size, SUPERSAMPLING)
    rgb = colours.reshape(*blocks, 3).mean(axis=(1, 3))
    return RenderedHead(
        rgb=np.clip(rgb * 255 + 0.5, 0, 255).astype(np.uint8),
        eye_mask=eyeball.reshape(blocks).mean(axis=(1, 3)) >= 0.5,
        landmarks=raycast.project(label, mesh.landmarks, size),
        depth=hits.distance.reshape(blocks).min(axis=(1, 3)),
        irises=raycast.project(label, identity.eye_centres + identity.eye_radius * gaze, size),
    )
