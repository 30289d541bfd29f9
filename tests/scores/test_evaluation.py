"""What lies between a generator, a data set and the scores: bytes, cached features, seeds."""

import json
from types import SimpleNamespace

import pytest
import small_set
import torch
from safetensors import safe_open
from safetensors.torch import save

from eg3d.data.dataset import ImageDataset
from eg3d.metrics.detectors import Detector
from eg3d.metrics.registry import parse_metrics
from eg3d.pictures.views import render_samples
from eg3d.scores import distances as evaluation
from eg3d.scores.distances import Distances, content_digest, generated_features, real_features

COUNT = 12


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


class Left(torch.nn.Module):
    """Features [N, 2]: mean of the left half and mean of the right half of a picture."""

    def forward(self, images):
        left, right = images.float().chunk(2, dim=3)
        return torch.stack([left.mean(dim=(1, 2, 3)), right.mean(dim=(1, 2, 3))], dim=1)


def detector(sha256="1" * 64, network=None):
    return Detector("halves", network or Left(), 2, sha256)


class Still(torch.nn.Module):
    """A generator of one picture, which notes how it was asked for it."""

    z_dim = 4

    def __init__(self, values):
        super().__init__()
        self.values, self.asked = torch.nn.Parameter(torch.tensor(values)), []

    def mapping(self, z, c, **options):
        self.asked.append(SimpleNamespace(z=z, conditioning=c, **options))
        return z

    def synthesis(self, ws, c, **options):
        vars(self.asked[-1]).update(c=c, **options)
        return {"image": self.values.expand(len(ws), 3, 1, -1)}


def test_bytes_are_clamped_and_cut_off_as_published():
    G = Still([-2.0, -1.0, -0.995, 0.0, 0.5, 0.999, 1.0, 3.0])
    found = render_samples(G, torch.tensor(small_set.labels(3)), range(2), seed=0, truncation_psi=0.6)
    assert found.dtype == torch.uint8
    assert found[0, 0, 0].tolist() == [0, 0, 1, 128, 191, 255, 255, 255]  # x * 127.5 + 128, without its fraction
    assert G.asked[0].noise_mode == "random" and G.asked[0].truncation_psi == 0.6


def test_the_digest_of_a_data_set_knows_its_bytes_names_and_cameras(tmp_path):
    members = small_set.members(COUNT)
    rows = json.loads(members[-1][1])["labels"]
    exchanged = [(members[0][0], members[1][1]), (members[1][0], members[0][1]), *members[2:]]
    turned = json.dumps({"labels": [[rows[0][0], rows[1][1]], *rows[1:]]}).encode()
    other_names = [("00000/img00000000b.png", members[0][1]), *members[1:-1]]
    other_rows = json.dumps({"labels": [["00000/img00000000b.png", rows[0][1]], *rows[1:]]}).encode()
    sets = {
        "first": members,
        "order of writing": members[::-1],
        "pictures exchanged": exchanged,
        "a camera": [*members[:-1], ("dataset.json", turned)],
        "a name": [*other_names, ("dataset.json", other_rows)],
    }
    found = {k: content_digest(ImageDataset(small_set.write_folder(tmp_path / k, v))) for k, v in sets.items()}
    assert found["order of writing"] == found["first"]
    assert len(set(found.values())) == len(sets) - 1


def test_kept_features_are_those_of_this_detector_and_of_unmirrored_images(tmp_path):
    folder = small_set.write_folder(tmp_path / "set", small_set.members(COUNT))
    plain, mirrored = ImageDataset(folder), ImageDataset(folder, True)
    rows = real_features(plain, "d", detector(), COUNT, 5)
    again = real_features(mirrored, "d", detector(), 2 * COUNT, 5)
    assert torch.equal(again[:COUNT], rows) and torch.equal(again[COUNT:], rows.flip(1))  # not the kept ones
    assert torch.equal(real_features(mirrored, "d", detector(), 3, 5), rows[:3])
    other = real_features(plain, "d", detector("2" * 64, torch.nn.Sequential(Left(), torch.nn.Linear(2, 2))), COUNT, 5)
    assert not torch.allclose(other, rows)
    assert torch.equal(real_features(plain, "d", detector(), COUNT, 5), rows)


def test_kept_features_that_are_too_few_or_not_finite_are_computed_again(tmp_path):
    dataset = ImageDataset(small_set.write_folder(tmp_path / "set", small_set.members(COUNT)))
    assert len(real_features(dataset, "d", detector(), 5, 5)) == 5
    rows = real_features(dataset, "d", detector(), COUNT, 5)
    assert len(rows) == COUNT
    (path,) = (tmp_path / "cache").rglob("real-*.safetensors")
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    spoilt = rows.clone()
    spoilt[3] = torch.nan
    path.write_bytes(save({"rows": spoilt}, metadata))
    assert torch.equal(real_features(dataset, "d", detector(), COUNT, 5), rows)
    path.write_bytes(save({"rows": rows + 1}, metadata))
    assert torch.equal(real_features(dataset, "d", detector(), COUNT, 5), rows + 1)  # a whole one is believed


def test_features_that_are_not_finite_are_an_error_that_names_the_detector(tmp_path):
    broken = detector(network=torch.nn.Sequential(Left(), torch.nn.Threshold(1e9, torch.nan)))
    with pytest.raises(ValueError, match="halves gives features that are not finite"):
        generated_features(Still([0.0, 1.0]), torch.tensor(small_set.labels(3)), [broken], 4, 0, 1.0, 2)


def test_each_metric_sees_its_own_real_images_and_the_seed(tmp_path, monkeypatch):
    dataset = ImageDataset(small_set.write_folder(tmp_path / "set", small_set.members(COUNT)))
    seen = []
    monkeypatch.setattr(evaluation, "score", lambda *inputs: seen.append(inputs))
    metrics = parse_metrics("fid50k_full,kid50k,pr50k3_full", 5, "embedded", False)
    found = list(Distances(metrics, {"embedded": detector()}, dataset).measure(Still([0.0, 1.0]), 7, 1.0, 4))
    assert len(found) == 3 and [len(real) for _, real, *_ in seen] == [COUNT, 5, COUNT]
    assert torch.equal(seen[1][1], seen[0][1][:5])  # the first ones
    assert all(len(generated) == 5 and seed == 7 for _, _, generated, _, seed in seen)
