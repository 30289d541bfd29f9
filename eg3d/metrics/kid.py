"""Kernel distance: unbiased squared MMD with a cubic kernel (Binkowski et al. 2018), and its standard error."""

import math
from typing import NamedTuple

import numpy as np
import torch

SUBSETS, SUBSET_SIZE = 100, 1000
MOST_FOR_ERROR = 5000  # rows of each side that the standard error is estimated on; it is scaled to the real count


class KernelDistance(NamedTuple):
    """mean over the subsets, its standard error, and the spread of the subsets (torch-fidelity prints that one)."""

    value: float
    standard_error: float | None
    subset_std: float


def cubic_kernel(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """k(x, y) = (x.y / F + 1)^3 of rows [N, F] and [M, F] -> [N, M]."""
    return (x @ y.T).div_(x.shape[1]).add_(1).pow_(3)  # in place: these matrices are large


def unbiased_mmd(x: torch.Tensor, y: torch.Tensor) -> float:
    """Squared MMD of m rows each, without the diagonals; may be slightly negative."""
    m = len(x)
    assert len(y) == m >= 2
    xx, yy = (cubic_kernel(z, z) for z in (x, y))
    inside = xx.sum() - xx.diagonal().sum() + yy.sum() - yy.diagonal().sum()
    return float(inside / (m * (m - 1)) - 2 * cubic_kernel(x, y).sum() / m**2)


def kernel_distance(
    real: torch.Tensor, generated: torch.Tensor, seed: int = 0, subsets: int = SUBSETS, subset_size: int = SUBSET_SIZE
) -> KernelDistance:
    """Mean of the unbiased MMD over random subsets of `subset_size` rows (fewer where there are fewer) of each side."""
    m = min(len(real), len(generated), subset_size)
    if m < 2:
        raise ValueError(f"KID needs at least 2 images of each kind, here are {len(real)} and {len(generated)}")
    real, generated, draws = real.double(), generated.double(), np.random.RandomState(seed)
    values = []
    for _ in range(subsets):
        chosen = [torch.from_numpy(draws.choice(len(rows), m, replace=False)) for rows in (real, generated)]
        values.append(unbiased_mmd(real[chosen[0]], generated[chosen[1]]))
    spread = float(np.std(values))
    error = _standard_error(real, generated, spread / math.sqrt(max(subsets - 1, 1)))
    return KernelDistance(float(np.mean(values)), error, spread)


def _standard_error(real: torch.Tensor, generated: torch.Tensor, drawing: float) -> float | None:
    """Over generated samples, the real set taken as given; None with fewer than 3 of them.

    The spread of the subsets says little: subsets of one set share samples. If each is the whole set, it is zero.
    Given the data, the mean of the subsets scatters by `drawing` around the MMD of all rows. That MMD scatters over
    samples; to first order its variance is 4 var(h) / n, with h_i = mean of k(y_i, y_j) over j != i - mean of
    k(y_i, x_j). This is the jackknife of a U-statistic (Efron & Stein 1981). It is rather too large than too small.
    """
    n = len(generated)
    if n < 3:
        return None
    x, y = real[:MOST_FOR_ERROR], generated[:MOST_FOR_ERROR]
    yy = cubic_kernel(y, y)
    inside = (yy.sum(dim=1) - yy.diagonal()) / (len(y) - 1)
    h = inside - cubic_kernel(y, x).mean(dim=1)
    return math.sqrt(4 * float(h.var()) / n + drawing**2)
