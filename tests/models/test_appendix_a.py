"""Conformance vectors of an independent implementation: weights by a modular rule, CPU, float32."""

import pytest
import torch
from tiny_networks import discriminator_of, generator_of

from eg3d.geometry.cameras import FFHQ_PIVOT, intrinsics_matrix, lookat_pose, make_label
from groundwork.draws import Midpoints

CAMERAS = make_label(lookat_pose([0.3, -0.1], [-0.2, 0.1], FFHQ_PIVOT, 2.7), intrinsics_matrix(4.2647))


def modular(shape, offset=0, factor=7919):
    """Element j is ((factor * j + offset) mod 2003) / 2003 * 2 - 1."""
    j = torch.arange(torch.Size(shape).numel(), dtype=torch.int64)
    return ((factor * j + offset) % 2003 / 2003 * 2 - 1).float().reshape(shape)


def fill(module):
    state = module.state_dict()
    for i, name in enumerate(sorted(state)):
        if name.endswith("resample_filter"):
            continue
        value = modular(state[name].shape, 104729 * i)
        if "mapping." in name and ".fc" in name and name.endswith("weight"):
            value = 100 * value
        state[name] = 0.1 * value if name.endswith("w_avg") else value
    module.load_state_dict(state)
    return module.eval()


def generator(factor, size):
    return fill(
        generator_of(
            z_dim=32, c_dim=25, w_dim=512, img_resolution=size, img_channels=3, sr_num_fp16_res=0,
            mapping_kwargs={"num_layers": 2}, channel_base=512, channel_max=16, num_fp16_res=0, conv_clamp=None,
            rendering_kwargs=dict(
                superresolution_module=f"training.superresolution.SuperresolutionHybrid{factor}", sr_antialias=True,
                superresolution_noise_mode="none", c_gen_conditioning_zero=False, c_scale=1, depth_resolution=6,
                depth_resolution_importance=6, ray_start=2.25, ray_end=3.3, box_warp=1,
            ),
        )
    )  # fmt: skip


def assert_row(x, magnitude, mean, mean_abs, std, first, last):
    """The table's entries within 1e-5 of the tensor's largest magnitude, and their own five or six printed digits."""
    tolerance = 1e-5 * magnitude + 1e-5
    x = x.detach().double()
    assert x.mean().item() == pytest.approx(mean, abs=tolerance)
    assert x.abs().mean().item() == pytest.approx(mean_abs, abs=tolerance)
    assert x.std().item() == pytest.approx(std, abs=tolerance)
    flat = x.flatten()
    assert flat[: len(first)].tolist() == pytest.approx(first, abs=tolerance)
    assert flat[-len(last) :].tolist() == pytest.approx(last, abs=tolerance)


DETERMINISTIC = dict(noise_mode="const", draws=Midpoints())


@pytest.fixture(scope="module")
def small():
    """The 2X generator and its latents."""
    G = generator("2X", 128)
    return G, G.mapping(modular((2, 32)), CAMERAS)


@torch.no_grad()
def test_mapping_and_truncation(small):
    G, ws = small
    assert_row(ws, 2.519, 0.386659, 0.592935, 0.732644, [0.04250, 0.35640, -0.26813], [1.38368, -0.38662])
    cut = G.mapping(modular((2, 32)), CAMERAS, truncation_psi=0.7, truncation_cutoff=5)
    assert_row(cut, 2.519, 0.345146, 0.529462, 0.664904, [0.04273, 0.25968, -0.18027], [1.38368, -0.38662])


@torch.no_grad()
def test_planes(small):
    G, ws = small
    planes = G.planes(ws, **DETERMINISTIC)
    assert_row(planes, 177.1, 0.251053, 25.120643, 35.460272, [0.55922, 0.27873, 0.03944], [-0.52909, -0.43640])


@torch.no_grad()
def test_raw_image_and_depth(small):
    G, ws = small
    out = G.synthesis(ws, CAMERAS, 16, **DETERMINISTIC)
    assert_row(out["image_raw"], 0.998, -0.860559, 0.860559, 0.149654,
               [-0.64887, -0.72729, -0.87124], [-0.92931, -0.91045])  # fmt: skip
    assert_row(out["image_depth"], 3.292, 3.169687, 3.169687, 0.128971,
               [3.18449, 3.22581, 3.20794], [3.09821, 3.06317])  # fmt: skip
    assert_row(out["image"], 13.27, 8.133143, 8.133143, 3.792872, [0.86857, 1.22408, 1.59055], [1.19351, 0.54562])


@pytest.mark.parametrize(
    "factor, size, row",
    [
        ("4X", 256, (14.55, 8.388628, 8.388628, 3.761392, [0.87086, 1.22887, 1.59877], [1.19699, 0.54801])),
        ("8X", 512, (16.02, 8.565592, 8.565592, 3.733701, [2.51311, 3.77016, 4.64405], [1.81433, 1.05635])),
        pytest.param(
            "8XDC",
            512,
            (24.49, 14.712963, 14.712963, 6.412625, [1.11596, 1.45430, 1.84066], [1.64753, 1.08551]),
            marks=pytest.mark.slow,  # wide layers; test_golden_networks.py compares the same module each time
        ),
    ],
)
@torch.no_grad()
def test_every_super_resolution(factor, size, row):
    G = generator(factor, size)
    ws = G.mapping(modular((2, 32)), CAMERAS)
    assert_row(G.synthesis(ws, CAMERAS, 16, **DETERMINISTIC)["image"], *row)


@torch.no_grad()
def test_raw_image_is_the_rendering_and_painted_over_only_as_a_legacy(small):
    """At the super-resolution's own input size the published code adds block0's colours into image_raw."""
    G, ws = small
    out = G.synthesis(ws, CAMERAS, 64, **DETERMINISTIC)
    assert_row(out["image"], 13.27, 8.131550, 8.131550, 3.802519, [0.87091, 1.22207, 1.58010], [1.17569, 0.53477])
    assert_row(out["image_depth"], 3.292, 3.169739, 3.169739, 0.130609,
               [3.16816, 3.17690, 3.19891], [3.07714, 3.09746])  # fmt: skip
    assert out["image_raw"].abs().max() <= 1.01  # the rendering itself
    legacy = G.synthesis(ws, CAMERAS, 64, legacy_raw=True, **DETERMINISTIC)
    assert_row(legacy["image_raw"], 13.27, 1.800349, 1.810153, 1.155805,
               [-0.22650, 0.17133, 0.31901], [0.51421, -0.56462])  # fmt: skip
    assert torch.equal(legacy["image"], out["image"]) and torch.equal(legacy["image_depth"], out["image_depth"])


@torch.no_grad()
def test_field_query(small):
    G, ws = small
    j = torch.arange(300)
    points = ((37 * j % 101) / 101 - 0.5).reshape(2, 50, 3)
    field = G.sample_mixed(points, None, ws, **DETERMINISTIC)
    sigma, rgb = field["sigma"].double(), field["rgb"].double()
    assert sigma.mean().item() == pytest.approx(-2.771973, abs=1e-4)
    assert sigma.std().item() == pytest.approx(2.404840, abs=1e-4)
    assert sigma.flatten()[:3].tolist() == pytest.approx([1.20311, -3.11381, -0.84999], abs=1e-4)
    assert rgb.mean().item() == pytest.approx(0.527547, abs=1e-5)
    assert rgb.std().item() == pytest.approx(0.341887, abs=1e-5)
    assert rgb.flatten()[:3].tolist() == pytest.approx([0.79430, 0.80978, 0.81732], abs=2e-5)
    assert rgb.flatten()[-2:].tolist() == pytest.approx([0.00450, 0.02089], abs=2e-5)


@torch.no_grad()
def test_discriminator():
    D = fill(discriminator_of(c_dim=25, img_resolution=64, channel_base=512, channel_max=16))
    seen = {}
    D.b4.register_forward_hook(lambda module, args, result: seen.update(x=args[0], cmap=args[1]))
    D.b4.out.register_forward_hook(lambda module, args, result: seen.update(out=result))
    pair = {"image": modular((2, 3, 64, 64)), "image_raw": modular((2, 3, 32, 32), factor=104729)}
    logits = D(pair, CAMERAS)
    assert seen["x"].mean().item() == pytest.approx(0.223739, abs=1e-5)
    assert seen["x"].std().item() == pytest.approx(0.555662, abs=1e-5)
    assert seen["x"].flatten()[:3].tolist() == pytest.approx([0.30214, 0.34260, 0.34227], abs=1e-5)
    assert seen["out"].mean().item() == pytest.approx(-0.172985, abs=1e-5)
    assert seen["out"].std().item() == pytest.approx(0.702497, abs=1e-5)
    assert seen["out"].flatten()[:3].tolist() == pytest.approx([0.79335, 0.36528, -0.84045], abs=1e-5)
    assert seen["cmap"].flatten()[:3].tolist() == pytest.approx([0.01694, 0.00118, -0.00106], abs=1e-5)
    assert logits.flatten().tolist() == pytest.approx([0.00866371, 0.00853420], abs=1e-6)
