"""First hits of camera rays with a triangle mesh: embree, or a plain z-buffer that gives the same answer."""

from dataclasses import dataclass

import numpy as np

from eg3d.world import embree

try:
    from embreex.mesh_construction import TriangleMesh
    from embreex.rtcore_scene import EmbreeScene

    HAVE_EMBREE = True
except ImportError:  # no wheel for this platform; the z-buffer is slower and agrees with it (tests/world)
    HAVE_EMBREE = False


@dataclass(frozen=True)
class Hits:
    """Per ray [P]: triangle index or -1, distance (inf: none), and the weights [P, 3] of the triangle's corners."""

    triangle: np.ndarray
    distance: np.ndarray
    weights: np.ndarray


def camera_rays(label: np.ndarray, size: int, rows=slice(None), columns=slice(None)) -> tuple[np.ndarray, np.ndarray]:
    """Label [25] -> camera position [3] and unit directions [size * size, 3] through pixel centres, row-major.

    rows, columns: slices of the picture, if only a part of it is wanted.
    """
    pose, k = label[:16].reshape(4, 4), label[16:25].reshape(3, 3)
    centre = (np.arange(size) + 0.5) / size
    u, v = np.meshgrid(centre[columns], centre[rows])
    y = (v - k[1, 2]) / k[1, 1]
    x = (u - k[0, 2] - k[0, 1] * y) / k[0, 0]
    directions = np.stack([x, y, np.ones_like(x)], -1).reshape(-1, 3) @ pose[:3, :3].T
    directions /= np.sqrt((directions**2).sum(-1, keepdims=True))
    return pose[:3, 3].astype(np.float32), directions.astype(np.float32)


def project(label: np.ndarray, points: np.ndarray, size: int) -> np.ndarray:
    """World points [P, 3] -> pixel coordinates [P, 2] (x right, y down; the first pixel spans 0..1)."""
    pose, k = label[:16].reshape(4, 4), label[16:25].reshape(3, 3)
    camera = (points - pose[:3, 3]) @ pose[:3, :3]
    pixels = (camera / camera[:, 2:]) @ k.T
    return pixels[:, :2] * size


def cast_embree(vertices: np.ndarray, faces: np.ndarray, origin: np.ndarray, directions: np.ndarray) -> Hits:
    """First hits by embree. vertices float32 [V, 3], faces int32 [F, 3], origin [3], directions float32 [P, 3] unit."""
    return _ask(_built(vertices, faces), origin, directions)


def _built(vertices: np.ndarray, faces: np.ndarray):
    scene = EmbreeScene()
    TriangleMesh(scene, vertices, faces)
    return scene


def _ask(scene, origin: np.ndarray, directions: np.ndarray) -> Hits:
    if isinstance(scene, embree.Mesh):
        triangle, distance, u, v = scene.first_hits(origin, directions)
        return Hits(triangle, distance, np.stack([1 - u - v, u, v], axis=-1))
    origins = np.ascontiguousarray(np.broadcast_to(origin, directions.shape))
    out = scene.run(origins, directions, output=True)
    hit = out["primID"] >= 0
    u, v = out["u"], out["v"]
    weights = np.stack([1 - u - v, u, v], axis=-1)
    return Hits(out["primID"], np.where(hit, out["tfar"], np.inf).astype(np.float32), weights)


def cast_zbuffer(vertices: np.ndarray, faces: np.ndarray, origin: np.ndarray, directions: np.ndarray) -> Hits:
    """First hits by rasterisation in plain numpy; same arguments and result as `cast_embree`.

    `directions` must be the square picture that `camera_rays` makes. Each triangle is tested, with the exact
    ray-triangle weights, against the pixels of its bounding box in the picture; the nearest hit of a pixel stays.
    """
    size = round(len(directions) ** 0.5)
    assert size * size == len(directions), "the z-buffer needs a square picture of rays"
    origin, rays = origin.astype(np.float64), directions.astype(np.float64)
    corners = vertices.astype(np.float64)[faces] - origin  # [F, 3 corners, 3]
    first_row, last_row, first_column, last_column = _boxes(corners, rays.reshape(size, size, 3))
    visible = np.flatnonzero((last_row >= first_row) & (last_column >= first_column))
    corners, height = corners[visible], (last_row - first_row + 1)[visible]
    width, row, column = (last_column - first_column + 1)[visible], first_row[visible], first_column[visible]

    # One candidate per (triangle, pixel of its box), all triangles at once.
    area = height * width
    which = np.repeat(np.arange(len(visible)), area)
    within = np.arange(len(which)) - np.repeat(np.cumsum(area) - area, area)
    pixel = (row[which] + within // width[which]) * size + column[which] + within % width[which]

    # A ray d meets the triangle (a, b, c) with weights proportional to d.(b x c), d.(c x a), d.(a x b).
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    edges = np.stack([np.cross(b, c), np.cross(c, a), np.cross(a, b)], axis=1)  # [F, 3, 3]
    weights = np.einsum("pkc,pc->pk", edges[which], rays[pixel])
    total = weights.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = np.einsum("fc,fc->f", a, edges[:, 0])[which] / total
        weights = weights / total[:, None]
    keep = np.flatnonzero((weights >= 0).all(axis=1) & (distance > 0) & np.isfinite(distance))
    order = keep[np.lexsort((distance[keep], pixel[keep]))]
    nearest = order[np.flatnonzero(np.diff(pixel[order], prepend=-1))]  # the first of each pixel's run

    triangle = np.full(len(rays), -1, np.int32)
    depth, corner_weights = np.full(len(rays), np.inf, np.float32), np.zeros((len(rays), 3), np.float32)
    triangle[pixel[nearest]] = visible[which[nearest]]
    depth[pixel[nearest]] = distance[nearest]
    corner_weights[pixel[nearest]] = weights[nearest]
    return Hits(triangle, depth, corner_weights)


class Scene:
    """A mesh made ready for several pictures, or for rays through some pixels of one."""

    def __init__(self, vertices: np.ndarray, faces: np.ndarray, caster=None):
        """vertices float32 [V, 3], faces int32 [F, 3]; caster: `cast_embree` or `cast_zbuffer`, or the faster one."""
        self._caster = caster or (cast_embree if HAVE_EMBREE else cast_zbuffer)
        self._mesh = vertices, faces
        self._built = None
        if self._caster is cast_embree:
            self._built = embree.Mesh(vertices, faces) if embree.library() else _built(vertices, faces)

    def cast(self, label, size: int, pixels=None, shifts=((0.0, 0.0),)) -> tuple[np.ndarray, np.ndarray, Hits]:
        """Origin [3], unit directions [P, 3] and first hits of the rays through pixels of a camera's picture.

        pixels: row-major numbers, or all; shifts: (right, down) of the rays from the pixels' centres, in pixels. All
        rays of a pixel come one after the other.
        """
        label = np.asarray(label, np.float64).reshape(-1)
        if pixels is None:
            pixels = np.arange(size * size)
        if self._built is not None:
            row = np.floor((pixels + 0.5) / size)
            column = pixels - size * row
            places = [(axis[:, None] + 0.5 + np.array(shifts)[:, k]).ravel() for k, axis in enumerate((column, row))]
            origin, directions = _rays_through(label, *(place.astype(np.float32) for place in places), size)
            return origin, directions, _ask(self._built, origin, directions)
        casts = [self._picture(label, size, shift) for shift in shifts]
        directions = np.stack([directions[pixels] for _, directions, _ in casts], axis=1)
        columns = ([vars(hits)[f][pixels] for *_, hits in casts] for f in ("triangle", "distance", "weights"))
        triangle, distance, weights = (np.stack(column, axis=1) for column in columns)
        hits = Hits(triangle.ravel(), distance.ravel(), weights.reshape(-1, 3))
        return casts[0][0], directions.reshape(-1, 3), hits

    def _picture(self, label: np.ndarray, size: int, shift) -> tuple[np.ndarray, np.ndarray, Hits]:
        """All rays of a picture, for a caster that needs a square of them."""
        label = label.copy()
        label[[18, 21]] -= np.asarray(shift) / size  # the principal point
        origin, directions = camera_rays(label, size)
        return origin, directions, self._caster(*self._mesh, origin, directions)


def _rays_through(label: np.ndarray, right: np.ndarray, down: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Camera position [3] and unit directions float32 [P, 3] through places (right, down) [P], in pixels; float32."""
    pose, k = label[:16].reshape(4, 4), label[16:25].reshape(3, 3)
    inverse = np.linalg.inv(k)  # pixels -> camera's plane at depth one
    to_world = (pose[:3, :3] @ inverse @ np.diag([1 / size, 1 / size, 1])).astype(np.float32)
    directions = np.empty((len(right), 3), np.float32)
    axes = [across * right + along * down + ahead for across, along, ahead in to_world]
    length = np.sqrt(sum(axis * axis for axis in axes))
    for number, axis in enumerate(axes):
        directions[:, number] = axis / length
    return pose[:3, 3].astype(np.float32), directions


def _boxes(corners: np.ndarray, rays: np.ndarray) -> tuple[np.ndarray, ...]:
    """Bounding boxes in pixels (first row, last row, first column, last column; each [F]) of triangles [F, 3, 3].

    The picture's axes are recovered from its rays: scaled to unit depth, they are an affine function of the pixel.
    """
    size = len(rays)
    basis = np.stack([rays[0, 0], rays[0, -1], rays[-1, 0], rays[-1, -1]], axis=1)  # r00 s0 + r11 s3 = r01 s1 + r10 s2
    scale = np.linalg.svd(basis * np.array([1, -1, -1, 1]))[2][-1]
    scale = scale / scale[0]
    corner, right, below = (basis * scale)[:, 0], (basis * scale)[:, 1], (basis * scale)[:, 2]
    to_pixel = np.linalg.inv(np.stack([right - corner, below - corner, corner], axis=1))
    uvw = corners @ to_pixel.T
    in_front = (uvw[..., 2] > 0).all(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        columns, rows = (uvw[..., k] / uvw[..., 2] * (size - 1) for k in (0, 1))
    boxes = []
    for position in (rows, columns):
        position = np.where(in_front[:, None], position, 0)
        boxes.append(np.clip(np.ceil(position.min(axis=1) - 1e-6), 0, size).astype(np.int64))
        boxes.append(
            np.where(in_front, np.clip(np.floor(position.max(axis=1) + 1e-6), -1, size - 1), -1).astype(np.int64)
        )
    return tuple(boxes)
