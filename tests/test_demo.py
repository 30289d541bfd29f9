"""The demo on a random base model and two training steps: its files, its report, its honesty about what was scored."""

import copy
import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from tiny_networks import tiny_gaze_network

from eg3d.checkpoints.loading import GENERATORS, save_snapshot
from eg3d.config.flags import resolve
from eg3d.config.presets import PRESETS
from eg3d.data.opening import open_dataset
from eg3d.demo import main
from eg3d.geometry.cameras import FFHQ_FOCAL, intrinsics_matrix, lookat_pose, make_label
from eg3d.models.discriminator import DualDiscriminator
from eg3d.models.generator import TriPlaneGenerator
from groundwork.files import sha256
from l2cs.estimator import WORLD_NETWORKS
from l2cs.weights import save_weights

pytestmark = pytest.mark.filterwarnings("ignore:.*mirrored faces")  # the gaze networks here are random


@pytest.fixture
def inputs(tmp_path):
    torch.manual_seed(0)
    preset = copy.deepcopy(PRESETS["embedded"])
    G = TriPlaneGenerator(preset.generator, preset.schedule.raw_resolution_initial)
    base = tmp_path / "base.safetensors"
    save_snapshot(base, {"G_ema": G, "D": DualDiscriminator(preset.discriminator, preset.generator.resolution)}, {})
    for i, name in enumerate(("loss", "judge")):
        save_weights(tmp_path / f"{name}.safetensors", tiny_gaze_network(i))
    data = tmp_path / "faces"
    data.mkdir()
    labels = make_label(lookat_pose(torch.linspace(-0.4, 0.4, 16), 0.0), intrinsics_matrix(FFHQ_FOCAL))
    rng, names = np.random.default_rng(0), [f"img{i:08d}.png" for i in range(16)]
    for name in names:
        Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(data / name)
    (data / "dataset.json").write_text(json.dumps({"labels": list(zip(names, labels.tolist(), strict=True))}))
    return tmp_path


def run(inputs, outdir, *more):
    files = [f"--network={inputs / 'base.safetensors'}", f"--data={inputs / 'faces'}"]
    files += [f"--l2cs-path={inputs / 'loss.safetensors'}", f"--judge={inputs / 'judge.safetensors'}"]
    return CliRunner().invoke(
        main, [*files, f"--outdir={outdir}", "--kimg=0.032", "--seeds=0,5", "--device=cpu", *more]
    )


def test_demo_writes_pictures_and_a_report_that_says_what_was_scored(inputs):
    outdir = inputs / "out"
    result = run(inputs, outdir)
    assert result.exit_code == 0, result.output + result.stderr
    report = json.loads((outdir / "report.json").read_text())
    for when, file in (("before", inputs / "base.safetensors"), ("after", outdir / "corrected.safetensors")):
        assert report[when]["weights"] == {"file": str(file), "sha256": sha256(file)}
        for network, weights in (("judge", "judge"), ("loss_network", "loss")):
            assert report[when][network]["gaze_network"] == sha256(inputs / f"{weights}.safetensors")
            assert report[when][network]["seeds"] == 2
            assert {"gfas_mse_sum", "gfas_eq1", "gfas_legacy", "slope"} <= set(report[when][network])
    assert report["before"]["judge"]["gfas_mse_sum"] != report["after"]["judge"]["gfas_mse_sum"]
    assert report["training"]["images"] == 32
    assert Image.open(outdir / "heads.png").size == (6 * 128, 2 * 128)
    sheet = Image.open(outdir / "compare.png")
    assert sheet.width >= 5 * 128 and sheet.height >= 4 * 128
    film = Image.open(outdir / "turn.gif")
    assert film.n_frames >= 24
    assert Image.open(outdir / "control.png").size == (5 * 3 * 96, 26 + 2 * 96)
    assert str(outdir / "compare.png") in result.stdout and str(outdir / "control.png") in result.stdout
    assert "->" in result.stdout


def test_demo_stops_training_when_its_time_is_up(inputs, monkeypatch):
    monkeypatch.setattr("eg3d.demo.write_before_after", lambda *_: None)  # hundreds of pictures
    result = run(inputs, inputs / "out", "--kimg=100", "--minutes=0.01")
    assert result.exit_code == 0, result.output + result.stderr
    assert json.loads((inputs / "out" / "report.json").read_text())["training"]["images"] < 1000


def test_demo_refuses_a_judge_that_takes_part_in_the_training(inputs):
    (inputs / "copy.safetensors").write_bytes((inputs / "loss.safetensors").read_bytes())
    result = run(inputs, inputs / "out", f"--judge={inputs / 'copy.safetensors'}")
    assert result.exit_code == 2 and not (inputs / "out").exists()
    assert "copy.safetensors: holds the same weights as --l2cs-path" in result.stderr.splitlines()[-1]


def test_demo_without_its_weights_is_one_line_and_exit_code_2(inputs):
    result = run(inputs, inputs / "out", "--network=gone.safetensors")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: gone.safetensors") and result.stderr.count("\n") == 1


@pytest.mark.parametrize(("world", "name"), [("people", "people"), ("cartoons", "embedded")])
def test_a_world_brings_its_own_networks_data_and_preset(world, name, inputs, monkeypatch):
    monkeypatch.setitem(GENERATORS, f"{name}-base", inputs / "base.safetensors")
    for judge, file in ((name, "loss"), (f"{name}-judge", "judge")):
        monkeypatch.setitem(WORLD_NETWORKS, judge, inputs / f"{file}.safetensors")
    asked = []
    monkeypatch.setattr(
        "eg3d.demo.open_dataset", lambda data, **_: asked.append(data) or open_dataset(inputs / "faces")
    )

    def trained(config, *_, **__):
        raise ValueError(f"{config.preset} {config.data.path} {config.resume}")

    monkeypatch.setattr("eg3d.demo.resolve", lambda cfg, size, **more: resolve(cfg, **more))
    monkeypatch.setattr("eg3d.demo.train", trained)
    result = CliRunner().invoke(main, [f"--world={world}", f"--outdir={inputs / 'out'}", "--seeds=0", "--device=cpu"])
    assert result.exit_code == 2 and asked == [name]
    assert result.stderr.splitlines()[-1] == f"error: {name} {name} {name}-base"
