"""On a CUDA device: the same numbers as on a CPU, and training steps that work. Run by `make gpu-check`."""

import copy
import dataclasses
import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

from eg3d.geometry.cameras import FFHQ_FOCAL, intrinsics_matrix, lookat_pose, make_label
from eg3d.ops.kernels.backend import chosen, using
from groundwork.draws import Midpoints

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
DEVICE = "cuda"


@pytest.fixture(autouse=True)
def full_float32():
    """TF32 off while comparing with a CPU."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@pytest.fixture(autouse=True, params=["torch", "kernels"])
def ops(request):
    """Both implementations, each by name: what `auto` takes on a GPU can change."""
    with using(request.param):
        yield


def cameras(n: int) -> torch.Tensor:
    return make_label(lookat_pose(torch.linspace(-0.4, 0.4, n), -0.1), intrinsics_matrix(FFHQ_FOCAL))


def on_both(module, run):
    """run(module, device) by the definitions on the CPU, and as chosen on the GPU; results on the CPU."""
    results = []
    for device, ops in (("cpu", "torch"), (DEVICE, chosen())):
        with using(ops):
            results.append([t.detach().cpu() for t in run(copy.deepcopy(module).to(device), device)])
    return results


def assert_close(pairs, tolerance):
    for cpu, gpu in zip(*pairs, strict=True):
        assert cpu.isfinite().all() and cpu.abs().max() > 0
        assert (cpu - gpu).abs().max() <= tolerance * cpu.abs().max()


def test_generator_draws_the_same_picture_as_on_a_cpu(tiny_generator):
    z = torch.randn(2, tiny_generator.z_dim, generator=torch.Generator().manual_seed(1))

    def run(G, device):
        ws = G.mapping(z.to(device), cameras(2).to(device))
        out = G.synthesis(ws, cameras(4).to(device), draws=Midpoints(), noise_mode="const")
        return [out["image"], out["image_raw"], out["image_depth"]]

    assert_close(on_both(tiny_generator, run), 1e-3)


def test_generator_gradients_agree_with_a_cpu(tiny_generator):
    z = torch.randn(2, tiny_generator.z_dim, generator=torch.Generator().manual_seed(1))

    def run(G, device):
        G.requires_grad_(True)
        ws = G.mapping(z.to(device), cameras(2).to(device))
        out = G.synthesis(ws, cameras(2).to(device), draws=Midpoints(), noise_mode="const")
        (out["image"].square().mean() + out["image_raw"].square().mean()).backward()
        return [G.decoder.net[0].weight.grad, G.backbone.synthesis.b4.const.grad]

    assert_close(on_both(tiny_generator, run), 5e-3)


def test_discriminator_and_its_r1_gradient_agree_with_a_cpu(tiny_discriminator):
    draw = torch.Generator().manual_seed(1)
    image, raw = torch.randn(2, 3, 32, 32, generator=draw), torch.randn(2, 3, 16, 16, generator=draw)

    def run(D, device):
        pair = {"image": image.to(device).requires_grad_(), "image_raw": raw.to(device).requires_grad_()}
        logits = D(pair, cameras(2).to(device))
        gradients = torch.autograd.grad(logits.sum(), list(pair.values()), create_graph=True)
        sum(g.square().sum() for g in gradients).backward()  # R1 differentiates the gradient once more
        return [logits, *gradients, D.b4.conv.weight.grad]

    assert_close(on_both(tiny_discriminator, run), 1e-3)


def test_float16_blocks_draw_nearly_the_float32_picture(tiny_generator):
    from eg3d.models.generator import TriPlaneGenerator

    config = tiny_generator.config
    config = dataclasses.replace(config, superresolution=dataclasses.replace(config.superresolution, num_fp16_res=4))
    half = TriPlaneGenerator(config, tiny_generator.neural_rendering_resolution).eval().requires_grad_(False)
    half.load_state_dict(tiny_generator.state_dict())
    half.to(DEVICE)
    z = torch.randn(2, half.z_dim, generator=torch.Generator().manual_seed(1)).to(DEVICE)
    ws = half.mapping(z, cameras(2).to(DEVICE))
    fast, exact = (
        half.synthesis(ws, cameras(2).to(DEVICE), draws=Midpoints(), noise_mode="const", force_fp32=fp32)["image"]
        for fp32 in (False, True)
    )
    assert (fast - exact).abs().max() <= 0.02 * exact.abs().max()


def test_two_training_steps_change_both_networks_and_log_finite_terms(tmp_path):
    from eg3d.config.flags import resolve
    from eg3d.data.dataset import ImageDataset
    from eg3d.training.trainer import Trainer

    pixels = np.random.default_rng(0).integers(0, 255, (8, 64, 64, 3), dtype=np.uint8)
    rows = [[f"{i}.png", label.tolist()] for i, label in enumerate(cameras(8))]
    for (name, _), image in zip(rows, pixels, strict=True):
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "PNG")
        (tmp_path / name).write_bytes(buffer.getvalue())
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": rows}))

    config = resolve("embedded", data=str(tmp_path), batch=8, batch_gpu=4, gaze_weight=0.0, seed=3)
    trainer = Trainer(config, ImageDataset(tmp_path), DEVICE)
    before = {name: copy.deepcopy(net.state_dict()) for name, net in trainer.networks().items()}
    for _ in range(2):
        trainer.step()
    for name, net in trainer.networks().items():
        moved = max((net.state_dict()[key].float() - value.float()).abs().max() for key, value in before[name].items())
        assert moved > 0, f"{name} did not move"
        assert all(value.isfinite().all() for value in net.state_dict().values())
    assert trainer.images_seen == 16
    means = {name: value["mean"] for name, value in trainer.stats.line().items() if name.startswith("Loss/")}
    assert means and all(mean is not None and np.isfinite(mean) for mean in means.values())
