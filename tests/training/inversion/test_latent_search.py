"""The search: its schedules by hand, what it finds, and that photos do not disturb each other."""

import math
from dataclasses import replace

import pytest
import torch
from tiny_networks import tiny_eye_field, tiny_generator

from eg3d.geometry.cameras import yaw_pitch_of
from eg3d.pictures.views import camera_labels, ws_of_seeds
from eg3d.training.inversion import latent_search
from eg3d.training.inversion.latent_search import SearchConfig, Spread, find_latents
from eg3d.training.inversion.photos_to_invert import Photos, draw, moved
from eg3d.training.inversion.picture_distance import load_distance
from groundwork.draws import KeyedDraws


@pytest.fixture(scope="module")
def G():
    return tiny_generator()


@pytest.fixture(scope="module")
def distance():
    return load_distance()


def photos_of(G, seeds, **about) -> Photos:
    labels = camera_labels([0.2] * len(seeds), [0.1] * len(seeds), G.orbit)
    with torch.no_grad():
        return Photos(draw(G, ws_of_seeds(G, seeds), labels), labels, seeds, **about)


def test_the_schedules_are_those_of_the_papers_appendix():
    config = SearchConfig(learning_rate=0.1)
    assert config.rate(0.0) == 0 and config.rate(0.025) == pytest.approx(0.05)  # 25 of 1000 steps, half way up
    assert config.rate(0.05) == config.rate(0.75) == pytest.approx(0.1)
    assert config.rate(0.875) == pytest.approx(0.05)  # half a cosine down
    assert config.noise_at(0.0) == 0.05 and config.noise_at(0.375) == pytest.approx(0.05 / 4)
    assert config.noise_at(0.75) == config.noise_at(0.9) == 0


def test_a_run_begins_at_rest_and_its_noise_tells_photos_apart(G, distance):
    """The schedules are not only there: they are used."""
    spread, photo = Spread.of(G), photos_of(G, [5])
    begun = find_latents(G, photo, distance, SearchConfig(steps=1), spread).ws[0, 0]
    assert (torch.cat([spread.mean[None], spread.some]) == begun).all(dim=1).any()  # the rate is 0 at first
    other = Photos(photo.images, photo.labels, [6])
    for noise in (0.05, 0.0):
        config = SearchConfig(steps=2, noise=noise)
        first, second = (find_latents(G, photos, distance, config, spread).ws for photos in (photo, other))
        assert torch.equal(first, second) == (noise == 0)


def test_the_spread_is_that_of_w_round_its_mean(G):
    spread = Spread.of(G, some=4)
    w = ws_of_seeds(G, range(200))[:, 0]  # psi 0.7 pulls these toward the mean
    assert spread.some.shape == (4, G.w_dim) and not torch.equal(Spread.of(G, seed=1, some=4).some, spread.some)
    assert spread.sigma == pytest.approx((w - w.mean(0)).square().sum(1).mean().sqrt().item() / 0.7, rel=0.15)


@pytest.mark.parametrize("target", ["w", pytest.param("w+", marks=pytest.mark.slow)])
def test_what_is_found_looks_more_like_the_photo_than_any_start(G, distance, target):
    photos, spread = photos_of(G, [5]), Spread.of(G)
    found = find_latents(G, photos, distance, SearchConfig(target=target, steps=15), spread)
    candidates = torch.cat([spread.mean[None], spread.some])
    with torch.no_grad():
        starts = distance(draw(G, candidates[:, None].expand(-1, G.num_ws, -1), photos.labels.expand(17, -1)),
                          photos.images.expand(17, -1, -1, -1))  # fmt: skip
        after = distance(draw(G, found.ws, photos.labels), photos.images)
    assert after < 0.8 * starts.min()
    assert (found.ws == found.ws[:, :1]).all() == (target == "w")


def test_photos_do_not_disturb_each_other(G, distance):
    config, spread = SearchConfig(steps=4), Spread.of(G)
    both = photos_of(G, [1, 2])
    together = find_latents(G, both, distance, config, spread).ws
    alone = find_latents(G, both.one(1), distance, config, spread).ws
    assert torch.allclose(together[1:], alone, atol=1e-3) and (together[0] - alone[0]).abs().max() > 0.1


def test_noise_is_a_part_of_the_spread_of_w(G, distance, monkeypatch):
    drawn_of = []
    monkeypatch.setattr(latent_search, "draw", lambda G, ws, *about: drawn_of.append(ws) or draw(G, ws, *about))
    spread = Spread.of(G)
    start = find_latents(G, photos_of(G, [5]), distance, SearchConfig(steps=1, noise=0.1), spread).ws
    noise = KeyedDraws([5]).normal((1, 1, G.w_dim)) * spread.sigma * 0.1
    assert torch.allclose(drawn_of[-1] - start, noise, atol=1e-5)


def test_latent_gaze_and_camera_move_each_at_its_own_rate(distance, monkeypatch):
    """Adam's second step, after one at rest, is as long as the rate in every number that has a gradient."""
    motions = []
    monkeypatch.setattr(latent_search, "moved", lambda labels, by: motions.append(by) or moved(labels, by))
    field = tiny_eye_field(tiny_generator())
    photos = photos_of(field, [5], gaze=torch.tensor([[0.3, 0.1]]))
    steps = (SearchConfig(steps=n, noise=0.0, learning_rate=0.1, camera=True) for n in (1, 2))
    start, found = (find_latents(field, photos, distance, config, Spread.of(field)) for config in steps)
    assert torch.allclose((found.ws - start.ws).abs(), torch.tensor(0.1), rtol=0.02)
    assert torch.allclose((found.photos.gaze - photos.gaze).abs(), torch.tensor(0.01), rtol=0.02)
    assert torch.allclose(motions[-1].abs(), torch.tensor(0.002), rtol=0.02)
    assert torch.equal(found.photos.labels, moved(photos.labels, motions[-1]))


def test_the_hold_near_the_mean_is_in_units_of_the_spread(distance):
    field = tiny_eye_field(tiny_generator())
    spread, photos = Spread.of(field), photos_of(field, [5], gaze=torch.zeros(1, 2))
    far = replace(spread, mean=spread.mean + 1)
    wider, config = replace(far, sigma=2 * spread.sigma), SearchConfig(steps=4, noise=0.0, gaze=False)
    ws, same, other = (
        find_latents(field, photos, distance, replace(config, eye_prior=x), s).ws
        for s, x in ((far, 0.5), (wider, 2.0), (wider, 0.5))
    )
    assert torch.allclose(ws, same, atol=1e-4) and (ws - other).abs().max() > 1e-2


def test_several_views_of_a_head_count_alike_and_weigh_as_one(distance):
    field = tiny_eye_field(tiny_generator())
    spread, labels = Spread.of(field), camera_labels([0.2, 0.0, -0.2], [0.1, 0.0, 0.0], field.orbit)
    candidates = spread.some[[1, 2, 2]][:, None].expand(-1, field.num_ws, -1)
    with torch.no_grad():
        three = Photos(draw(field, candidates, labels, torch.zeros(3, 2)), labels, [5], torch.zeros(1, 2))
    assert torch.equal(latent_search._starts(field, three, distance, spread)[0], spread.some[2])
    one = photos_of(field, [5], gaze=torch.zeros(1, 2))
    twice = replace(one, images=one.images.repeat(2, 1, 1, 1), labels=one.labels.repeat(2, 1))
    config = SearchConfig(steps=4, eye_prior=1.0)
    ws, same = (find_latents(field, photos, distance, config, spread).ws for photos in (one, twice))
    assert torch.allclose(ws, same, atol=1e-3)


@pytest.mark.slow
def test_a_camera_that_may_move_comes_nearer_to_that_of_the_photo(G, distance, monkeypatch):
    monkeypatch.setattr(latent_search, "CAMERA_RATE", 1.0)  # so that the latent, of random weights, hardly moves
    photos = photos_of(G, [5])
    motion = torch.tensor([[0.0, 0.06, 0, 0, 0, 0]])
    wrong = Photos(photos.images, moved(photos.labels, motion), photos.keys)
    spread = Spread(ws_of_seeds(G, [5])[0, 0], 1e-6, torch.zeros(0, G.w_dim))  # the right head
    found = find_latents(G, wrong, distance, SearchConfig(steps=30, learning_rate=4e-3, camera=True), spread)
    off = [abs(yaw_pitch_of(p.labels)[0] - yaw_pitch_of(photos.labels)[0]).item() for p in (wrong, found.photos)]
    assert off[0] == pytest.approx(0.06, abs=1e-3) and off[1] < 0.6 * off[0]


def test_a_gaze_that_is_fixed_stays_and_one_that_is_sought_moves(distance):
    field = tiny_eye_field(tiny_generator())
    for free in (False, True):
        photos = photos_of(field, [5], gaze=torch.tensor([[0.3, 0.1]]))
        found = find_latents(field, photos, distance, SearchConfig(steps=3, gaze=free), Spread.of(field))
        assert bool((found.photos.gaze == photos.gaze).all()) != free


def test_only_heads_whose_gaze_can_be_set_are_held_near_the_mean(distance):
    base = tiny_generator()
    spread = Spread.of(base)
    far = replace(spread, mean=spread.mean + 5)  # of which w knows nothing but by this term
    for G, gaze in ((base, None), (tiny_eye_field(base), torch.zeros(1, 2))):
        photos, config = photos_of(base, [5], gaze=gaze), SearchConfig(steps=2, gaze=False)
        held, free = (find_latents(G, photos, distance, replace(config, eye_prior=x), far).ws for x in (1e6, 0.0))
        assert torch.equal(held, free) == (gaze is None)


def test_cameras_turn_round_the_origin_and_are_shifted():
    labels = camera_labels([0.2, -0.1], [0.0, 0.0], tiny_generator().orbit)
    assert torch.allclose(moved(labels, torch.zeros(2, 6)), labels)
    turned = moved(labels, torch.tensor([[0, 0.3, 0, 0, 0, 0], [0, 0, 0, 0.1, 0.2, 0.3]]))
    assert yaw_pitch_of(turned)[0][0] - yaw_pitch_of(labels)[0][0] == pytest.approx(0.3, abs=1e-5)
    assert torch.allclose((turned - labels)[1, [3, 7, 11]], torch.tensor([0.1, 0.2, 0.3]), atol=1e-6)
    assert math.isclose(torch.linalg.det(turned[0, :16].reshape(4, 4)[:3, :3]), 1, abs_tol=1e-5)
