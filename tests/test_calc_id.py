import json

import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from tiny_networks import tiny_generator

from eg3d import calc_id
from eg3d.checkpoints.loading import save_snapshot
from eg3d.metrics import identity
from eg3d.metrics.iresnet import Architecture, IResNet
from eg3d.metrics.network_file import save_network
from eg3d.world.rendered_sets import write_faces


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny generator and a tiny identity network."""
    folder = tmp_path_factory.mktemp("weights")
    save_snapshot(folder / "G.safetensors", {"G_ema": tiny_generator()}, {})
    torch.manual_seed(0)
    network = IResNet(Architecture((1, 1, 1, 1), (16, 16, 16, 16), input_size=16, embedding=16))
    save_network(folder / "identity.safetensors", identity.KIND, network, {})
    return folder


@pytest.fixture
def run(folder, monkeypatch, tmp_path):
    monkeypatch.setitem(identity.WORLD_FILES, "embedded", folder / "identity.safetensors")

    def run(*args):
        path = tmp_path / "id.json"
        arguments = [f"--network={folder / 'G.safetensors'}", "--landmarks=template", f"--json={path}", *args]
        result = CliRunner().invoke(calc_id.main, arguments)
        return result, json.loads(path.read_text()) if path.exists() else None

    return run


def test_score_is_printed_and_written(run):
    result, written = run("--num-gen=3", "--batch=2")
    assert result.exit_code == 0, result.output
    assert f"identity similarity   {written['id_similarity_mean']:.4f} +- " in result.stdout
    assert (written["id_pairs"], written["id_failed"]) == (3, 0)
    assert written["landmarks"] == "template embedded" and written["identity_network"] == "embedded v1"
    assert len(written["identity_sha256"]) == 64 and written["seed"] == 0


def test_seeds_keep_their_cameras_in_whatever_company(run):
    _, many = run("--seeds=0-3")
    _, one = run("--seeds=2")
    _, other = run("--seeds=2", "--seed=1")
    assert one["per_seed"]["2"] == pytest.approx(many["per_seed"]["2"], abs=1e-4)
    assert other["per_seed"]["2"] != one["per_seed"]["2"]


def test_pictures_are_written_under_the_published_names_and_points_found_on_them_are_used(run, tmp_path):
    result, _ = run("--seeds=1,2", f"--outdir={tmp_path / 'o'}")
    assert result.exit_code == 0, result.output
    files = sorted(file.name for file in (tmp_path / "o" / "arcface").iterdir())
    assert files == ["sample0001_0.png", "sample0001_1.png", "sample0002_0.png", "sample0002_1.png"]
    with (
        Image.open(tmp_path / "o" / "arcface" / files[0]) as first,
        Image.open(tmp_path / "o" / "arcface" / files[1]) as second,
    ):
        assert first.size == (32, 32) and first.tobytes() != second.tobytes()
    points = [[10, 12], [20, 12], [15, 16], [11, 22], [19, 22]]
    (tmp_path / "p.json").write_text(json.dumps({name: points for name in files[:3]}))
    result, written = run("--seeds=1,2", f"--landmarks={tmp_path / 'p.json'}")
    assert (written["id_pairs"], written["id_failed"], written["landmarks"]) == (1, 1, "file p.json")


def test_cameras_of_a_data_set_can_be_drawn(run, tmp_path):
    faces = tmp_path / "faces.zip"
    write_faces(faces, 3, size=16)
    result, written = run("--seeds=1,2", f"--data={faces}")
    assert result.exit_code == 0, result.output
    assert written["cameras"] == str(faces) and written["per_seed"] != run("--seeds=1,2")[1]["per_seed"]


def test_what_a_user_gets_wrong_is_one_line(run, tmp_path):
    (tmp_path / "empty.pth").write_bytes(b"")
    for args in (
        ["--arcface-weights=none.pth"], [f"--arcface-weights={tmp_path / 'empty.pth'}"], ["--landmarks=none.json"],
        ["--seeds=3,3"], ["--data=none.zip"], ["--num-gen=0"], [f"--outdir={tmp_path / 'empty.pth'}"],
        ["--num-gen=3", "--seeds=1"],
    ):  # fmt: skip
        result, written = run(*args)
        assert result.exit_code == 2, args
        assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1 and written is None
