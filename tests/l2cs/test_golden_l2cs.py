"""Agreement with the published ResNet18 L2CS-Net (tests/data/l2cs_resnet18.*, weights rebuilt from their names)."""

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from l2cs.estimator import GazeEstimator
from l2cs.model import L2CS, Architecture

DATA = Path(__file__).resolve().parent.parent / "data"


def named_weights(model: L2CS, seed: int) -> dict[str, torch.Tensor]:
    state = model.state_dict()
    for name, value in state.items():
        if name.endswith("num_batches_tracked"):
            continue
        rng = np.random.RandomState((zlib.crc32(name.encode()) + seed) % 2**32)
        r = torch.from_numpy(rng.randn(*value.shape).astype(np.float32))
        if value.ndim == 4:
            r = r * (2 / (value.shape[0] * value.shape[2] * value.shape[3])) ** 0.5
        elif name.endswith("running_var"):
            r = 1 + 0.1 * r.abs()
        elif name.endswith(("running_mean", "bias")):
            r = 0.1 * r
        else:
            r = 1 + 0.1 * r if value.ndim == 1 else 0.01 * r
        state[name] = r
    return state


@pytest.fixture(scope="module")
def case():
    spec = json.loads((DATA / "l2cs_resnet18.json").read_text())
    model = L2CS(Architecture.published(spec["arch"], spec["bins"]))
    assert {name: list(value.shape) for name, value in model.state_dict().items()} == spec["state_dict"]
    model.load_state_dict(named_weights(model, spec["seed"]))
    golden = {name: torch.from_numpy(value) for name, value in np.load(DATA / "l2cs_resnet18.npz").items()}
    image = golden["image"].clone().requires_grad_(True)
    estimator = GazeEstimator(model)
    return golden, image, estimator, estimator(image)


def test_angles_equal_the_published_network(case):
    golden, _, _, angles = case
    assert (angles.yaw - golden["yaw"]).abs().max() < 5e-6
    assert (angles.pitch - golden["pitch"]).abs().max() < 5e-6


def test_gradient_at_the_image_equals_the_published_one_where_pixels_are_not_saturated(case):
    # The golden run did not clamp the bytes, and a rounding step can move a ReLU over its kink: so the tolerance is on
    # the whole, 1 % of the gradient's size, not on every pixel.
    golden, image, _, angles = case
    (grad,) = torch.autograd.grad(angles.yaw.square().sum() + angles.pitch.square().sum(), image)
    inside = image.detach()[:, :, 4::8, 4::8] < 127 / 127.5
    here, there = grad[:, :, 4::8, 4::8][inside], golden["grad_image"][inside]
    assert inside.float().mean() > 0.99
    assert (here - there).norm() < 0.01 * there.norm()
