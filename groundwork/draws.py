"""Sources of randomness for rendering and training, so that every draw has a place instead of an order.

Three sources share one interface; `Recorded` keeps what one of them gave, for `Replayed`, and `Split` reshapes it:

* `GlobalDraws`: PyTorch's global generator, as published.
* `KeyedDraws`: one generator per sample, keyed by its place in the run (`draw_key`). A resumed run, or one split into
  other micro-batches, draws what an unbroken single one would.
* `Midpoints`: no randomness; the centre of every stratum. Pictures and scores use it.
"""

from collections.abc import Sequence

import torch

from groundwork.draw_keys import draw_key


class GlobalDraws:
    """Draws from PyTorch's global generator of the device."""

    def uniform(self, shape: Sequence[int], device="cpu") -> torch.Tensor:
        """Uniform in [0, 1), float32."""
        return torch.rand(tuple(shape), device=device)

    def stratified(self, shape: Sequence[int], device="cpu") -> torch.Tensor:
        """Uniform in [0, 1) for inverse-transform sampling along the last axis (published: plain uniform)."""
        return torch.rand(tuple(shape), device=device)

    def normal(self, shape: Sequence[int], device="cpu") -> torch.Tensor:
        """Standard normal, float32."""
        return torch.randn(tuple(shape), device=device)


class Midpoints:
    """Deterministic stand-in: the centre of every stratum, no noise."""

    def uniform(self, shape, device="cpu"):
        return torch.full(tuple(shape), 0.5, device=device)

    def stratified(self, shape, device="cpu"):
        n = shape[-1]
        return ((torch.arange(n, device=device) + 0.5) / n).expand(tuple(shape))

    def normal(self, shape, device="cpu"):
        return torch.zeros(tuple(shape), device=device)


class KeyedDraws:
    """One generator per sample of the batch; `shape[0]` of every request must be the number of keys."""

    def __init__(self, keys: Sequence[int], device="cpu"):
        self._generators = [torch.Generator(device).manual_seed(key) for key in keys]

    @classmethod
    def at(cls, seed: int, phase: str, samples: Sequence[int], images_seen: int, device="cpu") -> "KeyedDraws":
        """Draws of the given global-batch indices in one phase of the step that starts at `images_seen`."""
        return cls([draw_key(seed, phase, sample, images_seen) for sample in samples], device)

    def _each(self, draw, shape, device) -> torch.Tensor:
        assert shape[0] == len(self._generators), f"{shape[0]} samples asked of {len(self._generators)} keys"
        rows = [draw(tuple(shape[1:]), generator=g, device=g.device) for g in self._generators]
        return torch.stack(rows).to(device)

    def uniform(self, shape, device="cpu"):
        return self._each(torch.rand, shape, device)

    stratified = uniform

    def normal(self, shape, device="cpu"):
        return self._each(torch.randn, shape, device)


class Recorded:
    """Hands on the draws of a source, and keeps them for `Replayed`."""

    def __init__(self, draws):
        self._draws, self.values = draws, []

    def _kept(self, value: torch.Tensor) -> torch.Tensor:
        self.values.append(value)
        return value

    def uniform(self, shape, device="cpu"):
        return self._kept(self._draws.uniform(shape, device))

    def stratified(self, shape, device="cpu"):
        return self._kept(self._draws.stratified(shape, device))

    def normal(self, shape, device="cpu"):
        return self._kept(self._draws.normal(shape, device))


class Replayed:
    """Gives recorded draws once more, in their order; what is asked for must have their shapes."""

    def __init__(self, values: Sequence[torch.Tensor]):
        self._values = iter(values)

    def uniform(self, shape, device="cpu"):
        value = next(self._values)
        assert tuple(value.shape) == tuple(shape), f"{tuple(shape)} asked of draws {tuple(value.shape)}"
        return value.to(device)

    stratified = normal = uniform


class Split:
    """Draws of a source for shapes [N, k M, ...], handed out as [k N, M, ...]."""

    def __init__(self, draws, k: int):
        self._draws, self._k = draws, k

    def _split(self, draw, shape, device) -> torch.Tensor:
        (n, m, *rest), k = shape, self._k
        return draw((n // k, k * m, *rest), device).unflatten(1, (k, m)).flatten(0, 1)

    def uniform(self, shape, device="cpu"):
        return self._split(self._draws.uniform, shape, device)

    def stratified(self, shape, device="cpu"):
        return self._split(self._draws.stratified, shape, device)

    def normal(self, shape, device="cpu"):
        return self._split(self._draws.normal, shape, device)
