"""The published number beside the right one, for docs/published_defects.md; `pytest -s` prints both.

The published formulas are written out here from their description; what we compute comes from the repository.
"""

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F
from tiny_networks import tiny_generator

from dataset_preprocessing.ffhq.fitted_cameras import fitted_labels
from eg3d.checkpoints.loading import load_generator
from eg3d.config.run import LossConfig
from eg3d.gaze.term import angle_error, gaze_target, legacy_target
from eg3d.geometry.cameras import (
    FFHQ_FOCAL,
    FFHQ_FOV_DEG,
    focal_to_fov,
    fov_to_intrinsics,
    intrinsics_matrix,
    lookat_pose,
    make_label,
    mirror_label,
    split_label,
)
from eg3d.geometry.rays import box_bounds
from eg3d.metrics.pose import pose_report
from eg3d.metrics.precision_recall import share_inside, squared_radii
from eg3d.models.discriminator import DiscriminatorConfig, DummyDualDiscriminator
from eg3d.pictures.shapes import OUTSIDE, density_grid, grid_points
from eg3d.pictures.views import render_views
from eg3d.rendering.marching import expected_depth
from eg3d.rendering.planes import PLANE_AXES, PLANE_AXES_YZ, mean_features
from eg3d.rendering.sampling import importance_depths, stratified_depths
from eg3d.training import losses, pairs, schedules
from eg3d.training.ada import adapted
from groundwork.draws import Midpoints
from l2cs.decode import binning_of, decode_degrees
from l2cs.estimator import GazeAngles, GazeEstimator, angular_error
from l2cs.preprocess import preprocess

THREE_VIEWS = make_label(lookat_pose([0.4, 0.0, -0.4], [-0.2] * 3), fov_to_intrinsics(FFHQ_FOV_DEG))


def says(published, right):
    print(f"\n  published {published} | right {right}")


def label_at(yaw, pitch, roll=0.0):
    turn = torch.eye(4)
    turn[:2, :2] = torch.tensor([[math.cos(roll), -math.sin(roll)], [math.sin(roll), math.cos(roll)]])
    return make_label(lookat_pose(yaw, pitch) @ turn, fov_to_intrinsics(FFHQ_FOV_DEG))


# ---------------------------------------------------------------- the gaze term


def test_no_gradient_reaches_the_image_through_a_detached_decode():
    network, images = GazeEstimator.load("embedded"), next(render_views(load_generator("embedded-base"), [0])).images
    norms, values = [], []
    for detach in (True, False):
        x = images.clone().requires_grad_(True)
        seen = network(x)
        if detach:
            seen = GazeAngles(seen.yaw.detach(), seen.pitch.detach())
        error = angle_error(seen, gaze_target(THREE_VIEWS)).mean()
        other = x.square().mean()  # stands for the adversarial term
        alone, both = (torch.autograd.grad(term, x, retain_graph=True)[0] for term in (other, other + error))
        norms.append((both - alone).norm().item())
        values.append(error.item())
    says(f"loss {values[0]:.4f}, gradient {norms[0]}", f"loss {values[1]:.4f}, gradient {norms[1]:.4f}")
    assert values[0] == values[1] and norms[0] == 0 < norms[1]


def test_pitch_target_has_the_wrong_sign():
    label = label_at(0.0, -0.2)
    published, right = legacy_target(label).pitch.item(), gaze_target(label).pitch.item()
    says(f"pitch {published:+.4f}", f"pitch {right:+.4f}")
    assert (published, right) == pytest.approx((0.2, -0.1378), abs=6e-5)


def test_pitch_target_is_no_angle():
    label = make_label(lookat_pose(0.0, -0.2, pivot=(0, 0, 0)), fov_to_intrinsics(FFHQ_FOV_DEG))
    published, right = legacy_target(label).pitch.item(), -gaze_target(label).pitch.item()
    says(f"{published:.4f}", f"{right:.4f}, ratio {published / right:.3f}")
    assert published / right == pytest.approx(1.566, abs=1e-3)


def test_roll_leaks_into_the_yaw_target():
    """The heading, from the third column's x and the *first row*, does not see roll; the published one does."""
    headings = []
    for roll in (0.0, 0.2, 0.5):
        label = label_at(0.4, -0.2, roll)
        row = split_label(label)[0][0, 0, :3]
        headings.append((legacy_target(label).yaw.item(), math.atan2(-row[2], row[:2].norm())))
    published, right = zip(*headings, strict=True)
    says(*([f"{value:.3f}" for value in values] for values in (published, right)))
    assert right == pytest.approx([right[0]] * 3, abs=1e-6) and abs(published[2] - published[0]) > 0.01


def test_rounded_targets_are_off_by_up_to_half_a_hundredth():
    yaws = torch.linspace(-0.6, 0.6, 2001)
    label = make_label(lookat_pose(yaws, 0.0), fov_to_intrinsics(FFHQ_FOV_DEG))
    off = (legacy_target(label).yaw - gaze_target(label).yaw).abs()
    says(f"off by {off.mean():.5f} rad on average, {off.max():.5f} at most", "0")
    assert off.max() == pytest.approx(0.005, abs=1e-4)


def test_saturated_pixels_have_no_gradient():
    norms = []
    for clamp in (lambda x: x.clamp(-1, 1), lambda x: x):  # ours is inside `preprocess`
        x = torch.full((1, 3, 32, 32), 1.2, requires_grad=True)
        norms.append(torch.autograd.grad(preprocess(clamp(x), 32).sum(), x)[0].norm().item())
    says(f"gradient {norms[0]}", f"gradient {norms[1]:.1f}")
    assert norms[0] == 0 < norms[1]


def test_equation_1_and_the_published_code_are_different_numbers():
    camera, target = GazeAngles(torch.zeros(3), torch.zeros(3)), gaze_target(THREE_VIEWS)
    code, paper = (angle_error(camera, target, kind).mean().item() for kind in ("mse", "euclid"))
    says(f"mean square {code:.4f} rad^2", f"distance {paper:.4f} rad")
    assert (code, paper) == pytest.approx((0.07134, 0.34743), abs=6e-6)


# ---------------------------------------------------------------- GFAS


def test_gfas_targets_punish_a_perfect_generator():
    eyes_on_camera, perfect = GazeAngles(torch.zeros(3), torch.zeros(3)), gaze_target(THREE_VIEWS)
    scores = [
        tuple(angle_error(eyes, target, "mse").sum().item() for eyes in (eyes_on_camera, perfect))
        for target in (legacy_target(THREE_VIEWS), perfect)
    ]
    says(*(f"eyes on camera {camera:.4f}, perfect {best:.4f}" for camera, best in scores))
    assert scores[0] == pytest.approx((0.24490, 0.16228), abs=6e-6)
    assert scores[1] == pytest.approx((0.21401, 0), abs=6e-6)


def test_gfas_is_the_sum_of_three_views():
    errors = angle_error(GazeAngles(torch.zeros(3), torch.zeros(3)), legacy_target(THREE_VIEWS), "mse")
    says(f"{errors.sum():.4f}", f"{errors.mean():.4f}")
    assert (errors.sum() / errors.mean()).item() == pytest.approx(3)


# ---------------------------------------------------------------- L2CS-Net


def test_uniform_logits_read_two_degrees_to_the_side():
    read = decode_degrees(torch.zeros(1, 90), binning_of(90)).item()
    says(f"{read:.3f} degrees", "0 (bin centres)")
    assert read == pytest.approx(-2, abs=1e-3)


def test_angular_error_has_a_floor():
    floor, same = math.degrees(math.acos(0.9999999)), GazeAngles(torch.tensor([0.1]), torch.tensor([0.2]))
    ours = torch.rad2deg(angular_error(same, same)).item()
    says(f"{floor:.4f} degrees", f"{ours:.5f} degrees")
    assert floor == pytest.approx(0.0256, abs=1e-4) and ours < 1e-4


# ---------------------------------------------------------------- identity, pose and distances


def test_pose_score_has_a_floor_of_intrinsics():
    pose = lookat_pose(0.2, 0.1)
    report = pose_report(*(make_label(pose, k) for k in (fov_to_intrinsics(18), intrinsics_matrix(FFHQ_FOCAL))))
    says(f"{report.pose_legacy25:.7f}", f"{report.pose_mse}")
    assert report.pose_legacy25 == pytest.approx(0.0032152, abs=2e-6) and report.pose_mse == 0


def test_pose_score_counts_translation_more_than_rotation():
    straight, turned = (make_label(lookat_pose(yaw, 0.0), intrinsics_matrix(FFHQ_FOCAL)) for yaw in (0, math.pi / 36))
    report = pose_report(straight, turned)
    moved = ((straight - turned)[:, [3, 7, 11]].square().sum() / 25).item() / report.pose_legacy25
    says(
        f"{report.pose_legacy25:.6f}, {100 * moved:.0f} % of it translation",
        f"{report.pose_mse:.6f}, yaw {report.yaw_rmse_deg:.2f} deg",
    )
    assert moved > 0.5 and report.yaw_rmse_deg > 4


def test_precision_in_float16_cannot_tell_sets_apart():
    torch.manual_seed(0)
    real = 2000 + 0.05 * torch.randn(50, 16, dtype=torch.float64)
    fake = real + 0.3
    shares = [
        share_inside(rows, base, squared_radii(base))
        for rows, base in ((fake.half().double(), real.half().double()), (fake, real))
    ]
    says(f"precision {shares[0]}", f"precision {shares[1]}")
    assert shares == [1, 0]


# ---------------------------------------------------------------- EG3D: rendering


def test_d01_no_plane_resolves_y_and_z():
    """f(y, z) - f(y', z) - f(y, z') + f(y', z') is zero where a field is a sum of functions of y and of z."""
    planes = torch.randn(1, 3, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    corners = torch.tensor([[[0.1, y, z] for y in (-0.2, 0.2) for z in (-0.2, 0.2)]])
    mixed = []
    for axes in (PLANE_AXES, PLANE_AXES_YZ):
        f = mean_features(planes, corners, 1.0, axes)[0]
        mixed.append((f[:, 0] - f[:, 1] - f[:, 2] + f[:, 3]).abs().max().item())
    says(f"{mixed[0]:.1e}", f"{mixed[1]:.3f}")
    assert mixed[0] < 1e-5 < 0.1 < mixed[1]


def test_d03_importance_samples_lie_half_an_interval_too_near():
    depths, weights = torch.arange(10.0).reshape(1, 1, 10), torch.zeros(1, 1, 9)
    weights[..., 4] = 1e4  # all light between depths 4 and 5
    found = importance_depths(depths, weights, 1000, Midpoints())
    even = importance_depths(depths, torch.ones(1, 1, 9), 1000, Midpoints())
    says(f"mean {found.mean():.3f}, even light {even.min():.2f} to {even.max():.2f}", "mean 4.5, 0 to 9")
    assert found.mean().item() == pytest.approx(4.0, abs=0.01)


def test_d04_rays_that_miss_the_box_end_where_others_begin():
    origins = torch.tensor([[[0.0, 0, 2.7], [0.3, 0, 2.9], [3.0, 0, 2.7]]])
    near, far, hit = box_bounds(origins, torch.tensor([0.0, 0, -1]).expand(1, 3, 3), box_warp=1.0)
    published = near[hit].min().item(), near[hit].max().item()
    right = near[0, 2].item(), far[0, 2].item()
    says(*(f"{a:.2f} to {b:.2f}" for a, b in (published, right)))
    assert not hit[0, 2] and published == pytest.approx((2.2, 2.4)) and right == pytest.approx((2.2, 3.4))


class Ones:
    """Draws at the upper end of the range."""

    def uniform(self, shape, device="cpu"):
        return torch.ones(shape, device=device)


def test_d05_coarse_samples_reach_a_step_beyond_the_end():
    last = stratified_depths(2.25, 3.3, 48, Ones(), (1, 1)).max().item()
    says(f"to {last:.4f}", "to 3.3000")
    assert last == pytest.approx(3.3223, abs=1e-4)


def test_d07_depth_of_an_empty_ray_is_the_deepest_of_its_batch():
    depths = torch.tensor([[2.0, 2.5, 3.0], [4.0, 4.5, 5.0]])
    published, right = depths.max().item(), expected_depth(torch.zeros(2, 2), depths)[0].item()
    says(published, right)
    assert (published, right) == (5, 3)


def test_d18_conditioning_without_its_scale_is_off():
    G, c = tiny_generator(), torch.cat([label_at(0.4, 0.0), label_at(-0.4, 0.0)])
    z = torch.randn(1, 16, generator=torch.Generator().manual_seed(0)).expand(2, -1)
    moved = []
    for scale in (0.0, 1.0):
        ws = G.mapping(z, c * scale)
        moved.append((ws[0] - ws[1]).abs().mean().item())
    says(f"ws change by {moved[0]}", f"{moved[1]:.4f}")
    assert moved[0] < 1e-6 < moved[1]


# ---------------------------------------------------------------- EG3D: training


def test_d08_few_points_of_the_density_term_lie_in_the_box():
    points = torch.rand(100_000, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1
    shares = [((points * reach).abs() <= 0.5).all(dim=1).float().mean().item() for reach in (1, 0.5)]
    says(*(f"{100 * share:.1f} %" for share in shares))
    assert shares[0] == pytest.approx(0.125, abs=0.005) and shares[1] == 1


def test_d09_two_kinds_of_density_term_are_nothing():
    for kind in ("l1-alt", "total-variation"):
        with pytest.raises(ValueError, match="never did anything"):
            LossConfig(reg_type=kind)
    says("a term of 0", "refused")


def test_d10_mixed_styles_are_conditioned_on_another_camera():
    """Half the pairs have swapped cameras; the published second style always gets the unswapped one."""
    G, generator = tiny_generator(), torch.Generator().manual_seed(0)
    z = torch.randn(1, 16, generator=generator)
    own, swapped = label_at(0.4, 0.0), label_at(-0.4, 0.0)
    first = G.mapping(z, swapped)
    off = [(G.mapping(z, c) - first).abs().mean().item() for c in (own, swapped)]
    says(f"ws {off[0]:.4f} apart for one z", f"{off[1]}")
    assert off[1] == 0 < off[0]


def test_d11_one_draw_swaps_a_whole_micro_batch():
    u = torch.rand(20_000, 4, generator=torch.Generator().manual_seed(0))
    swapped = [(u[:, :1] < 0.5).expand(-1, 4), u < 0.5]
    spread = [s.float().mean(dim=1).std().item() for s in swapped]
    says(*(f"share swapped 0.5 +- {s:.3f}" for s in spread))
    assert spread == pytest.approx([0.5, 0.25], abs=0.01)


def test_d12_r1_is_that_of_the_blurred_image():
    torch.manual_seed(0)
    image, a = torch.randn(1, 3, 32, 32), torch.randn(1, 3, 32, 32)
    squared = []
    for blurred in (True, False):
        x = (pairs.blur(image, 2.0) if blurred else image).requires_grad_(True)
        seen = x if blurred else pairs.blur(x, 2.0)
        squared.append(losses.r1_penalty((a * seen).sum().reshape(1, 1), [x], gamma=1.0)[1].item())
    says(*(f"{s:.1f}" for s in squared))
    assert squared[0] > 10 * squared[1]


def test_d13_generated_raw_images_stay_sharp():
    torch.manual_seed(0)
    fake = {"image": torch.randn(1, 3, 32, 32), "image_raw": torch.randn(1, 3, 32, 32)}
    spread = [pairs.fake_pair(fake, 2.0, blur_raw)["image_raw"].std().item() for blur_raw in (False, True)]
    real = pairs.blur(fake["image_raw"], 2.0).std().item()
    says(f"generated {spread[0]:.3f}, real {real:.3f}", f"generated {spread[1]:.3f}, real {real:.3f}")
    assert spread[0] > 3 * real and spread[1] == pytest.approx(real)


def test_d14_label_noise_adds_up_on_labels_used_twice(tiny_discriminator):
    torch.manual_seed(0)
    labels = torch.randn(10_000, 25)
    once = labels + 0.5 * torch.randn_like(labels) * labels.std()
    twice = once + 0.5 * torch.randn_like(labels) * once.std()
    spread = [(noisy - labels).std().item() for noisy in (twice, once)]
    D, c = tiny_discriminator.train(), torch.randn(2, 25)
    D.config, kept = dataclasses.replace(D.config, disc_c_noise=0.5), c.clone()
    D({"image": torch.zeros(2, 3, 32, 32), "image_raw": torch.zeros(2, 3, 8, 8)}, c)
    assert torch.equal(c, kept)  # ours leaves the labels alone
    says(*(f"noise {s:.3f}" for s in spread))
    assert spread[0] > 1.4 * spread[1]


def test_d15_the_raw_picture_fades_by_calls_not_images():
    """A step of 32 images in micro-batches of 8 calls D 8 times (generated and real) in Dmain and 4 times in Gmain."""
    steps, D = 1000, DummyDualDiscriminator(DiscriminatorConfig(channel_base=512, channel_max=32, num_fp16_res=0), 32)
    pair = {"image": torch.zeros(2, 3, 32, 32), "image_raw": torch.zeros(2, 3, 8, 8)}
    for _ in range(2):
        D(pair, torch.zeros(2, 25))
    published = [1 - calls * steps / 15625 for calls in (12, 3)]
    says(f"{published[0]:.3f} in micro-batches of 8, {published[1]:.3f} of 32", f"{D.raw_fade} until it is set")
    assert D.raw_fade == 1


def test_d21_a_resumed_run_begins_its_schedules_again():
    """Two million images with --neural_rendering_resolution_final=128, faded over 1000 kimg, then --resume."""
    published, right = (schedules.neural_rendering_resolution(n, 64, 128, 1000) for n in (0, 2_000_000))
    says(f"{published} rays a side", f"{right}")
    assert (published, right) == (64, 128)


def test_d22_strength_of_augmentation_has_no_upper_limit():
    published = right = 0.9
    for _ in range(1000):  # D knows the images too well all the time
        published += 64 * 4 / 500_000
        right = adapted(right, 1.0, target=0.6, images=64 * 4, kimg=500)
    says(f"p {published:.3f}", f"p {right:.3f}")
    assert published > 1 == right


def test_d23_gradients_of_micro_batches_are_summed():
    torch.manual_seed(0)
    x, sizes = torch.randn(16, 8), []
    for parts in (4, 1):
        w = torch.ones(8, requires_grad=True)
        for part in x.chunk(parts):
            F.softplus(part @ w).mean().backward()
        sizes.append(w.grad.norm().item())
    says(*(f"gradient {s:.4f}" for s in sizes))
    assert sizes[0] == pytest.approx(4 * sizes[1], rel=1e-5)


# ---------------------------------------------------------------- EG3D: data and cameras


def test_d25_mirrored_images_keep_the_camera_of_the_other_side():
    label = label_at(0.4, -0.2)
    published, right = gaze_target(label).yaw.item(), gaze_target(mirror_label(label)).yaw.item()
    says(f"yaw {published:+.4f}", f"yaw {right:+.4f}")
    assert published == -right == pytest.approx(0.4348, abs=6e-5)


def test_d26_a_field_of_view_in_whole_degrees_draws_larger_faces():
    focals = [fov_to_intrinsics(degrees)[0, 0].item() for degrees in (18, 18.837)]
    says(f"focal length {focals[0]:.4f}", f"{focals[1]:.4f}; labels {FFHQ_FOCAL:.4f}; {focals[0] / focals[1]:.4f} x")
    assert focals == pytest.approx([4.46517, 4.26339], abs=1e-5)


@torch.no_grad()
def test_d27_a_seed_drawn_twice_is_two_pictures():
    G, judge = load_generator("embedded-base"), GazeEstimator.load("embedded-judge")
    z = torch.randn(16, G.z_dim, generator=torch.Generator().manual_seed(0))
    c = label_at(0.4, -0.2).expand(16, -1)
    ws = G.mapping(z, c, truncation_psi=0.7, truncation_cutoff=14)
    torch.manual_seed(0)
    published = [G.synthesis(ws, c)["image"] for _ in range(2)]
    fixed = [G.synthesis(ws, c, noise_mode="const", draws=Midpoints())["image"] for _ in range(2)]
    differences = []
    for a, b in (published, fixed):
        turned = torch.rad2deg(angular_error(judge(a), judge(b))).mean().item()
        differences.append(((a - b).abs().mean().item() * 127.5, turned))
    says(*(f"{levels:.2f} grey levels, gaze {degrees:.3f} degrees" for levels, degrees in differences))
    assert differences[0][0] > 0.1 and differences[1][0] == 0


def test_d28_voxels_are_sheared():
    n, last = 32, 512**3 - 1
    flat = torch.arange(n**3, dtype=torch.float32)
    sheared = torch.stack([flat / n**2 % n, flat / n % n], dim=1)
    right = (grid_points(0, n**3, n, float(n - 1))[:, :2] + (n - 1) / 2).round()
    off = (sheared - right).abs().max().item()
    ends = (
        torch.tensor(float(last)).remainder(512).item(),
        (grid_points(last, last + 1, 512, 511.0)[0, 2] + 255.5).item(),
    )
    says(f"{off:.4f} voxels off; last z of 512^3 is {ends[0]:.0f}", f"0; {ends[1]:.0f}")
    assert off == pytest.approx(1 - 1 / n**2) and ends == (0, 511)


def test_d29_a_border_of_nothing_erases_a_small_grid():
    published, border = torch.ones(8, 8, 8).numpy(), 30 * 8 // 256
    published[-border:] = OUTSIDE
    right = density_grid(lambda points: torch.ones(len(points)), 8, 1.0)
    left = [(volume > OUTSIDE).mean() for volume in (published, right)]
    says(*(f"{100 * share:.0f} % left" for share in left))
    assert left[0] == 0 < left[1]


def test_d38_the_vertical_angle_is_no_angle():
    position = lookat_pose(0.0, -0.2)[0, :3, 3]
    elevation = math.asin(position[1] / position.norm())
    says("0.2", f"{elevation:.4f} rad")
    assert elevation == pytest.approx(0.12767, abs=1e-5)


def test_d39_constants_of_the_field_of_view_are_cut_off():
    published = fov_to_intrinsics(18.837)[0, 0].item()
    right = 1 / (math.tan(math.radians(18.837) / 2) * math.sqrt(2))
    says(f"{published:.5f}", f"{right:.5f}; labels {FFHQ_FOCAL:.5f}, at {focal_to_fov(FFHQ_FOCAL):.4f} degrees")
    assert published - right == pytest.approx(0.00065, abs=1e-4)


def test_labels_of_uncropped_photos_have_the_focal_length_of_a_crop():
    scale = 1015 / 102 * 300
    says(f"{scale / 700:.4f}", f"{scale / 1024:.4f} for a whole aligned photo of 1024 px")
    assert scale / 700 == pytest.approx(FFHQ_FOCAL, rel=1e-4)


def test_fitted_cameras_are_centred_beside_the_head():
    angles, shift = torch.tensor([[0.1, 0.3, 0.05]]), torch.tensor([[0.2, -0.1, 0.4]])
    orig, cor = (fitted_labels(angles, shift, mode)[0, [3, 7, 11]] for mode in ("orig", "cor"))
    says(f"{(orig - cor).norm():.3f} world units from where the fit has it", "0 with --mode=cor")
    assert 0.1 < (orig - cor).norm() < 0.2
