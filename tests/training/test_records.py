"""What a run keeps, what it warns of, and when it stops by itself."""

import builtins
import dataclasses
import json
import os
import signal
import sys
import types

import pytest
import torch
from tiny_networks import tiny_estimator
from tiny_run import tiny_config, write_images

from eg3d.checkpoints import loading as checkpoint
from eg3d.config.run import WatchConfig
from eg3d.data.dataset import ImageDataset
from eg3d.training import losses, records, run_folder, snapshots
from eg3d.training.health import Health
from eg3d.training.loop import TIME_UP, train
from eg3d.training.run_folder import FAILED_STATE_FILE, STATE_FILE
from eg3d.training.snapshots import best_snapshot, prune
from eg3d.training.stats import append_line, read_lines
from eg3d.training.trainer import Trainer
from groundwork.held_folder import lock


@pytest.fixture
def dataset(tmp_path):
    return ImageDataset(write_images(tmp_path / "faces"))


def config_with(dataset, **changes):
    watch = {name: changes.pop(name) for name in list(changes) if name in WatchConfig.__dataclass_fields__}
    return tiny_config(dataset.path, **changes, watch=WatchConfig(**watch))


def line_of(kimg: float, score: float | None = None, **means) -> dict:
    line = {name: {"num": 1000, "mean": value, "std": 0.0} for name, value in means.items()}
    line["Progress/kimg"] = {"num": 1, "mean": kimg, "std": 0.0}
    if score is not None:
        line["GFAS/mse_sum"] = {"num": 1, "mean": score, "std": 0.0}
    return line


# ------------------------------------------------------------------ snapshots and states


def test_the_last_snapshots_and_the_best_one_stay(tmp_path):
    for kimg in range(6):
        (tmp_path / f"network-snapshot-{kimg:06d}.safetensors").touch()
    (tmp_path / "other.safetensors").touch()
    scores = [0.5, 0.2, 0.2, 0.9, 0.4, 0.3]
    prune(tmp_path, 2, [line_of(kimg + 0.004, score) for kimg, score in enumerate(scores)], {})
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert kept == [f"network-snapshot-{kimg:06d}.safetensors" for kimg in (2, 4, 5)] + ["other.safetensors"]
    assert best_snapshot([line_of(3.0)]) is None


def test_snapshots_of_another_run_stay(tmp_path, monkeypatch):
    own, other = {"preset": "ffhq", "seed": 0}, {"preset": "ffhq", "seed": 1}
    made = {1: own, 2: other, 3: other | {"stopped": True}, 4: own, 5: own | {"stopped": True}, 6: own, 9: own}
    named = {f"network-snapshot-{kimg:06d}.safetensors": facts for kimg, facts in made.items()}
    for name in named:
        (tmp_path / name).touch()
    monkeypatch.setattr(snapshots, "facts_of", lambda path: named[path.name])
    prune(tmp_path, 1, [line_of(kimg) for kimg in (1, 2, 4, 6)], own)  # 9 lies beyond this run, whatever it says
    assert [int(path.stem[-6:]) for path in run_folder.snapshot_paths(tmp_path)] == [2, 3, 6, 9]


def test_a_run_keeps_as_many_snapshots_as_asked(dataset, tmp_path):
    config = config_with(dataset, keep=1, batch=1000, batch_gpu=4, kimg=3.0, tick=1.0)
    config = dataclasses.replace(config, loss=dataclasses.replace(config.loss, r1_gamma=0.0, density_reg=0.0))
    run = tmp_path / "run"

    def one_step(self):  # a thousand images at once, without the work
        self.blur_sigma, self.raw_resolution = 0.0, 8
        self.images_seen += 1000

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("eg3d.training.trainer.Trainer.step", one_step)
        patch.setattr("eg3d.training.trainer.Trainer.finite", True, raising=False)
        train(config, run, dataset, "cpu")
    assert [path.name for path in run.glob("network-*")] == ["network-snapshot-000003.safetensors"]
    assert len(list(run.glob("fakes*.png"))) == 3  # pictures are small


def test_the_snapshot_of_a_stop_replaces_no_regular_one_and_is_deleted_with_the_next(dataset, tmp_path):
    def run(kimg, **more):
        config = config_with(dataset, keep=2, batch=1000, batch_gpu=4, kimg=kimg, tick=2.0)
        config = dataclasses.replace(config, loss=dataclasses.replace(config.loss, r1_gamma=0.0, density_reg=0.0))
        path = tmp_path / "run" / STATE_FILE
        state = checkpoint.load_state(path) if path.exists() else None
        train(config, tmp_path / "run", dataset, "cpu", state, **more)
        return sorted(int(path.stem[-6:]) for path in (tmp_path / "run").glob("network-*"))

    def one_step(self):
        self.blur_sigma, self.raw_resolution = 0.0, 8
        self.images_seen += 1000

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("eg3d.training.trainer.Trainer.step", one_step)
        patch.setattr("eg3d.training.trainer.Trainer.finite", True, raising=False)
        assert run(2.0) == [1, 2]  # the first step is a tick too
        assert run(10.0, stop_after_s=0.0) == [1, 2, 3]  # the third is that of the stop
        assert run(4.0) == [2, 4]


@pytest.mark.parametrize(("minutes", "expected"), [(0.0, [4, 8, 12, 16, 20]), (10.0, [20])])
def test_a_state_is_saved_between_snapshots_when_its_time_has_come(dataset, tmp_path, minutes, expected, monkeypatch):
    config, saved = config_with(dataset, state_minutes=minutes, snap=1000, kimg=0.02, tick=0.004), []
    save = checkpoint.save_state
    monkeypatch.setattr(
        checkpoint, "save_state", lambda path, state: (saved.append(state["images_seen"]), save(path, state))
    )
    train(config, tmp_path / "run", dataset, "cpu")
    assert saved == expected  # the end is a snapshot


def test_two_runs_do_not_share_a_folder(dataset, tmp_path):
    (tmp_path / "run").mkdir()
    handle = lock(tmp_path / "run")
    with pytest.raises(ValueError, match="run: another process works there"):
        train(tiny_config(dataset.path), tmp_path / "run", dataset, "cpu")
    assert handle and not list((tmp_path / "run").iterdir())


def test_a_time_limit_saves_and_says_so_by_its_exit_code(dataset, tmp_path):
    trainer, progress = train(tiny_config(dataset.path), tmp_path / "run", dataset, "cpu", stop_after_s=0.0)
    assert progress.stop_code == TIME_UP == 75 and trainer.images_seen == 4
    assert progress.images_saved == 4 and progress.what_is_saved(4) == "all saved"
    assert checkpoint.load_state(tmp_path / "run" / STATE_FILE)["images_seen"] == 4
    _, progress = train(tiny_config(dataset.path, kimg=0.004), tmp_path / "end", dataset, "cpu", stop_after_s=0.0)
    assert progress.stop_code == 0  # it has reached its end


def test_a_line_cut_by_a_full_disk_is_left_out(tmp_path):
    path = tmp_path / "stats.jsonl"
    append_line(path, line_of(1.0))
    with open(path, "a") as file:
        file.write('{"Progress/kimg": {"mea')
    assert read_lines(path) == [line_of(1.0)]


# ------------------------------------------------------------------ health


@pytest.mark.parametrize("sick", [(2, 3, 4), (1, 3, 5), (4, 5)])
def test_only_losses_that_stay_sick_stop_the_run_with_the_state_saved(dataset, tmp_path, monkeypatch, sick):
    healthy, steps = losses.generator_adversarial, []

    def fragile(logits):
        steps.append(1)
        return healthy(logits) * (float("nan") if len(steps) in sick else 1.0)

    monkeypatch.setattr(losses, "generator_adversarial", fragile)
    config, run = config_with(dataset, bad_steps=3, state_minutes=0.0, kimg=0.028, tick=0.004), tmp_path / "run"
    if sick != (2, 3, 4):
        trainer, _ = train(config, run, dataset, "cpu")
        assert all(p.isfinite().all() for p in trainer.G.parameters()) and not (run / FAILED_STATE_FILE).exists()
        return
    with pytest.raises(ValueError, match="not finite after 16 images"):
        train(config, run, dataset, "cpu")
    assert checkpoint.load_state(run / STATE_FILE)["images_seen"] == 4  # the last before the trouble
    assert checkpoint.load_state(run / FAILED_STATE_FILE)["images_seen"] == 16


@pytest.mark.parametrize("limit", [1, 2])
def test_a_stop_at_a_bad_step_leaves_the_last_good_state_unless_the_run_has_failed(
    dataset, tmp_path, monkeypatch, limit
):
    healthy, step = losses.generator_adversarial, Trainer.step
    config, run = config_with(dataset, bad_steps=limit, kimg=0.028, tick=0.004), tmp_path / "run"
    train(dataclasses.replace(config, kimg=0.012), run, dataset, "cpu")
    good = {path: path.read_bytes() for path in run.iterdir() if path.name != "training_options.json"}

    def stopped_step(self):
        os.kill(os.getpid(), signal.SIGTERM)
        step(self)

    monkeypatch.setattr(Trainer, "step", stopped_step)
    monkeypatch.setattr(losses, "generator_adversarial", lambda logits: healthy(logits) * float("nan"))
    state = checkpoint.load_state(run / STATE_FILE)
    if limit == 1:  # the same command would fail again: a stop's exit code would promise otherwise
        with pytest.raises(ValueError, match="not finite after 16 images"):
            train(config, run, dataset, "cpu", state)
        return
    trainer, progress = train(config, run, dataset, "cpu", state)
    assert progress.stop_code == 143 and trainer.images_seen == 16 and progress.images_saved == 12
    assert progress.what_is_saved(16) == "the last with a loss that is not finite; 12 are saved"
    kept = {path: path.read_bytes() for path in good if path.name != "stats.jsonl"}
    assert kept.items() <= good.items() and not (run / FAILED_STATE_FILE).exists()


def test_depth_that_collapses_is_said_once_until_it_has_passed():
    health = Health([line_of(0.5, **{"Fakes/depth_spread": 0.10})])
    assert health.warnings(line_of(1.0, **{"Fakes/depth_spread": 0.05})) == []
    (warning,) = health.warnings(line_of(2.0, **{"Fakes/depth_spread": 0.01}))
    assert "0.01 only, after 0.1" in warning
    assert health.warnings(line_of(3.0, **{"Fakes/depth_spread": 0.01})) == []
    assert health.warnings(line_of(4.0, **{"Fakes/depth_spread": 0.09})) == []
    assert len(health.warnings(line_of(5.0, **{"Fakes/depth_spread": 0.01}))) == 1


def test_a_discriminator_that_wins_outright_is_said():
    signs = {"Loss/signs/real": 0.99, "Loss/signs/fake": -0.995}
    assert "tells nearly every picture right" in Health().warnings(line_of(1.0, **signs))[0]
    assert Health().warnings(line_of(1.0, **signs | {"Loss/signs/fake": -0.9})) == []
    few = {name: value | {"num": 8} for name, value in line_of(1.0, **signs).items()}
    assert Health().warnings(few) == []


# ------------------------------------------------------------------ TensorBoard


def test_tensorboard_gets_every_term_of_every_line(dataset, tmp_path, monkeypatch):
    written, made = [], []

    class Writer:
        def __init__(self, folder, purge_step):
            made.append(purge_step)

        def add_scalar(self, name, value, step, time):
            written.append((name, value, step))

        def flush(self):
            pass

        close = flush

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", types.SimpleNamespace(SummaryWriter=Writer))
    run, config = tmp_path / "run", config_with(dataset, tensorboard=True, kimg=0.008)
    train(config, run, dataset, "cpu", gaze_estimator=tiny_estimator())
    expected = []
    for line in read_lines(run / "stats.jsonl"):
        step = round(1000 * line["Progress/kimg"]["mean"])
        expected += [(n, v["mean"], step) for n, v in line.items() if n != "timestamp" and v["mean"] is not None]
    assert written == expected and "GFAS/slope" in dict((n, v) for n, v, _ in written) and made == [None]
    longer = dataclasses.replace(config, kimg=0.012)
    train(longer, run, dataset, "cpu", checkpoint.load_state(run / STATE_FILE), tiny_estimator())
    assert made == [None, 9]  # what a killed run had written from there on is forgotten


def test_without_the_package_tensorboard_is_one_line_that_names_the_extra(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("torch.utils.tensorboard"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ValueError, match=r"--tensorboard=True needs .*\[tensorboard\]") as error:
        records.check_tensorboard()
    assert "\n" not in str(error.value)


def test_a_line_holds_the_memory_and_the_strength_of_augmentation(dataset, tmp_path):
    train(tiny_config(dataset.path, kimg=0.004), tmp_path / "run", dataset, torch.device("cpu"))
    (line,) = map(json.loads, (tmp_path / "run" / "stats.jsonl").read_text().splitlines())
    assert 0.1 < line["Resources/cpu_mem_gb"]["mean"] < 100 and line["Progress/augment"]["mean"] == 0
