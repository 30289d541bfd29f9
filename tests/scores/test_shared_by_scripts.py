"""What scripts share reaches each of them: the warning about a judge, the facts beside a score, the precision."""

import json

import pytest
import small_set
from click.testing import CliRunner
from tiny_networks import tiny_eye_field, tiny_gaze_network, tiny_generator

from eg3d import (
    calc_all,
    calc_gfas,
    calc_id,
    calc_metrics,
    gen_good_samples,
    gen_samples,
    gen_samples_compare,
    gen_samples_pose,
    gen_videos,
)
from eg3d.checkpoints.loading import save_snapshot
from groundwork.files import sha256
from l2cs.weights import save_weights

pytestmark = pytest.mark.filterwarnings("ignore:.*mirrored faces")  # the gaze networks here are random
# Scripts with what each needs, in the folder of `files`; --network=G comes on top.
JUDGED = {
    calc_gfas: "--seeds=0 --l2cs-path=own.safetensors",
    gen_good_samples: "--seeds=0 --l2cs-path=own.safetensors --outdir=good",
    gen_samples_compare: "--seeds=0 --l2cs-path=own.safetensors --outdir=compare --network2=other.safetensors",
}
SCORED = JUDGED | {calc_id: "--seeds=0 --landmarks=template"}
DRAWN = SCORED | {
    calc_metrics: "--data=data --detector=embedded --num-gen=4",
    calc_all: "--data=data --seeds=0 --num-gen=4",
    gen_samples: "--seeds=0 --outdir=samples",
    gen_samples_pose: "--seeds=0 --outdir=pose",
    gen_videos: "--seeds=0 --outdir=film --w-frames=1",
}


def name_of(script):
    return script.__name__.split(".")[-1] if hasattr(script, "__name__") else None


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """G was trained against the gaze network `own`, `other` against none."""
    folder = tmp_path_factory.mktemp("files")
    save_weights(folder / "own.safetensors", tiny_gaze_network(0))
    save_weights(folder / "fair.safetensors", tiny_gaze_network(1))
    facts = {"gaze": {"network_sha256": sha256(folder / "own.safetensors")}}
    save_snapshot(folder / "G.safetensors", {"G_ema": tiny_generator()}, facts)
    save_snapshot(folder / "other.safetensors", {"G_ema": tiny_generator(1)}, {})
    save_snapshot(folder / "eyes.safetensors", {"G_ema": tiny_eye_field(tiny_generator())}, {})
    small_set.write_folder(folder / "data", small_set.members(4, side=32))
    return folder


@pytest.fixture
def run(files, monkeypatch):
    def invoke(script, arguments: str, *more):
        monkeypatch.chdir(files)
        shared = ["--network=G.safetensors", "--device=cpu"]
        return CliRunner().invoke(script.main, [*shared, *arguments.split(), *map(str, more)])

    return invoke


@pytest.mark.parametrize(("script", "arguments"), JUDGED.items(), ids=name_of)
def test_a_judge_from_the_loss_is_warned_of_once_and_a_fair_one_is_not(script, arguments, run):
    warned = run(script, arguments)
    assert warned.exit_code == 0, warned.output
    line = "warning: G.safetensors was trained against --l2cs-path=own.safetensors; let another judge it"
    assert [text for text in warned.stderr.splitlines() if text.startswith("warning")] == [line]
    fair = run(script, arguments.replace("own", "fair"))
    assert fair.exit_code == 0 and "warning" not in fair.stderr, fair.output


@pytest.mark.parametrize(("script", "arguments"), SCORED.items(), ids=name_of)
def test_scores_stand_beside_what_was_drawn(script, arguments, run, files, tmp_path):
    drawn = ("--trunc=0.6", "--trunc-cutoff=3", "--fov-deg=17.5")
    done = run(script, arguments, *drawn, f"--json={tmp_path / 'scores.json'}")
    assert done.exit_code == 0, done.output
    written = json.loads((tmp_path / "scores.json").read_text())
    assert {name: written[name] for name in ("trunc", "trunc_cutoff", "fov_deg")} == {
        "trunc": 0.6, "trunc_cutoff": 3, "fov_deg": 17.5,
    }  # fmt: skip
    if script is gen_samples_compare:
        assert written["network"]["sha256"] == sha256(files / "G.safetensors")
    else:
        assert written["network"] == "G.safetensors" and written["network_sha256"] == sha256(files / "G.safetensors")


@pytest.mark.parametrize(("script", "arguments"), DRAWN.items(), ids=name_of)
def test_the_precision_reaches_the_generator(script, arguments, run, monkeypatch):
    def stops(network, precision):
        raise ValueError(f"asked for {precision}")

    monkeypatch.setattr("eg3d.checkpoints.loading.set_precision", stops)
    done = run(script, arguments, "--precision=bf16")
    assert done.exit_code == 2 and done.stderr.splitlines()[-1] == "error: asked for bf16", done.output


@pytest.mark.parametrize("script", [script for script in DRAWN if script is not calc_all], ids=name_of)
def test_the_gaze_reaches_the_generator(script, run):
    done = run(script, DRAWN[script], "--gaze=20,-5")
    assert done.exit_code == 2 and "--gaze: the gaze of this network cannot be set" in done.stderr, done.output


@pytest.mark.parametrize("script", [*SCORED, calc_metrics], ids=name_of)
def test_scores_of_set_eyes_say_how_they_were_set(script, run, tmp_path):
    done = run(script, DRAWN[script], "--network=eyes.safetensors", "--gaze=20,-5", f"--json={tmp_path / 's.json'}")
    assert done.exit_code == 0, done.output
    written = json.loads((tmp_path / "s.json").read_text())
    assert written.get("metrics", [written])[0]["gaze"] == "20,-5"
