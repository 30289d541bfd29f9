"""Pivotal tuning: the photo is drawn better, what is near stays, and the generator is left alone."""

import pytest
import torch
from tiny_networks import tiny_eye_field, tiny_generator

from eg3d.gaze.term import gaze_error
from eg3d.geometry.head_gaze import gaze_direction
from eg3d.pictures.views import camera_labels, ws_of_seeds
from eg3d.training.inversion import pivotal_tuning
from eg3d.training.inversion.latent_search import Spread
from eg3d.training.inversion.photos_to_invert import Photos, draw, drawn
from eg3d.training.inversion.picture_distance import PictureDistance, load_distance
from eg3d.training.inversion.pivotal_tuning import TuningConfig, tuned
from groundwork.draws import KeyedDraws
from l2cs.estimator import GazeAngles


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


def moved(before, after) -> set[str]:
    """Names of weights that differ."""
    old = before.state_dict()
    return {name for name, value in after.state_dict().items() if not torch.equal(value, old[name])}


def test_the_photo_is_drawn_better_and_the_generator_itself_is_left_alone(distance, spread):
    G, before = tiny_generator(), tiny_generator().state_dict()
    photo, ws = stranger(G), ws_of_seeds(G, [1])
    mine = tuned(G, ws, photo, distance, TuningConfig(steps=10, learning_rate=6e-3), spread)
    assert distance(draw(mine, ws, photo.labels), photo.images) < 0.6 * distance(
        draw(G, ws, photo.labels), photo.images
    )
    assert all(torch.equal(value, before[name]) for name, value in G.state_dict().items())
    changed = moved(G, mine)
    assert "decoder.net.0.weight" in changed and not [name for name in changed if ".mapping." in name]
    assert not any(p.requires_grad for p in mine.parameters())


def test_the_learning_rate_rises_from_nothing_and_falls_to_nothing(distance, spread):
    config, G = TuningConfig(steps=300, learning_rate=1.0, rising=1 / 3, falling=1 / 2), tiny_generator()
    rates = [config.rate(step) for step in range(300)]
    assert rates[0] == 0.0 and rates[50] == pytest.approx(0.5) and set(rates[100:150]) == {1.0}
    assert rates[225] == pytest.approx(0.5) and rates[299] < 1e-3
    mine = tuned(G, ws_of_seeds(G, [1]), stranger(G), distance, TuningConfig(steps=1), spread)
    assert not moved(G, mine)


def test_the_local_term_keeps_what_is_near(distance, spread):
    G = tiny_generator()
    photo, ws = stranger(G), ws_of_seeds(G, [1])
    others, changes = camera_labels([-0.3, 0.3], [0.0, 0.1], G.orbit), {}
    near = ws + 0.5 * (ws_of_seeds(G, [2]) - ws)
    for local in (0.0, 3.0):
        config = TuningConfig(steps=5, learning_rate=6e-3, local=local)
        mine = tuned(G, ws, photo, distance, config, spread)
        changes[local] = distance(draw(mine, near, others), draw(G, near, others)).mean()
    assert changes[3.0] < 0.7 * changes[0.0]


def test_the_surface_round_the_eyes_stays(spread):
    field, pixels = tiny_eye_field(tiny_generator()), PictureDistance(lambda _: [], "none", "")
    photo, ws = stranger(field, torch.zeros(1, 2)), ws_of_seeds(field, [1])
    cameras, moves = camera_labels([-0.3, 0.3], [0.0, 0.1], field.orbit), {}
    for depth in (0.0, 1e4):
        mine = tuned(field, ws, photo, pixels, TuningConfig(steps=20, depth=depth), spread)
        before, after = (drawn(network, ws, cameras, photo.gaze)["image_depth"] for network in (field, mine))
        moves[depth] = (after - before).abs().mean()
    assert 0 < moves[1e4] < 0.4 * moves[0.0]


def test_the_surface_elsewhere_may_move(monkeypatch):
    field, found = tiny_eye_field(tiny_generator()), {}
    ws, config = ws_of_seeds(field, [1]), TuningConfig()
    middle = torch.zeros(1, 1, 8, 8)
    middle[..., 2:6, 2:6] = 0.1  # rays that pass the eyes
    for name, change in (("nowhere", 0.0), ("middle", middle), ("sides", 0.1 - middle)):

        def changed(*args, change=change):
            seen = drawn(*args)
            return seen | {"image_depth": seen["image_depth"] + change}

        monkeypatch.setattr(pivotal_tuning, "drawn", changed)
        draws = KeyedDraws([1], "cpu")
        eyes = pivotal_tuning._kept_eyes(field, ws)
        found[name] = float(pivotal_tuning._of_eyes(field, field, ws, eyes, None, config, draws))
    assert found["nowhere"] == 0.0
    assert found["middle"] > 3 * found["sides"]


def test_the_eyes_of_an_eye_field_stay_as_they_have_learnt_to_be(distance, spread):
    field = tiny_eye_field(tiny_generator())
    photo, ws = stranger(field, torch.zeros(1, 2)), ws_of_seeds(field, [1])
    names = moved(field, tuned(field, ws, photo, distance, TuningConfig(steps=2), spread))
    assert {name.split(".")[0] for name in names} == {"base"} and not [name for name in names if "mapping" in name]


def test_eyes_that_are_set_obey_better_with_the_network_that_reads_them(distance, spread):
    def reader(images):  # a network that looks at colours
        return GazeAngles(*images.mean(dim=(2, 3))[:, :2].T)

    field = tiny_eye_field(tiny_generator())
    photo, ws = stranger(field, torch.zeros(1, 2)), ws_of_seeds(field, [1])
    cameras, gaze = camera_labels([-0.3, 0.0, 0.3], [0.1, 0.0, -0.1], field.orbit), torch.full((3, 2), 0.2)
    errors = {}
    for obey in (0.0, 1e3):
        config = TuningConfig(steps=4, learning_rate=6e-3, obey=obey)
        mine = tuned(field, ws, photo, distance, config, spread, reader=reader)
        with torch.no_grad():
            pictures = draw(mine, ws.expand(3, -1, -1), cameras, gaze)
        errors[obey] = gaze_error(pictures, cameras, reader, wanted=gaze_direction(gaze)).mean()
        assert {name.split(".")[0] for name in moved(field, mine)} == {"base"}
    assert errors[1e3] < 0.7 * errors[0.0]
