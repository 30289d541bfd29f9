"""What a generator promises beyond the published numbers: many cameras, no hidden state, clear refusals."""

import dataclasses

import pytest
import torch
from oracles import plain_networks
from tiny_networks import generator_of
from torch.autograd import gradcheck

from eg3d.geometry.cameras import intrinsics_matrix, lookat_pose, make_label
from eg3d.models import generator, superresolution
from eg3d.models.blocks import BlockConfig
from eg3d.models.decoder import OSGDecoder
from eg3d.models.generator import TriPlaneGenerator
from eg3d.models.superresolution import SuperresolutionConfig
from eg3d.rendering import renderer
from eg3d.rendering.options import RenderOptions
from groundwork.draws import KeyedDraws, Midpoints

RENDERING = dict(
    superresolution_module="SuperresolutionHybrid2X", sr_antialias=True, superresolution_noise_mode="none",
    c_gen_conditioning_zero=False, c_scale=1, depth_resolution=6, depth_resolution_importance=6, ray_start=2.25,
    ray_end=3.15, box_warp=1,
)  # fmt: skip
SMALL = dict(
    z_dim=16, c_dim=25, w_dim=16, img_resolution=32, plane_resolution=16, plane_channels=16, decoder_width=16,
    mapping_kwargs={"num_layers": 1}, channel_base=256, channel_max=16, num_fp16_res=0, conv_clamp=None,
    sr_kwargs={"widths": (16, 16)}, neural_rendering_resolution=16,
)  # fmt: skip
DETERMINISTIC = dict(noise_mode="const", draws=Midpoints())


def small_generator(**rendering):
    torch.manual_seed(0)
    G = generator_of(**SMALL, rendering_kwargs=RENDERING | rendering)
    for name, parameter in G.named_parameters():
        if name.endswith("noise_strength"):
            torch.nn.init.constant_(parameter, 0.1)
    return G.eval()


def cameras(*yaws):
    return make_label(lookat_pose(list(yaws), [0.1] * len(yaws)), intrinsics_matrix(4.26))


@torch.no_grad()
def test_blocks_of_rays_change_nothing(monkeypatch):
    G = small_generator()
    ws = G.mapping(torch.randn(2, 16), cameras(0, 0))
    keys = lambda: KeyedDraws([1, 2])  # noqa: E731
    whole = G.synthesis(ws, cameras(0.3, -0.3), noise_mode="const", draws=keys())
    monkeypatch.setattr(renderer, "POINTS_PER_BLOCK", 100)
    blocks = G.synthesis(ws, cameras(0.3, -0.3), noise_mode="const", draws=keys())
    for name in whole:
        torch.testing.assert_close(blocks[name], whole[name], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_many_cameras_per_latent_equal_one_call_each():
    G = small_generator()
    ws, views = G.mapping(torch.randn(2, 16), cameras(0, 0)), cameras(0.4, 0.0, -0.4)
    together = G.synthesis(ws, views.repeat(2, 1), **DETERMINISTIC)
    for i in range(6):
        alone = G.synthesis(ws[i // 3, None], views[i % 3, None], **DETERMINISTIC)
        for name in together:
            torch.testing.assert_close(together[name][i], alone[name][0], rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_the_mapping_network_sees_the_camera_times_c_scale():
    G, scaled = small_generator(), small_generator(c_scale=0.25)
    for network in (G, scaled):  # with a bias of zero the embedding is normalised back to what it was
        torch.nn.init.constant_(network.backbone.mapping.embed.bias, 0.5)
    z, c = torch.randn(2, 16), cameras(0.4, -0.4)
    torch.testing.assert_close(scaled.mapping(z, c), G.mapping(z, 0.25 * c))
    assert (scaled.mapping(z, c) - G.mapping(z, c)).abs().max() > 0.01


@pytest.mark.parametrize("ops", ["torch", "kernels"])
def test_blocks_with_a_clamp_in_float32_can_be_trained(ops):
    """The image is summed up in place only where no gradient needs what it was."""
    from eg3d.ops.kernels.backend import using

    torch.manual_seed(0)
    G = generator_of(**SMALL | {"conv_clamp": 256, "num_fp16_res": 1}, rendering_kwargs=RENDERING)
    with using(ops):
        G.synthesis(G.mapping(torch.randn(2, 16), cameras(0, 0)), cameras(0, 0))["image"].sum().backward()
    assert G.backbone.synthesis.b4.torgb.weight.grad.abs().max() > 0


@pytest.mark.parametrize("ops", ["torch", "kernels"])
@pytest.mark.parametrize("architecture", ["orig", "resnet"])
def test_a_super_resolution_enlarges_its_image_in_blocks_without_colours_too(architecture, ops):
    from eg3d.ops.kernels.backend import using

    torch.manual_seed(0)
    config = SuperresolutionConfig(
        kind="SuperresolutionHybrid8XDC", widths=(16, 16), blocks=BlockConfig(architecture=architecture)
    )
    m = superresolution.SuperresolutionHybrid8XDC(16, 32, 16, config)
    rgb, x, ws = torch.randn(2, 3, 8, 8), torch.randn(2, 16, 8, 8), torch.randn(2, 1, 16)
    black = torch.zeros_like(rgb)
    with torch.no_grad(), using(ops):
        difference = m(rgb, x, ws) - m(black, x, ws)  # colours of the blocks are added, so that this is the image alone
    for _ in range(2):
        rgb = plain_networks.upfirdn2d(rgb, m.block0.resample_filter, up=2, padding=(2, 1, 2, 1), gain=4)
    torch.testing.assert_close(difference, rgb, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_pictures_drawn_a_few_at_a_time_are_the_same(monkeypatch):
    G = small_generator()
    ws, c = G.mapping(torch.randn(3, 16), cameras(0, 0, 0)), cameras(0.4, 0.2, 0.1, 0.0, -0.2, -0.4)
    together = G.synthesis(ws, c, **DETERMINISTIC)
    sizes = []
    G.superresolution.register_forward_hook(lambda module, args, result: sizes.append(len(result)))
    monkeypatch.setattr(generator, "PIXELS_AT_ONCE", 4 * 32**2)
    apart = G.synthesis(ws, c, **DETERMINISTIC)
    assert sizes == [4, 2]
    for name, image in together.items():
        torch.testing.assert_close(apart[name], image, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_keyed_draws_make_a_sample_independent_of_its_batch():
    G = small_generator()
    ws, views = G.mapping(torch.randn(3, 16), cameras(0, 0, 0)), cameras(0.1, 0.2, 0.3)
    together = G.synthesis(ws, views, draws=KeyedDraws([7, 8, 9]))["image"]
    alone = G.synthesis(ws[1:2], views[1:2], draws=KeyedDraws([8]))["image"]
    torch.testing.assert_close(together[1], alone[0], rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_rendering_resolution_is_an_argument_and_never_sticks():
    G = small_generator()
    ws = G.mapping(torch.randn(1, 16), cameras(0))
    assert G.synthesis(ws, cameras(0), neural_rendering_resolution=8)["image_raw"].shape[-1] == 8
    assert G.neural_rendering_resolution == 16
    assert G.synthesis(ws, cameras(0))["image_raw"].shape[-1] == 16


@torch.no_grad()
def test_cached_planes_serve_their_own_latent_only():
    G = small_generator()
    a, b = G.mapping(torch.randn(2, 16), cameras(0, 0)).split(1)
    first = G.synthesis(a, cameras(0.3), cache_backbone=True, **DETERMINISTIC)["image"]
    again = G.synthesis(a, cameras(0.3), use_cached_backbone=True, **DETERMINISTIC)["image"]
    other = G.synthesis(b, cameras(0.3), use_cached_backbone=True, **DETERMINISTIC)["image"]
    assert torch.equal(first, again) and not torch.allclose(first, other)


def test_cached_planes_serve_their_own_noise_and_never_a_gradient():
    G = small_generator()
    for name, value in G.named_parameters():
        if name.endswith("noise_strength"):
            torch.nn.init.ones_(value)
    with torch.no_grad():
        ws = G.mapping(torch.randn(1, 16), cameras(0))
        G.synthesis(ws, cameras(0), cache_backbone=True, noise_mode="const", draws=Midpoints())
        quiet = G.synthesis(ws, cameras(0), use_cached_backbone=True, noise_mode="none", draws=Midpoints())["image"]
        expected = G.synthesis(ws, cameras(0), noise_mode="none", draws=Midpoints())["image"]
    assert torch.equal(quiet, expected)
    ws.requires_grad_(True)
    raw = G.synthesis(ws, cameras(0), use_cached_backbone=True, noise_mode="const", draws=Midpoints())["image_raw"]
    raw.sum().backward()  # image_raw depends on ws through the planes alone
    assert ws.grad.abs().max() > 0


def test_the_configuration_rebuilds_the_same_generator():
    G = small_generator()
    copied = TriPlaneGenerator(G.config, G.neural_rendering_resolution)
    copied.load_state_dict(G.state_dict())
    ws = G.mapping(torch.randn(1, 16), cameras(0))
    assert torch.equal(
        copied.synthesis(ws, cameras(0), **DETERMINISTIC)["image"],
        G.synthesis(ws, cameras(0), **DETERMINISTIC)["image"],
    )


@torch.no_grad()
def test_automatic_bounds_give_finite_pictures_from_outside_and_inside_the_box():
    G = small_generator(ray_start="auto", ray_end="auto")
    ws = G.mapping(torch.randn(1, 16), cameras(0))
    inside = make_label(lookat_pose(0.0, 0.0, radius=0.3, pivot=(0, 0, 0)), intrinsics_matrix(1.0))
    away = cameras(0.0)
    away[:, [0, 2, 8, 10]] *= -1  # turned round: no ray meets the box
    for label in (cameras(0.3), inside, away):
        out = G.synthesis(ws, label, **DETERMINISTIC)
        assert all(value.isfinite().all() for value in out.values())
    assert torch.equal(out["image_raw"], torch.full_like(out["image_raw"], -1))  # nothing there: background


@pytest.mark.parametrize(
    "change, word",
    [
        ({"ray_start": "auto"}, "auto"),
        ({"clamp_mode": "relu"}, "clamp_mode"),
        ({"depth_resoluton": 3}, "depth_resoluton"),
        ({"superresolution_module": "training.superresolution.Unknown"}, "super-resolution"),
    ],
)
def test_wrong_rendering_arguments_are_refused_when_the_generator_is_made(change, word):
    with pytest.raises(ValueError, match=word):
        small_generator(**change)


def test_a_changed_configuration_is_drawn_with_at_once():
    G = small_generator()
    ws = G.mapping(torch.randn(1, 16), cameras(0.0))
    before = G.synthesis(ws, cameras(0.0), **DETERMINISTIC)["image_raw"]
    G.config = dataclasses.replace(G.config, rendering=dataclasses.replace(G.options, box_warp=0.5))
    assert not torch.allclose(G.synthesis(ws, cameras(0.0), **DETERMINISTIC)["image_raw"], before)


def test_rendering_gradients_are_correct():
    """Finite differences through look-up, decoder and marching, with fixed depths."""
    torch.manual_seed(0)
    decoder = OSGDecoder(2, 3, 4).double()
    options = RenderOptions(depth_resolution=5, depth_resolution_importance=0, ray_start=2.2, ray_end=3.2, box_warp=1)
    planes = torch.randn(1, 3, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    origins = torch.tensor([0.0, 0, 2.7], dtype=torch.float64).expand(1, 3, 3)
    directions = torch.nn.functional.normalize(
        torch.tensor([[[0.05, 0.02, -1], [-0.07, 0.1, -1], [0.01, -0.12, -1]]], dtype=torch.float64), dim=-1
    )

    def render(planes, *weights):
        state = dict(zip(dict(decoder.named_parameters()), weights, strict=True))
        field = lambda x: torch.func.functional_call(decoder, state, (x,))  # noqa: E731
        return renderer.VolumeRenderer()(planes, field, origins, directions, options, Midpoints())

    weights = [p.detach().clone().requires_grad_() for p in decoder.parameters()]
    assert gradcheck(render, (planes, *weights), atol=1e-6)
