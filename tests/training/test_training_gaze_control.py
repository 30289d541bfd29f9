"""Training with the gaze as an input: what is asked for, what moves, what stays, and that a stop changes nothing."""

import copy
import dataclasses

import pytest
import torch
from published_layout import write_published
from tiny_networks import tiny_estimator
from tiny_run import assert_same_state, tiny_config, write_images

from eg3d.checkpoints.loading import CheckpointError, load_network, save_snapshot
from eg3d.checkpoints.published_pickle import save_published
from eg3d.config.augmentation import AugmentConfig
from eg3d.config.eye_control import ControlConfig
from eg3d.config.flags import resolve
from eg3d.config.run import from_dict, network_from_dict, to_dict
from eg3d.data.dataset import ImageDataset
from eg3d.gaze.term import GazeLossConfig, gaze_error
from eg3d.geometry.cameras import lookat_pose
from eg3d.geometry.head_gaze import gaze_direction, gaze_into_camera
from eg3d.models.eye_field import EyeField
from eg3d.models.generator import TriPlaneGenerator
from eg3d.training.ada import count_signs
from eg3d.training.latents import FakeBatches, other_cameras, wanted_gaze
from eg3d.training.trainer import Trainer
from groundwork.settings import ConfigError

GAZE = GazeLossConfig(weight=2.0, l2cs_path="unused", cond_d=True)


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A data set, and the configuration of a run on a base that two steps have trained."""
    folder = tmp_path_factory.mktemp("control")
    dataset = ImageDataset(write_images(folder / "data"))
    plain = tiny_config(dataset.path)
    base = Trainer(plain, dataset, "cpu")
    for _ in range(2):
        base.step()
    save_snapshot(folder / "base.safetensors", base.networks(), base.facts())
    control = ControlConfig(on=True)
    generator = network_from_dict("generator", control.on_base(dataclasses.asdict(plain.generator), 0.08, 0.03))
    config = dataclasses.replace(
        plain, generator=generator, control=control, gaze=GAZE, resume=str(folder / "base.safetensors")
    )
    return dataset, config


def trainer(start, state=None, **changes) -> Trainer:
    dataset, config = start
    return Trainer(dataclasses.replace(config, **changes), dataset, "cpu", state, tiny_estimator())


def test_it_starts_as_its_base_and_only_the_eyes_learn(start):
    run = trainer(start)
    base = load_network(start[1].resume, "G_ema").state_dict()  # which is not its G
    for G in (run.G, run.G_ema):
        for name, value in G.state_dict().items():
            origin = EyeField.origin_of(name)
            assert origin is None or torch.equal(value, base[origin]), name
        assert torch.count_nonzero(G.shift(torch.tensor([[0.6, -0.3]]), torch.ones(1, G.num_ws, G.w_dim))) == 0
    before = {name: value.clone() for name, value in run.G.state_dict().items()}
    for _ in range(2):  # the second one has a density step, and a shift that is no longer zero
        run.step()
    assert run.finite
    for G in (run.G, run.G_ema):
        for name, value in G.state_dict().items():
            learns = dict(run.G.named_parameters()).get(name) is not None and not name.startswith("base.")
            if name.startswith("base."):
                assert torch.equal(value, before[name]), f"{name} has moved"
            elif learns and name.endswith("weight"):
                assert not torch.equal(value, before[name]), f"{name} has not moved"


def test_a_published_base_starts_it_as_ours_does(start, tmp_path):
    pickle = tmp_path / "base.pkl"
    write_published(pickle, *(load_network(start[1].resume, name) for name in ("G", "D", "G_ema")))
    ours, theirs = (trainer(start, **changes) for changes in ({}, {"resume": str(pickle)}))
    for run in (ours, theirs):
        run.step()
    for name in ("G_ema", "G", "D"):
        for (key, a), b in zip(
            getattr(ours, name).state_dict().items(), getattr(theirs, name).state_dict().values(), strict=True
        ):
            assert torch.equal(a, b), f"{name}.{key}"


@pytest.mark.parametrize("augment", [AugmentConfig(), AugmentConfig(mode="ada", target=0.0, kimg=0.01, interval=1)])
def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(start, augment, monkeypatch):
    monkeypatch.setattr("eg3d.training.trainer.count_signs", lambda logits: count_signs(logits.abs()))  # so p rises
    changes = dict(augment=augment, control=ControlConfig(on=True, second_camera=augment.on))
    whole = trainer(start, **changes)
    for _ in range(4):
        whole.step()
    assert (whole.strength.p > 0) == augment.on
    first = trainer(start, **changes)
    for _ in range(2):
        first.step()
    second = trainer(start, state=first.state(), **changes)
    for _ in range(2):
        second.step()
    assert_same_state(whole.state(), second.state())


def test_micro_batches_draw_the_same_gazes(start):
    dataset, config = start
    whole = FakeBatches(config, dataset, range(4), 16, torch.device("cpu")).at("Gmain", 8)
    half = FakeBatches(config, dataset, range(2, 4), 16, torch.device("cpu")).at("Gmain", 8)
    assert torch.equal(whole.gaze[2:], half.gaze)
    assert torch.equal(whole.part(slice(1, 3)).gaze, whole.gaze[1:3])
    assert not torch.equal(whole.gaze, FakeBatches(config, dataset, range(4), 16, torch.device("cpu")).at("x", 8).gaze)


def test_runs_without_control_draw_what_they_drew(start):
    dataset, config = start
    plain = dataclasses.replace(config, generator=config.generator.base, control=ControlConfig())
    mine, theirs = (FakeBatches(c, dataset, range(4), 16, torch.device("cpu")).at("G", 4) for c in (config, plain))
    assert theirs.gaze is None
    assert torch.equal(mine.z, theirs.z) and torch.equal(mine.labels, theirs.labels)


def test_wanted_gaze_is_uniform_but_for_the_face_and_the_camera(start):
    control = ControlConfig(on=True, along_face=0.25, into_camera=0.25)
    labels = start[0].labels[:4]
    u = torch.tensor([[0.0, 1.0, 0.3], [1.0, 0.25, 0.7], [0.2, 0.2, 0.1], [0.2, 0.2, 0.8]])
    gaze = wanted_gaze(control, labels, u)
    assert torch.allclose(gaze[:2], torch.tensor([[-0.6, 0.3], [0.6, -0.15]]))
    assert gaze[2].tolist() == [0.0, 0.0]
    back = -labels[3, :16].reshape(4, 4)[:3, 2]
    assert torch.allclose(gaze_direction(gaze[3]), back, atol=1e-6)


def test_the_term_compares_with_the_wanted_gaze_as_the_camera_sees_it():
    labels = torch.cat([torch.eye(4).flatten(), torch.zeros(9)])[None]
    labels[0, [5, 10]] = -1  # a camera in front of the face
    reading = torch.tensor([[0.3, -0.2]])

    class Network:
        crop = "none"

        def __call__(self, images):
            from l2cs.estimator import GazeAngles

            return GazeAngles(reading[:, 0], reading[:, 1])

    images = torch.zeros(1, 3, 8, 8)
    same = gaze_error(images, labels, Network(), wanted=gaze_direction(reading))
    other = gaze_error(images, labels, Network(), wanted=gaze_direction(reading + torch.tensor([[0.2, 0.0]])))
    assert float(same) < 1e-12
    assert float(other) == pytest.approx(0.02, rel=1e-4)


def test_the_draw_of_a_picture_is_told_its_own_gaze(start):
    run = trainer(start)
    asked = []
    real = run.G.synthesis
    run.G.synthesis = lambda *args, **kwargs: asked.append(kwargs["gaze"]) or real(*args, **kwargs)
    run.step()
    for phase, gaze in zip(("Gmain", "Dmain"), asked, strict=True):
        assert torch.equal(gaze, run.fake_batches.at(phase, 0).gaze)


def test_the_discriminator_may_learn_from_eyes_that_look_into_the_camera(start):
    dataset, config = start
    plain, camera = (
        FakeBatches(
            dataclasses.replace(config, control=ControlConfig(on=True, camera_d=d)),
            dataset,
            range(4),
            16,
            torch.device("cpu"),
        )
        for d in (False, True)
    )
    assert torch.equal(plain.at("Gmain", 8).gaze, camera.at("Gmain", 8).gaze)
    found = camera.at("Dmain", 8)
    assert torch.equal(found.gaze, gaze_into_camera(found.labels)) and torch.equal(found.z, plain.at("Dmain", 8).z)
    assert not torch.equal(found.gaze, plain.at("Dmain", 8).gaze)


def test_the_gaze_term_may_look_from_a_second_camera_too(start):
    """The discriminator sees the first camera's pictures, and the size of a micro-batch does not matter."""
    control = ControlConfig(on=True, second_camera=True, rig=1.0)
    whole, parts = (trainer(start, control=control, batch_gpu=size) for size in (4, 2))
    without = trainer(start, control=ControlConfig(on=True, rig=1.0))
    seen, looks = [], []
    for run in (whole, parts, without):
        pair, error = run._fake_pair, run.gaze.error
        run._fake_pair = lambda images, fakes, pair=pair: seen.append(images["image"]) or pair(images, fakes)
        run.gaze.error = lambda images, labels, *rest, error=error: (
            looks.append((images, labels, error(images, labels, *rest))) or looks[-1][2]
        )
        run.step()
    first, fakes = whole.fake_batches.at("Gmain", 0), without.fake_batches.at("Gmain", 0)
    assert torch.equal(first.labels, fakes.labels) and torch.equal(first.gaze, fakes.gaze)
    assert whole.fake_batches.at("Dmain", 0).others is None and fakes.others is None
    whole_looks, part_looks, (alone,) = looks[:2], looks[2:6], looks[6:]
    assert torch.equal(whole_looks[0][1], first.labels) and torch.equal(whole_looks[1][1], first.others)
    apart = (whole_looks[0][0] - whole_looks[1][0]).abs().mean()
    assert (whole_looks[0][0] - alone[0]).abs().mean() < 0.2 * apart  # only the jitter along the rays is another
    for one in (0, 1):
        again = torch.cat([part_looks[one][0], part_looks[one + 2][0]])
        assert torch.allclose(whole_looks[one][0], again, atol=1e-5)
    assert torch.equal(seen[0], whole_looks[0][0])
    whole.stats.collect()
    mean = whole.stats.line()["Loss/G/gaze_loss"]["mean"]
    assert mean == pytest.approx(sum(float(look[2].detach().mean()) for look in whole_looks) / 2, rel=1e-5)


def test_of_two_cameras_the_first_draws_the_image_and_both_the_rig_loss(start):
    run = trainer(start, control=ControlConfig(on=True, second_camera=True, rig=1.0))
    fakes, side, asked = run.fake_batches.at("Gmain", 0), run.raw_resolution, []

    def drawn(ws, labels, **told):
        asked.append((labels, told["gaze"]))
        number = torch.arange(len(labels)).float()
        image = number[:, None, None, None].expand(-1, 3, side, side)
        return {"image": image, "image_raw": image, "rig": number}

    run.G.synthesis, run.phase = drawn, "Gmain"
    images = run._generate(fakes, ws=None)
    ((labels, gaze),) = asked
    assert torch.equal(labels[::2], fakes.labels) and torch.equal(labels[1::2], fakes.others)
    assert torch.equal(gaze[::2], fakes.gaze) and torch.equal(gaze[1::2], fakes.gaze)
    n = torch.arange(len(fakes.labels)).float()
    assert torch.equal(images["image"][:, 0, 0, 0], 2 * n) and torch.equal(images["image_raw"][:, 0, 0, 0], 2 * n)
    assert torch.equal(images["other"][:, 0, 0, 0], 2 * n + 1) and torch.equal(images["rig"], 2 * n + 0.5)


def test_second_cameras_stand_evenly_round_the_face_with_the_lens_of_the_first(start):
    labels, orbit = start[0].labels[:3], start[1].generator.base.orbit
    u = torch.tensor([[0.5, 0.5], [1.0, 0.5], [0.5, 0.0]])
    found = other_cameras(ControlConfig(on=True), labels, orbit, u)
    expected = lookat_pose([0.0, 0.5, 0.0], [0.0, 0.0, -0.3], orbit.pivot, orbit.radius).flatten(1).to(labels)
    assert torch.allclose(found[:, :16], expected, atol=1e-6) and torch.equal(found[:, 16:], labels[:, 16:])


def test_a_rate_that_fades_is_the_generators_and_goes_on_after_a_stop(start):
    schedule = dataclasses.replace(start[1].schedule, glr_fade_kimg=0.016)
    whole = trainer(start, schedule=schedule, kimg=0.016)
    for _ in range(3):
        whole.step()
    (first,), (other,) = (optimiser.param_groups for optimiser in (whole.G_optimiser, whole.D_optimiser))
    assert first["lr"] == pytest.approx(0.5 * whole.G_optimiser.defaults["lr"])  # of the step from image 8 on, of 16
    assert other["lr"] == whole.D_optimiser.defaults["lr"]
    second = trainer(start, copy.deepcopy(whole.state()), schedule=schedule, kimg=0.016)
    for run in (whole, second):
        run.step()
    assert_same_state(whole.state(), second.state())


def test_the_rig_loss_is_part_of_the_generators_loss_and_draws_nothing(start):
    with_rig = trainer(start, control=ControlConfig(on=True, rig=3000.0))
    without = trainer(start)
    for run in (with_rig, without):
        for _ in range(2):
            run.step()
    for run in (with_rig, without):
        run.stats.collect()
    mean = {name.removeprefix("Loss/G/"): value["mean"] for name, value in with_rig.stats.line().items()}
    assert 3000 * mean["rig_loss"] > 0.01 * mean["loss"]
    terms = mean["loss"] + GAZE.weight * mean["gaze_loss"] + 3000 * mean["rig_loss"]
    assert mean["total_loss"] == pytest.approx(terms, rel=1e-5)
    assert "Loss/G/rig_loss" not in without.stats.line()
    names = [name for name, value in without.G.state_dict().items() if name.startswith("eye_")]
    assert any(not torch.equal(with_rig.G.state_dict()[name], without.G.state_dict()[name]) for name in names)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (dict(), "add --resume=NETWORK"),
        (dict(resume="embedded-base", gaze_weight=0.0), "which is off: add --gaze-weight=1"),
        (dict(resume="embedded-base", mask=True), "drop --gaze-mask"),
        (dict(resume="embedded-base", targets="legacy"), "drop --gaze-targets=legacy"),
    ],
)
def test_what_contradicts_it_is_refused(flags, message):
    names = {"mask": "gaze_mask", "targets": "gaze_targets"}
    given = {names.get(name, name): value for name, value in flags.items()}
    with pytest.raises(ConfigError, match=message):
        resolve("embedded", gaze_control=True, **given)


def test_a_configuration_is_the_same_after_json():
    config = resolve("embedded", gaze_control=True, resume="embedded-base")
    assert from_dict(to_dict(config)) == config
    assert config.generator.outer == 0.53 and config.generator.eye_x == 0.0845
    assert resolve("ffhq", gaze_control=True, resume="x", l2cs_path="y").generator.eye_x == 0.0779


def test_the_published_pickle_cannot_hold_it(start, tmp_path):
    run = trainer(start)
    with pytest.raises(ValueError, match="EyeField, which the published code lacks; keep the snapshot"):
        save_published(tmp_path / "a.pkl", {"G_ema": run.G_ema}, {})


def test_a_base_of_another_size_is_named(start, tmp_path):
    _, config = start
    other = dataclasses.replace(config.generator.base.decoder, width=8)
    G = TriPlaneGenerator(dataclasses.replace(config.generator.base, decoder=other))
    save_snapshot(tmp_path / "other.safetensors", {"G_ema": G}, {})
    with pytest.raises(CheckpointError, match="base.decoder.net.0.weight"):
        trainer(start, resume=str(tmp_path / "other.safetensors"))
