import pytest
import torch

from eg3d.metrics.detectors import Detector
from eg3d.metrics.fid import frechet_standard_error
from eg3d.metrics.moments import FeatureStatistics
from eg3d.metrics.registry import (
    DETECTOR_TABLE,
    DETECTORS,
    NAMES,
    WORLD,
    DetectorKind,
    Metric,
    parse_metrics,
    score,
    takes_weights,
)
from eg3d.scores.distances import load_detectors


def names(text: str, count: int = 50_000, detector: str = "inception", vgg: bool = False) -> list[str]:
    return [metric.name for metric in parse_metrics(text, count, detector, vgg)]


def test_published_names_are_kept_for_what_was_published():
    assert names(",".join(NAMES), vgg=True) == list(NAMES)


def test_another_count_or_detector_has_another_name():
    published = "fid50k_full,kid50k,is50k"
    assert names(published, 2000) == ["fid2k_full", "kid2k", "is2k"]
    assert names(published, 1500) == ["fid1500_full", "kid1500", "is1500"]
    assert names("pr50k3_full,pr50k3", 2000, vgg=True) == ["pr2k3_full", "pr2k3"]
    assert names("pr50k3_full", 1500, vgg=True) == ["pr1500_3_full"]
    assert names("pr50k3_full") == ["pr50k3_full_inception"]
    assert names("fid50k_full,kid50k,pr50k3_full", 2000, WORLD) == [
        "fd_embedded", "kd_embedded_first2k", "pr_embedded",
    ]  # fmt: skip
    assert names("none") == []


def test_real_images_are_counted_as_published():
    count = {name: parse_metrics(name, 50_000, "inception", True)[0].real_count(2_000_000) for name in NAMES}
    assert count == {
        "fid50k_full": 2_000_000, "kid50k_full": 1_000_000, "pr50k3_full": 200_000, "is50k": 0, "fid50k": 50_000,
        "kid50k": 50_000, "pr50k3": 50_000,
    }  # fmt: skip


def test_few_pictures_for_many_features_are_a_warning():
    fid = Metric("fid", True, num_gen=2000)
    assert "2000 pictures for 2048 features" in fid.warning(2048, 70_000)
    assert fid.warning(64, 8000) is None and "64 pictures" in fid.warning(64, 64)
    assert Metric("kid", True, num_gen=10).warning(2048, 10) is None


def test_scores_give_each_number_its_error_and_direction():
    draws = torch.Generator().manual_seed(0)
    real, generated = (torch.randn(60, 8, generator=draws) for _ in range(2))
    for metric in parse_metrics(",".join(NAMES), 60, "inception", True):
        found = score(metric, real, generated, torch.randn(10, 8, generator=draws))
        assert found.results and all(key.startswith(metric.name) for key in found.results)
        assert found.results.keys() <= found.standard_errors.keys()
        assert all(value is not None for key, value in found.standard_errors.items() if not key.endswith("_std"))
        assert found.directions and found.directions.keys() <= found.results.keys()
        lower = metric.kind in ("fid", "kid")
        assert set(found.directions.values()) == {"lower is better" if lower else "higher is better"}


def test_a_collapsed_generator_scores_high_precision_and_low_recall_under_these_names():
    draws = torch.Generator().manual_seed(0)
    real, collapsed = torch.randn(300, 8, generator=draws), 0.1 * torch.randn(200, 8, generator=draws)
    (metric,) = parse_metrics("pr50k3_full", 200, "inception", True)
    found = score(metric, real, collapsed, None)
    assert found.results["pr200_3_full_precision"] > 0.95 and found.results["pr200_3_full_recall"] < 0.05
    assert found.standard_errors["pr200_3_full_precision"] == pytest.approx(
        (found.results["pr200_3_full_precision"] * (1 - found.results["pr200_3_full_precision"]) / 200) ** 0.5
    )


def test_the_error_of_a_frechet_distance_is_over_generated_samples():
    draws = torch.Generator().manual_seed(0)
    real, generated = torch.randn(400, 8, generator=draws), 2 * torch.randn(100, 8, generator=draws)
    (metric,) = parse_metrics("fid50k_full", 100, "inception", False)
    (found,) = score(metric, real, generated, None).standard_errors.values()
    assert found == frechet_standard_error(FeatureStatistics.of(real), generated)


# ---------------------------------------------------------------- detectors


def test_a_row_in_the_table_is_another_detector(monkeypatch, tmp_path):
    def load(path, device):
        return Detector("three", torch.nn.Flatten(), 3, path.read_text(), device)

    (tmp_path / "w.pth").write_text("its hash")
    monkeypatch.setitem(DETECTOR_TABLE, "three", DetectorKind(load, "the file of three"))
    assert names("fid50k_full,kid50k,pr50k3_full", 2000, "three") == ["fd_three", "kd_three_first2k", "pr_three"]
    metrics = parse_metrics("fid50k_full", 2000, "three", False)
    detectors = load_detectors(metrics, tmp_path / "w.pth", None, "cpu")
    assert detectors["three"].facts() == {"name": "three", "sha256": "its hash"} and takes_weights("three")
    with pytest.raises(ValueError, match="--inception-weights is missing: give the file of three"):
        load_detectors(metrics, None, None, "cpu")
    with pytest.raises(ValueError, match="the three network has none"):
        parse_metrics("is50k", 2000, "three", False)


def test_the_detectors_that_an_option_offers_are_those_of_the_table():
    assert DETECTORS == ("inception", "embedded") and list(DETECTOR_TABLE) == [*DETECTORS, "vgg"]
    assert [takes_weights(name) for name in DETECTOR_TABLE] == [True, False, False]
