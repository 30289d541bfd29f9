"""Distances of set gazes: gazes keyed by number, the right sets compared, and no set looked at twice."""

import numpy as np
import pytest
import small_set
import torch
from tiny_networks import tiny_eye_field, tiny_generator

from eg3d.data.dataset import ImageDataset
from eg3d.geometry.head_gaze import gaze_along
from eg3d.metrics.detectors import Detector
from eg3d.metrics.fid import frechet_distance
from eg3d.metrics.moments import FeatureStatistics
from eg3d.scores import aimed_distance as module
from eg3d.scores.aimed_distance import REACH, aimed_distance, drawn_gazes


class Colours(torch.nn.Module):
    """Mean colour of each picture."""

    def forward(self, images):
        return images.float().mean(dim=(2, 3))


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    folder = small_set.write_folder(tmp_path_factory.mktemp("data"), small_set.members(12, side=32))
    return tiny_eye_field(tiny_generator()), ImageDataset(folder), Detector("colours", Colours(), 3, "0")


def test_gazes_are_uniform_and_keyed_by_their_number():
    gazes = drawn_gazes("pictures", 0, range(400))
    assert (gazes.abs() <= torch.tensor(REACH)).all() and gazes.abs().amax(dim=0).min() > 0.19
    assert gazes.std(dim=0).numpy() == pytest.approx(np.array(REACH) / 3**0.5, rel=0.06)
    assert torch.equal(gazes[7:9], drawn_gazes("pictures", 0, [7, 8]))
    assert not torch.equal(gazes[:3], drawn_gazes("people", 0, range(3)))


@pytest.mark.parametrize("batch", [4, 12])
def test_set_gazes_are_compared_with_rendered_people_and_the_base_with_its_data(parts, monkeypatch, batch):
    field, dataset, detector = parts
    asked, told = [], []
    heads = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)

    def rendered(people, labels, directions, world, split):
        asked.append((list(people), world, split))
        told.append(gaze_along(torch.from_numpy(directions)))
        return heads[people.start : people.stop]

    monkeypatch.setattr(module, "aimed_heads", rendered)
    found = aimed_distance(field, dataset, "cartoons", detector, 12, 0, batch)
    assert sum((numbers for numbers, _, _ in asked), []) == list(range(12))
    assert {(world, split) for _, world, split in asked} == {("cartoons", "faces")}
    assert torch.allclose(torch.cat(told), drawn_gazes("people", 0, range(12)), atol=1e-5)
    every = FeatureStatistics.of(detector(dataset.batch(torch.arange(12))[0]))  # all 12, so the order does not matter
    people = FeatureStatistics.of(detector(torch.from_numpy(heads).permute(0, 3, 1, 2)))
    pictures = [
        FeatureStatistics.of(detector(module.render_samples(G, dataset.labels, range(12), 0, **gaze)))
        for G, gaze in ((field, {"gaze": drawn_gazes("pictures", 0, range(12))}), (field.base, {}))
    ]
    assert found.controlled == pytest.approx(frechet_distance(people, pictures[0]), rel=1e-6)
    assert found.base == pytest.approx(frechet_distance(every, pictures[1]), rel=1e-6)
    assert found.pictures == 12 and found.controlled_se > 0


def test_more_pictures_than_faces_are_refused(parts):
    field, dataset, detector = parts
    with pytest.raises(ValueError, match="--num-gen=13: the data set has 12 pictures"):
        aimed_distance(field, dataset, "cartoons", detector, 13, 0, 4)
