"""Which tensors, cameras, draws and schedule values a training step hands to the networks and the terms."""

import dataclasses
import inspect

import pytest
import torch
from tiny_networks import tiny_estimator
from tiny_run import tiny_config, write_images

from eg3d.data.dataset import ImageDataset
from eg3d.gaze import term
from eg3d.gaze.term import GazeLossConfig
from eg3d.training import losses, pairs
from eg3d.training.trainer import Trainer
from groundwork.draws import KeyedDraws

SCHEDULE = dict(
    blur_init_sigma=1.0, blur_fade_kimg=0.02, gpc_reg_prob=1.0, raw_resolution_initial=8, raw_resolution_final=16,
    raw_resolution_fade_kimg=0.02, ema_kimg=0.01, ema_rampup=None,
)  # fmt: skip
GAZE = GazeLossConfig(weight=3.0, l2cs_path="unused", warmup_kimg=0.02)


@pytest.fixture
def run(tmp_path):
    """A trainer after two steps (8 images): blur, resolution and gaze warm-up are 40 % through."""
    dataset = ImageDataset(write_images(tmp_path / "faces"))
    config = tiny_config(dataset.path, gaze=GAZE)
    config = dataclasses.replace(config, schedule=dataclasses.replace(config.schedule, **SCHEDULE))
    run = Trainer(config, dataset, "cpu", gaze_estimator=tiny_estimator())
    run.step()
    run.step()
    run.stats.line()
    return run


@pytest.fixture
def spy(monkeypatch):
    """spy(owner, name) -> list that collects the calls of owner.name: their arguments by name, and `result`."""

    def watch(owner, name):
        real, calls = getattr(owner, name), []
        signature = inspect.signature(real)

        def noted(*args, **kwargs):
            result = real(*args, **kwargs)
            calls.append(dict(signature.bind(*args, **kwargs).arguments, result=result))
            return result

        monkeypatch.setattr(owner, name, noted)
        return calls

    return watch


def test_pictures_logits_and_gaze_target_have_the_rendered_camera_and_only_the_mapping_the_other(run, spy):
    run.phase, run.blur_sigma, run.raw_resolution = "Gmain", 0.0, 8
    labels = run.dataset.labels
    fakes = run.fake_batches.at("Gmain", run.images_seen)
    fakes = dataclasses.replace(fakes, labels=labels[:4].clone(), conditioning_labels=labels[4:].clone())
    mapping, synthesis = spy(run.G, "mapping"), spy(run.G, "synthesis")
    seen, gaze = spy(run.D, "forward"), spy(term, "gaze_error")
    run.G.requires_grad_(True)
    (whole,) = run.generator_main(fakes)
    for _ in run.discriminator_main(fakes, run._real_batch()):
        break  # the term of the generated images
    assert len(mapping) == len(synthesis) == len(seen) == 2 and len(gaze) == 1
    for call in mapping:
        assert torch.equal(call["c"], fakes.conditioning_labels)
    for call in synthesis + seen:
        assert torch.equal(call["c"], fakes.labels)
    assert torch.equal(gaze[0]["labels"], fakes.labels)
    assert gaze[0]["images"] is synthesis[0]["result"]["image"]  # of the pictures D sees, not a copy
    by_gaze = torch.autograd.grad(gaze[0]["result"].sum(), gaze[0]["images"], retain_graph=True)[0]
    by_all = torch.autograd.grad(whole.sum(), gaze[0]["images"], retain_graph=True)[0]
    by_logits = torch.autograd.grad(losses.generator_adversarial(seen[0]["result"]).sum(), gaze[0]["images"])[0]
    assert (
        torch.allclose(by_all, by_logits + 3.0 * 8 / 20 * by_gaze, rtol=1e-3, atol=1e-7) and by_gaze.abs().max() > 1e-6
    )


def test_the_gaze_term_has_the_weight_of_its_warm_up(run):
    run.step()
    line = {name: value["mean"] for name, value in run.stats.line().items()}
    expected = line["Loss/G/loss"] + 3.0 * 8 / 20 * line["Loss/G/gaze_loss"]
    assert line["Loss/G/total_loss"] == pytest.approx(expected, rel=1e-5)
    assert 0.1 * line["Loss/G/gaze_loss"] > 1e-4  # a wrong weight would show


def test_the_gaze_term_is_disturbed_by_draws_of_its_place(run, spy):
    gaze = spy(term, "gaze_error")
    run.step()
    draws, expected = gaze[0]["draws"], KeyedDraws.at(run.config.seed, "Gmain/gaze", range(4), 8)
    assert isinstance(draws, KeyedDraws) and gaze[0]["jitter"] == run.config.gaze.jitter
    for shape in (
        (4, 4),
        (4, *gaze[0]["images"].shape[1:]),
    ):  # what the loss has drawn: how much of each, and the noise
        (expected.uniform if len(shape) == 2 else expected.normal)(shape)
    assert torch.equal(draws.uniform((4, 9)), expected.uniform((4, 9)))
    plain = term.gaze_error(gaze[0]["images"], gaze[0]["labels"], run.gaze.network)
    assert not torch.allclose(gaze[0]["result"], plain, rtol=1e-6)


def test_the_average_moves_by_the_share_of_its_half_life(run):
    before = {name: p.clone() for name, p in run.G_ema.named_parameters()}
    run.step()
    beta = 0.5 ** (4 / 10)  # 4 images of a half-life of 10
    for name, average in run.G_ema.named_parameters():
        hand = beta * before[name] + (1 - beta) * run.G.get_parameter(name)
        assert torch.allclose(average, hand, rtol=1e-5, atol=1e-7), name


def test_the_discriminator_sees_pictures_of_the_scheduled_blur_and_resolution(run, spy):
    synthesis, seen = spy(run.G, "synthesis"), spy(run.D, "forward")
    real = run.dataset.batch(run.order.indices(8, 4))[0].float() / 127.5 - 1
    run.step()
    pictures = [call["result"]["image"] for call in synthesis] + [real, real]
    shown = [call["img"] for call in seen]  # Gmain, Dmain: generated, Dmain: real, Dreg: real
    assert len(shown) == len(pictures) == 4
    for pair, sharp in zip(shown, pictures, strict=True):
        assert torch.allclose(pair["image"], pairs.blur(sharp, 0.6), atol=1e-6)
        assert (pair["image"] - sharp).abs().max() > 0.01
        assert pair["image_raw"].shape[-1] == 11  # 40 % of the way from 8 to 16
    assert run.G_ema.neural_rendering_resolution == 11


@pytest.mark.parametrize("raw_image", ["rendered", "legacy"])
def test_the_discriminator_sees_a_painted_raw_picture_only_as_a_legacy_and_where_it_is_not_resized(run, spy, raw_image):
    run.config = dataclasses.replace(run.config, loss=dataclasses.replace(run.config.loss, raw_image=raw_image))
    run.blur_sigma = 0.0
    seen, colours, rendered = spy(run.D, "forward"), [], []
    run.G.superresolution.block0.torgb.register_forward_hook(lambda _, args, result: colours.append(result.clone()))
    run.G.superresolution.register_forward_pre_hook(lambda _, args: rendered.append(args[0]))
    run.G.requires_grad_(True)
    for rays in (8, 12):  # of 16 px: only 8 are the super-resolution's own
        painted = raw_image == "legacy" and rays == 8
        for found in (seen, colours, rendered):
            found.clear()
        run.phase, run.raw_resolution = "Gmain", rays
        fakes = run.fake_batches.at("Gmain", run.images_seen)
        (_,) = run.generator_main(fakes)
        raw = seen[0]["img"]["image_raw"]
        torch.testing.assert_close(raw, rendered[0] + colours[0] if painted else rendered[0])
        bias = run.G.superresolution.block0.torgb.bias
        slope = torch.autograd.grad(raw.sum(), bias, allow_unused=True, retain_graph=True)[0]
        assert slope is None if not painted else torch.allclose(slope, torch.full((3,), 4.0 * rays * rays))
        whole = torch.autograd.grad(raw.sum(), run.G.decoder.net[2].bias, retain_graph=True)[0]
        assert whole.abs().max() > 0
        run.phase = "Dmain"
        for _ in run.discriminator_main(fakes, run._real_batch()):
            break
        raw = seen[1]["img"]["image_raw"]
        torch.testing.assert_close(raw, rendered[1] + colours[1] if painted else rendered[1])
