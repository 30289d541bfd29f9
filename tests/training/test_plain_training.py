"""The plain twin of a training step (tests/oracles) and the trainer: pictures, losses, gradients and steps agree."""

import dataclasses

import pytest
import torch
from oracles import plain_networks
from oracles.plain_training import Latents, PlainTraining, PublishedDraws
from tiny_run import everything_in_float64, tiny_config, write_images

from eg3d.data.dataset import ImageDataset
from eg3d.ops.kernels.backend import using
from eg3d.training.trainer import Trainer
from groundwork.draws import KeyedDraws

TERMS = {"Gmain": "Loss/G/loss", "Greg": "Loss/G/density_reg", "Dreg": "Loss/D/reg"}


class SameDraws:
    """What the trainer draws in the coming step."""

    def __init__(self, trainer):
        self.trainer = trainer

    def latents(self, phase):
        fakes = self.trainer.fake_batches.at(phase, self.trainer.images_seen)
        return Latents(fakes.z, fakes.labels, fakes.conditioning_labels)

    def draws(self, phase, what):
        config = self.trainer.config
        return KeyedDraws.at(config.seed, f"{phase}/{what}", range(config.batch), self.trainer.images_seen)


@pytest.fixture
def trainer_of(tmp_path):
    """trainer_of() -> a new trainer without blur whose noise and mean latent are not zero."""

    def build():
        dataset = ImageDataset(write_images(tmp_path / "faces"))
        config = tiny_config(dataset.path)
        schedule = dataclasses.replace(config.schedule, blur_init_sigma=0.0)
        trainer = Trainer(dataclasses.replace(config, schedule=schedule), dataset, "cpu")
        for name, value in trainer.G.state_dict().items():
            if name.endswith(("noise_strength", "w_avg")):
                value.fill_(0.3)
        return trainer

    return build


def test_two_steps_of_the_twin_are_those_of_the_trainer(trainer_of):
    """The first step has all four phases and leaves the gradients of Greg and Dreg, the second those of the others."""
    with everything_in_float64():
        trainer, logged = trainer_of(), {}
        trainer._log = lambda **values: logged.update(values)
        twin = PlainTraining(trainer.G, trainer.D, trainer.G_ema, trainer.config, SameDraws(trainer))
        for step in range(2):
            logged.clear()
            twin.losses.clear()
            twin.step(*trainer.batches.at(trainer.images_seen), trainer.images_seen)
            trainer.step()
            lazy = {"Greg", "Dreg"} if step == 0 else set()
            assert set(twin.losses) == {"Gmain", "Dmain fake", "Dmain real"} | lazy
            losses = twin.losses | {"Dmain": twin.losses["Dmain fake"] + twin.losses["Dmain real"]}
            for phase, name in (TERMS | {"Dmain": "Loss/D/loss"}).items():
                if phase in losses:
                    assert losses[phase].mean().item() == pytest.approx(logged[name].mean().item(), rel=1e-10), phase
            for network, other in ((trainer.G, twin.G), (trainer.D, twin.D)):
                for (name, ours), theirs in zip(network.named_parameters(), other.parameters(), strict=True):
                    assert (ours.grad is None) == (theirs.grad is None), name
                    if ours.grad is not None:
                        largest = theirs.grad.abs().max().item()
                        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-8, atol=1e-9 * largest, msg=name)
        for name, network in trainer.networks().items():
            expected = getattr(twin, name).state_dict()
            for key, value in network.state_dict().items():
                torch.testing.assert_close(value, expected[key], rtol=1e-6, atol=1e-9, msg=f"{name}.{key}")


@pytest.mark.parametrize("ops", ["torch", "kernels"])
def test_pictures_and_logits_of_the_twin_are_ours(trainer_of, ops):
    trainer = trainer_of()
    source = SameDraws(trainer)
    latents = source.latents("Gmain")
    ws = trainer.G.mapping(latents.z, latents.conditioning)
    expected = plain_networks.styles_of(trainer.G, latents.z, latents.conditioning)
    torch.testing.assert_close(ws, expected, rtol=1e-5, atol=1e-5)
    with using(ops):
        ours = trainer.G.synthesis(ws, latents.cameras, 8, draws=source.draws("Gmain", "render"))
        logits = trainer.D(ours, latents.cameras)
    pair = plain_networks.synthesis(trainer.G, ws, latents.cameras, 8, source.draws("Gmain", "render"))
    for name, theirs in pair.items():
        torch.testing.assert_close(ours[name], theirs, rtol=1e-4, atol=1e-4 * theirs.abs().max().item(), msg=name)
    theirs = plain_networks.judge(trainer.D, pair, latents.cameras)
    torch.testing.assert_close(logits, theirs, rtol=1e-3, atol=1e-4 * theirs.abs().max().item())


def test_the_published_draws_swap_cameras_as_often_as_asked():
    labels = torch.arange(50.0)[:, None].expand(-1, 25)
    for swap in (0.0, 1.0):
        latents = PublishedDraws(labels, batch=8, z_dim=4, swap=swap).latents("Gmain")
        expected = latents.cameras.roll(1, 0) if swap else latents.cameras
        assert torch.equal(latents.conditioning, expected) and latents.z.shape == (8, 4)
