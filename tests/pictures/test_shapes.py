import json
import struct

import numpy as np
import pytest
import torch
import trimesh
from oracles.mrc import read_mrc
from tiny_networks import tiny_eye_field, tiny_generator

from eg3d.geometry.head_gaze import Aim
from eg3d.pictures.shapes import (
    OUTSIDE,
    density_grid,
    generator_field,
    grid_points,
    largest_piece,
    surface,
    vertex_colors,
    write_glb,
    write_mrc,
    write_obj,
    write_ply,
    write_stl,
)
from eg3d.pictures.views import ws_of_seeds
from groundwork.draws import Midpoints

CENTRE, RADIUS = (0.1, -0.05, 0.2), 0.4


def sphere(points):
    """Density that passes level 10 on a sphere of RADIUS round CENTRE."""
    return 10 + 40 * (RADIUS - (points - torch.tensor(CENTRE)).norm(dim=1))


def test_grid_spans_the_cube_with_x_slowest_and_splits_into_chunks_exactly():
    points = grid_points(0, 125, 5, 2.0)
    assert points[0].tolist() == [-1, -1, -1]
    assert points[1].tolist() == [-1, -1, -0.5]
    assert points[5].tolist() == [-1, -0.5, -1]
    assert points[-1].tolist() == [1, 1, 1]
    assert torch.equal(torch.cat([grid_points(0, 7, 5, 2.0), grid_points(7, 125, 5, 2.0)]), points)


def test_grid_numbers_the_last_voxel_of_512_cubed():
    last = grid_points(512**3 - 2, 512**3, 512, 1.0)
    assert last[1].tolist() == pytest.approx([0.5, 0.5, 0.5])
    assert last[0].tolist() == pytest.approx([0.5, 0.5, 0.5 - 1 / 511])


def test_density_does_not_depend_on_the_chunk_and_its_border_is_closed():
    whole, chunked = (density_grid(sphere, 16, 2.0, chunk=n) for n in (10**6, 77))
    assert np.array_equal(whole, chunked)
    for face in (whole[0], whole[-1], whole[:, 0], whole[:, -1], whole[..., 0], whole[..., -1]):
        assert (face == OUTSIDE).all()
    assert (whole[1:-1, 1:-1, 1:-1] > OUTSIDE).all()


@pytest.mark.parametrize(("resolution", "border"), [(4, 1), (8, 1), (64, 7), (128, 15)])
def test_border_is_the_published_one_and_never_the_whole_grid(resolution, border):
    volume = density_grid(lambda p: torch.zeros(len(p)), resolution, 1.0)
    assert int((volume[:, resolution // 2, resolution // 2] == OUTSIDE).sum()) == 2 * border


def test_surface_of_a_sphere_has_its_radius_and_centre_in_world_units(tmp_path):
    mesh = surface(density_grid(sphere, 64, 2.0), 2.0)
    write_ply(tmp_path / "ball.ply", mesh)
    read = trimesh.load(tmp_path / "ball.ply")
    assert read.center_mass == pytest.approx(CENTRE, abs=2e-3)
    distances = np.linalg.norm(read.vertices - CENTRE, axis=1)
    assert distances.min() > RADIUS - 4e-3 and distances.max() < RADIUS + 4e-3
    assert read.is_watertight
    assert read.volume == pytest.approx(4 / 3 * np.pi * RADIUS**3, rel=0.01)  # positive: faces point outward


def test_a_level_outside_the_density_says_which_levels_there_are():
    volume = density_grid(lambda p: p[:, 0], 16, 2.0)
    with pytest.raises(ValueError, match=r"--shape-level=10: no surface there, the density spans -0.8\d* to 0.8"):
        surface(volume, 2.0)


def test_mrc_round_trip_and_header(tmp_path):
    volume = np.random.default_rng(0).normal(size=(5, 6, 7)).astype(np.float32)
    path = tmp_path / "a.mrc"
    write_mrc(path, volume, 2.0)
    data = path.read_bytes()
    assert len(data) == 1024 + 4 * 5 * 6 * 7
    assert struct.unpack_from("<4i", data) == (5, 6, 7, 2)
    assert struct.unpack_from("<3i", data, 64) == (1, 2, 3)
    assert data[208:212] == b"MAP "
    assert struct.unpack_from("<f", data, 1024 + 4)[0] == volume[1, 0, 0]  # x is fastest in the file
    read, spacing, origin = read_mrc(path)
    assert np.array_equal(read, volume)
    assert spacing == pytest.approx(2.0 / 4)
    assert origin == (-1, -1, -1)


def test_density_of_a_generator_is_the_same_every_time_and_belongs_to_its_latent():
    G = tiny_generator()
    ws = ws_of_seeds(G, [0, 1])
    torch.manual_seed(0)
    first = density_grid(generator_field(G, ws[:1]), 8, 1.0)
    torch.manual_seed(1)
    assert np.array_equal(first, density_grid(generator_field(G, ws[:1]), 8, 1.0))
    assert not np.allclose(first, density_grid(generator_field(G, ws[1:]), 8, 1.0))


def test_a_shape_has_the_eyes_that_were_asked_for_in_colour_and_in_density():
    base = tiny_generator()
    G, ws = tiny_eye_field(base), ws_of_seeds(base, [0])
    centres = G.planes(ws, "const", Midpoints()).centres[0].numpy()
    vertices = np.concatenate([centres, centres + [0.0, 0.2, 0.0]]).astype(np.float32)
    found = []
    for aim in (Aim(), Aim(yaw=0.5)):
        G.aim = aim
        found.append((vertex_colors(G, ws, vertices), generator_field(G, ws)(torch.from_numpy(vertices))))
    for first, second in zip(*found, strict=True):
        assert (np.asarray(first[:2]) != np.asarray(second[:2])).any()
        assert np.array_equal(first[2:], second[2:])


def read_glb(path):
    """(header, {name: array}) of a .glb with one primitive, read by the format's own rules."""
    data = path.read_bytes()
    magic, version, size = struct.unpack_from("<4sII", data)
    assert (magic, version, size) == (b"glTF", 2, len(data)) and size % 4 == 0
    length, kind = struct.unpack_from("<I4s", data, 12)
    header, start = json.loads(data[20 : 20 + length]), 20 + length
    assert kind == b"JSON" and struct.unpack_from("<I4s", data, start) == (len(data) - start - 8, b"BIN\0")
    primitive, arrays = header["meshes"][0]["primitives"][0], {}
    for name, index in (primitive["attributes"] | {"indices": primitive["indices"]}).items():
        accessor = header["accessors"][index]
        view = header["bufferViews"][accessor["bufferView"]]
        kind, width = {5126: "<f4", 5125: "<u4"}[accessor["componentType"]], {"VEC3": 3, "SCALAR": 1}[accessor["type"]]
        array = np.frombuffer(data, kind, accessor["count"] * width, start + 8 + view["byteOffset"])
        assert array.nbytes == view["byteLength"]
        arrays[name] = array.reshape(-1, width)
    return header, arrays


def test_glb_holds_the_mesh_with_smooth_normals_and_linear_colours(tmp_path):
    mesh = surface(density_grid(sphere, 32, 2.0), 2.0)
    colors = np.tile([1.0, 0.5, 0.02], (len(mesh.vertices), 1))
    write_glb(tmp_path / "ball.glb", mesh, colors)
    header, arrays = read_glb(tmp_path / "ball.glb")
    assert np.allclose(arrays["POSITION"], mesh.vertices) and np.array_equal(
        arrays["indices"].reshape(-1, 3), mesh.faces
    )
    outward = (mesh.vertices - CENTRE) / np.linalg.norm(mesh.vertices - CENTRE, axis=1, keepdims=True)
    assert (arrays["NORMAL"] * outward).sum(axis=1).min() > 0.98
    assert arrays["COLOR_0"][0] == pytest.approx(
        [1, 0.214041, 0.02 / 12.92], abs=1e-5
    )  # by the sRGB standard's formula
    assert header["accessors"][0]["min"] == pytest.approx(mesh.vertices.min(axis=0))
    read = trimesh.load(tmp_path / "ball.glb", force="mesh", process=False, skip_materials=True)
    assert read.center_mass == pytest.approx(CENTRE, abs=5e-3) and read.volume > 0
    assert read.visual.vertex_colors[0, :3] == pytest.approx([255, 55, 0], abs=1)


def test_obj_and_stl_hold_the_same_surface_and_obj_its_colours(tmp_path):
    mesh = surface(density_grid(sphere, 24, 2.0), 2.0)
    colors = np.random.default_rng(0).uniform(size=(len(mesh.vertices), 3))
    write_obj(tmp_path / "ball.obj", mesh, colors)
    write_stl(tmp_path / "ball.stl", mesh)
    lines = (tmp_path / "ball.obj").read_text().splitlines()
    rows = np.array([line.split()[1:] for line in lines if line.startswith("v ")], dtype=float)
    faces = np.array([[p.split("/")[0] for p in line.split()[1:]] for line in lines if line.startswith("f ")], int) - 1
    assert np.allclose(rows[:, :3], mesh.vertices, atol=1e-6) and np.array_equal(faces, mesh.faces)
    assert np.abs(rows[:, 3:] - colors).max() <= 0.5 / 255 + 1e-6
    read = trimesh.load(tmp_path / "ball.stl")
    assert np.allclose(read.triangles, mesh.triangles, atol=1e-6) and read.volume > 0


def test_the_largest_piece_is_the_one_with_most_surface_wherever_it_lies():
    small = 10 + 40 * 0.15

    def two_balls(points):
        return torch.maximum(sphere(points), small - 40 * (points - torch.tensor([-0.6, -0.6, -0.6])).norm(dim=1))

    whole, alone = (surface(density_grid(field, 32, 2.0), 2.0) for field in (two_balls, sphere))
    assert len(whole.vertices) > len(alone.vertices)
    kept = largest_piece(whole)
    assert len(kept.vertices) == len(alone.vertices) and kept.is_watertight
    assert kept.center_mass == pytest.approx(CENTRE, abs=6e-3) and kept.volume > 0


def test_vertices_have_the_colours_of_the_field_in_any_chunk():
    G = tiny_generator()
    ws = ws_of_seeds(G, [0])
    points = np.random.default_rng(0).uniform(-0.4, 0.4, (50, 3))
    whole = vertex_colors(G, ws, points)
    assert whole.shape == (50, 3) and whole.min() >= 0 and whole.max() <= 1 and whole.std() > 1e-3
    assert np.allclose(whole, vertex_colors(G, ws, points, chunk=7), atol=1e-6)
    assert np.allclose(whole[10:11], vertex_colors(G, ws, points[10:11]), atol=1e-6)
    assert vertex_colors(G, ws, np.zeros((0, 3))).shape == (0, 3)
