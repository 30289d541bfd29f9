"""A damaged training state is one line that names the field, before anything of it is used."""

import copy
import json
import os

import pytest
import torch
from tiny_run import tiny_config, write_images

from eg3d.checkpoints import loading as checkpoint
from eg3d.checkpoints.loading import CheckpointError
from eg3d.config.augmentation import AugmentConfig
from eg3d.data.dataset import ImageDataset
from eg3d.training.progress import Progress
from eg3d.training.saved_state import check_fits, check_state, read_state
from eg3d.training.trainer import Trainer

WRONG = [None, "text", "", 7, -1, 2**60, 1.5, float("nan"), float("inf"), True, [], [1], {}, {"a": 1}, {1: 2},
         torch.ones(3, 2, 5), torch.ones(2, dtype=torch.complex64), torch.empty(0), (1, 2)]  # fmt: skip


@pytest.fixture(scope="module")
def trainer(tmp_path_factory):
    folder = write_images(tmp_path_factory.mktemp("faces"))
    config = tiny_config(folder, augment=AugmentConfig(mode="ada", pipe="bgc"))
    trainer = Trainer(config, ImageDataset(folder), "cpu")
    trainer.step()
    return trainer


@pytest.fixture
def state(trainer):
    """A real state, whose containers may be changed."""
    return copy.copy(trainer.state()) | Progress().state()


def places(value, path=()):
    """The way to every field of a state; of many tensors side by side the first one stands for all."""
    if path:
        yield path
    if isinstance(value, dict):
        names = list(value)
        if path and path[0] in ("networks", "optimisers", "stats") and len(path) > 1 and len(names) > 3:
            names = names[:1]
        for name in names:
            yield from places(value[name], (*path, name))
    elif isinstance(value, list) and path[-1] != "param_groups":
        for i, item in enumerate(value):
            yield from places(item, (*path, i))


def replaced(value, path, new):
    """A copy of nested dicts and lists with another value at one place."""
    if not path:
        return new
    changed = value.copy()
    changed[path[0]] = replaced(value[path[0]], path[1:], new)
    return changed


def same_kind(old, new) -> bool:
    """Whether a value may stand there instead."""
    if isinstance(old, torch.Tensor):
        return isinstance(new, torch.Tensor) and old.shape == new.shape
    return type(old) is type(new) and new not in (-1, 2**60, "text", "")


def test_a_real_state_has_the_declared_shape_and_a_wrong_value_in_any_field_is_named(trainer, state, tmp_path):
    path = tmp_path / "training-state.pt"
    optimisers = trainer.G_optimiser, trainer.D_optimiser

    def check(candidate):
        check_state(candidate, path)
        check_fits(candidate, trainer.networks(), optimisers)

    check(state)
    free = {"format", "param_groups"}  # load_state compares the format; rates come from the configuration
    fields = [place for place in places(state) if not free & set(place)]
    assert len(fields) > 35 and ("optimisers", 0, "state", 0, "exp_avg") in fields
    for place in fields:
        old = state
        for name in place:
            old = old[name]
        accepted = []
        for wrong in WRONG:
            try:
                check(replaced(state, place, wrong))
            except CheckpointError as error:
                said = str(error)
                assert "training-state.pt: is damaged (" in said and "\n" not in said and len(said) < 700
                assert place[0] in said, (place, said)
            else:
                accepted.append(wrong)
        harmless = (str, type(None)) if place == ("gaze_network",) or place == ("source",) else ()
        for wrong in accepted:
            plain = place[0].startswith("dataset_") or "resumed_from" in place
            empties = wrong == {} and place[-1] in ("stats", "state")  # nothing is pending; nothing was averaged
            good = same_kind(old, wrong) or isinstance(wrong, harmless) or (plain and isinstance(wrong, str)) or empties
            assert good or (place[0] == "stats" and isinstance(wrong, torch.Tensor)), (place, wrong)

    first = state["optimisers"][0]["state"]
    for index in (-1, 10**6):
        extra = [{"state": first | {index: first[0]}}, state["optimisers"][1]]
        with pytest.raises(CheckpointError, match="of a parameter"):
            check(state | {"optimisers": extra})


def test_sizes_that_are_no_history_of_the_run_are_named(state, tmp_path):
    (now,) = state["sizes"]
    before = now | {"batch": 2, "batch_gpu": 2}
    good = [before, now | {"from_image": 2}]
    check_state(state | {"sizes": good}, tmp_path / "s.pt")
    for wrong in (
        good[1:], good[::-1], [before, before], [before, now], [before], [before, now | {"from_image": 2**40}],
        [before | {"batch": 0}, good[1]], [before | {"batch": 2**40}, good[1]], [*good, now | {"gpus": 2}],
    ):  # fmt: skip
        with pytest.raises(CheckpointError, match="is damaged .sizes "):
            check_state(state | {"sizes": wrong}, tmp_path / "s.pt")


def test_a_missing_field_is_named(trainer, state, tmp_path):
    check_state({key: value for key, value in state.items() if key != "sizes"}, tmp_path / "s.pt")  # of an older run
    for name in set(state) - {"format", "sizes"}:
        with pytest.raises(CheckpointError, match=f"it lacks {name}|lacks {name}"):
            check_state({key: value for key, value in state.items() if key != name}, tmp_path / "s.pt")
    without = state | {"networks": {key: state["networks"][key] for key in ("G", "D")}}
    with pytest.raises(CheckpointError, match="networks lacks G_ema"):
        check_state(without, tmp_path / "s.pt")
    weights = dict(list(state["networks"]["G"].items())[1:])
    with pytest.raises(CheckpointError, match=r"networks\.G: the tensor .* is missing"):
        check_fits(state | {"networks": state["networks"] | {"G": weights}}, trainer.networks(), ())


@pytest.mark.parametrize(
    "change",
    [
        lambda plain: plain.pop("generator"),
        lambda plain: plain.update(generator=7),
        lambda plain: plain.update(discriminator={"class": []}),
        lambda plain: plain.update(batch="many"),
        lambda plain: plain.update(optim=[1]),
        lambda plain: plain["loss"].update(r1_gamma=None),
        lambda plain: plain["schedule"].update(raw_resolution_initial=[8]),
        lambda plain: plain.update(unknown=1),
        lambda plain: plain["generator"]["orbit"].update(pivot=7),
    ],
)
def test_a_configuration_that_is_none_is_named(change, state, tmp_path):
    plain = json.loads(state["config"])
    change(plain)
    with pytest.raises(CheckpointError, match=r"s\.pt: is damaged \(config: "):
        check_state(state | {"config": json.dumps(plain)}, tmp_path / "s.pt")
    for text in ("", "[" * 9999, "7", '{"a": NaN}'):
        with pytest.raises(CheckpointError, match=r"s\.pt: is damaged \(config: "):
            check_state(state | {"config": text}, tmp_path / "s.pt")


def test_a_state_is_read_back_and_a_pipe_in_its_place_does_not_hang(state, tmp_path):
    checkpoint.save_state(tmp_path / "state.pt", state)
    assert read_state(tmp_path / "state.pt")["images_seen"] == 4
    os.mkfifo(tmp_path / "pipe.pt")
    with pytest.raises(OSError, match="regular file"):
        read_state(tmp_path / "pipe.pt")


def test_a_run_goes_on_from_a_state_whose_rates_were_damaged(trainer, state):
    kept = [dict(saved, param_groups=[]) for saved in state["optimisers"]]
    again = Trainer(trainer.config, trainer.dataset, "cpu", state | {"optimisers": kept})
    assert again.G_optimiser.param_groups[0]["lr"] == trainer.G_optimiser.param_groups[0]["lr"]
    first, second = (t.G_optimiser.state_dict()["state"][0] for t in (trainer, again))
    assert all(torch.equal(first[name], second[name]) for name in first)
