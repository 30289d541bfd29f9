"""The density of a generator on a grid, and its surface: `.mrc` volumes, meshes, and meshes with colours.

All are in world units on the world axes of `cameras` (+y up, +z out of the face), which are glTF's axes too. The
published scripts wrote voxel units and turned the volume by 90 degrees.
"""

import io
import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from tqdm import tqdm

from groundwork.draws import Midpoints
from groundwork.files import atomic_write

if TYPE_CHECKING:
    import trimesh

DENSITY_LEVEL = 10.0  # raw sigma (before the softplus) of the published meshes
OUTSIDE = -1000.0  # raw sigma written into the border, so that the surface closes
MRC_HEADER_BYTES = 1024
COLOURED = (".glb", ".obj")
SHAPE_FORMATS = (".mrc", ".ply", ".stl", *COLOURED)


@dataclass(frozen=True)
class ShapeOptions:
    """How the shape of a head is written. `largest_piece`: without what floats beside the head's surface."""

    resolution: int = 512  # voxels per side
    ending: str = ".mrc"  # one of SHAPE_FORMATS
    level: float = DENSITY_LEVEL
    largest_piece: bool = False

    def __post_init__(self):
        if self.largest_piece and self.ending == ".mrc":
            meshes = ", ".join(ending for ending in SHAPE_FORMATS if ending != ".mrc")
            raise ValueError(f"--largest-piece: a volume (.mrc) has no pieces; give a --shape-format of {meshes}")


def grid_points(start: int, stop: int, resolution: int, side: float) -> torch.Tensor:
    """World positions [stop - start, 3] of the voxels with flat indices start..stop-1; x slowest, z fastest.

    The corner voxels lie on the corners of the cube. Index arithmetic stays in integers: in float32 a grid of more than
    2^24 voxels cannot number them, and a division without floor shears the grid by up to a voxel.
    """
    flat = torch.arange(start, stop, dtype=torch.int64)
    index = torch.stack([flat // resolution**2, flat // resolution % resolution, flat % resolution], dim=1)
    return (index.double() * (side / (resolution - 1)) - side / 2).float()


@torch.no_grad()
def density_grid(
    field, resolution: int, side: float, chunk: int = 1_000_000, device="cpu", progress: str | None = None
) -> np.ndarray:
    """Raw densities [x, y, z] of a cube round the world origin, float32, with the border set to OUTSIDE.

    Args:
        field: points [P, 3] -> raw sigma [P].
        resolution: voxels per side, at least 4.
        side: length of the cube in world units; the generator's box_warp.
        chunk: points asked for at a time.
    The border is 30 voxels in 256 wide, as published, where stray density collects; at least one voxel.
    """
    if resolution < 4:
        raise ValueError(f"--shape-res={resolution} is too small for a shape; use at least 4, for example 128")
    total = resolution**3
    values = np.empty(total, dtype=np.float32)
    with tqdm(total=total, desc=progress, unit="voxel", unit_scale=True, disable=progress is None) as bar:
        for start in range(0, total, chunk):
            stop = min(start + chunk, total)
            values[start:stop] = field(grid_points(start, stop, resolution, side).to(device)).float().cpu().numpy()
            bar.update(stop - start)
    volume = values.reshape(resolution, resolution, resolution)
    border = max(1, 30 * resolution // 256)
    for axis in range(3):
        faces = np.moveaxis(volume, axis, 0)
        faces[:border] = faces[-border:] = OUTSIDE
    return volume


def generator_field(G, ws: torch.Tensor):
    """The raw density of one latent ws [1, num_ws, w_dim] as a function of points [P, 3] -> [P]."""
    planes = G.planes(ws, noise_mode="const", draws=Midpoints())
    return lambda points: G.query(planes, points[None], Midpoints())["sigma"][0, :, 0]


@torch.no_grad()
def vertex_colors(G, ws: torch.Tensor, vertices: np.ndarray, chunk: int = 1_000_000) -> np.ndarray:
    """Colours [V, 3] in 0..1 (sRGB) that the latent ws [1, num_ws, w_dim] has at world points [V, 3].

    The first three of the field's channels are the colours of `image_raw`, as they are before super-resolution.
    """
    points = torch.as_tensor(np.asarray(vertices), dtype=torch.float32, device=ws.device)
    parts, planes = [], G.planes(ws, noise_mode="const", draws=Midpoints())
    for part in points.split(chunk):
        out = G.query(planes, part[None], Midpoints())
        parts.append(out["rgb"][0, :, :3].float().clamp(0, 1).cpu())
    return torch.cat(parts).numpy() if parts else np.zeros((0, 3), dtype=np.float32)


def write_shape(stem: Path, G, ws: torch.Tensor, options: ShapeOptions, progress: str | None = None) -> None:
    """The shape of one latent ws [1, num_ws, w_dim] as the file `stem` + `options.ending`."""
    path, write = stem.with_name(stem.name + options.ending), WRITERS[options.ending]
    if missing := [name for name in ("options", "planes", "query") if not hasattr(G, name)]:
        raise ValueError(f"a {type(G).__name__} has no shape to write (it lacks {', '.join(missing)})")
    side = G.options.box_warp
    volume = density_grid(generator_field(G, ws), options.resolution, side, device=ws.device, progress=progress)
    if options.ending == ".mrc":
        return write(path, volume, side)
    mesh = surface(volume, side, options.level)
    if options.largest_piece:
        mesh = largest_piece(mesh)
    return write(path, mesh, vertex_colors(G, ws, mesh.vertices)) if options.ending in COLOURED else write(path, mesh)


def surface(volume: np.ndarray, side: float, level: float = DENSITY_LEVEL) -> "trimesh.Trimesh":
    """Mesh where the density crosses `level`, in world units, faces wound outward.

    Raises ValueError where there is no such surface.
    """
    import trimesh  # here: both take a second, and pictures without shapes do without
    from skimage.measure import marching_cubes

    inside = volume[volume > OUTSIDE]
    if not inside.size or not inside.min() < level < inside.max():
        seen = f"{inside.min():.3g} to {inside.max():.3g}" if inside.size else "nothing"
        raise ValueError(f"--shape-level={level:g}: no surface there, the density spans {seen}; choose a level inside")
    vertices, faces, _, _ = marching_cubes(volume, level, gradient_direction="ascent")
    spacing = side / (len(volume) - 1)
    mesh = trimesh.Trimesh(vertices * spacing - side / 2, faces, process=False)
    if mesh.volume < 0:
        mesh.invert()
    return mesh


def largest_piece(mesh: "trimesh.Trimesh") -> "trimesh.Trimesh":
    """The connected piece with the largest surface; a head may float among crumbs of density, and be hollow."""
    return max(mesh.split(only_watertight=False), key=lambda piece: piece.area)


def write_ply(path: Path, mesh: "trimesh.Trimesh") -> None:
    """Binary PLY, written atomically."""
    atomic_write(path, mesh.export(file_type="ply"))


def write_stl(path: Path, mesh: "trimesh.Trimesh") -> None:
    """Binary STL, which has neither colours nor shared vertices, written atomically."""
    atomic_write(path, mesh.export(file_type="stl"))


def write_obj(path: Path, mesh: "trimesh.Trimesh", colors: np.ndarray) -> None:
    """OBJ with a colour (sRGB [V, 3] in 0..1) after each vertex, as Blender and MeshLab read it; written atomically."""
    import trimesh

    coloured = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False, vertex_colors=colors)
    text = coloured.export(file_type="obj", header="A surface in world units: +y up, +z out of the face")
    atomic_write(path, text.encode())


def write_glb(path: Path, mesh: "trimesh.Trimesh", colors: np.ndarray) -> None:
    """glTF 2.0 binary with smooth normals and a colour at each vertex (sRGB [V, 3] in 0..1), written atomically.

    By hand, because glTF wants linear colours, and a mesh library would round these to 8 bits: bands in dark hair.
    """
    linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    vertices = mesh.vertices.astype("<f4")
    data = [vertices, mesh.vertex_normals.astype("<f4"), linear.astype("<f4"), mesh.faces.astype("<u4").reshape(-1)]
    attribute = {"bufferView": 0, "componentType": 5126, "count": len(vertices), "type": "VEC3"}  # float32
    ends = np.cumsum([part.nbytes for part in data]).tolist()
    header = {
        "asset": {"version": "2.0", "generator": "Gaze-Corrected EG3D"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [
            {"primitives": [{"attributes": {"POSITION": 0, "NORMAL": 1, "COLOR_0": 2}, "indices": 3, "material": 0}]}
        ],
        "materials": [{"pbrMetallicRoughness": {"metallicFactor": 0, "roughnessFactor": 1}}],
        "accessors": [
            attribute | {"min": vertices.min(axis=0).tolist(), "max": vertices.max(axis=0).tolist()},
            attribute | {"bufferView": 1},
            attribute | {"bufferView": 2},
            {"bufferView": 3, "componentType": 5125, "count": len(data[3]), "type": "SCALAR"},  # uint32
        ],
        "bufferViews": [
            {"buffer": 0, "byteOffset": end - part.nbytes, "byteLength": part.nbytes, "target": target}
            for part, end, target in zip(data, ends, (34962, 34962, 34962, 34963), strict=True)  # vertices; indices
        ],
        "buffers": [{"byteLength": ends[-1]}],
    }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 4)
    body = b"".join(part.tobytes() for part in data)  # a multiple of 4 as it is
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(body), b"BIN\0") + body
    atomic_write(path, struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks)


def write_mrc(path: Path, volume: np.ndarray, side: float) -> None:
    """Volume [x, y, z] as MRC2014, mode 2 (float32), with its place in the world; written atomically.

    Cell size and origin are stored in units of the world, where the format expects angstroms.
    """
    nx, ny, nz = volume.shape
    spacing = side / (nx - 1)
    header = bytearray(MRC_HEADER_BYTES)
    struct.pack_into("<4i", header, 0, nx, ny, nz, 2)  # columns, rows, sections, mode
    struct.pack_into("<3i", header, 28, nx, ny, nz)  # intervals along the cell
    struct.pack_into("<6f", header, 40, nx * spacing, ny * spacing, nz * spacing, 90, 90, 90)  # cell, angles
    struct.pack_into("<3i", header, 64, 1, 2, 3)  # columns run along x, rows along y, sections along z
    struct.pack_into("<3f", header, 76, volume.min(), volume.max(), volume.mean(dtype=np.float64))
    struct.pack_into("<i", header, 88, 1)  # space group of a volume
    struct.pack_into("<i", header, 108, 20140)  # format version 2014.0
    struct.pack_into("<3f", header, 196, -side / 2, -side / 2, -side / 2)  # origin
    header[208:216] = b"MAP \x44\x44\x00\x00"  # little endian
    struct.pack_into("<f", header, 216, volume.std(dtype=np.float64))
    struct.pack_into("<i", header, 220, 1)
    label = b"raw density of a tri-plane generator; lengths are world units"
    header[224 : 224 + len(label)] = label
    data = io.BytesIO()
    data.write(header)
    data.write(np.ascontiguousarray(volume.transpose(2, 1, 0), dtype="<f4").data)  # x fastest in the file
    atomic_write(path, data.getbuffer())


WRITERS = {".mrc": write_mrc, ".ply": write_ply, ".stl": write_stl, ".glb": write_glb, ".obj": write_obj}
