"""Scripts that score and draw, given what they cannot use: one line, exit code 2, nothing written."""

import json

import pytest
import small_set
import torch
from click.testing import CliRunner
from tiny_networks import tiny_generator

from dataset_preprocessing.ffhq import preprocess_in_the_wild
from eg3d import (
    calc_all,
    calc_gfas,
    calc_id,
    calc_metrics,
    calc_pose,
    gen_good_samples,
    gen_samples,
    gen_samples_compare,
    gen_samples_pose,
    gen_videos,
)
from eg3d.checkpoints.loading import save_snapshot
from groundwork.files import WORLD_WEIGHTS

TOO_LARGE = 10**400  # a number that JSON holds and no float does


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a generator, one that draws NaN, data, pictures, and weights of some other network."""
    folder = tmp_path_factory.mktemp("place")
    G = tiny_generator()
    save_snapshot(folder / "G.safetensors", {"G_ema": G}, {})
    for name, value in G.state_dict().items():
        if name.startswith("decoder") and name.endswith("weight"):
            value.mul_(1e38)  # finite weights, as a checkpoint must have, and pictures that are not
    save_snapshot(folder / "nan.safetensors", {"G_ema": G}, {})
    small_set.write_folder(folder / "data", small_set.members(6, side=32))
    small_set.write_folder(folder / "pictures", [("a.png", small_set.members(1, side=32)[0][1])])
    torch.save({"trunk.conv1.weight": torch.zeros(16, 3, 3, 3), "head.bias": torch.zeros(13)}, folder / "other.pth")
    (folder / "folder").mkdir()
    return folder


@pytest.fixture
def fails(place, tmp_path, monkeypatch):
    """fails(script, options) -> the one line of its error; paths are in `place`, outputs below out/."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(place)

    def run(script, options: str) -> str:
        result = CliRunner().invoke(script.main, options.replace("out/", f"{tmp_path}/out/").split())
        assert result.exit_code == 2, (result.output, result.exception)
        lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1 and result.stderr.endswith(lines[0] + "\n") and not result.stdout
        assert not [file for file in tmp_path.rglob("out/**/*") if file.is_file()]
        return lines[0]

    return run


METRICS = "--network=G.safetensors --data=data --num-gen=6"
ALL = "--network=G.safetensors --data=data --num-gen=6 --seeds=0 --json=out/all.json"
COMPARE = "--network=G.safetensors --network2=G.safetensors --seeds=0 --outdir=out/cmp"
GOOD = "--network=G.safetensors --seeds=0 --outdir=out/good"


@pytest.mark.parametrize("weights", ["other.pth", "safetensors", "folder"])
@pytest.mark.parametrize(
    "script, options, flag",
    [
        (calc_metrics, METRICS, "--inception-weights"),
        (calc_metrics, METRICS + " --detector=embedded --metrics=pr50k3_full", "--vgg-weights"),
        (calc_id, "--network=G.safetensors --num-gen=1", "--arcface-weights"),
        (calc_all, ALL, "--inception-weights"),
        (calc_all, ALL, "--l2cs-path"),
        (calc_gfas, "--network=G.safetensors --seeds=0", "--l2cs-path"),
        (gen_samples_compare, COMPARE, "--l2cs-path"),
        (gen_good_samples, GOOD, "--l2cs-path"),
        (preprocess_in_the_wild, "--indir=pictures --outdir=out/pre", "--recon-weights"),
    ],
)
def test_weights_of_another_network_are_named(fails, script, options, flag, weights):
    if weights == "safetensors":  # a network of ours, for another purpose
        weights = WORLD_WEIGHTS / ("identity.safetensors" if flag == "--l2cs-path" else "gaze_judge.safetensors")
    assert str(weights) in fails(script, f"{options} {flag}={weights}")


@pytest.mark.parametrize(
    "script, options, name",
    [
        (calc_metrics, METRICS + " --detector=embedded", "sample 0"),
        (calc_all, ALL, "seed 0"),
        (calc_gfas, "--network=G.safetensors --l2cs-path=embedded-judge --seeds=4 --json=out/g.json", "seed 4"),
        (calc_id, "--network=G.safetensors --seeds=3 --landmarks=template --json=out/id.json", "seed 3"),
        (gen_samples, "--network=G.safetensors --seeds=0 --outdir=out/samples", "seed 0"),
        (gen_samples_pose, "--network=G.safetensors --seeds=2 --outdir=out/pose", "seed 2"),
        (gen_samples_compare, COMPARE + " --l2cs-path=embedded-judge", "seed 0"),
        (gen_good_samples, GOOD + " --l2cs-path=embedded-judge", "seed 0"),
        (gen_videos, "--network=G.safetensors --seeds=0 --w-frames=2 --outdir=out/film", "frame 0"),
    ],
)
def test_a_generator_that_draws_nan_gets_no_score_and_no_picture(fails, script, options, name):
    line = fails(script, options.replace("--network=G", "--network=nan"))
    assert line == f"error: {name}: the generator draws values that are not finite; give an earlier checkpoint"


def test_numbers_too_large_for_a_float_are_one_line(fails, tmp_path):
    (tmp_path / "points.json").write_text(json.dumps({"a": [[TOO_LARGE, 1]] * 5}))
    line = fails(calc_id, f"--network=G.safetensors --num-gen=1 --landmarks={tmp_path / 'points.json'}")
    assert "'a' must have 5 or 68 points" in line
    (tmp_path / "label.json").write_text(json.dumps({"labels": [["a.png", [TOO_LARGE] * 25]]}))
    line = fails(calc_pose, f"--file1={tmp_path / 'label.json'} --file2={tmp_path / 'label.json'}")
    assert "the label of a.png holds 1" in line and "must be finite" in line
    (tmp_path / "path.json").write_text(json.dumps({"cameras": [[TOO_LARGE, 0]]}))
    assert "is no camera path" in fails(
        gen_videos, f"--network=G.safetensors --seeds=0 --outdir=out/film --camera-path={tmp_path / 'path.json'}"
    )


def test_pictures_are_not_labelled_before_the_options_are_right(fails, monkeypatch):
    monkeypatch.setattr(preprocess_in_the_wild, "run", None)  # no work may begin
    assert "--outdir=G.safetensors/x: cannot be written" in fails(
        preprocess_in_the_wild, "--indir=pictures --outdir=G.safetensors/x"
    )
    line = fails(preprocess_in_the_wild, "--indir=pictures --outdir=out/pre --landmarks=points.json")
    assert "--landmarks=points.json: only --recon-weights needs points" in line
