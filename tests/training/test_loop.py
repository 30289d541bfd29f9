import dataclasses
import json
import math
import os
import signal
import weakref

import pytest
import torch
from tiny_networks import tiny_estimator
from tiny_run import tiny_config, write_images

from eg3d.checkpoints import loading as checkpoint
from eg3d.config.augmentation import AugmentConfig
from eg3d.config.run import LossConfig
from eg3d.data.dataset import ImageDataset
from eg3d.models.decoder import DecoderConfig
from eg3d.models.discriminator import EpilogueConfig
from eg3d.training import losses, pairs
from eg3d.training.loop import train
from eg3d.training.progress import Progress
from eg3d.training.run_folder import STATE_FILE
from eg3d.training.schedules import at_tick
from eg3d.training.trainer import Trainer
from l2cs.estimator import GazeAngles


@pytest.fixture
def dataset(tmp_path):
    return ImageDataset(write_images(tmp_path / "faces"))


def trainer_of(dataset, config=None, **more) -> Trainer:
    return Trainer(config or tiny_config(dataset.path), dataset, "cpu", **more)


def weights(network) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def changed(network, before) -> list[str]:
    return [name for name, value in network.state_dict().items() if not torch.equal(value, before[name])]


def assert_same(a: dict, b: dict) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def loss_lines(outdir) -> list[dict]:
    lines = [json.loads(line) for line in (outdir / "stats.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k.startswith(("Loss", "Progress"))} for line in lines]


def test_two_steps_change_both_networks_and_log_finite_terms(dataset):
    trainer = trainer_of(dataset)
    G, D, average = (weights(n) for n in (trainer.G, trainer.D, trainer.G_ema))
    trainer.step()
    trainer.step()
    assert len(changed(trainer.G, G)) > 20 and len(changed(trainer.D, D)) > 15 and changed(trainer.G_ema, average)
    line = trainer.stats.line()
    wanted = {
        "Loss/scores/fake", "Loss/signs/fake", "Loss/G/loss", "Loss/G/total_loss", "Loss/G/density_reg",
        "Loss/scores/real", "Loss/signs/real", "Loss/D/loss", "Loss/r1_penalty", "Loss/D/reg", "Fakes/depth_spread",
    }  # fmt: skip
    assert set(line) == wanted
    assert all(math.isfinite(v["mean"]) for v in line.values())
    assert line["Loss/G/loss"]["num"] == 8 and line["Loss/r1_penalty"]["num"] == 4  # R1: every second step


def test_each_phase_changes_only_its_network_and_skips_none_of_its_parts(dataset):
    trainer = trainer_of(dataset)
    trainer.blur_sigma, trainer.raw_resolution = 0.0, 8
    real = trainer._real_batch()
    phases = {
        "Gmain": (trainer.G, trainer.G_optimiser, trainer.generator_main, None),
        "Greg": (trainer.G, trainer.G_optimiser, trainer.generator_density, None),
        "Dmain": (trainer.D, trainer.D_optimiser, trainer.discriminator_main, real),
        "Dreg": (trainer.D, trainer.D_optimiser, trainer.discriminator_r1, real),
    }
    for phase, (network, optimiser, terms, data) in phases.items():
        other = trainer.D if network is trainer.G else trainer.G
        before = weights(other)
        trainer._run_phase(phase, network, optimiser, terms, data)
        moved = {name for name, p in network.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
        assert any(name.startswith(("backbone.synthesis", "b16")) for name in moved), phase
        assert not any(p.grad is not None for p in other.parameters()) or other is not network
        allowed = {"backbone.mapping.w_avg"} if phase == "Dmain" else set()
        assert set(changed(other, before)) == allowed, phase  # w_avg moves in Dmain, and there only


def test_gradients_are_the_lazy_interval_times_the_mean_of_the_term(dataset):
    trainer = trainer_of(dataset)
    trainer.blur_sigma, trainer.raw_resolution = 0.0, 8
    real = trainer._real_batch()

    def gradient(gain):
        trainer.D_optimiser = torch.optim.SGD(trainer.D.parameters(), lr=0.0)
        trainer._run_phase("Dreg", trainer.D, trainer.D_optimiser, trainer.discriminator_r1, real, gain)
        return trainer.D.b16.conv0.weight.grad.clone()

    assert torch.allclose(gradient(16.0), 16 * gradient(1.0), rtol=1e-4, atol=1e-7)
    trainer.D.requires_grad_(True)
    pair = {name: image.requires_grad_(True) for name, image in trainer._real_pair(real).items()}
    term, _ = losses.r1_penalty(trainer.D(pair, real.labels), list(pair.values()), gamma=1.0)
    trainer.D.zero_grad()
    term.mean().backward()
    expected = trainer.D.b16.conv0.weight.grad.clone()
    trainer.D.requires_grad_(False)
    assert torch.allclose(gradient(1.0), expected, rtol=1e-4, atol=1e-7)


def test_micro_batches_give_the_gradient_of_the_whole_batch(dataset):
    # Group size 1 switches off the minibatch statistics, the one term that must depend on the split.
    config = tiny_config(dataset.path)
    D = dataclasses.replace(config.discriminator, epilogue=EpilogueConfig(mbstd_group_size=1))
    whole = trainer_of(dataset, dataclasses.replace(config, discriminator=D))
    split = trainer_of(dataset, dataclasses.replace(config, discriminator=D, batch_gpu=1))
    for trainer in (whole, split):
        trainer.G_optimiser = torch.optim.SGD(trainer.G.parameters(), lr=0.1)  # Adam would blow up rounding
        trainer.D_optimiser = torch.optim.SGD(trainer.D.parameters(), lr=0.1)
        trainer.step()
    for a, b in ((whole.G, split.G), (whole.D, split.D)):
        for name, value in a.state_dict().items():
            assert torch.allclose(value, b.state_dict()[name], atol=1e-5), name


def test_a_continued_run_equals_the_unbroken_one(dataset, tmp_path):
    config = tiny_config(dataset.path)  # 5 steps of 4 images, ticks of 8
    whole, _ = train(config, tmp_path / "whole", dataset, "cpu")

    trainer = trainer_of(dataset)
    for _ in range(3):
        trainer.step()
        if at_tick(trainer.images_seen, config.batch, config.tick):
            trainer.stats.line()  # written, as by train()
    checkpoint.save_state(tmp_path / "state.pt", trainer.state() | Progress().state())
    state = checkpoint.load_state(tmp_path / "state.pt")
    torch.manual_seed(12345)  # the new process's global generator is elsewhere
    continued, _ = train(config, tmp_path / "continued", dataset, "cpu", state)

    assert continued.images_seen == whole.images_seen == 20
    for name, network in whole.networks().items():
        assert_same(network.state_dict(), continued.networks()[name].state_dict())
    first, second = (t.G_optimiser.state_dict()["state"][0] for t in (whole, continued))
    assert_same(first, second)
    assert loss_lines(tmp_path / "continued") == loss_lines(tmp_path / "whole")[-2:]


def test_the_state_that_a_run_goes_on_from_is_freed(dataset, tmp_path, monkeypatch):
    config, step, held = tiny_config(dataset.path, kimg=0.008), Trainer.step, []
    train(dataclasses.replace(config, kimg=0.004), tmp_path / "run", dataset, "cpu")
    state = [checkpoint.load_state(tmp_path / "run" / STATE_FILE)]
    first = weakref.ref(next(iter(state[0]["networks"]["G"].values())))
    monkeypatch.setattr(Trainer, "step", lambda self: (held.append(first() is not None), step(self)))
    train(config, tmp_path / "run", dataset, "cpu", state.pop())
    assert held == [False]


def test_the_strength_of_augmentation_goes_on_from_where_it_was(dataset, tmp_path):
    config = tiny_config(dataset.path, augment=AugmentConfig(mode="ada", pipe="bgc"))
    trainer = trainer_of(dataset, config)
    trainer.strength.p = 0.3
    trainer.step()  # pictures change, so a lost p would show; signs of one of four batches are noted
    checkpoint.save_state(tmp_path / "state.pt", trainer.state())
    continued = trainer_of(dataset, config, state=checkpoint.load_state(tmp_path / "state.pt"))
    assert continued.strength.state() == trainer.strength.state()
    assert trainer.strength.p == 0.3 and trainer.strength.state()["sign_count"] == 4
    trainer.step()
    continued.step()
    assert_same(trainer.D.state_dict(), continued.D.state_dict())


def test_what_the_discriminator_sees_is_augmented_after_the_blur_real_and_generated_each_in_its_own_way(
    dataset, monkeypatch
):
    config = tiny_config(dataset.path, augment=AugmentConfig(mode="fixed", p=1.0, pipe="colour"))
    trainer, seen = trainer_of(dataset, config), []
    monkeypatch.setattr(trainer.augment, "pair", lambda pair, draws: seen.append((pair, draws.uniform((4, 3)))) or pair)
    real = trainer._real_batch()
    trainer.step()
    assert len(seen) == 4  # Gmain, Dmain twice, Dreg; never Greg
    for pair, _ in seen[2:]:
        assert torch.allclose(pair["image"], pairs.blur(real.images, 1.0), atol=1e-6)
    assert not any(torch.equal(a, b) for i, (_, a) in enumerate(seen) for _, b in seen[:i])


def test_a_signal_finishes_the_step_saves_and_the_run_goes_on(dataset, tmp_path, monkeypatch):
    config = tiny_config(dataset.path, kimg=1000)
    step = Trainer.step

    def step_under_signal(self):
        if self.batch_index == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        step(self)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", step_under_signal)
        stopped, _ = train(config, tmp_path / "run", dataset, "cpu")
    assert stopped.images_seen == 8
    state = checkpoint.load_state(tmp_path / "run" / STATE_FILE)
    config = dataclasses.replace(config, kimg=(stopped.images_seen + 4) / 1000)
    continued, _ = train(config, tmp_path / "run", dataset, "cpu", state)
    assert continued.images_seen == stopped.images_seen + 4
    stopped.step()
    assert_same(stopped.G.state_dict(), continued.G.state_dict())


def test_a_stopped_run_is_not_continued_with_other_settings_or_data(dataset, tmp_path):
    trainer = trainer_of(dataset)
    trainer.step()
    state = trainer.state()
    with pytest.raises(ValueError, match=r"loss\.r1_gamma=1\.0.*2\.0"):
        trainer_of(
            dataset, tiny_config(dataset.path, loss=dataclasses.replace(trainer.config.loss, r1_gamma=2.0)), state=state
        )
    other = ImageDataset(write_images(tmp_path / "others", count=7))
    with pytest.raises(ValueError, match="others: is not the data set"):
        trainer_of(other, tiny_config(dataset.path), state=state)


def test_a_run_leaves_a_snapshot_that_draws_the_average(dataset, tmp_path):
    trainer, _ = train(tiny_config(dataset.path), tmp_path / "run", dataset, "cpu")
    names = {p.name for p in (tmp_path / "run").iterdir()}
    assert names == {
        "network-snapshot-000000.safetensors", "fakes000000.png", "stats.jsonl", STATE_FILE, "training_options.json",
    }  # fmt: skip
    path = tmp_path / "run" / "network-snapshot-000000.safetensors"
    G = checkpoint.load_generator(path)
    assert_same(G.state_dict(), trainer.G_ema.state_dict())
    assert G.neural_rendering_resolution == 8 and not G.training
    facts = checkpoint.open_checkpoint(path).facts
    assert facts["images_seen"] == 20 and facts["dataset"]["digest"] == dataset.digest


def test_fine_tuning_starts_from_the_snapshot_with_fresh_optimisers_and_counts_on(dataset, tmp_path):
    first, _ = train(tiny_config(dataset.path), tmp_path / "run", dataset, "cpu")
    path = str(tmp_path / "run" / "network-snapshot-000000.safetensors")
    tuned = trainer_of(dataset, tiny_config(dataset.path, resume=path))
    for name, network in tuned.networks().items():
        assert_same(network.state_dict(), first.networks()[name].state_dict())
    assert tuned.images_seen == 0 and tuned.facts()["images_seen_before"] == 20
    assert not tuned.G_optimiser.state_dict()["state"]


def test_weights_of_another_size_are_refused_by_the_first_tensor(dataset, tmp_path):
    train(tiny_config(dataset.path, kimg=0.004), tmp_path / "run", dataset, "cpu")
    path = str(tmp_path / "run" / "network-snapshot-000000.safetensors")
    config = tiny_config(dataset.path, resume=path)
    generator = dataclasses.replace(config.generator, decoder=DecoderConfig(width=32))
    wider = dataclasses.replace(config, generator=generator)
    with pytest.raises(ValueError, match=r"decoder\.net\.0\.weight has shape \[16, 16\], this network has \[32, 16\]"):
        trainer_of(dataset, wider)


def test_the_gaze_term_reaches_the_generator_and_never_the_gaze_network(dataset):
    estimator = tiny_estimator()
    before = weights(estimator)
    gradients = {}
    for weight in (0.0, 1000.0):
        trainer = trainer_of(dataset, tiny_config(dataset.path, gaze_weight=weight), gaze_estimator=estimator)
        trainer.G_optimiser = torch.optim.SGD(trainer.G.parameters(), lr=0.0)
        trainer.step()
        trainer.batch_index = 1  # no density step, whose gradient would be the one left behind
        trainer.step()
        gradients[weight] = trainer.G.decoder.net[2].weight.grad.clone()
        line = trainer.stats.line()
        assert ("Loss/G/gaze_loss" in line) == (weight > 0)
    assert (gradients[1000.0] - gradients[0.0]).abs().max() > 10 * gradients[0.0].abs().max()
    assert line["Loss/G/total_loss"]["mean"] == pytest.approx(
        line["Loss/G/loss"]["mean"] + 1000 * line["Loss/G/gaze_loss"]["mean"], rel=1e-5
    )
    assert not changed(estimator, before)
    assert all(p.grad is None and not p.requires_grad for p in estimator.parameters())
    held = {id(p) for o in (trainer.G_optimiser, trainer.D_optimiser) for g in o.param_groups for p in g["params"]}
    assert not held & {id(p) for p in estimator.parameters()}


def test_the_published_detached_gaze_term_changes_no_weight(dataset):
    # Published defect B-1: the decode is cut off from the picture, so the term is logged and trains nothing.
    def trained(weight, detach=False):
        estimator = tiny_estimator()
        if detach:
            read = estimator.forward
            estimator.forward = lambda images: GazeAngles(*(angle.detach() for angle in read(images)))
        trainer = trainer_of(dataset, tiny_config(dataset.path, gaze_weight=weight), gaze_estimator=estimator)
        for _ in range(3):
            trainer.step()
        return weights(trainer.G) | {f"ema.{name}": value for name, value in weights(trainer.G_ema).items()}

    without, detached, ours = trained(0.0), trained(1000.0, detach=True), trained(1000.0)
    assert_same(without, detached)
    assert any(not torch.equal(ours[name], without[name]) for name in ours)


def test_a_run_with_the_gaze_term_logs_its_slope_and_names_its_network(dataset, tmp_path):
    config = tiny_config(dataset.path, gaze_weight=1.0, kimg=0.008)
    train(config, tmp_path / "run", dataset, "cpu", gaze_estimator=tiny_estimator(3))
    last = json.loads((tmp_path / "run" / "stats.jsonl").read_text().splitlines()[-1])
    assert math.isfinite(last["GFAS/slope"]["mean"]) and last["GFAS/mse_sum"]["mean"] > 0
    snapshot = checkpoint.open_checkpoint(tmp_path / "run" / "network-snapshot-000000.safetensors")
    assert snapshot.facts["gaze"]["network_sha256"] == f"{3:064x}"
    assert set(snapshot.networks) == {"G_ema", "G", "D"}  # the gaze network stays out of checkpoints


def test_swapped_conditioning_is_the_previous_camera_of_the_global_batch(dataset):
    trainer = trainer_of(dataset)  # at image 0 the probability is 1
    fakes = trainer.fake_batches.at("Gmain", 0)
    assert torch.equal(fakes.conditioning_labels, fakes.labels.roll(1, 0))
    unswapped = []
    for images_seen in range(10**6, 10**6 + 200, 4):  # then one half
        fakes = trainer.fake_batches.at("Gmain", images_seen)
        same = (fakes.conditioning_labels == fakes.labels).all(dim=1)
        assert torch.equal(fakes.conditioning_labels[~same], fakes.labels.roll(1, 0)[~same])
        unswapped.append(same.float().mean())
    assert 0.4 < torch.stack(unswapped).mean() < 0.75  # a half, and the few whose neighbour has the same camera


def test_no_draw_depends_on_the_global_generator(dataset):
    results = []
    for seed in (0, 1):
        trainer = trainer_of(dataset)
        torch.manual_seed(seed)
        trainer.step()
        results.append(weights(trainer.G))
    assert_same(*results)


def test_other_regularisers_and_style_mixing_run(dataset):
    for kind in ("monotonic-detach", "monotonic-fixed"):
        loss = LossConfig(reg_type=kind, style_mixing_prob=0.9, density_points=10, r1_gamma=0.0)
        trainer = trainer_of(dataset, tiny_config(dataset.path, loss=loss))
        trainer.step()
        line = trainer.stats.line()
        assert math.isfinite(line["Loss/G/density_monotony"]["mean"]) and "Loss/D/reg" not in line


def test_an_unwritable_outdir_is_one_line(dataset, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"--outdir=.*file.run: cannot write there"):
        train(tiny_config(dataset.path), tmp_path / "file" / "run", dataset, "cpu")


def test_a_run_without_the_gaze_term_logs_the_slope_when_a_network_is_there_and_does_not_name_it(dataset, tmp_path):
    config = tiny_config(dataset.path, kimg=0.004)
    train(config, tmp_path / "run", dataset, "cpu", gaze_estimator=tiny_estimator(3))
    (line,) = [json.loads(line) for line in (tmp_path / "run" / "stats.jsonl").read_text().splitlines()]
    assert math.isfinite(line["GFAS/slope"]["mean"]) and "Loss/G/gaze_loss" not in line
    facts = checkpoint.open_checkpoint(tmp_path / "run" / "network-snapshot-000000.safetensors").facts
    assert facts["gaze"]["network_sha256"] is None


def test_a_run_that_goes_on_from_a_snapshot_counts_no_loss_twice(dataset, tmp_path):
    train(tiny_config(dataset.path), tmp_path / "whole", dataset, "cpu")
    train(tiny_config(dataset.path, kimg=0.008), tmp_path / "run", dataset, "cpu")
    state = checkpoint.load_state(tmp_path / "run" / STATE_FILE)
    train(tiny_config(dataset.path), tmp_path / "run", dataset, "cpu", state)
    assert loss_lines(tmp_path / "run") == loss_lines(tmp_path / "whole")


@pytest.mark.parametrize("stopped", [False, True])
def test_a_loss_that_is_not_finite_stops_the_run_and_leaves_the_last_good_state(
    dataset, tmp_path, monkeypatch, stopped
):
    whole = losses.discriminator_real
    steps = []

    def broken(logits):
        steps.append(1)
        return whole(logits) * (float("nan") if len(steps) == 4 else 1.0)

    monkeypatch.setattr(losses, "discriminator_real", broken)
    run, snapshot = tmp_path / "run", tmp_path / "run" / "network-snapshot-000000.safetensors"
    train(tiny_config(dataset.path, kimg=0.012), run, dataset, "cpu")  # three good steps
    good = {path: path.read_bytes() for path in run.iterdir()}
    config = tiny_config(dataset.path, kimg=0.02, tick=1000.0 if stopped else 0.004)
    limit = 0.0 if stopped else None  # stopped between ticks, or found at one
    with pytest.raises(ValueError, match=r"Loss/D/loss is not finite after 16 images") as error:
        train(config, run, dataset, "cpu", checkpoint.load_state(run / STATE_FILE), None, limit)
    assert str(snapshot) in str(error.value) and "\n" not in str(error.value)
    assert all(path.read_bytes() == content for path, content in good.items() if path.suffix != ".json")


def test_a_loss_that_is_not_finite_before_any_snapshot_says_so(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(losses, "generator_adversarial", lambda logits: logits.flatten() * float("inf"))
    with pytest.raises(ValueError, match=r"Loss/G/loss is not finite after 4 images .*snapshot: none"):
        train(tiny_config(dataset.path), tmp_path / "run", dataset, "cpu")


def test_a_damaged_image_is_found_before_anything_is_written(dataset, tmp_path):
    image = dataset.path / "img7.png"
    image.write_bytes(image.read_bytes()[:60])
    with pytest.raises(ValueError, match=r"img7\.png is damaged"):
        train(tiny_config(dataset.path), tmp_path / "run", dataset, "cpu")
    assert not (tmp_path / "run").exists()


def test_a_stop_leaves_the_scored_snapshot_of_its_thousand_as_it_was_scored(dataset, tmp_path):
    """Its line of stats.jsonl, and `best`, speak of those weights; the state has the present ones."""
    config = tiny_config(dataset.path, kimg=0.016, tick=0.004, snap=1)
    train(config, tmp_path / "run", dataset, "cpu", stop_after_s=0.0)
    path = tmp_path / "run" / "network-snapshot-000000.safetensors"
    assert (tmp_path / "run" / "fakes000000.png").exists()
    scored = path.read_bytes()
    state = checkpoint.load_state(tmp_path / "run" / STATE_FILE)
    later = dataclasses.replace(config, tick=1000.0)  # no regular snapshot before it is stopped
    again, _ = train(dataclasses.replace(later, kimg=0.032), tmp_path / "run", dataset, "cpu", state, stop_after_s=0.0)
    assert again.images_seen > state["images_seen"]
    assert path.read_bytes() == scored


def test_a_run_is_not_continued_with_another_gaze_network(dataset, tmp_path):
    config = tiny_config(dataset.path, gaze_weight=1.0)
    estimator, other = tiny_estimator(), tiny_estimator()
    estimator.sha256, other.sha256 = "a" * 64, "b" * 64
    state = trainer_of(dataset, config, gaze_estimator=estimator).state()
    assert trainer_of(dataset, config, gaze_estimator=estimator, state=state).images_seen == 0
    with pytest.raises(ValueError, match="--l2cs-path=.*other weights"):
        trainer_of(dataset, config, gaze_estimator=other, state=state)
