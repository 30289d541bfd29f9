"""Pivotal tuning: the photo is drawn better, what is near stays, and the generator is left alone."""

from dataclasses import replace

import pytest
import torch
from tiny_networks import tiny_eye_field, tiny_generator

from eg3d.gaze.jitter import Jitter
from eg3d.gaze.term import gaze_error, gaze_target
from eg3d.geometry.head_gaze import gaze_direction
from eg3d.pictures.views import camera_labels, conditioning_label, ws_of_seeds
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
    field, pixels = tiny_eye_field(tiny_generator()), PictureDistance(lambda _: [], "")
    photo, ws = stranger(field, torch.zeros(1, 2)), ws_of_seeds(field, [1])
    cameras, moves = camera_labels([-0.3, 0.3], [0.0, 0.1], field.orbit), {}
    for depth in (0.0, 1e4):
        mine = tuned(field, ws, photo, pixels, TuningConfig(steps=20, depth=depth), spread)
        before, after = (drawn(network, ws, cameras, photo.gaze)["image_depth"] for network in (field, mine))
        moves[depth] = (after - before).abs().mean()
    assert 0 < moves[1e4] < 0.4 * moves[0.0]


def heard(monkeypatch, name: str, change=lambda seen: seen) -> list[tuple]:
    """The arguments of all calls of a function of the module, which gives `change` of what it gave."""
    calls, real = [], getattr(pivotal_tuning, name)
    monkeypatch.setattr(pivotal_tuning, name, lambda *args: (calls.append(args), change(real(*args)))[1])
    return calls


def eye_terms(field, mine, config, reader=None) -> float:
    """With draws by which the eyes look aside."""
    ws = ws_of_seeds(field, [1])
    return float(
        pivotal_tuning._eye_terms(
            field, mine, ws, pivotal_tuning._kept_eyes(field, ws), reader, config, KeyedDraws([0], "cpu")
        )
    )


def test_the_squared_change_of_the_surface_counts_near_the_eyes_alone(monkeypatch):
    field, found = tiny_eye_field(tiny_generator()), {}
    middle = torch.zeros(1, 1, 8, 8)
    middle[..., 2:6, 2:6] = 0.1  # rays that pass the eyes
    for name, change in (("nowhere", 0.0), ("middle", middle), ("sides", 0.1 - middle), ("twice", 2 * middle)):
        with monkeypatch.context() as patch:
            heard(patch, "drawn", lambda seen, change=change: seen | {"image_depth": seen["image_depth"] + change})
            found[name] = eye_terms(field, field, TuningConfig())
    assert found["nowhere"] < 1e-8  # rounding: the eyes look aside in both
    assert found["middle"] > 3 * found["sides"]
    assert found["twice"] == pytest.approx(4 * found["middle"], rel=1e-3)


def test_the_surface_is_compared_with_that_of_the_generator_itself(monkeypatch):
    base = tiny_generator()
    field, other = tiny_eye_field(base), tiny_eye_field(tiny_generator(seed=3))
    same = {}
    for mine in (field, other):  # drawn here by `field`, so what is left of `mine` would be in the reference
        with monkeypatch.context() as patch:
            patch.setattr(pivotal_tuning, "drawn", lambda _, *args: drawn(field, *args))
            same[mine] = eye_terms(field, mine, TuningConfig())
    assert same[field] == same[other]
    assert eye_terms(field, other, TuningConfig()) > 100 * same[field]


def test_eyes_shall_be_read_as_they_were_set(monkeypatch):
    field, config = tiny_eye_field(tiny_generator()), TuningConfig(depth=0.0)
    calls = heard(monkeypatch, "drawn")

    def reader(images):  # right in pitch, 0.1 rad wrong in yaw
        network, _, camera, gaze = calls[-1]
        assert network is field and gaze.abs().min() > 0.1
        right = gaze_target(camera, gaze_direction(gaze))
        return GazeAngles(right.yaw + 0.1, right.pitch)

    assert 0 < eye_terms(field, field, config, reader) == pytest.approx(config.obey * 0.1**2 / 2, rel=1e-4)


def test_the_gaze_network_looks_at_disturbed_pictures(monkeypatch):
    field, seen, pictures = tiny_eye_field(tiny_generator()), [], []
    heard(monkeypatch, "drawn", lambda drawn: pictures.append(drawn["image"]) or drawn)

    def reader(images):
        seen.append(images)
        return GazeAngles(*images.mean(dim=(2, 3))[:, :2].T)

    for config in (TuningConfig(), TuningConfig(jitter=Jitter(shift=0.0, blur=0.0, noise=0.0))):
        eye_terms(field, field, config, reader)
    assert torch.equal(*pictures) and torch.equal(seen[1], pictures[1])
    assert (seen[0] - pictures[0]).abs().mean() > 0.01


def test_what_shall_stay_is_a_step_from_the_pivot_toward_other_heads(distance, spread, monkeypatch):
    field = tiny_eye_field(tiny_generator())
    ws, calls = ws_of_seeds(field, [1]), heard(monkeypatch, "draw")
    assert pivotal_tuning._change(field, field, ws, distance, TuningConfig(near=2.0), spread, KeyedDraws([0])) < 1e-6
    (_, near, camera, gaze), after = calls
    assert all(torch.equal(one, other) for one, other in zip(calls[0][1:], after[1:], strict=True))
    assert torch.allclose((near - ws).norm(dim=2), torch.tensor(2 * spread.sigma), rtol=1e-4)
    draws = KeyedDraws([0])
    assert torch.equal(pivotal_tuning._camera(field, draws), camera)
    other = field.mapping(draws.normal((1, field.z_dim)), conditioning_label(field))
    assert torch.cosine_similarity(near - ws, other - ws, dim=2).min() > 0.999
    assert gaze.abs().max() > 0 and torch.equal(pivotal_tuning._gaze(draws), gaze)


def test_cameras_and_gazes_are_drawn_to_all_sides_and_a_fifth_looks_along_the_face(monkeypatch):
    G, draws, calls = tiny_generator(), [KeyedDraws([key]) for key in range(300)], heard(monkeypatch, "camera_labels")
    gazes = torch.cat([pivotal_tuning._gaze(d) for d in draws])
    along_face = (gazes == 0).all(dim=1)
    assert along_face.float().mean() == pytest.approx(0.2, abs=0.06)
    for d in draws:
        pivotal_tuning._camera(G, d)
    cameras = torch.tensor([call[:2] for call in calls])
    for values, most in ((gazes, (0.6, 0.3)), (cameras, (0.4, 0.2))):
        low, high = (values / torch.tensor(most)).aminmax(dim=0)
        assert (-1 <= low).all() and (low < -0.9).all() and (0.9 < high).all() and (high <= 1).all()


def test_every_step_asks_for_its_rate_and_draws_the_gaze_of_the_photo(distance, spread, monkeypatch):
    field, asked = tiny_eye_field(tiny_generator()), []
    photo, calls = stranger(field, torch.tensor([[0.5, 0.2]])), heard(monkeypatch, "draw")
    monkeypatch.setattr(TuningConfig, "rate", lambda _, step: asked.append(step) or 0.0)
    mine = tuned(field, ws_of_seeds(field, [1]), photo, distance, TuningConfig(steps=3, local=0.0), spread)
    assert asked == [0, 1, 2] and not moved(field, mine)
    assert len(calls) == 3 and all(gaze is photo.gaze for *_, gaze in calls)


def test_every_photo_and_every_seed_has_draws_of_its_own(distance, spread):
    G = tiny_generator()
    photo, ws = stranger(G), ws_of_seeds(G, [1])
    first, again, seed, name = (
        tuned(G, ws, replace(photo, keys=[key]), distance, TuningConfig(steps=3), spread, seed)
        for key, seed in ((1, 0), (1, 0), (1, 5), (2, 0))
    )
    assert not moved(first, again) and moved(first, seed) and moved(first, name)


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
