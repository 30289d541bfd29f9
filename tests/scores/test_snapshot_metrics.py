"""`--metrics`: scores at snapshots, which the training never feels."""

import dataclasses
import json
import multiprocessing
from pathlib import Path

import pytest
import rank_work
import torch
from click.testing import CliRunner
from tiny_run import assert_same_state, final, loss_lines, tiny_config, write_images

from eg3d import calc_metrics
from eg3d.checkpoints import loading as checkpoint
from eg3d.config.run import WatchConfig
from eg3d.data.dataset import ImageDataset
from eg3d.running import distributed
from eg3d.scores.snapshot_metrics import SnapshotMetrics
from eg3d.training.loop import train
from eg3d.training.stats import append_line, read_lines

CPU = torch.device("cpu")
NAMES = ("fd_embedded", "kd_embedded")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def dataset(tmp_path):
    return ImageDataset(write_images(tmp_path / "faces"))


def measured(dataset, **changes):
    """(configuration, what measures it): 8 pictures for two metrics at every snapshot."""
    watch = WatchConfig(metrics="fid50k_full,kid50k_full", num_gen=8, detector="embedded")
    config = tiny_config(dataset.path, watch=watch, **changes)
    return config, SnapshotMetrics(config, dataset, CPU)


def by_calc_metrics(snapshot: Path, data: Path, batch: int = 4) -> dict[str, dict]:
    arguments = dict(network=snapshot, data=data, metrics="fid50k_full,kid50k_full", num_gen=8, detector="embedded")
    options = [f"--{name.replace('_', '-')}={value}" for name, value in arguments.items()]
    found = CliRunner().invoke(calc_metrics.main, [*options, f"--batch={batch}", "--device=cpu", "--verbose=False"])
    assert found.exit_code == 0, found.output
    return {line["metric"]: line for line in map(json.loads, found.stdout.splitlines())}


def test_metrics_change_no_bit_of_the_training(dataset, tmp_path):
    train(tiny_config(dataset.path, kimg=0.012), tmp_path / "plain", dataset, CPU)
    config, measure = measured(dataset, kimg=0.012)
    train(config, tmp_path / "measured", dataset, CPU, measure=measure)
    assert_same_state(final(tmp_path / "measured"), final(tmp_path / "plain"))
    assert loss_lines(tmp_path / "measured") == loss_lines(tmp_path / "plain")
    assert not list((tmp_path / "plain").glob("metric-*"))


def test_a_line_is_that_of_calc_metrics_for_the_snapshot_whatever_the_seed_of_the_run(dataset, tmp_path):
    run, (config, measure) = tmp_path / "run", measured(dataset, kimg=0.008, seed=7)
    train(config, run, dataset, CPU, measure=measure)
    theirs = by_calc_metrics(run / "network-snapshot-000000.safetensors", dataset.path)
    stats = read_lines(run / "stats.jsonl")
    for name in NAMES:
        *lines, added = read_lines(run / f"metric-{name}.jsonl")
        assert [line["images_seen"] for line in lines] == [4, 8]
        assert added["results"] == theirs[name]["results"] == lines[-1]["results"]  # the last snapshot of this thousand
        assert added["seed"] == 0
        changing = {"timestamp", "total_time", "total_time_str"}
        assert lines[-1].keys() - {"images_seen"} == added.keys()
        assert all(lines[-1][key] == added[key] for key in added.keys() - changing)
        values = [line["results"][name] for line in lines]
        assert [line[f"Metrics/{name}"]["mean"] for line in stats] == values and len(set(values)) == 2


def test_lines_after_the_last_state_are_written_again_and_those_of_calc_metrics_stay(dataset, tmp_path):
    run, (config, measure) = tmp_path / "run", measured(dataset, kimg=0.008)
    train(dataclasses.replace(config, kimg=0.004), run, dataset, CPU, measure=measure)
    path = run / "metric-fd_embedded.jsonl"
    before = read_lines(path)
    append_line(path, {"metric": "fd_embedded", "of": "calc_metrics.py"})
    append_line(path, before[-1] | {"images_seen": 8})  # killed before the state that belongs to it
    train(config, run, dataset, CPU, checkpoint.load_state(run / "training-state.pt"), measure=measure)
    found = read_lines(path)
    assert found[: len(before)] == before and found[len(before)]["of"] == "calc_metrics.py"
    assert [line["images_seen"] for line in found[len(before) + 1 :]] == [8]


class Killed(BaseException):
    """What a second Ctrl-C is to the code it interrupts."""


def dies(*_):
    raise Killed


@pytest.mark.parametrize(("moment", "at"), [("while it measures", 8), ("after the lines", 16)])
def test_a_kill_at_the_metrics_loses_no_step_and_no_metric(dataset, tmp_path, monkeypatch, moment, at):
    config, measure = measured(dataset, kimg=0.016)
    whole, run = tmp_path / "whole", tmp_path / "run"
    train(config, whole, dataset, CPU, measure=measure)

    with monkeypatch.context() as patch, pytest.raises(Killed):

        def fragile(G_ema, snapshot, images_seen):
            found = measure(G_ema, snapshot, images_seen)
            if images_seen == at:
                patch.setattr(checkpoint, "save_state", dies)
            return dies() if images_seen == at and moment == "while it measures" else found

        train(config, run, dataset, CPU, measure=fragile)
    state = checkpoint.load_state(run / "training-state.pt")
    assert state["images_seen"] == at
    train(config, run, dataset, CPU, state, measure=measure)
    assert_same_state(final(run), final(whole))
    assert loss_lines(run) == loss_lines(whole)
    for name in NAMES:
        kept = [[(line["images_seen"], line["results"]) for line in read_lines(f / f"metric-{name}.jsonl")]
                for f in (run, whole)]  # fmt: skip
        assert kept[0] == kept[1] and [images_seen for images_seen, _ in kept[0]] == [4, 8, 16]


@pytest.mark.slow
def test_two_processes_measure_what_one_does(dataset, tmp_path, monkeypatch):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["rank_work", "eg3d.train"])
    monkeypatch.setattr(distributed, "get_context", lambda kind: context)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    run = tmp_path / "run"
    assert distributed.launch(rank_work.measured_run, (dataset.path, run), 2, CPU, wait_minutes=2) == 0
    theirs = by_calc_metrics(run / "network-snapshot-000000.safetensors", dataset.path, batch=2)
    for name in NAMES:
        line = read_lines(run / f"metric-{name}.jsonl")[-2]
        assert line["num_gpus"] == 2 and line["results"] == pytest.approx(theirs[name]["results"], rel=1e-6)


def test_a_mirrored_run_is_measured_against_the_images_as_they_are(tmp_path):
    folder = write_images(tmp_path / "faces")
    config, measure = measured(ImageDataset(folder, mirror=True))
    _, plain = measured(ImageDataset(folder))
    assert len(measure.distances.dataset) == 8 and measure.distances.digest == plain.distances.digest


def test_too_few_images_are_refused_before_anything_is_trained(dataset):
    config = tiny_config(dataset.path, watch=WatchConfig(metrics="kid50k", num_gen=9, detector="embedded"))
    with pytest.raises(ValueError, match="the data set has 8"):
        SnapshotMetrics(config, dataset, CPU)
