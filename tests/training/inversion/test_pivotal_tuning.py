"""Pivotal tuning: the photo is drawn better, what is near stays, and the generator is left alone."""

import pytest
import torch
from tiny_networks import tiny_eye_field, tiny_generator

from eg3d.metrics.vgg import Vgg16
from eg3d.pictures.views import camera_labels, ws_of_seeds
from eg3d.training.inversion.latent_search import Spread
from eg3d.training.inversion.photos_to_invert import Photos, draw
from eg3d.training.inversion.picture_distance import load_distance
from eg3d.training.inversion.pivotal_tuning import TuningConfig, tuned


@pytest.fixture(scope="module")
def distance():
    return load_distance()


@pytest.fixture(scope="module")
def spread():
    return Spread.of(tiny_generator())


def stranger(G, gaze=None) -> Photos:
    """A photo that no latent of G draws: a head of other weights."""
    other, labels = tiny_generator(seed=3), camera_labels(0.2, 0.1, G.orbit)
    with torch.no_grad():
        return Photos(draw(other, ws_of_seeds(other, [1]), labels), labels, [1], gaze)


def test_the_photo_is_drawn_better_and_the_generator_itself_is_left_alone(distance, spread):
    G, before = tiny_generator(), tiny_generator().state_dict()
    photo, ws = stranger(G), ws_of_seeds(G, [1])
    mine = tuned(G, ws, photo, distance, TuningConfig(steps=10, learning_rate=6e-3), spread)
    assert distance(draw(mine, ws, photo.labels), photo.images) < 0.6 * distance(
        draw(G, ws, photo.labels), photo.images
    )
    assert all(torch.equal(value, before[name]) for name, value in G.state_dict().items())
    changed = {name for name, value in mine.state_dict().items() if not torch.equal(value, before[name])}
    assert "decoder.net.0.weight" in changed and not [name for name in changed if ".mapping." in name]
    assert not any(p.requires_grad for p in mine.parameters())


@pytest.mark.slow
def test_the_local_term_keeps_what_is_near(distance, spread):
    G = tiny_generator()
    photo, ws = stranger(G), ws_of_seeds(G, [1])
    others, moved = camera_labels([-0.3, 0.3], [0.0, 0.1], G.orbit), {}
    near = ws + 0.5 * (ws_of_seeds(G, [2]) - ws)
    for local in (0.0, 3.0):
        config = TuningConfig(steps=8, learning_rate=6e-3, local=local)
        mine = tuned(G, ws, photo, distance, config, spread)
        moved[local] = distance(draw(mine, near, others), draw(G, near, others)).mean()
    assert moved[3.0] < 0.7 * moved[0.0]


def test_the_eyes_of_an_eye_field_stay_as_they_have_learnt_to_be(distance, spread):
    field = tiny_eye_field(tiny_generator())
    photo, ws, before = stranger(field, torch.zeros(1, 2)), ws_of_seeds(field, [1]), field.state_dict()
    mine = tuned(field, ws, photo, distance, TuningConfig(steps=2), spread)
    moved = {name for name, value in mine.state_dict().items() if not torch.equal(value, before[name])}
    assert {name.split(".")[0] for name in moved} == {"base"} and not [name for name in moved if "mapping" in name]


def test_the_distance_is_zero_for_one_picture_and_grows(distance):
    torch.manual_seed(0)
    image, noise = torch.rand(2, 3, 32, 32) * 2 - 1, torch.randn(2, 3, 32, 32)
    assert distance(image, image).abs().max() < 1e-6
    near, far = (distance(image, image + size * noise) for size in (0.05, 0.3))
    assert near.shape == (2,) and (0 < near).all() and (2 * near < far).all()


def test_maps_of_vgg_are_the_five_that_lpips_compares():
    with torch.device("meta"):
        maps = Vgg16().maps(torch.empty(1, 3, 64, 64))
    assert [tuple(m.shape[1:]) for m in maps] == [(64, 64, 64), (128, 32, 32), (256, 16, 16), (512, 8, 8), (512, 4, 4)]
