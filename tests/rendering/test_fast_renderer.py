"""The renderer's fast paths against the plain one of tests/oracles, in value and gradient."""

import dataclasses

import pytest
import torch
from oracles import plain_renderer

from eg3d.geometry.cameras import FFHQ_FOCAL, intrinsics_matrix, lookat_pose
from eg3d.geometry.rays import camera_rays
from eg3d.models.decoder import OSGDecoder
from eg3d.ops.kernels.backend import using
from eg3d.rendering import renderer
from eg3d.rendering.options import RenderOptions
from eg3d.rendering.planes import PLANE_AXES, PLANE_AXES_YZ, PlaneTable, mean_features
from groundwork.draws import Midpoints

OPTIONS = RenderOptions(
    depth_resolution=6, depth_resolution_importance=5, ray_start=2.25, ray_end=3.3, box_warp=0.8
)  # a box smaller than what the rays cross, so that some samples lie outside


@pytest.fixture
def scene():
    generator = torch.Generator().manual_seed(0)
    planes = torch.randn(2, 3, 16, 24, 24, generator=generator)
    decoder = OSGDecoder(16, 16, 32)
    with torch.no_grad():
        for value in decoder.parameters():
            value.copy_(torch.randn(value.shape, generator=generator))
    poses = lookat_pose(torch.tensor([0.3, -0.2]), torch.tensor([0.1, -0.1]))
    focal = intrinsics_matrix(FFHQ_FOCAL).expand(2, 3, 3)
    return planes, decoder.requires_grad_(False), *camera_rays(poses, focal, 9)


class Loud(Midpoints):
    """Noise of one wherever noise is drawn."""

    def normal(self, shape, device="cpu"):
        return torch.ones(tuple(shape), device=device)


CHANGES = {
    "as published": {},
    "white background": {"white_back": True},
    "yz planes": {"planes": "yz"},
    "one pass": {"depth_resolution_importance": 0},
}


@pytest.mark.parametrize("ops", ["torch", "kernels"])
@pytest.mark.parametrize("change", CHANGES)
def test_every_path_draws_what_the_plain_renderer_draws(scene, change, ops):
    options = dataclasses.replace(OPTIONS, **CHANGES[change])
    render = renderer.VolumeRenderer()
    expected = plain_renderer.render(*scene, options, Midpoints())
    with using(ops):
        with torch.no_grad():
            alone = render(*scene, options, Midpoints())
        recorded = render(*scene, options, Midpoints())
    for result in (alone, recorded):
        torch.testing.assert_close(result[0], expected[0], rtol=1e-4, atol=2e-5)
        torch.testing.assert_close(result[1], expected[1], rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("ops", ["torch", "kernels"])
def test_gradients_to_planes_and_decoder_are_those_of_the_plain_renderer(scene, ops):
    planes, decoder = scene[0].requires_grad_(), scene[1].requires_grad_(True)
    gradients = []
    for render in (plain_renderer.render, renderer.VolumeRenderer()):
        with using(ops):
            features, depth = render(planes, *scene[1:], OPTIONS, Midpoints())
        weights = torch.randn(features.shape, generator=torch.Generator().manual_seed(1))
        total = (features * weights).sum() + depth.sum()
        gradients.append(torch.autograd.grad(total, [planes, *decoder.parameters()]))
    for expected, result in zip(*gradients, strict=True):
        torch.testing.assert_close(result, expected, rtol=1e-3, atol=1e-4 * expected.abs().max().item())


@pytest.mark.parametrize("ops", ["torch", "kernels"])
def test_densities_alone_have_their_gradient(scene, ops):
    """As the density term asks: colours of the same look are never used."""
    planes = scene[0].requires_grad_()
    points = torch.rand(2, 50, 3, generator=torch.Generator().manual_seed(0)) - 0.5
    with using(ops):
        _, sigma = renderer.VolumeRenderer().query(planes, scene[1], points, OPTIONS, Midpoints())
        result = torch.autograd.grad(sigma.square().sum(), planes)[0]
    double = scene[1].double()
    features = mean_features(planes.double(), points.double(), OPTIONS.box_warp, OPTIONS.plane_axes)
    expected = torch.autograd.grad(double(features)[1].square().sum(), planes)[0]
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-5 * expected.abs().max().item())


def test_noise_on_the_density_reaches_every_path(scene):
    pictures = []
    options = dataclasses.replace(OPTIONS, density_noise=3.0)
    for ops, recorded in (("torch", True), ("torch", False), ("kernels", True), ("kernels", False)):
        with using(ops), torch.set_grad_enabled(recorded):
            pictures.append(renderer.VolumeRenderer()(*scene, options, Loud())[0].detach())
            quiet = renderer.VolumeRenderer()(*scene, options, Midpoints())[0]
            assert (quiet - pictures[-1]).abs().max() > 0.01
    for picture in pictures[1:]:
        torch.testing.assert_close(picture, pictures[0], rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("ops", ["torch", "kernels"])
def test_gradients_to_rays_and_points_are_there_whatever_the_path(scene, ops):
    """Normals and the fitting of cameras need them; kernels know none, so the plain path must compute."""
    planes, decoder, origins, directions = scene
    moved = [t.clone().requires_grad_() for t in (origins, directions)]
    points = (torch.rand(2, 20, 3, generator=torch.Generator().manual_seed(0)) - 0.5).requires_grad_()
    with using(ops):
        features, _ = renderer.VolumeRenderer()(planes.requires_grad_(), decoder, *moved, OPTIONS, Midpoints())
        _, sigma = renderer.VolumeRenderer().query(planes, decoder, points, OPTIONS, Midpoints())
    gradients = torch.autograd.grad(features.sum() + sigma.sum(), [*moved, points, planes])
    assert all(g.abs().max() > 0 for g in gradients)


def test_samples_of_a_step_are_freed_without_the_cyclic_collector(scene):
    import gc
    import weakref

    from eg3d.ops.kernels.field import CompiledField

    planes = scene[0].requires_grad_()
    gc.collect()
    gc.disable()
    try:
        with using("kernels"):
            field = CompiledField.of(planes, scene[1], OPTIONS)
        look, sigma = field.density(torch.zeros(2, 6, 3), samples=3)
        pixels = field.pixels(look, torch.ones(2, 2, 3))
        visit = weakref.ref(look[0])
        del look
        (sigma.sum() + pixels.sum()).backward()
        del sigma, pixels
        assert visit() is None
    finally:
        gc.enable()


def test_each_path_is_taken_where_it_should_be(scene, monkeypatch):
    calls = []
    for name in ("_render_rows", "_render_block", "_render_compiled"):
        inner = getattr(renderer.VolumeRenderer, name)
        monkeypatch.setattr(
            renderer.VolumeRenderer, name, lambda *a, name=name, inner=inner: (calls.append(name), inner(*a))[1]
        )
    render = renderer.VolumeRenderer()
    with using("torch"):
        render(*scene, OPTIONS, Midpoints())
        with torch.no_grad():
            render(*scene, OPTIONS, Midpoints())
    with using("kernels"):
        render(*scene, OPTIONS, Midpoints())
        render(scene[0].double(), scene[1].double(), *(t.double() for t in scene[2:]), OPTIONS, Midpoints())
    assert calls == ["_render_block", "_render_rows", "_render_compiled", "_render_block"]


@pytest.mark.parametrize("ops", ["torch", "kernels"])
def test_the_number_of_rays_in_a_block_changes_nothing(scene, monkeypatch, ops):
    pictures = []
    for points in (10, 10_000):
        for name in ("POINTS_PER_BLOCK", "POINTS_PER_BLOCK_COMPILED"):
            monkeypatch.setattr(renderer, name, points)
        with torch.no_grad(), using(ops):
            pictures.append(renderer.VolumeRenderer()(*scene, OPTIONS, Midpoints())[0])
    torch.testing.assert_close(*pictures, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("batch, rays", [(2, 0), (0, 5)])
def test_no_rays_are_refused_in_a_line(scene, batch, rays):
    planes, decoder, origins, directions = scene
    cut = (t[:batch, :rays] for t in (origins, directions))
    with pytest.raises(ValueError, match=f"nothing to render: {batch} latents with {rays} rays"):
        renderer.VolumeRenderer()(planes[:batch], decoder, *cut, OPTIONS, Midpoints())


@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize("ops", ["torch", "kernels"])
@pytest.mark.parametrize(
    "spoilt", ["planes", "net.0.weight", "net.0.bias", "net.2.weight", "net.2.bias", "one colour's bias"]
)
def test_not_a_number_stays_one_in_the_picture(scene, spoilt, ops, recorded):
    """Training looks for them; a kernel that hides them would let a dead run train on."""
    planes, decoder = scene[:2]
    tensor = planes if spoilt == "planes" else decoder.get_parameter(spoilt if "." in spoilt else "net.2.bias")
    with torch.no_grad():
        tensor[3 if spoilt.startswith("one") else ...] = torch.nan
    with using(ops), torch.set_grad_enabled(recorded):
        features, _ = renderer.VolumeRenderer()(*scene, OPTIONS, Midpoints())
    touched = features[:, 2] if spoilt.startswith("one") else features  # bias 0 is the density's
    assert touched.isnan().all()
    if spoilt.startswith("one"):
        assert features[:, 3:].isfinite().all()


@pytest.mark.parametrize("axes", [PLANE_AXES, PLANE_AXES_YZ])
def test_rows_of_the_table_are_bilinear_with_zeros_outside(axes):
    generator = torch.Generator().manual_seed(0)
    planes = torch.randn(2, 3, 4, 8, 8, generator=generator)
    points = torch.rand(2, 500, 3, generator=generator) * 1.6 - 0.8  # the box is [-0.5, 0.5]
    edges = torch.tensor([-0.5, -0.5 - 0.5 / 8, -0.5 + 0.5 / 8, 0.0, 0.5, 0.5 + 0.5 / 8, 0.5 + 1e-7, 9.0])
    points = torch.cat([points, torch.cartesian_prod(edges, edges, edges).expand(2, -1, -1)], dim=1)
    rows = PlaneTable(planes).sum_features(points, 1.0, axes).reshape(2, -1, 4)
    expected = mean_features(planes, points, 1.0, axes).mT * 3
    torch.testing.assert_close(rows, expected, rtol=1e-4, atol=1e-4)
