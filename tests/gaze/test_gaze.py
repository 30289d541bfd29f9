import math

import pytest
import torch
from tiny_networks import tiny_estimator, tiny_generator

from eg3d.gaze.crop import crop_face
from eg3d.gaze.jitter import Jitter, disturb
from eg3d.gaze.term import (
    KINDS,
    GazeLossConfig,
    angle_error,
    estimate_gaze,
    gaze_error,
    gaze_target,
    legacy_target,
)
from eg3d.geometry.cameras import FFHQ_FOV_DEG, fov_to_intrinsics, lookat_pose, make_label, mirror_label, split_label
from eg3d.pictures.views import conditioning_label
from groundwork.draws import KeyedDraws, Midpoints, Recorded
from l2cs.estimator import GazeAngles, gaze_vector

FFHQ_K = fov_to_intrinsics(FFHQ_FOV_DEG)


def cameras(*yaw_pitch, pivot=(0, 0, 0.2)):
    return make_label(lookat_pose(*zip(*yaw_pitch, strict=True), pivot=pivot), FFHQ_K)


def camera_grid(pivot=(0, 0, 0.2)):
    """Yaw in +-0.6, pitch in +-0.4, each with roll -0.2, 0 and 0.2; float64."""
    views = [(y, p) for y in (-0.6, -0.25, 0, 0.25, 0.6) for p in (-0.4, -0.1, 0, 0.2, 0.4)]
    pose, rolled = lookat_pose(*zip(*views, strict=True), pivot=pivot).double(), []
    for roll in (-0.2, 0.0, 0.2):
        turn = torch.eye(4, dtype=torch.float64)
        turn[:2, :2] = torch.tensor([[math.cos(roll), -math.sin(roll)], [math.sin(roll), math.cos(roll)]])
        rolled.append(pose @ turn)
    return make_label(torch.cat(rolled), FFHQ_K)


def project(labels, point):
    """World point (3,) -> normalised image position [N, 2] and depth [N]."""
    cam2world, intrinsics = split_label(labels)
    homogeneous = torch.tensor([*point, 1.0], dtype=labels.dtype)
    x = (intrinsics @ (torch.linalg.inv(cam2world) @ homogeneous)[:, :3, None])[:, :, 0]
    return x[:, :2] / x[:, 2:], x[:, 2]


def angles(yaw, pitch):
    return GazeAngles(torch.tensor(yaw, dtype=torch.float32), torch.tensor(pitch, dtype=torch.float32))


# ---------------------------------------------------------------- targets


@pytest.mark.parametrize("pivot", [(0.0, 0.0, 0.0), (0.0, 0.0, 0.2)])
def test_gaze_target_points_where_the_projected_head_axis_points(pivot):
    labels, step = camera_grid(pivot), 1e-6
    here, depth = project(labels, pivot)
    there, further = project(labels, (pivot[0], pivot[1], pivot[2] + step))
    # The pivot lies on the optical axis, where moving by d shifts the picture by focal * (d_x, d_y) / depth.
    moved = torch.cat([(there - here) * depth[:, None] / FFHQ_K[0, 0], (further - depth)[:, None]], dim=1) / step
    assert torch.allclose(gaze_vector(gaze_target(labels)), moved, atol=2e-5)


def test_gaze_target_turns_any_head_axis_into_the_camera_frame():
    labels = camera_grid()
    for axis in ((0.0, 0.0, 1.0), (0.3, -0.2, 1.0), (0.0, 0.5, 0.5)):
        h = torch.tensor(axis, dtype=torch.float64)
        expected = labels[:, :16].reshape(-1, 4, 4)[:, :3, :3].mT @ (h / h.norm())
        assert torch.allclose(gaze_vector(gaze_target(labels, axis)), expected, atol=1e-6)
    each = torch.randn(len(labels), 3, dtype=torch.float64)
    assert torch.allclose(gaze_target(labels, each).yaw[3:4], gaze_target(labels[3:4], each[3]).yaw)


def test_gaze_target_of_a_mirrored_camera_changes_the_sign_of_yaw_only():
    labels = camera_grid()
    plain, mirrored = gaze_target(labels), gaze_target(mirror_label(labels))
    assert torch.equal(mirrored.yaw, -plain.yaw)
    assert torch.equal(mirrored.pitch, plain.pitch)


TABLE = [  # camera parameters, published (pitch, yaw), correct (pitch*, yaw*), worked out by hand (docs/gaze_term.md)
    ((0.4, -0.2), (0.20, 0.43), (-0.1243, 0.4348)),
    ((0.0, -0.2), (0.20, 0.0), (-0.1378, 0.0)),
    ((-0.4, -0.2), (0.20, -0.43), (-0.1243, -0.4348)),
    ((0.4, 0.0), (0.0, 0.43), (0.0, 0.4309)),
    ((0.4, 0.4), (-0.40, 0.42), (0.2500, 0.4469)),
]


@pytest.mark.parametrize(("camera", "legacy", "correct"), TABLE)
def test_targets_match_the_worked_examples(camera, legacy, correct):
    label = cameras(camera)
    right, published = gaze_target(label), legacy_target(label)
    assert (right.pitch.item(), right.yaw.item()) == pytest.approx(correct, abs=6e-5)
    assert (published.pitch.item(), published.yaw.item()) == pytest.approx(legacy, abs=1e-6)


def test_targets_match_a_real_ffhq_label():
    label = torch.zeros(1, 25)
    label[0, :16] = torch.eye(4).flatten()
    label[0, 8:11] = torch.tensor([-0.125, 0.144, -0.982])  # last row of the rotation; the others stay unknown
    label[0, [3, 7, 11]] = torch.tensor([0.317, 0.388, 2.653])
    assert gaze_target(label).pitch.item() == pytest.approx(-0.1445, abs=1e-4)
    assert gaze_target(label).yaw.item() == pytest.approx(0.1266, abs=1e-4)
    assert legacy_target(label).pitch.item() == pytest.approx(0.23, abs=1e-6)


# ---------------------------------------------------------------- distances


def test_distances_match_hand_computed_values():
    a, b = angles([0.3, 0.0], [0.4, 0.0]), angles([0.0, 0.0], [0.0, 0.0])
    assert angle_error(a, b, "mse").tolist() == pytest.approx([0.125, 0])
    assert angle_error(a, b, "euclid").tolist() == pytest.approx([0.5, 0])
    assert angle_error(a, b, "angular").tolist() == pytest.approx([1 - math.cos(0.3) * math.cos(0.4), 0], abs=1e-7)


def test_distances_cross_the_half_turn():
    a, b = angles([math.pi - 0.1], [0.0]), angles([-math.pi + 0.1], [0.0])
    assert angle_error(a, b, "euclid").item() == pytest.approx(0.2, abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_distances_have_a_finite_gradient_at_zero_error(kind):
    yaw = torch.tensor([0.2, 0.2 + 1e-3], requires_grad=True)
    error = angle_error(GazeAngles(yaw, torch.zeros(2)), GazeAngles(torch.tensor([0.2, 0.2]), torch.zeros(2)), kind)
    error.sum().backward()
    assert error[0] == 0
    assert yaw.grad[0] == 0
    assert yaw.grad[1] > 0


def test_unknown_names_are_refused_in_one_line():
    a = angles([0.0], [0.0])
    with pytest.raises(ValueError, match="mse, euclid, angular"):
        angle_error(a, a, "l2")
    with pytest.raises(ValueError, match="correct, legacy"):
        gaze_error(torch.zeros(1, 3, 32, 32), cameras((0, 0)), lambda images: a, targets="old")


# ---------------------------------------------------------------- the term


@pytest.mark.parametrize("crop", ["none", "face"])
@pytest.mark.parametrize("kind", KINDS)
def test_gaze_loss_gradient_reaches_every_image(kind, crop):
    torch.manual_seed(0)
    images = torch.randn(2, 3, 32, 32, requires_grad=True)
    draws = KeyedDraws([1, 2])
    gaze_error(images, cameras((0.4, -0.2), (0, 0)), tiny_estimator(), kind, crop=crop, draws=draws).mean().backward()
    assert images.grad.isfinite().all()
    assert (images.grad.abs().amax(dim=(1, 2, 3)) > 0).all()


def test_gaze_loss_gradient_is_the_slope_of_the_loss():
    torch.manual_seed(0)
    images, direction = torch.randn(2, 3, 32, 32, requires_grad=True), torch.randn(2, 3, 32, 32)
    w = 0.01 * torch.randn(2, 3, 32, 32)

    def smooth_estimator(x):
        return GazeAngles((x * w[0]).sum(dim=(1, 2, 3)), (x.square() * w[1]).sum(dim=(1, 2, 3)))

    def loss(x):
        return gaze_error(x, cameras((0.4, -0.2), (0, 0)), smooth_estimator, draws=KeyedDraws([1, 2])).sum()

    loss(images).backward()
    with torch.no_grad():
        slope = (loss(images + 0.01 * direction) - loss(images - 0.01 * direction)).item() / 0.02
    assert (images.grad * direction).sum().item() == pytest.approx(slope, rel=0.01)


def test_gaze_loss_gradient_reaches_the_generator_parameters_and_leaves_the_gaze_network_alone():
    G, estimator = tiny_generator().requires_grad_(True), tiny_estimator()
    label = cameras((0.4, -0.2))
    ws = G.mapping(torch.ones(1, G.z_dim), conditioning_label(G))
    images = G.synthesis(ws, label, draws=Midpoints(), noise_mode="const")["image"]
    gaze_error(images, label, estimator).mean().backward()
    for part in (G.backbone.synthesis, G.backbone.mapping, G.decoder, G.superresolution):
        gradients = [p.grad for p in part.parameters() if p.grad is not None]
        assert all(g.isfinite().all() for g in gradients)
        assert max(g.abs().max() for g in gradients) > 0
    assert all(p.grad is None and not p.requires_grad for p in estimator.parameters())


def test_gaze_loss_of_a_batch_is_that_of_its_images_one_by_one():
    torch.manual_seed(0)
    images, labels, estimator = torch.randn(3, 3, 32, 32), cameras((0.4, -0.2), (0, 0), (-0.1, 0.3)), tiny_estimator()
    together = gaze_error(images, labels, estimator, draws=KeyedDraws([5, 6, 7]))
    alone = [gaze_error(images[i : i + 1], labels[i : i + 1], estimator, draws=KeyedDraws([5 + i])) for i in range(3)]
    assert together.shape == (3,)
    assert torch.allclose(together, torch.cat(alone), atol=1e-5)


def test_gaze_loss_takes_half_precision_images_and_is_float32():
    error = gaze_error(torch.zeros(1, 3, 32, 32, dtype=torch.float16), cameras((0, 0)), tiny_estimator())
    assert error.dtype == torch.float32


def test_score_without_draws_shows_the_estimator_the_very_image():
    seen = []
    images = torch.rand(1, 3, 16, 16)
    estimate_gaze(images, cameras((0, 0)), lambda x: seen.append(x) or angles([0.0], [0.0]))
    assert torch.equal(seen[0], images)


# ---------------------------------------------------------------- jitter and crop


def test_jitter_is_repeatable_and_differs_between_images_and_keys():
    images = torch.rand(1, 3, 32, 32).expand(2, -1, -1, -1) * 2 - 1
    once, again = (disturb(images, KeyedDraws([1, 2]), Jitter()) for _ in range(2))
    assert torch.equal(once, again)
    assert not torch.equal(once[0], once[1])
    assert not torch.equal(once, disturb(images, KeyedDraws([3, 4]), Jitter()))


def test_jitter_at_its_midpoint_is_a_centred_blur():
    """Midpoints draw no shift, half the blur and no noise: a dot stays centred and becomes a Gaussian."""
    side, sigma = 64, 0.5
    image = torch.zeros(1, 1, side, side)
    image[..., 20, 41] = 1
    out = disturb(image, Midpoints(), Jitter(shift=0.03, blur=1 / 64, noise=0.05))[0, 0]
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    expected = torch.exp(-((rows - 20) ** 2 + (columns - 41) ** 2) / (2 * sigma**2))
    assert torch.allclose(out, expected / expected.sum(), atol=1e-4)


class Extremes:
    """Draws at the upper end of every range."""

    def uniform(self, shape, device="cpu"):
        return torch.ones(shape, device=device)

    def normal(self, shape, device="cpu"):
        return torch.ones(shape, device=device)


@pytest.mark.parametrize("side", [64, 128])
def test_jitter_shifts_by_its_fraction_of_the_side(side):
    rows = torch.arange(side, dtype=torch.float32)
    ramp = rows.expand(1, 1, side, side)  # brightness = column, so its change is the shift
    moved = disturb(ramp, Extremes(), Jitter(shift=0.03, blur=0, noise=0)) - ramp
    assert moved[..., : side - 8].sub(0.03 * side).abs().max() < 1e-3
    noisy = disturb(ramp, Extremes(), Jitter(shift=0, blur=0, noise=0.05)) - ramp
    assert noisy.sub(0.05).abs().max() < 1e-5


def test_jitter_zooms_about_the_middle():
    side = 64
    from_middle = torch.arange(side, dtype=torch.float32).expand(1, 1, side, side) - (side - 1) / 2
    zoomed = disturb(from_middle, Extremes(), Jitter(shift=0, blur=0, noise=0, zoom=0.1))
    assert zoomed[..., 5:-5].sub(1.1 * from_middle[..., 5:-5]).abs().max() < 1e-3
    assert zoomed[..., 0, 5:-5].sub(zoomed[..., -1, 5:-5]).abs().max() < 1e-3  # no shear
    neither = disturb(from_middle, Midpoints(), Jitter(shift=0.03, blur=0, noise=0, zoom=0.1))
    assert neither.sub(from_middle).abs().max() < 1e-3


def test_without_zoom_nothing_more_is_drawn_than_before_there_was_one():
    counts = {}
    for zoom in (0.0, 0.1):
        draws = Recorded(KeyedDraws([0, 1]))
        disturb(torch.zeros(2, 3, 8, 8), draws, Jitter(zoom=zoom))
        counts[zoom] = len(draws.values)
    assert counts[0.1] == counts[0.0] + 1


def test_face_crop_is_centred_on_the_canonical_face_and_scales_with_the_image():
    labels = cameras((0.0, 0.0), (0.3, -0.2))
    for side in (64, 128):
        columns = torch.arange(side, dtype=torch.float32).add(0.5).div(side)
        uv = torch.stack(torch.meshgrid(columns, columns, indexing="xy")).expand(2, 2, side, side)  # pixel -> (u, v)
        crop = crop_face(uv, labels)
        assert crop.shape[-1] == round(0.56 * side)
        expected, _ = project(labels, (0.0, -0.0114, 0.2))
        assert torch.allclose(crop.mean(dim=(2, 3)), expected, atol=2e-3)
        # Frontal: eyes at columns 188 and 324 of 512, so 2.1 eye distances are 0.558 of the side.
        assert (crop[0, 0, 0, -1] - crop[0, 0, 0, 0]).item() == pytest.approx(0.558, abs=0.558 * 1.5 / crop.shape[-1])


# ---------------------------------------------------------------- configuration


def test_config_names_the_flag_and_the_remedy():
    with pytest.raises(ValueError, match="--l2cs-path=FILE, or --gaze-weight=0"):
        GazeLossConfig()
    with pytest.raises(ValueError, match="--gaze-weight"):
        GazeLossConfig(weight=float("nan"))
    with pytest.raises(ValueError, match="--gaze-loss=l1 is unknown"):
        GazeLossConfig(weight=0, kind="l1")
    with pytest.raises(ValueError, match="--gaze-targets"):
        GazeLossConfig(weight=0, targets="old")
    with pytest.raises(ValueError, match="jitter blur"):
        GazeLossConfig(weight=0, jitter_blur=3.0)
    GazeLossConfig(weight=0)


def test_weight_rises_linearly_over_the_warm_up():
    config = GazeLossConfig(weight=4.0, l2cs_path="embedded", warmup_kimg=2)
    assert [config.weight_at(n) for n in (0, 500, 2000, 9000)] == [0, 1, 4, 4]
    assert GazeLossConfig(weight=4.0, l2cs_path="embedded").weight_at(0) == 4


@pytest.mark.parametrize("images, labels", [((2, 3, 8, 8), (1, 25)), ((2, 3, 8, 8), (2, 16)), ((2, 1, 8, 8), (2, 25))])
def test_shapes_that_do_not_fit_are_refused_instead_of_repeated(images, labels):
    with pytest.raises(ValueError, match=r"labels \[N, 25\] of their cameras, not \[2"):
        gaze_error(torch.zeros(images), torch.zeros(labels), None)


def test_a_network_gets_the_crop_that_its_file_asks_for():
    class Noting:
        sha256, differentiable = "0" * 64, True

        def __init__(self, **facts):
            self.facts = facts

        def __call__(self, images):
            self.saw = images
            return GazeAngles(images.mean(dim=(1, 2, 3)), images.mean(dim=(1, 2, 3)))

    images, labels = torch.rand(2, 3, 64, 64), cameras((0.0, 0.0), (0.4, 0.1))
    face = crop_face(images, labels)
    for facts, crop, expected in (
        ({}, "none", images),
        ({"crop": "face"}, "none", face),
        ({"crop": "face"}, "face", face),
        ({}, "face", face),
        ({"crop": "of another program"}, "none", images),
        ({"crop": ["face"]}, "none", images),
    ):
        network = Noting(**facts)
        estimate_gaze(images, labels, network, crop)
        assert torch.equal(network.saw, expected), (facts, crop)
