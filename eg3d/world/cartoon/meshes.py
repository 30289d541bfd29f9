"""Identity -> triangle meshes and 3-D landmarks.

Every part is a grid of points (rows x columns), so that its smooth normals are finite differences and its triangles
come from the grid's topology. The front of the head is the graph z(x, y) of an ellipsoid plus bumps, and the landmarks
are points of that graph.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from eg3d.world.cartoon.heads import Identity

SKIN, NECK, HAIR, EYE_RIGHT, EYE_LEFT, LID_RIGHT, LID_LEFT = range(7)  # right: the subject's, at -x
NECK_BOTTOM = -0.40
SHELL = 1.09  # radius of the lids relative to the eyeball


@dataclass(frozen=True)
class HeadMesh:
    """vertices and normals float32 [V, 3], faces int32 [F, 3], part uint8 [F] (constants above), landmarks [68, 3]."""

    vertices: np.ndarray
    normals: np.ndarray
    faces: np.ndarray
    part: np.ndarray
    landmarks: np.ndarray


@lru_cache(maxsize=8)
def head_mesh(identity: Identity) -> HeadMesh:
    """All parts of one head; the gaze moves no vertex, it only turns the paint of the eyeballs."""
    grids = [(SKIN, _skull(identity)), (NECK, _neck(identity))]
    grids += [
        (SKIN, _ellipsoid((s * identity.half_width * 0.97, 0.0, -0.02), (0.026, 0.055, 0.036), 8, 12)) for s in (-1, 1)
    ]
    if identity.hair_style != "bald":
        grids += [(HAIR, _hair(identity))] + [
            (HAIR, _ellipsoid(c, (r, r, r), 10, 16)) for c, r in _hair_blobs(identity)
        ]
    for centre, eye, lid in zip(identity.eye_centres, (EYE_RIGHT, EYE_LEFT), (LID_RIGHT, LID_LEFT), strict=True):
        radius = identity.eye_radius
        grids.append((eye, _ellipsoid(centre, (radius,) * 3, 16, 24)))
        grids.append((lid, _lids(identity, centre)))
    vertices, normals, faces, part, base = [], [], [], [], 0
    for number, grid in grids:
        rows, columns = grid.shape[:2]
        triangles = _topology(rows, columns)
        vertices.append(grid.reshape(-1, 3))
        normals.append(_grid_normals(grid).reshape(-1, 3))
        faces.append(triangles + base)
        part.append(np.full(len(triangles), number, np.uint8))
        base += rows * columns
    return HeadMesh(
        np.concatenate(vertices).astype(np.float32),
        np.concatenate(normals).astype(np.float32),
        np.concatenate(faces),
        np.concatenate(part),
        landmarks_3d(identity),
    )


@lru_cache(maxsize=32)
def _topology(rows: int, columns: int) -> np.ndarray:
    """Two triangles per cell of a grid [rows, columns] whose last column joins its first: int32 [F, 3]."""
    index = np.arange(rows * columns, dtype=np.int32).reshape(rows, columns)
    right = np.roll(index, -1, axis=1)
    a, b, c, d = index[:-1], right[:-1], index[1:], right[1:]
    return np.concatenate([np.stack([a, b, d], -1).reshape(-1, 3), np.stack([a, d, c], -1).reshape(-1, 3)])


def _grid_normals(grid: np.ndarray) -> np.ndarray:
    """Smooth unit normals of a closed-in-columns grid [R, C, 3], by central differences."""
    along = np.roll(grid, -1, axis=1) - np.roll(grid, 1, axis=1)
    down = np.empty_like(grid)
    down[1:-1], down[0], down[-1] = grid[2:] - grid[:-2], grid[1] - grid[0], grid[-1] - grid[-2]
    a, b = along, down
    normal = np.stack(
        [
            a[..., 1] * b[..., 2] - a[..., 2] * b[..., 1],
            a[..., 2] * b[..., 0] - a[..., 0] * b[..., 2],
            a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0],
        ],
        axis=-1,
    )
    return normal / (np.sqrt((normal * normal).sum(-1, keepdims=True)) + 1e-12)


@lru_cache(maxsize=8)
def _angles(rows: int, columns: int, crowding: float) -> tuple[np.ndarray, np.ndarray]:
    """Latitude [rows, 1] from the top down and longitude [1, columns], 0 in front, denser there by `crowding`."""
    latitude = np.linspace(np.pi / 2 - 1e-3, -np.pi / 2 + 1e-3, rows)[:, None]
    u = np.linspace(-np.pi, np.pi, columns, endpoint=False)[None]
    return latitude, u - crowding * np.sin(u)


def _ellipsoid(centre, radii, rows: int, columns: int) -> np.ndarray:
    latitude, longitude = _angles(rows, columns, 0.0)
    unit = np.stack(
        np.broadcast_arrays(
            np.cos(latitude) * np.sin(longitude), np.sin(latitude), np.cos(latitude) * np.cos(longitude)
        ),
        axis=-1,
    )
    return np.asarray(centre) + unit * np.asarray(radii)


def _skull_base(identity: Identity, latitude: np.ndarray, longitude: np.ndarray) -> np.ndarray:
    """The smooth head without features: an ellipsoid with a squarer jaw and a flatter front."""
    up = np.sin(latitude) >= 0
    cos = np.cos(latitude)
    y = np.sin(latitude) * np.where(up, identity.crown, identity.chin)
    x = identity.half_width * np.where(up, cos**0.85, cos**identity.jaw_power) * np.sin(longitude)
    depth = np.where(np.cos(longitude) >= 0, identity.face_depth, 0.215)
    z = depth * np.where(up, cos**0.8, cos**0.5) * np.cos(longitude)
    return np.stack(np.broadcast_arrays(x, y, z), axis=-1)


def _bump(x, y, cx, cy, sx, sy):
    return np.exp(-(((x - cx) / sx) ** 2) - ((y - cy) / sy) ** 2)


def smooth(x, low, high):
    """0 below `low`, 1 above `high`, smooth between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _features(identity: Identity, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Depth of the face at (x, y) where the smooth head has depth z > 0: sockets, nose, brows, cheeks, lips, chin."""
    ey, tip = identity.eye_y, identity.eye_y - identity.nose_length
    ax = np.abs(x)
    socket = np.exp(-((((ax - identity.eye_x) / 0.066) ** 2 + ((y - ey) / 0.055) ** 2) ** 2))
    floor = identity.eye_z - 0.012
    face = z + socket * np.minimum(floor - z, 0)
    face = face + 0.014 * _bump(ax, y, 0.065, ey + 0.078, 0.06, 0.02)
    face = face + 0.016 * _bump(ax, y, 0.10, ey - 0.095, 0.045, 0.04)
    along = np.clip((ey + 0.035 - y) / (ey + 0.035 - tip), 0, 1.25)  # 0 at the bridge, 1 at the tip
    height = (0.006 + (identity.nose_height - 0.006) * along**1.6) * (1 - smooth(along, 0.98, 1.22))
    width = 0.013 + (identity.nose_width - 0.013) * along**1.5
    face = face + height * np.exp(-(np.abs(x / width) ** 2.2))
    face = face + 0.022 * _bump(ax, y, identity.nose_width * 0.95, tip + 0.004, 0.012, 0.014)
    face = face + 0.013 * _bump(x, y, 0, identity.mouth_y, identity.mouth_width, 0.024)
    face = face + 0.018 * _bump(x, y, 0, -identity.chin * 0.86, 0.05, 0.03)
    return z + (face - z) * smooth(z, 0.0, 0.06)


def _skull(identity: Identity) -> np.ndarray:
    grid = _skull_base(identity, *_angles(48, 64, 0.5)).copy()
    grid[..., 2] = _features(identity, grid[..., 0], grid[..., 1], grid[..., 2])
    return grid


def face_point(identity: Identity, x, y) -> np.ndarray:
    """Points [..., 3] of the front of the head above (x, y): the closed form of the skull's surface."""
    x, y = np.broadcast_arrays(np.asarray(x, float), np.asarray(y, float))
    up = y >= 0
    sin = np.clip(y / np.where(up, identity.crown, identity.chin), -0.999, 0.999)
    cos = np.sqrt(1 - sin**2)
    half = identity.half_width * np.where(up, cos**0.85, cos**identity.jaw_power)
    z = identity.face_depth * np.where(up, cos**0.8, cos**0.5) * np.sqrt(np.clip(1 - (x / half) ** 2, 0, 1))
    return np.stack([x, y, _features(identity, x, y, z)], axis=-1)


def _neck(identity: Identity) -> np.ndarray:
    """Neck and the top of the shoulders; the part below the collar is painted as a shirt."""
    t = np.linspace(0, 1, 14)[:, None]
    longitude = np.linspace(-np.pi, np.pi, 24, endpoint=False)[None]
    y = -0.10 + (NECK_BOTTOM + 0.10) * t
    flare = smooth(-y, 0.25, 0.39)
    x = (0.42 * identity.half_width + 0.11 * flare) * np.sin(longitude)
    z = -0.04 + (0.085 + 0.02 * flare) * np.cos(longitude)
    return np.stack(np.broadcast_arrays(x, y, z), axis=-1)


def _hair(identity: Identity) -> np.ndarray:
    """A shell round the skull: outside it where hair grows, drawn back inside it over the face."""
    latitude, longitude = _angles(32, 48, 0.25)
    skull = _skull_base(identity, latitude, longitude)
    hang = float(identity.hair_style in ("bob", "long"))
    cos, sin = np.cos(latitude), np.sin(latitude)
    wide = cos ** np.where(sin >= 0, 0.85, 0.22)  # hanging hair keeps its width down to its tips
    depth = np.where(np.cos(longitude) >= 0, 0.13, 0.215)
    curtain = np.stack(
        np.broadcast_arrays(
            identity.half_width * wide * np.sin(longitude),
            sin * np.where(sin >= 0, identity.crown, identity.hair_length),
            depth * wide * np.cos(longitude),
        ),
        axis=-1,
    )
    below = hang * smooth(-sin, -0.25, 0.05)
    outer = skull + below[..., None] * (curtain - skull)
    norm = np.sqrt((outer**2).sum(-1, keepdims=True)) + 1e-9
    texture = 1 + (0.25 if identity.hair_style == "afro" else 0.12) * np.sin(9 * longitude + 2) * np.cos(7 * latitude)
    outer = outer * (1 + identity.hair_thickness * texture[..., None] / norm)
    inner = 0.72 * skull

    turn = np.abs(longitude)
    top = identity.eye_y + identity.hairline
    # The hairline: highest near the parting, falling along the temples to the ears, then to the nape.
    front = top - 0.03 * (longitude - identity.hair_parting * 4) ** 2
    side = 1.22 - 0.15 * hang
    nape = -identity.hair_length * (1 if hang == 0 else 4)
    line = front + (nape - front) * smooth(turn, side - 0.12, side + 0.22)
    grown = smooth(outer[..., 1] - line, -0.012, 0.012)
    return inner + grown[..., None] * (outer - inner)


def _hair_blobs(identity: Identity):
    if identity.hair_style == "bun":
        return [((0.0, identity.crown + 0.035, -0.05), 0.068)]
    if identity.hair_style == "pigtails":
        return [((s * (identity.half_width + 0.055), 0.035, -0.05), 0.07) for s in (-1, 1)]
    return []


def lid_edge(identity: Identity, angle: np.ndarray) -> np.ndarray:
    """Polar angle (rad, from +z) of the almond opening in direction `angle` (0: +x, pi/2: up)."""
    opening = identity.eye_openness
    vertical = np.where(np.sin(angle) >= 0, 0.86, 0.74) * opening
    return ((np.abs(np.cos(angle)) / 1.36) ** 1.7 + (np.abs(np.sin(angle)) / vertical) ** 1.7) ** (-1 / 1.7)


def _lids(identity: Identity, centre: np.ndarray) -> np.ndarray:
    """Both lids of an eye: a spherical shell from the almond's rim, which touches the eyeball, to the back."""
    angle = np.linspace(0, 2 * np.pi, 32, endpoint=False)[None]
    t = np.array([0.0, 0.0, 0.12, 0.4, 0.7, 1.0])[:, None]
    edge = lid_edge(identity, angle)
    polar = edge + t * (1.75 - edge)
    radius = identity.eye_radius * np.array([0.99, 1.05, SHELL, SHELL, SHELL, SHELL])[:, None]
    return centre + np.stack(
        np.broadcast_arrays(
            radius * np.sin(polar) * np.cos(angle), radius * np.sin(polar) * np.sin(angle), radius * np.cos(polar)
        ),
        axis=-1,
    )


def landmarks_3d(identity: Identity) -> np.ndarray:
    """68 points [68, 3] in iBUG order; "left to right" is the image's in a frontal view, that is -x to +x."""
    i, ey, ex = identity, identity.eye_y, identity.eye_x
    tip = ey - i.nose_length
    # 0-16 jaw: ear, chin, ear along the outline, slightly in front of it.
    turn = np.linspace(-1, 1, 17)
    latitude = -np.pi / 2 * (1 - np.abs(turn) ** 1.3) * 0.96
    longitude = np.sign(turn) * (1.35 - 0.15 * (1 - np.abs(turn)))
    jaw = _skull_base(i, latitude, longitude)
    jaw[8] = face_point(i, 0.0, -0.97 * i.chin)
    # 17-26 brows, outer to inner then inner to outer.
    offset = np.linspace(-0.048, 0.052, 5)
    brow_y = brow_curve(i, offset)
    right_brow = face_point(i, -(ex + offset)[::-1], brow_y[::-1])
    left_brow = face_point(i, ex + offset, brow_y)
    # 27-30 bridge, 31-35 nostrils.
    bridge = face_point(i, 0.0, np.linspace(ey + 0.005, tip, 4))
    nostrils = face_point(
        i, np.linspace(-1, 1, 5) * i.nose_width * 1.1, tip - 0.012 - 0.004 * np.array([0, 1, 1.5, 1, 0])
    )
    # 36-47 eyes: points of the almond's rim, from the image-left corner over the top.
    rim = np.array([np.pi, 2.05, 1.09, 0.0, -1.09, -2.05])
    polar = lid_edge(i, rim)
    ring = np.stack([np.sin(polar) * np.cos(rim), np.sin(polar) * np.sin(rim), np.cos(polar)], -1) * i.eye_radius
    eyes = [centre + ring for centre in i.eye_centres]
    # 48-59 outer lips from the image-left corner over the top, 60-67 inner lips.
    x = np.linspace(-1, 1, 7) * i.mouth_width
    upper, line, lower = lip_curves(i, x)
    outer = np.concatenate([face_point(i, x, upper), face_point(i, x[-2:0:-1], lower[-2:0:-1])])
    x = np.linspace(-0.8, 0.8, 5) * i.mouth_width
    _, line, _ = lip_curves(i, x)
    inner = np.concatenate([face_point(i, x, line), face_point(i, x[-2:0:-1], line[-2:0:-1] - 0.002)])
    return np.concatenate([jaw, right_brow, left_brow, bridge, nostrils, *eyes, outer, inner])


def brow_curve(identity: Identity, offset):
    """Height of the brow at `offset` outward from above the eye's centre."""
    arch = 0.010 * (1 - (offset / 0.05) ** 2)
    return identity.eye_y + identity.brow_height + arch - identity.brow_tilt * offset * 0.5


def lip_curves(identity: Identity, x):
    """Heights of the upper edge, the line between the lips and the lower edge at x."""
    s = np.clip(1 - (x / identity.mouth_width) ** 2, 0, 1)
    line = identity.mouth_y + identity.smile * ((x / identity.mouth_width) ** 2 - 0.3)
    cupid = 1 - 0.25 * np.exp(-((x / 0.010) ** 2))
    return line + identity.lip_thickness * s**0.7 * cupid, line, line - 1.15 * identity.lip_thickness * s**0.7
