import math

import pytest
import torch

from eg3d.metrics.inception_score import inception_score


def test_images_of_one_sure_class_each_score_their_number_of_classes():
    classifier = 1000 * torch.eye(4)
    found = inception_score(torch.eye(4).repeat(25, 1), classifier)  # 10 splits of 10, not all classes equally often
    counts = torch.tensor([3.0, 3, 2, 2]) / 10
    entropy = -(counts * counts.log()).sum()
    assert found.mean == pytest.approx(math.exp(entropy), rel=1e-6) and found.std == pytest.approx(0, abs=1e-6)
    assert inception_score(torch.eye(4)[[0]].repeat(40, 1), classifier).mean == pytest.approx(1)


def test_splits_are_contiguous_and_the_deviation_is_that_of_the_population():
    rows = torch.cat([torch.eye(2)[[0]].repeat(10, 1), torch.eye(2).repeat(5, 1)])
    found = inception_score(rows, 1000 * torch.eye(2), splits=2)  # scores 1 and 2
    assert found.mean == pytest.approx(1.5) and found.std == pytest.approx(0.5)
    assert found.standard_error == pytest.approx(math.sqrt(0.5) / math.sqrt(2))


def test_it_is_that_of_torch_fidelity():
    metric = pytest.importorskip("torch_fidelity.metric_isc")
    draws = torch.Generator().manual_seed(0)
    rows, classifier = torch.randn(205, 32, generator=draws), torch.randn(10, 32, generator=draws)
    expected = metric.isc_features_to_metric((rows @ classifier.T).double(), splits=10, shuffle=False)
    found = inception_score(rows, classifier)
    assert found.mean == pytest.approx(expected["inception_score_mean"], rel=1e-6)
    assert found.std == pytest.approx(expected["inception_score_std"], rel=1e-5)


def test_too_few_images_are_an_error():
    with pytest.raises(ValueError, match="at least 20 images"):
        inception_score(torch.zeros(19, 4), torch.eye(4))
