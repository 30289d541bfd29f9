"""Batch, micro-batch and processes may change when a run goes on; nothing else of the run does."""

import dataclasses
import json

import pytest
import torch
from tiny_run import assert_same_state, final, loss_lines, tiny_config, write_images

from eg3d.checkpoints import loading as checkpoint
from eg3d.config.augmentation import AugmentConfig
from eg3d.config.flags import resolve
from eg3d.config.run import ConfigError, to_dict
from eg3d.data.dataset import EpochOrder, ImageDataset
from eg3d.training.loop import train
from eg3d.training.preparation import advice_on_memory
from eg3d.training.sizes import going_on, note_on_sizes, sizes_from_here, sizes_of
from eg3d.training.trainer import Trainer

NO_GAZE = {"gaze_weight": 0.0}


def state_of(config, images_seen=8, **more) -> dict:
    """As much of a training state as tells its sizes."""
    return {"config": json.dumps(to_dict(config)), "images_seen": images_seen, **more}


def asked(state, **flags):
    return going_on(state, "embedded", NO_GAZE | flags)


# What the run has had, what the flags of the next start are, what then holds: (batch, micro-batch, processes).
CHANGES = {
    "smaller micro-batch": (dict(batch=8, batch_gpu=8), dict(batch=8, batch_gpu=4), (8, 4, 1)),
    "larger micro-batch": (dict(batch=8, batch_gpu=4), dict(batch=8, batch_gpu=8), (8, 8, 1)),
    "smaller batch": (dict(batch=16), dict(batch=4), (4, 4, 1)),
    "larger batch": (dict(batch=4), dict(batch=16), (16, 16, 1)),
    "both": (dict(batch=8, batch_gpu=8), dict(batch=16, batch_gpu=4), (16, 4, 1)),
    "nothing": (dict(batch=8, batch_gpu=4), dict(batch=8, batch_gpu=4), (8, 4, 1)),
    "nothing is given": (dict(batch=8, batch_gpu=4), {}, (8, 4, 1)),
    "a batch that is no multiple of what was handled at once": (dict(batch=8, batch_gpu=8), dict(batch=4), (4, 4, 1)),
    "more processes": (dict(batch=16, batch_gpu=4), dict(gpus=4), (16, 4, 4)),
    "more processes than micro-batches": (dict(batch=16, batch_gpu=8), dict(gpus=4), (16, 4, 4)),
    "fewer processes": (dict(batch=16, gpus=4), dict(batch=16), (16, 16, 1)),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_run_takes_other_sizes_and_keeps_everything_else(name):
    before, now, expected = CHANGES[name]
    saved = resolve("embedded", **NO_GAZE, **before)
    state = state_of(saved)
    config = asked(state, **now)
    assert tuple(sizes_of(config).values()) == expected
    same = dict(batch=saved.batch, batch_gpu=saved.batch_gpu, gpus=saved.gpus)
    assert dataclasses.replace(config, **same) == saved  # the lengths of blur and averages too
    changed, note = sizes_of(saved) != sizes_of(config), note_on_sizes(state, config)
    assert (note is not None) == changed
    history = sizes_from_here(state, config)
    assert history == [{"from_image": 0, **sizes_of(saved)}, {"from_image": 8, **sizes_of(config)}][: 1 + changed]
    for flag, old in sizes_of(saved).items():
        new = sizes_of(config)[flag]
        said = f"--{flag.replace('_', '-')} is {new} (before: {old})"
        assert note is None or ((said in note) == (new != old) and "from image 8 on" in note and "bit for bit" in note)


def test_a_length_that_grows_with_the_batch_is_that_of_the_first_batch_whatever_follows():
    first = resolve("embedded", **NO_GAZE, batch=8, blur_fade_kimg=100.0)
    state = state_of(first)
    for images, batch in ((8, 16), (24, 4), (28, 8)):
        config = asked(state, batch=batch, blur_fade_kimg=100.0)
        assert config.batch == batch and config.schedule == first.schedule
        state = state_of(config, images, sizes=sizes_from_here(state, config))
    with pytest.raises(ConfigError, match="blur_fade_kimg"):
        asked(state, batch=8, blur_fade_kimg=50.0)


def test_a_change_that_no_step_has_followed_leaves_no_trace():
    saved = resolve("embedded", **NO_GAZE, batch=8)
    once = asked(state_of(saved), batch=4)
    state = state_of(once, 8, sizes=sizes_from_here(state_of(saved), once))  # a tick was finished, then a kill
    assert sizes_from_here(state, asked(state, batch=8)) == [{"from_image": 0, "batch": 8, "batch_gpu": 8, "gpus": 1}]


REFUSED = {
    "parts of a group": (dict(batch_gpu=2), r"--batch-gpu gives micro-batches of 2, .* multiple of 4 by --batch-gpu"),
    "no divisor": (dict(batch_gpu=3), r"--batch=16 is not divisible by --gpus x --batch-gpu = 1 x 3"),
    "too many processes": (dict(gpus=3), r"--batch=16 is not divisible by --gpus=3"),
    "none at once": (dict(batch_gpu=0), r"--batch-gpu=0 must be at least 1"),
    "no batch": (dict(batch=0), r"--batch=0 must be from 1 to"),
    "endless": (dict(batch=2**70), r"--batch=\d+ must be from 1 to"),
    "a seed beside it": (dict(batch=8, seed=1), r"the run in --outdir has seed=0, this command asks for 1"),
    "networks beside it": (dict(batch=8, cmax=32), r"has discriminator.channel_max=128, this command asks for 32"),
    "groups beside it": (dict(batch_gpu=2, mbstd_group=2), r"mbstd_group_size=4, this command asks for 2"),
    "a rate beside it": (dict(batch=8, glr=0.1), r"generator_lr=0.0025, this command asks for 0.1"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_may_not_change_and_what_cannot_be_split_is_refused_in_one_line(name):
    flags, expected = REFUSED[name]
    with pytest.raises(ConfigError, match=expected) as error:
        asked(state_of(resolve("embedded", **NO_GAZE)), **flags)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("sizes", "smaller"),
    [(dict(batch=16), 8), (dict(batch=16, batch_gpu=8), 4), (dict(batch=24, gpus=2), 4), (dict(batch=24), 12),
     (dict(batch=4), None), (dict(batch=16, gpus=4), None), (dict(batch=2, mbstd_group=1), 1)],
)  # fmt: skip
def test_advice_on_memory_names_a_micro_batch_that_the_run_can_go_on_with(sizes, smaller):
    config = resolve("embedded", **NO_GAZE, **sizes)
    with pytest.raises(ValueError, match="^the memory ran out") as error, advice_on_memory(config):
        raise MemoryError
    text = str(error.value)
    assert "\n" not in text and ("the same command" in text) == (smaller is not None)
    if smaller is None:
        assert "--mbstd-group" in text and "--gpus" in text
    else:
        assert f"--batch-gpu={smaller};" in text
        assert asked(state_of(config), **sizes | {"batch_gpu": smaller}).micro_batch == smaller


# ------------------------------------------------------------------ whole runs


@pytest.fixture
def dataset(tmp_path):
    return ImageDataset(write_images(tmp_path / "faces"))


def tiny(dataset, **changes):
    """A tick every 8 images; the strength of augmentation moves every second step."""
    augment = AugmentConfig(mode="ada", pipe="bgc", kimg=0.1, interval=2)
    return tiny_config(dataset.path, augment=augment, **dict(batch=4, snap=1000) | changes)


def run_on(config, outdir, dataset, **changes) -> Trainer:
    path = outdir / "training-state.pt"
    state = checkpoint.load_state(path) if path.exists() else None
    return train(dataclasses.replace(config, **changes), outdir, dataset, "cpu", state)[0]


@pytest.mark.parametrize(
    "sizes",
    [dict(batch=8), *(pytest.param(sizes, marks=pytest.mark.slow) for sizes in (dict(batch=2), dict(batch_gpu=2)))],
)
def test_a_changed_run_that_is_cut_off_goes_on_as_if_it_had_not_been(dataset, tmp_path, sizes):
    config = tiny(dataset)
    for name in ("whole", "cut"):
        run_on(config, tmp_path / name, dataset, kimg=0.008)
    whole = run_on(config, tmp_path / "whole", dataset, kimg=0.032, **sizes)
    run_on(config, tmp_path / "cut", dataset, kimg=0.016, **sizes)
    run_on(config, tmp_path / "cut", dataset, kimg=0.032, **sizes)
    assert whole.images_seen == 32 and whole.batch_index == 2 + 24 // whole.config.batch
    assert_same_state(final(tmp_path / "whole"), final(tmp_path / "cut"))
    assert final(tmp_path / "whole")["augment"] == final(tmp_path / "cut")["augment"]
    lines = loss_lines(tmp_path / "whole")
    assert [line["Progress/kimg"]["mean"] for line in lines] == [0.004, 0.008, 0.016, 0.024, 0.032]
    assert lines == loss_lines(tmp_path / "cut")
    options = json.loads((tmp_path / "cut" / "training_options.json").read_text())
    assert options["sizes"] == final(tmp_path / "cut")["sizes"] == whole.sizes
    assert [entry["from_image"] for entry in whole.sizes] == [0, 8]


def test_a_change_there_and_back_sees_every_image_in_its_order_and_every_fade_at_its_place(dataset, tmp_path):
    config, seen, sigmas = tiny(dataset), [], []
    state = None
    for batch, steps in ((4, 3), (8, 1), (2, 3), (4, 2)):
        trainer = Trainer(dataclasses.replace(config, batch=batch), dataset, "cpu", state)
        assert state is None or trainer.blur_sigma == sigmas[-1][1]  # of the last step, for the line of its tick
        read = trainer.batches.at
        trainer.batches.at = lambda n, read=read, batch=batch: seen.append((n, batch)) or read(n)
        for _ in range(steps):
            trainer.step()
            sigmas.append((trainer.images_seen - batch, trainer.blur_sigma))
        state = trainer.state()
    order = EpochOrder(len(dataset), config.seed)
    parts = [order.indices(n, batch) for n, batch in seen]
    assert torch.equal(torch.cat(parts), order.indices(0, 34))  # none twice in an epoch, none left out
    assert sigmas == [(n, trainer._blur_sigma(n)) for n, _ in seen]
    assert [entry["from_image"] for entry in trainer.sizes] == [0, 12, 20, 26]


def test_the_strength_moves_by_the_images_that_were_counted_when_the_batch_changes_between_two_moves(dataset):
    trainer = Trainer(tiny(dataset), dataset, "cpu")
    trainer.step()
    larger = dataclasses.replace(tiny(dataset), batch=8)
    trainer = Trainer(larger, dataset, "cpu", trainer.state())
    trainer.strength.p = 0.5
    trainer.step()
    assert trainer.strength.p in (pytest.approx(0.5 + 12 / 100), pytest.approx(0.5 - 12 / 100))


COMMAND = (
    "--outdir=run", "--cfg=embedded", "--data=faces", "--gaze-weight=0", "--l2cs-path=", "--cbase=256", "--cmax=16",
    "--device=cpu",
)  # fmt: skip


def test_the_command_that_ran_out_of_memory_goes_on_with_a_smaller_micro_batch(run_script, tmp_path, monkeypatch):
    monkeypatch.setattr("eg3d.training.records.write_grid", lambda *_: None)  # forty pictures
    write_images(tmp_path / "faces", side=64)
    code, _, err = run_script("eg3d/train.py", *COMMAND, "--batch=8", "--batch-gpu=8", "--kimg=0.008")
    assert code == 0, err
    before = {path: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    code, _, err = run_script("eg3d/train.py", *COMMAND, "--batch=8", "--batch-gpu=2", "--kimg=0.016")
    assert code == 2 and err.count("\n") == 1 and "--batch-gpu gives micro-batches of 2" in err
    assert {path: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before
    code, out, err = run_script("eg3d/train.py", *COMMAND, "--batch=8", "--batch-gpu=4", "--kimg=0.016", "--dry-run")
    assert code == 0 and json.loads(out)["batch_gpu"] == 4 and err.startswith("note: from image 8 on "), err
    assert {path: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before
    code, out, err = run_script("eg3d/train.py", *COMMAND, "--batch=8", "--batch-gpu=4", "--kimg=0.016")
    assert code == 0 and "going on with the run in run after 8 images" in out, err
    assert err.count("note: from image 8 on --batch-gpu is 4 (before: 8)") == 1
    code, out, err = run_script("eg3d/train.py", *COMMAND, "--batch=4", "--kimg=0.024", "--resume=latest")
    assert code == 0 and "after 16 images" in out and "--batch is 4 (before: 8)" in err, err
    sizes = json.loads((tmp_path / "run" / "training_options.json").read_text())["sizes"]
    assert [tuple(entry.values()) for entry in sizes] == [(0, 8, 8, 1), (8, 8, 4, 1), (16, 4, 4, 1)]
    assert final(tmp_path / "run")["images_seen"] == 24
