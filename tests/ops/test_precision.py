"""Number formats: what is asked for is what the blocks compute in, and pictures stay close to float32."""

import pytest
import torch
from tiny_networks import tiny_generator

from eg3d.checkpoints.loading import load_generator
from eg3d.config.presets import FFHQ
from eg3d.geometry.cameras import FFHQ_FOCAL, intrinsics_matrix, lookat_pose, make_label
from eg3d.models.generator import TriPlaneGenerator
from eg3d.ops.precision import set_precision
from eg3d.pictures.views import render_views
from groundwork.draws import Midpoints


def drawn(G, seeds=range(2)):
    return torch.cat([views.images for views in render_views(G, seeds)])


def formats(G, monkeypatch) -> set:
    """The types in which convolutions run while G draws."""
    seen, convolve = set(), torch.nn.functional.conv2d
    monkeypatch.setattr("torch.nn.functional.conv2d", lambda x, *a, **k: (seen.add(x.dtype), convolve(x, *a, **k))[1])
    drawn(G)
    return seen


def test_every_block_computes_in_bfloat16_when_asked(monkeypatch):
    # the image itself is added up, and therefore enlarged, in float32
    assert torch.bfloat16 in formats(set_precision(tiny_generator(), "bf16"), monkeypatch)
    assert formats(tiny_generator(), monkeypatch) == {torch.float32}
    assert formats(set_precision(set_precision(tiny_generator(), "bf16"), "fp32"), monkeypatch) == {torch.float32}


def test_pictures_in_bfloat16_are_close_to_float32_and_are_float32():
    """Bar of the embedded model: less than 2/255 on average, on the scale of [-1, 1] twice that."""
    G = load_generator("embedded")
    exact, rounded = drawn(G), drawn(set_precision(G, "bf16"))
    assert rounded.dtype == torch.float32
    assert 0 < (rounded - exact).abs().mean() < 2 * 2 / 255


@pytest.mark.slow
def test_a_512_px_picture_in_bfloat16_is_off_by_less_than_a_hundredth_of_its_deviation():
    torch.manual_seed(0)
    G = TriPlaneGenerator(FFHQ.generator).eval().requires_grad_(False)
    ws = torch.randn(1, G.num_ws, G.w_dim)
    c = make_label(lookat_pose(torch.zeros(1), 0.0), intrinsics_matrix(FFHQ_FOCAL))
    pictures = []
    with torch.no_grad():
        for precision in ("fp32", "bf16"):
            out = set_precision(G, precision).synthesis(ws, c, 128, draws=Midpoints(), noise_mode="const")
            pictures.append(out["image"])
    error = (pictures[0] - pictures[1]).abs().mean() / pictures[0].std()
    assert 0 < error < 0.01


def test_force_fp32_beats_the_precision():
    G = set_precision(tiny_generator(), "bf16")
    ws = torch.randn(1, G.num_ws, G.w_dim, generator=torch.Generator().manual_seed(0))
    forced, plain = G.planes(ws, "const", force_fp32=True), tiny_generator().planes(ws, "const")
    assert torch.equal(forced, plain) and not torch.equal(G.planes(ws, "const"), plain)


def test_a_discriminator_in_bfloat16_sees_its_few_image_channels_in_float32(tiny_discriminator, monkeypatch):
    """On a CPU with AMX their gradient in bfloat16 ends the process: a division by zero in oneDNN."""
    D, seen, convolve = set_precision(tiny_discriminator, "bf16"), set(), torch.nn.functional.conv2d
    monkeypatch.setattr(
        "torch.nn.functional.conv2d",
        lambda x, *a, **k: (seen.add((x.shape[1], x.dtype)), convolve(x, *a, **k))[1],
    )
    pictures = {"image": torch.zeros(2, 3, 64, 64), "image_raw": torch.zeros(2, 3, 32, 32)}
    D(
        {name: value[..., : D.img_resolution, : D.img_resolution] for name, value in pictures.items()},
        torch.zeros(2, 25),
    )
    assert {dtype for channels, dtype in seen if channels == 6} == {torch.float32}
    assert torch.bfloat16 in {dtype for channels, dtype in seen if channels >= 16}


def test_unknown_and_unfit_precisions_are_one_line():
    with pytest.raises(ValueError, match="precision 'fp8' is unknown"):
        set_precision(tiny_generator(), "fp8")
    with pytest.raises(ValueError, match="--precision=tf32 is for NVIDIA GPUs"):
        set_precision(tiny_generator(), "tf32")
