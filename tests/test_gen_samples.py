import numpy as np
import pytest
import torch
import trimesh
from click.testing import CliRunner
from oracles.mrc import read_mrc
from PIL import Image
from tiny_networks import tiny_generator

from eg3d.checkpoints.loading import save_snapshot
from eg3d.gen_samples import main
from eg3d.pictures.shapes import OUTSIDE
from eg3d.pictures.views import render_views


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    path = tmp_path_factory.mktemp("network") / "tiny.safetensors"
    save_snapshot(path, {"G_ema": tiny_generator()}, {})
    return path


def run(*args):
    return CliRunner().invoke(main, [str(a) for a in args])


def test_samples_are_three_views_side_by_side_named_after_their_seed(network, tmp_path):
    result = run("--network", network, "--seeds=0,7", f"--outdir={tmp_path}", "--device=cpu")
    assert result.exit_code == 0, result.output
    assert sorted(p.name for p in tmp_path.iterdir()) == ["seed0000.png", "seed0007.png"]
    pixels = np.asarray(Image.open(tmp_path / "seed0007.png"))
    assert pixels.shape == (32, 96, 3)
    image = next(iter(render_views(tiny_generator(), [7]))).images[2].permute(1, 2, 0)
    expected = (image * 127.5 + 128).clamp(0, 255).to(torch.uint8).numpy()
    assert np.abs(pixels[:, 64:].astype(int) - expected).max() <= 1


def test_same_command_writes_the_same_bytes_whatever_the_batch(network, tmp_path):
    for folder, batch in (("a", 1), ("b", 4)):
        result = run("--network", network, "--seeds=1-3", f"--outdir={tmp_path / folder}", f"--batch={batch}")
        assert result.exit_code == 0, result.output
    for name in ("seed0001.png", "seed0003.png"):
        pixels = [np.asarray(Image.open(tmp_path / folder / name)).astype(int) for folder in "ab"]
        assert np.abs(pixels[0] - pixels[1]).max() <= 1


def test_field_of_view_is_a_float_with_the_published_default(network, tmp_path):
    pictures = {}
    for fov in ("18.837", "18.8", "12.5", None):
        args = [] if fov is None else [f"--fov-deg={fov}"]
        result = run("--network", network, "--seeds=0", f"--outdir={tmp_path}", *args)
        assert result.exit_code == 0, result.output
        pictures[fov] = (tmp_path / "seed0000.png").read_bytes()
    assert pictures[None] == pictures["18.837"]
    assert pictures["12.5"] != pictures["18.8"]


def test_shapes_are_written_as_volume_and_as_mesh_in_world_units(network, tmp_path):
    args = ["--network", network, "--seeds=0", f"--outdir={tmp_path}", "--shapes=True", "--shape-res=32"]
    assert run(*args).exit_code == 0
    volume, spacing, origin = read_mrc(tmp_path / "seed0000.mrc")
    assert volume.shape == (32, 32, 32)
    assert spacing == pytest.approx(1 / 31)
    assert origin == (-0.5, -0.5, -0.5)
    inside = volume[volume > OUTSIDE]
    level = float(np.median(inside))
    result = run(*args, "--shape-format=.ply", f"--shape-level={level}")
    assert result.exit_code == 0, result.output
    mesh = trimesh.load(tmp_path / "seed0000.ply")
    assert len(mesh.faces) > 0
    assert np.abs(mesh.vertices).max() <= 0.5
    result = run(*args, "--shape-format=.glb", f"--shape-level={level}")
    assert result.exit_code == 0, result.output
    coloured = trimesh.load(tmp_path / "seed0000.glb", force="mesh", process=False, skip_materials=True)
    assert coloured.faces.shape == mesh.faces.shape
    assert coloured.visual.vertex_colors[:, :3].std() > 1
    result = run(*args, "--shape-format=.ply", "--shape-level=1e6")
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1].startswith("error: --shape-level=1e+06: no surface there")


@pytest.mark.parametrize("form", ["obj", ".stl", "PLY", "glb"])
def test_a_format_is_named_with_or_without_its_dot_and_loose_pieces_are_left_out_on_request(network, tmp_path, form):
    args = ["--network", network, "--seeds=0", "--shapes", "--shape-res=24", "--shape-level=0.05"]
    parts = {}
    for name, more in (("all", []), ("one", ["--largest-piece"])):
        result = run(*args, *more, f"--shape-format={form}", f"--outdir={tmp_path / name}")
        assert result.exit_code == 0, result.stderr
        path = tmp_path / name / f"seed0000.{form.lower().lstrip('.')}"
        parts[name] = trimesh.load(path, force="mesh", process=True).split(only_watertight=False)
    assert len(parts["all"]) > 1 and len(parts["one"]) == 1
    assert parts["one"][0].area == pytest.approx(max(part.area for part in parts["all"]), rel=1e-4)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"--largest-piece": None}, "--largest-piece: no shape is asked for"),
        ({"--shapes": "True", "--largest-piece": None}, "a volume (.mrc) has no pieces"),
        ({"--shape-format": "dae"}, "'.dae' is not one of '.mrc', '.ply', '.stl', '.glb', '.obj'"),
        ({"--network": "nowhere.safetensors"}, "nowhere.safetensors"),
        ({"--seeds": "3-1"}, "range 3-1 runs backwards"),
        ({"--seeds": "a"}, "'a' is not a list of seeds"),
        ({"--fov-deg": "wide"}, "--fov-deg"),
        ({"--outdir": __file__}, "outdir"),
        ({"--outdir": __file__ + "/below"}, "test_gen_samples.py"),
        ({"--shape-res": "2"}, "--shape-res"),
    ],
)
def test_bad_input_is_one_line_that_names_it_and_exit_code_2(network, tmp_path, change, named):
    options = {"--network": network, "--seeds": "0", "--outdir": tmp_path / "out"} | change
    result = run(*(name if value is None else f"{name}={value}" for name, value in options.items()))
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
    assert named in result.stderr
