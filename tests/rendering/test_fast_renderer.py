"""The renderer's paths against `definition.py`, in value and gradient."""

import contextlib
import copy
import dataclasses

import pytest
import torch

from eg3d.geometry.cameras import FFHQ_FOCAL, intrinsics_matrix, lookat_pose
from eg3d.geometry.rays import box_bounds, camera_rays
from eg3d.models.decoder import OSGDecoder
from eg3d.ops.kernels.backend import using
from eg3d.rendering import definition, renderer
from eg3d.rendering.options import RenderOptions
from eg3d.rendering.planes import AXES, PlaneTable, mean_features
from groundwork.draws import KeyedDraws, Midpoints

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


class Draws(KeyedDraws):
    """Random jitter. The noise on the density is 1 in the coarse pass and 2 in the fine one, in whatever layout."""

    def __init__(self):
        super().__init__([1, 2])
        self.passes = 0

    def normal(self, shape, device="cpu"):
        self.passes += 1
        return torch.full(tuple(shape), float(self.passes), device=device)


CHANGES = {
    "as published": {},
    "white background": {"white_back": True},
    "yz planes": {"planes": "yz"},
    "planes of EG3D's branch": {"planes": "fixed_triplanes"},
    "one pass": {"depth_resolution_importance": 0},
    "few fine samples": {"depth_resolution_importance": 2},
    "automatic bounds": {"ray_start": "auto", "ray_end": "auto", "box_warp": 0.4},
    "disparity": {"disparity_space_sampling": True},
    "density noise": {"density_noise": 3.0},
    "everything": {"white_back": True, "planes": "yz", "ray_start": "auto", "ray_end": "auto", "box_warp": 0.4,
                   "density_noise": 3.0, "depth_resolution_importance": 4},
}  # fmt: skip


@contextlib.contextmanager
def path(name):
    """Renders inside by this path: plain PyTorch, the kernels for CPUs, or those for GPUs in Triton's interpreter."""
    with pytest.MonkeyPatch.context() as patch, using("torch" if name == "torch" else "kernels"):
        if name == "triton":
            pytest.importorskip("triton", reason="Triton is not installed")
            if torch.cuda.is_available():
                pytest.skip("here the kernels run on the GPU, see tests/gpu")
            from eg3d.ops.kernels import field, march, triton_field

            for tile in ("DENSITY", "PIXELS", "SAMPLE_WEIGHTS", "BACKWARD"):
                patch.setattr(triton_field, tile, triton_field.Tile(32, 4))
            for module in (field, march):
                patch.setattr(module, "kernels_for", lambda x: triton_field)
        yield


def values_and_gradients(render, scene, options):
    """Features and depth, and gradients of both together to planes and the decoder's parameters."""
    planes, decoder = scene[0].requires_grad_(), scene[1].requires_grad_(True)
    features, depth = render(planes, decoder, *scene[2:], options, Draws())
    factors = torch.randn(features.shape, generator=torch.Generator().manual_seed(1))
    total = (features * factors).sum() + depth.sum()
    return features.detach(), depth.detach(), torch.autograd.grad(total, [planes, *decoder.parameters()])


CASES = [(ops, change) for ops in ("torch", "kernels") for change in CHANGES]
CASES += [("triton", "everything")]  # takes seconds, so once and with few rays


@pytest.mark.parametrize("ops, change", CASES)
def test_every_path_has_the_values_and_gradients_of_the_definition(scene, ops, change):
    options = dataclasses.replace(OPTIONS, **CHANGES[change])
    if ops == "triton":
        scene = *scene[:2], *(t[:, ::20] for t in scene[2:])
    *expected, expected_gradients = values_and_gradients(definition.render, scene, options)
    render = renderer.VolumeRenderer()
    with path(ops):
        *recorded, gradients = values_and_gradients(render, scene, options)
        with torch.no_grad():
            alone = render(*scene, options, Draws())
    for result in (alone, recorded):
        torch.testing.assert_close(result[0], expected[0], rtol=1e-4, atol=2e-5)
        torch.testing.assert_close(result[1], expected[1], rtol=1e-4, atol=2e-5)
    for result, right in zip(gradients, expected_gradients, strict=True):
        assert right.abs().max() > 0
        torch.testing.assert_close(result, right, rtol=1e-3, atol=1e-4 * right.abs().max().item())


@pytest.mark.parametrize("change", [change for change in CHANGES if CHANGES[change]])
def test_every_option_changes_the_picture(scene, change):
    """Else the comparison above would prove nothing about it."""
    options = dataclasses.replace(OPTIONS, **CHANGES[change])
    pictures = [definition.render(*scene, o, Draws())[0] for o in (OPTIONS, options)]
    assert (pictures[0] - pictures[1]).abs().max() > 0.01


@pytest.mark.parametrize("ops", ["torch", "kernels"])
def test_rays_that_miss_the_box_are_background_and_have_no_gradient(scene, ops):
    options = dataclasses.replace(OPTIONS, ray_start="auto", ray_end="auto", box_warp=0.4, white_back=True)
    _, _, hit = box_bounds(*scene[2:], options.box_warp)
    hit = hit[..., 0]
    assert 10 < hit.sum() < hit.numel() - 10
    for render in (definition.render, renderer.VolumeRenderer()):
        planes = scene[0].clone().requires_grad_()
        with path(ops):
            features, _ = render(planes, *scene[1:], options, Draws())
        missed = features.mT[~hit]
        assert (missed == 1).all() and not (features.mT[hit] == 1).all()
        assert torch.autograd.grad(missed.sum(), planes)[0].abs().max() == 0


@pytest.mark.parametrize("ops", ["torch", "kernels"])
def test_the_field_at_points_is_that_of_the_definition(scene, ops):
    """Densities alone, too, as the density term asks: colours of the same samples are never used."""
    planes, decoder = scene[0].requires_grad_(), scene[1]
    points = torch.rand(2, 50, 3, generator=torch.Generator().manual_seed(0)) - 0.5
    double = [planes.double(), copy.deepcopy(decoder).double(), points.double()]
    colors, sigma = definition.field(*double, OPTIONS, Midpoints())
    expected = [torch.autograd.grad(y.square().sum(), planes, retain_graph=True)[0] for y in (sigma, colors)]
    with path(ops):
        found = renderer.VolumeRenderer().query(planes, decoder, points, OPTIONS, Midpoints())
        gradients = [torch.autograd.grad(y.square().sum(), planes, retain_graph=True)[0] for y in reversed(found)]
    for result, right in zip(found, (colors, sigma), strict=True):
        torch.testing.assert_close(result.double(), right, rtol=1e-4, atol=1e-5)
    for result, right in zip(gradients, expected, strict=True):
        torch.testing.assert_close(result, right, rtol=1e-4, atol=1e-5 * right.abs().max().item())


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
        samples, sigma = field.density(torch.zeros(2, 6, 3), per_ray=3)
        pixels = field.pixels(samples, torch.ones(2, 2, 3))
        kept = weakref.ref(samples[0])
        del samples
        (sigma.sum() + pixels.sum()).backward()
        del sigma, pixels
        assert kept() is None
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


@pytest.mark.parametrize("axes", list(AXES.values()))
def test_rows_of_the_table_are_bilinear_with_zeros_outside(axes):
    generator = torch.Generator().manual_seed(0)
    planes = torch.randn(2, 3, 4, 8, 8, generator=generator)
    points = torch.rand(2, 500, 3, generator=generator) * 1.6 - 0.8  # the box is [-0.5, 0.5]
    edges = torch.tensor([-0.5, -0.5 - 0.5 / 8, -0.5 + 0.5 / 8, 0.0, 0.5, 0.5 + 0.5 / 8, 0.5 + 1e-7, 9.0])
    points = torch.cat([points, torch.cartesian_prod(edges, edges, edges).expand(2, -1, -1)], dim=1)
    rows = PlaneTable(planes).sum_features(points, 1.0, axes).reshape(2, -1, 4)
    expected = mean_features(planes, points, 1.0, axes).mT * 3
    torch.testing.assert_close(rows, expected, rtol=1e-4, atol=1e-4)
