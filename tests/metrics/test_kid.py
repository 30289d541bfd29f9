import math

import numpy as np
import pytest
import torch

from eg3d.metrics.kid import cubic_kernel, kernel_distance, unbiased_mmd


def draws(n: int, width: int = 16, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_kernel_by_hand():
    x, y = torch.tensor([[1.0, 2.0]]).double(), torch.tensor([[3.0, -1.0], [0.0, 4.0]]).double()
    assert cubic_kernel(x, y).tolist() == [[(1 / 2 + 1) ** 3, (8 / 2 + 1) ** 3]]


def test_mmd_of_four_points_in_two_dimensions_by_hand():
    x = torch.tensor([[0.0, 0], [2, 0], [0, 2], [2, 2]]).double()
    y = torch.tensor([[0.0, 0], [0, 0], [2, 0], [2, 0]]).double()
    # x.y/2 + 1, cubed. xx: pairs (1,4) and (2,4), (3,4): 1, 27, 27, and 0-products 1: 3 + 1 + 2 * 27 = 58 twice over;
    # yy: (3,4): 27, five pairs 1; xy: rows 1, 3 give 1; rows 2, 4 give 1, 1, 27, 27
    xx, yy, xy = 2 * (4 * 1 + 2 * 27), 2 * (5 * 1 + 27), 4 + 56 + 4 + 56
    assert unbiased_mmd(x, y) == pytest.approx((xx + yy) / 12 - 2 * xy / 16, rel=1e-14)


def test_it_is_unbiased_on_two_samples_of_one_distribution():
    values = np.array([unbiased_mmd(draws(30, 8, 2 * i), draws(30, 8, 2 * i + 1)) for i in range(400)])
    assert abs(values.mean()) < 3 * values.std(ddof=1) / math.sqrt(len(values))
    assert values.min() < 0 < values.max()


def test_subsets_have_at_most_as_many_rows_as_the_smaller_side():
    real, generated = draws(50, 8, 1), draws(20, 8, 2) + 0.5
    whole = kernel_distance(generated, generated + 1, subsets=3, subset_size=20)
    assert whole.subset_std == pytest.approx(0, abs=1e-12)  # each subset is the whole set
    assert whole.value == pytest.approx(unbiased_mmd(generated, generated + 1), rel=1e-12)
    assert kernel_distance(real, generated, subset_size=1000).value == pytest.approx(
        kernel_distance(real, generated, subset_size=20).value, rel=1e-12
    )
    with pytest.raises(ValueError, match="at least 2"):
        kernel_distance(real, generated[:1])


def test_subsets_are_drawn_by_the_seed():
    one, again, other = (kernel_distance(draws(60), draws(60, seed=1), s, 5, 20).value for s in (0, 0, 1))
    assert one == again != pytest.approx(other, rel=1e-9)


def test_kid_is_that_of_torch_fidelity():
    metric = pytest.importorskip("torch_fidelity.metric_kid")
    real, generated = draws(120, 64, 1).float(), draws(120, 64, 2).float() * 1.2 + 0.1
    options = dict(
        kid_subsets=4, kid_subset_size=120, kid_kernel="poly", kid_kernel_poly_degree=3, kid_kernel_poly_gamma=None,
        kid_kernel_poly_coef0=1, rng_seed=2020, verbose=False,
    )  # fmt: skip
    # subsets of all rows: the same whoever draws them
    expected = metric.kid_features_to_metric(real.double(), generated.double(), **options)
    found = kernel_distance(real, generated, subsets=4, subset_size=120)
    assert found.value == pytest.approx(expected["kernel_inception_distance_mean"], rel=1e-6)


@pytest.mark.parametrize("shift", [0.0, 0.2, 0.5])
@pytest.mark.parametrize("subset_size", [100, 30])
def test_the_standard_error_is_the_spread_over_samples(shift, subset_size):
    real, found = draws(300, 8, 10_000), []
    for i in range(150):
        rows = draws(100, 8, i) * (1 + shift) + shift
        found.append(kernel_distance(real, rows, i, subsets=10, subset_size=subset_size)[:2])
    distances, errors = map(np.array, zip(*found, strict=True))
    spread = distances.std(ddof=1)
    assert 0.75 * spread <= np.sqrt(np.square(errors).mean()) <= 1.4 * spread
