"""The rule by which the golden files define weights and inputs, and the agreement expected."""

import json
import zlib
from pathlib import Path

import numpy as np
import torch

DATA = Path(__file__).parent / "data"


def load(name):
    """JSON description and NPZ arrays (as tensors) of one golden case."""
    path = DATA / f"{name}.json"
    facts = json.loads(path.read_text()) if path.exists() else None
    with np.load(DATA / f"{name}.npz") as arrays:
        return facts, {key: torch.from_numpy(np.asarray(arrays[key])) for key in arrays}


def draw(name: str, shape, seed: int) -> torch.Tensor:
    """The golden files' random numbers of one tensor name."""
    state = np.random.RandomState((zlib.crc32(name.encode()) + seed) % 2**32)
    return torch.from_numpy(np.asarray(state.randn(*shape), dtype=np.float32))


def fill_gan(module: torch.nn.Module, seed: int) -> None:
    """Overwrites a generator's or discriminator's state dict by the golden rule."""
    state = {}
    for name, value in module.state_dict().items():
        r = draw(name, value.shape, seed)
        if name.endswith("resample_filter"):
            r = value
        elif name.endswith("affine.bias"):
            r = 1 + 0.1 * r
        elif name.endswith(("noise_strength", "bias", "w_avg")):
            r = 0.1 * r
        elif "mapping." in name and name.endswith("weight") and "embed" not in name:
            r = 100 * r
        state[name] = r
    module.load_state_dict(state)


def every_kth(x, target=24):
    """The stored subsample of an image tensor."""
    k = max(1, x.shape[-1] // target)
    return x[..., k // 2 :: k, k // 2 :: k]


def stats(x):
    return torch.stack([x.mean(), x.std(), x.min(), x.max(), x.abs().mean()])


def assert_golden(actual, expected, of=None):
    """Largest error below max(1e-4 x standard deviation, 1e-5 x largest magnitude) of the tensor, as the files promise.

    `of` is the whole tensor where `expected` is a subsample or a statistic of it.
    """
    actual, expected = actual.detach().double(), expected.double()
    whole = (expected if of is None else of).detach().double()
    tolerance = max(1e-4 * whole.std().item() if whole.numel() > 1 else 0, 1e-5 * whole.abs().max().item())
    assert actual.shape == expected.shape
    error = (actual - expected).abs().max().item()
    assert error <= tolerance, f"error {error:.3g} above {tolerance:.3g}"


class Constant:
    """Draws whose every number is 0.5: how the golden outputs were taken."""

    def uniform(self, shape, device="cpu"):
        return torch.full(tuple(shape), 0.5, device=device)

    stratified = normal = uniform
