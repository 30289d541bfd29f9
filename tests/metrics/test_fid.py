import math

import numpy as np
import pytest
import torch

from eg3d.metrics.fid import frechet_distance, frechet_standard_error
from eg3d.metrics.moments import FeatureStatistics


def rows_with(mean: torch.Tensor, std: torch.Tensor, n: int = 64) -> torch.Tensor:
    """[n, F] whose mean and covariance (1/N) are exactly `mean` and diag(std^2)."""
    width = len(mean)
    q, _ = torch.linalg.qr(torch.randn(n, width + 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
    ones = torch.ones(n, 1, dtype=torch.float64)
    q, _ = torch.linalg.qr(torch.cat([ones, q[:, :width]], dim=1))  # columns orthogonal to the constant
    return mean + q[:, 1:] * std * math.sqrt(n)


def draws(n: int, width: int = 16, seed: int = 0, dtype=torch.float32) -> torch.Tensor:
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def distance(real: torch.Tensor, generated: torch.Tensor) -> float:
    return frechet_distance(FeatureStatistics.of(real), FeatureStatistics.of(generated))


def test_a_set_has_no_distance_from_itself():
    assert distance(draws(200), draws(200)) == pytest.approx(0, abs=1e-10)


def test_a_shift_costs_its_square():
    zero, one, shift = torch.zeros(16), torch.ones(16), torch.linspace(-1, 2, 16, dtype=torch.float64)
    found = distance(rows_with(zero, one), rows_with(shift, one))
    assert found == pytest.approx(float(shift @ shift), rel=1e-10)


def test_diagonal_covariances_cost_the_squared_differences_of_their_deviations():
    a, b = torch.linspace(0.1, 2, 16, dtype=torch.float64), torch.linspace(3, 0.5, 16, dtype=torch.float64)
    found = distance(rows_with(torch.zeros(16), a), rows_with(torch.zeros(16), b))
    assert found == pytest.approx(float((a - b).square().sum()), rel=1e-10)


def test_covariances_without_full_rank_lose_no_digits():
    # 16 features, 4 directions with variance in each set, at right angles: the mixed trace is exactly 0
    a, b = torch.zeros(16, dtype=torch.float64), torch.zeros(16, dtype=torch.float64)
    a[:4], b[4:8] = 3.0, 2.0
    assert distance(rows_with(a * 0, a), rows_with(a * 0, b)) == pytest.approx(4 * 9 + 4 * 4, rel=1e-12)
    few = draws(10, 64)
    assert distance(few, few) == pytest.approx(0, abs=1e-9)


def test_mean_and_covariance_are_those_of_numpy():
    rows = draws(3000, 8) * 3 + 5
    found = FeatureStatistics.of(rows)
    np.testing.assert_allclose(found.mean, rows.double().numpy().mean(0), rtol=1e-12)
    for ddof in (0, 1):
        expected = np.cov(rows.double().numpy().T, ddof=ddof)
        np.testing.assert_allclose(found.covariance(ddof), expected, rtol=1e-9, atol=1e-11)


def test_fid_is_that_of_torch_fidelity():
    metric = pytest.importorskip("torch_fidelity.metric_fid")
    real, generated = draws(500, 32, 1, torch.float64), draws(400, 32, 2, torch.float64) * 1.3 + 0.2
    stats = [metric.fid_features_to_statistics(x) for x in (real, generated)]
    expected = metric.fid_statistics_to_metric(*stats, verbose=False)["frechet_inception_distance"]
    ours = [FeatureStatistics.of(x) for x in (real, generated)]
    assert frechet_distance(*ours, ddof=1) == pytest.approx(float(expected), rel=1e-6)
    # by default covariances are divided by N, as EG3D does: a known, smaller number
    assert 1e-6 < abs(frechet_distance(*ours) / float(expected) - 1) < 5e-3


def spread_and_error(n: int, change, width: int = 8, repeats: int = 120):
    """Deviation of the distance over independent sets of generated samples, and the mean of its estimates."""
    random = torch.Generator().manual_seed(3)
    real = FeatureStatistics.of(torch.randn(4000, width, generator=random))
    found = []
    for _ in range(repeats):
        rows = change(torch.randn(n, width, generator=random))
        found.append((frechet_distance(real, FeatureStatistics.of(rows)), frechet_standard_error(real, rows)))
    distances, errors = map(np.array, zip(*found, strict=True))
    return distances.std(ddof=1), errors.mean()


@pytest.mark.parametrize(
    "change",
    [lambda x: 1.2 * x + 0.3, lambda x: x + 0.3 * x**2, lambda x: x * torch.linspace(0.5, 2, 8)],
    ids=["shifted", "skewed", "stretched"],
)
def test_the_standard_error_is_the_spread_over_samples(change):
    spread, error = spread_and_error(500, change)
    assert 0.8 * spread <= error <= 1.25 * spread  # the spread itself is known to 6 %


def test_the_standard_error_is_rather_too_large_near_zero():
    spread, error = spread_and_error(100, lambda x: x)
    assert spread <= error <= 2.2 * spread
