"""What a run makes of photos before it inverts them, and how it says how like them a head is."""

from pathlib import Path

import pytest
import torch
from tiny_networks import tiny_eye_field, tiny_generator

from eg3d.pictures.views import camera_labels
from eg3d.training.inversion.latent_search import SearchConfig
from eg3d.training.inversion.photo_run import Inversion, differing, psnr
from eg3d.training.inversion.picture_distance import PictureDistance
from l2cs.estimator import GazeAngles


def of(G, reader=None, seed=0):
    work = Inversion(G, SearchConfig(), None, PictureDistance(lambda _: [], ""), Path(), {}, {}, reader, seed)
    labels = camera_labels([0.0, 0.0], [0.0, 0.0], G.orbit)
    return work.photos(torch.zeros(2, 3, 32, 32), labels, ["a", "b"])


def test_decibels_are_those_of_pictures_from_0_to_1_as_a_file_has_them():
    grey = torch.zeros(1, 3, 4, 4)
    assert psnr(grey, grey + 0.2) == pytest.approx(20.0)  # 0.1 of the range from black to white
    assert psnr(grey + 1.5, grey + 1) == pytest.approx(100.0)  # white, and nothing is whiter; 100 is the most


def test_every_photo_has_a_key_by_its_name_and_the_seed():
    G = tiny_generator()
    first, second = (of(G, seed=seed).keys for seed in (0, 1))
    assert len({*first, *second}) == 4 and of(G).keys == first


def test_a_gaze_that_cannot_be_read_is_along_the_face():
    field = tiny_eye_field(tiny_generator())

    def reader(images):
        return GazeAngles(torch.tensor([0.3, torch.nan]), torch.tensor([0.1, torch.nan]))

    assert of(tiny_generator(), reader).gaze is None and of(field).gaze.tolist() == [[0, 0], [0, 0]]
    assert torch.allclose(of(field, reader).gaze, torch.tensor([[0.3, 0.1], [0.0, 0.0]]), atol=1e-6)


def test_settings_that_differ_are_named():
    before, now = {"a": 1, "b": {"c": 2, "d": 3}}, {"a": 1, "b": {"c": 4, "d": 3}}
    assert differing(now, now) == [] and differing(before, now) == ["b.c"]
    assert differing({**before, "b": None, "gone": 7}, now) == ["b", "gone"]
    assert differing({}, now) == ["a", "b"]
