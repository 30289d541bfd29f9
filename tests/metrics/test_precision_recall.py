import numpy as np
import pytest
import torch

from eg3d.metrics import precision_recall
from eg3d.metrics.precision_recall import precision_and_recall, squared_distances, squared_radii


def draws(n: int, width: int = 8, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed))


def test_radii_are_distances_to_the_third_neighbour_itself_not_counted():
    line = torch.tensor([[0.0], [1], [3], [7], [15]]).double()
    assert squared_radii(line).sqrt().tolist() == [7, 6, 4, 7, 14]
    assert squared_radii(line, k=1).sqrt().tolist() == [1, 1, 2, 4, 8]


def test_shares_on_a_line_by_hand():
    real = torch.tensor([[0.0], [1], [2], [3]])  # radii 3, 2, 2, 3: together -3 .. 6
    generated = torch.tensor([[-4.0], [-3], [6], [6.5], [10]])  # radii 10, 9, 9, 9.5, 13: together -14 .. 23
    found = precision_and_recall(real, generated)
    assert found.precision == 2 / 5 and found.recall == 1
    assert found.precision_se == pytest.approx((0.4 * 0.6 / 5) ** 0.5) and found.recall_se == 0


def test_one_distribution_has_high_precision_and_recall():
    found = precision_and_recall(draws(400), draws(400, seed=1))
    assert found.precision > 0.75 and found.recall > 0.75


def test_a_collapsed_generator_has_high_precision_and_low_recall():
    real, collapsed = draws(400), 0.1 * draws(400, seed=1)  # what lies in the middle, over and over
    found = precision_and_recall(real, collapsed)
    assert found.precision > 0.95 and found.recall < 0.05
    point = precision_and_recall(real, torch.zeros(400, 8))
    assert point.precision == 1 and point.recall == 0


def test_a_generator_that_scatters_has_low_precision_and_high_recall():
    found = precision_and_recall(draws(400), 4 * draws(400, seed=1))
    assert found.precision < 0.05 and found.recall > 0.9


def test_large_common_offsets_change_nothing():
    real, generated = draws(100).double(), draws(100, seed=1).double()
    for offset in (1e5, 1e8):  # squares of the latter leave no digits for distances
        moved = precision_and_recall(real + offset, generated + offset)
        assert moved[:2] == precision_and_recall(real, generated)[:2]


def test_no_distance_is_negative():
    rows = 1e3 + draws(50).double()
    assert (rows.square().sum(1)[:, None] + rows.square().sum(1) - 2 * rows @ rows.T).min() < 0  # rounding
    assert squared_distances(rows, rows).min() == 0


def test_blocks_change_nothing(monkeypatch):
    real, generated = draws(57), 1.5 * draws(43, seed=1)
    whole = precision_and_recall(real, generated)
    monkeypatch.setattr(precision_recall, "ROWS", 5)
    monkeypatch.setattr(precision_recall, "COLUMNS", 7)
    assert precision_and_recall(real, generated) == whole


def test_it_is_that_of_torch_fidelity():
    metric = pytest.importorskip("torch_fidelity.metric_prc")
    real, generated = draws(150), 1.3 * draws(140, seed=1) + 0.3
    expected = metric.prc_features_to_metric(  # its first input is the generated one
        generated, real, prc_neighborhood=3, prc_batch_size=50, save_cpu_ram=False, verbose=False
    )
    found = precision_and_recall(real, generated)
    assert found.precision == pytest.approx(expected["precision"], abs=1e-6)
    assert found.recall == pytest.approx(expected["recall"], abs=1e-6)


def test_too_few_images_are_an_error():
    with pytest.raises(ValueError, match="more than 3 images"):
        precision_and_recall(draws(10), draws(3))
    assert np.isfinite(precision_and_recall(draws(10), draws(4)).precision)
