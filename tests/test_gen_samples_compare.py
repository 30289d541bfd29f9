"""Two generators side by side: pictures, scores, the page."""

import json
import re

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from tiny_networks import (
    generator_of,
    tiny_estimator,
    tiny_eye_field,
    tiny_gaze_network,
    tiny_generator,
    tiny_generator_kwargs,
)

from eg3d.checkpoints.loading import save_snapshot
from eg3d.gen_samples_compare import main
from eg3d.metrics.gfas import gaze_face_alignment
from eg3d.pictures.layout import to_uint8
from eg3d.pictures.views import render_views
from groundwork.files import sha256
from l2cs.weights import save_weights

pytestmark = pytest.mark.filterwarnings("ignore:.*mirrored faces")  # the gaze networks here are random


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    save_weights(folder / "gaze.safetensors", tiny_gaze_network(0), half=False)
    trained = {"gaze": {"network_sha256": sha256(folder / "gaze.safetensors")}}
    for name, seed, facts in (("one", 0, {}), ("two", 1, trained)):
        save_snapshot(folder / f"{name}.safetensors", {"G_ema": tiny_generator(seed)}, facts)
    save_snapshot(folder / "field.safetensors", {"G_ema": tiny_eye_field(tiny_generator(0))}, {})
    larger = generator_of(**tiny_generator_kwargs() | {"img_resolution": 64}).eval()
    save_snapshot(folder / "larger.safetensors", {"G_ema": larger}, {})
    return folder


def run(files, outdir, *more, second="two"):
    options = [f"--network={files / 'one.safetensors'}", f"--network2={files / second}.safetensors"]
    options += [f"--l2cs-path={files / 'gaze.safetensors'}", "--seeds=0,3-5,8", f"--outdir={outdir}", "--device=cpu"]
    return CliRunner().invoke(main, [*options, *more])


def assert_refused(result, text):
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
    assert text in result.stderr


@pytest.mark.parametrize("batch", [2, 5])
def test_every_view_is_a_picture_with_the_first_network_left_and_the_second_right(files, tmp_path, batch):
    result = run(files, tmp_path, f"--batch={batch}")
    assert result.exit_code == 0, result.output + result.stderr
    names = {f"seed{seed:04d}_compare_{i}.png" for seed in (0, 3, 4, 5, 8) for i in range(3)}
    assert {p.name for p in tmp_path.iterdir()} == names | {"compare.png"}
    for seed, i in ((0, 0), (8, 2)):
        pixels = np.asarray(Image.open(tmp_path / f"seed{seed:04d}_compare_{i}.png")).astype(int)
        assert pixels.shape == (32, 64, 3)
        for half, network in enumerate((0, 1)):
            images = next(render_views(tiny_generator(network), [seed])).images
            assert np.abs(pixels[:, 32 * half : 32 * half + 32] - to_uint8(images)[i]).max() <= 1
    assert Image.open(tmp_path / "compare.png").height == 2 * 26 + 28 + 4 * (2 * (128 + 3) + 12)  # the first four heads


def test_a_network_whose_gaze_can_be_set_gets_a_sheet_of_gazes(files, tmp_path):
    result = run(files, tmp_path, second="field")
    assert result.exit_code == 0, result.output + result.stderr
    assert not (tmp_path / "gaze.png").exists()  # of --network, whose gaze nobody can set
    assert Image.open(tmp_path / "gaze2.png").size == (5 * 3 * 96, 26 + 4 * 96)
    assert str(tmp_path / "gaze2.png") in result.stdout


def test_each_network_gets_its_own_scores_with_a_record_of_every_seed(files, tmp_path):
    result = run(files, tmp_path, f"--json={tmp_path / 'x.json'}")
    assert result.exit_code == 0, result.output + result.stderr
    written = json.loads((tmp_path / "x.json").read_text())
    for flag, network, name in (("network", 0, "one"), ("network2", 1, "two")):
        direct = gaze_face_alignment(render_views(tiny_generator(network), [0, 3, 4, 5, 8]), tiny_estimator(0))
        assert written[flag]["gfas_mse_sum"] == pytest.approx(direct.gfas_mse_sum, abs=1e-5)
        assert written[flag]["per_seed_mse_sum"].keys() == {"0", "3", "4", "5", "8"}
        assert written[flag]["sha256"] == sha256(files / f"{name}.safetensors")
        assert f"{name}.safetensors: GFAS {direct.gfas_mse_sum:.4f}" in result.stdout
    warned = [line for line in result.stderr.splitlines() if line.startswith("warning")]
    assert len(warned) == 1 and "two.safetensors was trained against --l2cs-path" in warned[0]


def test_the_page_is_written_on_request_and_says_what_is_left_out(files, tmp_path):
    page = tmp_path / "deep" / "page.html"
    result = run(files, tmp_path, f"--report={page}", "--report-seeds=3")
    assert result.exit_code == 0, result.output + result.stderr
    lines = [line for line in result.stdout.splitlines() if "Frechet" in line]
    assert len(lines) == 1 and "--scores=FILE" in lines[0]
    data = json.loads(re.search(r'id="data">(.*?)</script>', page.read_text(), re.DOTALL)[1])
    assert [network["name"] for network in data["networks"]] == ["one", "two"]
    assert len(data["heads"]) == 3 and data["frechet"] is None
    assert data["facts"][str(files / "two.safetensors")] == f"sha256 {sha256(files / 'two.safetensors')}"


def test_scores_of_both_networks_reach_the_page(files, tmp_path):
    for name, value in (("one", 10.0), ("two", 12.5)):
        record = {"metric": "fid2k_full", "results": {"fid2k_full": value}, "standard_errors": {"fid2k_full": 0.5},
                  "directions": {"fid2k_full": "lower is better"},
                  "network_sha256": sha256(files / f"{name}.safetensors")}  # fmt: skip
        (tmp_path / f"{name}.json").write_text(json.dumps({"metrics": [record]}))
    page = tmp_path / "page.html"
    scores = [f"--scores={tmp_path / name}.json" for name in ("two", "one")]
    result = run(files, tmp_path / "out", f"--report={page}", "--report-seeds=1", *scores)
    assert result.exit_code == 0, result.output + result.stderr
    assert "Frechet" not in result.stdout
    data = json.loads(re.search(r'id="data">(.*?)</script>', page.read_text(), re.DOTALL)[1])
    assert data["frechet"] == {"name": "fid2k_full", "values": [[10, 0.5, "lower"], [12.5, 0.5, "lower"]]}
    assert data["scores"][-1]["values"] == [[10, 0.5], [12.5, 0.5]]


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (["--network2=nowhere.safetensors"], "nowhere.safetensors"),
        (["--seeds=1,1"], "the seed 1 is given twice"),
        ([f"--outdir={__file__}"], "--outdir"),
        ([f"--report={__file__}/x.html"], "--report"),
        (["--scores=nowhere.json"], "nowhere.json"),
        ([f"--scores={__file__}"], "holds no scores"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(files, tmp_path, more, text):
    assert_refused(run(files, tmp_path / "out", *more), text)
    assert not (tmp_path / "out").exists()


def test_networks_of_different_size_are_refused_with_both_sizes(files, tmp_path):
    result = run(files, tmp_path / "out", second="larger")
    assert_refused(result, "draws 32 px")
    assert "64 px" in result.stderr and not (tmp_path / "out").exists()
