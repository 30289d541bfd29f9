"""--gaze-mask, --gaze-cond-d and --freeze-g: what each may touch, and what it must leave alone."""

import dataclasses

import pytest
import torch
from tiny_networks import tiny_estimator, tiny_generator
from tiny_run import tiny_config, write_images

from eg3d.checkpoints import loading as checkpoint
from eg3d.data.dataset import ImageDataset
from eg3d.gaze import eye_region
from eg3d.gaze.term import GazeLossConfig, GazeTerm
from eg3d.geometry.cameras import FFHQ_FOCAL, intrinsics_matrix, lookat_pose, make_label
from eg3d.training.resume import start_from
from eg3d.training.trainer import Trainer
from groundwork.draws import Midpoints


def trainer(tmp_path, gaze=None, **changes):
    dataset = ImageDataset(write_images(tmp_path / "faces"))
    gaze = gaze or GazeLossConfig(weight=1.0, l2cs_path="unused")
    return Trainer(tiny_config(dataset.path, gaze=gaze, **changes), dataset, "cpu", gaze_estimator=tiny_estimator())


# ---------------------------------------------------------------- --gaze-mask


def test_gradients_outside_the_region_are_stopped_and_the_picture_stays():
    images = torch.randn(2, 3, 8, 8, requires_grad=True)
    region = torch.zeros(2, 1, 4, 4)
    region[:, :, 0, 0] = 1.0
    result = eye_region.gated(images, region)
    torch.testing.assert_close(result, images)
    result.sum().backward()
    assert (images.grad[:, :, 0, 0] == 1).all()  # the middle of the region's first pixel lies beyond this one
    assert (images.grad[:, :, 3:] == 0).all() and (images.grad[:, :, :, 3:] == 0).all()


def test_the_region_is_a_bell_round_the_nearest_eye_in_world_space():
    cameras = make_label(lookat_pose(torch.tensor([0.3]), torch.tensor([-0.1])), intrinsics_matrix(FFHQ_FOCAL))
    from eg3d.geometry.cameras import split_label
    from eg3d.geometry.rays import camera_rays

    origins, directions = camera_rays(*split_label(cameras), 4)
    depth = torch.full((1, 1, 4, 4), 2.5)
    eye = (origins + 2.5 * directions)[:, 5] + torch.tensor([0.0, 0.03, 0.04])  # 0.05 from what pixel 5 shows
    centres = torch.stack([eye, eye + 9], dim=1)
    region = eye_region.soft_region(depth, cameras, centres, radius=0.05)
    assert region.flatten()[5].item() == pytest.approx(0.60653, abs=1e-4)  # exp(-1/2)
    assert region.flatten().argmax() == 5 and region.flatten()[15] < 1e-3


@torch.no_grad()
def test_eyes_stand_at_their_landmarks_on_the_generators_own_surface():
    G, x, y = tiny_generator(), 0.1, 0.05
    ws = G.mapping(torch.randn(2, 16), torch.zeros(2, 25))
    front = make_label(lookat_pose(torch.zeros(2), 0.0), intrinsics_matrix(FFHQ_FOCAL))
    G.synthesis(ws, front, draws=Midpoints(), cache_backbone=True, noise_mode="random")
    centres = eye_region.eye_centres(G, ws, (x, y), Midpoints())
    assert centres.shape == (2, 2, 3)
    torch.testing.assert_close(centres[..., :2], torch.tensor([[-x, y], [x, y]]).expand(2, 2, 2))
    for i in range(2):  # the same depths by a ray of one's own
        origins = torch.tensor([[[-x, y, 2.7], [x, y, 2.7]]])
        depth = G.kept_depth(ws, origins.expand(2, 2, 3), torch.tensor([0.0, 0.0, -1.0]).expand(2, 2, 3), Midpoints())
        torch.testing.assert_close(centres[i, :, 2], 2.7 - depth[i])
    G.forget_planes()
    with pytest.raises(AssertionError, match="cache_backbone"):
        eye_region.eye_centres(G, ws, (x, y), Midpoints())


def gaze_gradient(run, mask):
    """Gradient of the whole generator loss to the pictures of Gmain, with and without the gaze term."""
    generate, images = run._generate, []

    def kept(*args, **kwargs):
        result = generate(*args, **kwargs)
        result["image"].retain_grad()
        images.append(result["image"])
        return result

    run._generate = kept
    for weight in (1.0, 0.0):
        gaze = dataclasses.replace(run.gaze.config, weight=weight, mask=mask and weight > 0, mask_radius=0.03)
        run.gaze = GazeTerm(gaze, run.gaze.network)
        run.phase, run.blur_sigma, run.raw_resolution, run._sums = "Gmain", 0.0, 8, {}
        run.G.requires_grad_(True)
        sum(term.mean() for term in run.generator_main(run.fake_batches.at("Gmain", 0))).backward()
    return images[0].grad - images[1].grad


def test_the_masked_term_reaches_the_eyes_and_nothing_far_from_them(tmp_path):
    free, masked = (gaze_gradient(trainer(tmp_path), mask) for mask in (False, True))
    far = masked.abs().sum(dim=1) < 1e-3 * masked.abs().max()
    assert masked.abs().max() > 0
    assert far.float().mean() > 0.3  # of the pixels
    assert (free.abs().sum(dim=1)[far] > 1e-3 * free.abs().max()).float().mean() > 0.5  # which the free term did reach


def test_the_mask_keeps_no_planes_after_a_step(tmp_path):
    run = trainer(tmp_path, GazeLossConfig(weight=1.0, l2cs_path="unused", mask=True))
    run.step()
    assert run.G._cached is None


# ---------------------------------------------------------------- --gaze-cond-d


def told(tmp_path):
    gaze = GazeLossConfig(weight=0.0, l2cs_path="unused", cond_d=True)
    return trainer(tmp_path, gaze)


def test_the_discriminator_is_told_the_gaze_of_the_picture_it_sees(tmp_path, monkeypatch):
    run, labels = told(tmp_path), []
    monkeypatch.setattr(run.D, "forward", lambda pair, c, draws=None: labels.append(c) or c[:, :1])
    run.phase, run.blur_sigma, run.raw_resolution = "Dmain", 0.0, 8
    real = run._real_batch()
    run._discriminate(run._real_pair(real), real, real.images)
    angles = run.gaze.network(real.images)
    torch.testing.assert_close(labels[0], torch.cat([real.labels, angles.yaw[:, None], angles.pitch[:, None]], dim=1))
    assert not labels[0].requires_grad


def test_a_step_with_a_told_discriminator_trains_it_on_the_gaze(tmp_path):
    run = told(tmp_path)
    before = run.D.mapping.embed.weight.clone()
    run.step()
    moved = (run.D.mapping.embed.weight - before).abs()
    assert (moved[:, 25:] > 0).any()
    assert (run.D.label_std[25:] == 0).all() and (run.D.label_std[:25] > 0).any()


def test_a_discriminator_that_learns_of_gazes_starts_as_the_one_that_did_not(tmp_path):
    source, run = trainer(tmp_path, GazeLossConfig(weight=0.0)), told(tmp_path)
    path = tmp_path / "source.safetensors"
    checkpoint.save_snapshot(path, source.networks(), {})
    _, notes = start_from(run.networks(), str(path))
    assert notes == ["D: mapping.embed.weight gets inputs for the gaze, which start at zero"]
    labels = source.dataset.labels[:4]
    pair = {"image": torch.randn(4, 3, 16, 16), "image_raw": torch.randn(4, 3, 8, 8)}
    gaze = torch.randn(4, 2)
    torch.testing.assert_close(run.D(pair, torch.cat([labels, gaze], dim=1)), source.D(pair, labels))


# ---------------------------------------------------------------- --freeze-g


def test_frozen_layers_stay_to_the_bit_and_the_others_move(tmp_path):
    run = trainer(tmp_path, freeze_g=1)
    before = {name: value.clone() for name, value in run.G.named_parameters()}
    run.step()
    moved = {name for name, value in run.G.named_parameters() if not torch.equal(value, before[name])}
    still = {name for name in before if name.startswith(("backbone.mapping.", "backbone.synthesis.b4."))}
    assert still and not still & moved
    assert any(name.startswith("backbone.synthesis.b8.") for name in moved) and "decoder.net.0.weight" in moved


@pytest.mark.parametrize("blocks", [-1, 9])
def test_blocks_that_the_backbone_has_not_cannot_be_frozen(tmp_path, blocks):
    with pytest.raises(ValueError, match=r"--freeze-g=.*from 0 to 2"):
        tiny_config(tmp_path, freeze_g=blocks)
