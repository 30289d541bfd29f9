import json

import pytest
from click.testing import CliRunner
from tiny_networks import tiny_estimator, tiny_gaze_network, tiny_generator

from eg3d.calc_gfas import main
from eg3d.checkpoints.loading import save_snapshot
from eg3d.metrics.gfas import gaze_face_alignment
from eg3d.pictures.views import render_views
from groundwork.files import sha256
from l2cs.weights import save_weights

pytestmark = pytest.mark.filterwarnings("ignore:.*mirrored faces")  # the gaze networks here are random


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A generator trained against gaze network `a`, and two gaze networks."""
    folder = tmp_path_factory.mktemp("weights")
    save_weights(folder / "a.safetensors", tiny_gaze_network(0), {"painted_eyes_slope": 0.04}, half=False)
    save_weights(folder / "b.safetensors", tiny_gaze_network(1), half=False)
    facts = {"gaze": {"network_sha256": sha256(folder / "a.safetensors")}}
    save_snapshot(folder / "G.safetensors", {"G_ema": tiny_generator()}, facts)
    return folder


def run(folder, *args):
    network = f"--network={folder / 'G.safetensors'}"
    return CliRunner().invoke(main, [network, f"--l2cs-path={folder / 'a.safetensors'}", "--seeds=0-4", *args])


def test_scores_of_both_networks_are_printed_and_written(files, tmp_path):
    judge = files / "b.safetensors"
    result = run(files, f"--judge={judge}", f"--json={tmp_path / 'gfas.json'}", "--batch=2")
    assert result.exit_code == 0, result.output
    written = json.loads((tmp_path / "gfas.json").read_text())
    direct = gaze_face_alignment(render_views(tiny_generator(), range(5)), tiny_estimator(1))
    assert written["judge"]["gfas_mse_sum"] == pytest.approx(direct.gfas_mse_sum, abs=1e-4)
    assert written["judge"]["gaze_network"] == sha256(judge)
    assert written["l2cs_path"]["seeds"] == 5
    assert written["l2cs_path"]["slope_painted_eyes"] == 0.04
    assert f"{direct.gfas_mse_sum:.3f}" in result.stdout
    assert "slope, eyes painted over    0.040" in result.stdout
    assert "slope, eyes painted over    not measured" in result.stdout


def test_scoring_with_the_network_of_the_training_warns_in_one_line(files):
    warned = [line for line in run(files).stderr.splitlines() if line.startswith("warning")]
    assert len(warned) == 1 and "a.safetensors; let another judge it" in warned[0]
    other = CliRunner().invoke(
        main, [f"--network={files / 'G.safetensors'}", f"--l2cs-path={files / 'b.safetensors'}", "--seeds=0"]
    )
    assert other.exit_code == 0, other.output
    assert "warning" not in other.stderr


def test_a_single_seed_has_no_standard_error(files):
    result = run(files, "--seeds=3")
    assert result.exit_code == 0, result.output
    assert "1 seeds x 3 views" in result.stdout and "+-" not in result.stdout


def test_field_of_view_is_a_float(files):
    assert run(files, "--fov-deg=18.8").exit_code == 0


def test_missing_or_wrong_files_are_one_line_and_exit_code_2(files, tmp_path):
    (tmp_path / "empty.pkl").write_bytes(b"")
    for bad in (tmp_path / "none.pkl", tmp_path / "empty.pkl", files / "G.safetensors"):
        result = run(files, f"--judge={bad}")
        assert result.exit_code == 2
        assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
        assert bad.name in result.stderr
