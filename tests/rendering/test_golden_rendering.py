"""Rays, depths, tri-plane look-up and marching against the published numbers."""

import golden
import pytest
import torch

from eg3d.geometry.rays import box_bounds, camera_rays
from eg3d.rendering.marching import composite, expected_depth, interval_weights, sample_weights
from eg3d.rendering.planes import mean_features, sample_planes
from eg3d.rendering.sampling import importance_depths, stratified_depths
from groundwork.draws import Midpoints

PIECES = golden.load("pieces")[1]


def test_rays_match_the_published_sampler():
    cam2world = PIECES["rays_cam2world"].reshape(-1, 4, 4)
    origins, directions = camera_rays(cam2world, PIECES["rays_intrinsics"], 8)
    golden.assert_golden(origins, PIECES["rays_origins"])
    golden.assert_golden(directions, PIECES["rays_dirs"])


def test_rays_of_a_frontal_camera_match_the_worked_example():
    cam2world = torch.diag(torch.tensor([1.0, -1, -1, 1]))[None]
    cam2world[:, 2, 3] = 2.7
    intrinsics = torch.tensor([[[4.2634, 0, 0.5], [0, 4.2634, 0.5], [0, 0, 1]]])
    _, directions = camera_rays(cam2world, intrinsics, 2)
    signs = torch.tensor([[-1.0, 1], [1, 1], [-1, -1], [1, -1]])
    torch.testing.assert_close(directions[0, :, :2], 0.058438 * signs, rtol=0, atol=2e-6)
    torch.testing.assert_close(directions[0, :, 2], torch.full((4,), -0.996579), rtol=0, atol=2e-6)


@pytest.mark.parametrize("white_back", [False, True])
def test_marching_matches_the_published_one(white_back):
    colors, sigma, depths = (PIECES[f"march_{k}"] for k in ("colors", "densities", "depths"))
    rgb, depth, weights = composite(colors, sigma, depths, white_back)
    suffix = f"wb{int(white_back)}"
    golden.assert_golden(rgb, PIECES[f"march_rgb_{suffix}"])
    golden.assert_golden(depth, PIECES[f"march_depth_{suffix}"])
    golden.assert_golden(weights, PIECES[f"march_weights_{suffix}"])


def test_importance_depths_match_the_published_ones():
    weights, depths = PIECES["march_weights_wb1"][..., 0], PIECES["march_depths"][..., 0]
    fine = importance_depths(depths, weights, 6, golden.Constant())
    golden.assert_golden(fine[..., None], PIECES["importance_depths"])


def test_importance_sampling_accepts_a_single_ray():
    depths = torch.linspace(2, 3, 8).reshape(1, 1, 8)
    fine = importance_depths(depths, torch.rand(1, 1, 7), 5, Midpoints())
    assert fine.shape == (1, 1, 5) and fine.isfinite().all()


@pytest.mark.parametrize("disparity, key", [(False, "stratified_depths"), (True, "stratified_depths_disparity")])
def test_stratified_depths_match_the_published_ones(disparity, key):
    depths = stratified_depths(2.25, 3.3, 7, golden.Constant(), (2, 3), disparity=disparity)
    golden.assert_golden(depths[..., None], PIECES[key])


def test_disparity_sampling_accepts_per_ray_bounds():
    near, far = torch.full((2, 3, 1), 2.25), torch.full((2, 3, 1), 3.3)
    per_ray = stratified_depths(near, far, 7, golden.Constant(), (2, 3), disparity=True)
    torch.testing.assert_close(per_ray[..., None], PIECES["stratified_depths_disparity"])


def test_tri_plane_lookup_matches_the_published_one():
    planes, points = PIECES["triplane_planes"], PIECES["triplane_points"]
    features = sample_planes(planes, points, box_warp=1.0)
    golden.assert_golden(features, PIECES["triplane_features"])
    torch.testing.assert_close(mean_features(planes, points, 1.0), features.mean(dim=1).mT)


def test_sample_weights_sum_colours_as_mid_points_do():
    weights, colors = torch.rand(2, 5, 8), torch.randn(2, 5, 9)
    middle = 0.5 * (colors[..., 1:] + colors[..., :-1])
    torch.testing.assert_close((sample_weights(weights) * colors).sum(-1), (weights * middle).sum(-1))


def test_weights_of_a_ray_never_exceed_one():
    weights = interval_weights(torch.randn(3, 4, 20) * 30, torch.rand(3, 4, 20).cumsum(-1))
    assert (weights >= 0).all() and (weights.sum(-1) <= 1 + 1e-5).all()


def test_a_ray_through_nothing_ends_at_its_own_far_side():
    depths = torch.tensor([[2.0, 2.5, 3.0], [4.0, 4.5, 5.0]])
    assert expected_depth(torch.zeros(2, 2), depths).tolist() == [3.0, 5.0]


def test_box_bounds_match_a_cube_seen_along_an_axis():
    origins = torch.tensor([[[0.0, 0, 2.7], [0, 0, 0], [0.3, 0, 2.7], [3.0, 0, 2.7], [0.5, 0, 2.7]]])
    directions = torch.tensor([0.0, 0, -1]).expand(1, 5, 3)
    near, far, hit = box_bounds(origins, directions, box_warp=1.0)
    assert hit[0, :, 0].tolist()[:4] == [True, True, True, False]
    torch.testing.assert_close(near[0, :3, 0], torch.tensor([2.2, 0.0, 2.2]))  # inside the box: from the camera on
    torch.testing.assert_close(far[0, :3, 0], torch.tensor([3.2, 0.5, 3.2]))
    assert near.isfinite().all() and far.isfinite().all() and (far > near).all()
