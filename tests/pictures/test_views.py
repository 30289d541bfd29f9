import dataclasses

import numpy as np
import pytest
import torch
from tiny_networks import tiny_generator

from eg3d.geometry.cameras import FFHQ_FOV_DEG, split_label, yaw_pitch_of
from eg3d.pictures.views import (
    GFAS_CAMERAS,
    ViewOptions,
    camera_labels,
    conditioning_label,
    drawn_labels,
    latent_of_seed,
    random_labels,
    render_batch,
    render_samples,
    render_views,
    ws_of_seeds,
)
from groundwork.draws import Midpoints


@pytest.fixture(scope="module")
def G():
    return tiny_generator()


def all_of(views, name):
    return torch.cat([getattr(batch, name) for batch in views])


def test_views_do_not_depend_on_the_batch_size(G):
    one, three = (list(render_views(G, range(5), batch_size=n)) for n in (1, 3))
    assert [len(batch) for batch in three] == [9, 6]
    assert [s for b in one for s in b.seeds] == [s for b in three for s in b.seeds] == sorted(list(range(5)) * 3)
    assert torch.equal(all_of(one, "labels"), all_of(three, "labels"))
    for name in ("images", "labels"):
        assert torch.allclose(all_of(one, name), all_of(three, name), atol=1e-4), name


def test_views_are_the_same_every_time_whatever_the_global_generator_says(G):
    torch.manual_seed(1)
    first = all_of(render_views(G, [3]), "images")
    torch.manual_seed(2)
    assert torch.equal(first, all_of(render_views(G, [3]), "images"))


def test_every_view_is_the_generator_asked_directly_for_that_seed_and_camera(G):
    batch = next(iter(render_views(G, [0, 7], view=ViewOptions(psi=0.6))))
    for i in (1, 5):
        seed, camera = batch.seeds[i], GFAS_CAMERAS[batch.camera[i]]
        z = torch.from_numpy(np.random.RandomState(seed).randn(1, G.z_dim)).float()
        ws = G.mapping(z, camera_labels(0, 0, G.orbit), truncation_psi=0.6)
        label = camera_labels(*camera, G.orbit)
        image = G.synthesis(ws, label, draws=Midpoints(), noise_mode="const")["image"]
        assert torch.equal(batch.labels[i : i + 1], label)
        assert torch.allclose(batch.images[i : i + 1], image, atol=1e-4)
        assert not torch.allclose(batch.images[i - 1], image[0], atol=1e-2)


def test_planes_are_computed_once_per_seed(G, monkeypatch):
    latents = []
    whole = type(G.backbone.synthesis).forward

    def counting(self, ws, *args, **kwargs):
        latents.append(len(ws))
        return whole(self, ws, *args, **kwargs)

    monkeypatch.setattr(type(G.backbone.synthesis), "forward", counting)
    list(render_views(G, range(5), batch_size=2))
    assert latents == [2, 2, 1]


def test_by_seed_keeps_the_views_of_a_seed_together(G):
    batch = next(iter(render_views(G, [4, 9])))
    pairs = list(batch.by_seed())
    assert [seed for seed, _ in pairs] == [4, 9]
    assert torch.equal(torch.cat([images for _, images in pairs]), batch.images)


def test_gradients_stay_on_for_whoever_consumes_the_views(G):
    for batch in render_views(G, [0]):
        assert torch.is_grad_enabled()
        assert not batch.images.requires_grad


def test_truncation_cutoff_is_clamped_to_the_rows_there_are(G):
    full, beyond = (ws_of_seeds(G, [0], ViewOptions(0.5, cutoff)) for cutoff in (None, 14))
    assert G.num_ws < 14
    assert torch.equal(full, beyond)
    half = ws_of_seeds(G, [0], ViewOptions(0.5, 3))
    plain = ws_of_seeds(G, [0], ViewOptions(1.0, None))
    assert torch.equal(half[:, :3], full[:, :3])
    assert torch.equal(half[:, 3:], plain[:, 3:])
    assert not torch.allclose(full, plain)


def test_latent_of_a_seed_is_the_published_one():
    assert latent_of_seed(0, 512)[0, :2].tolist() == pytest.approx([1.764052, 0.400157], abs=1e-6)
    assert latent_of_seed(0, 512).dtype == torch.float32


def test_the_default_field_of_view_has_the_published_focal_length(G):
    assert split_label(conditioning_label(G))[1][0, 0, 0].item() == pytest.approx(4.26339, abs=1e-5)
    assert split_label(conditioning_label(G, 18.0))[1][0, 0, 0].item() == pytest.approx(4.46517, abs=1e-5)
    assert FFHQ_FOV_DEG == 18.837


def test_conditioning_camera_is_frontal_and_uses_the_generators_own_pivot_and_radius(G):
    azimuth, elevation = yaw_pitch_of(conditioning_label(G))
    assert abs(azimuth.item()) < 1e-6 and abs(elevation.item()) < 1e-6
    assert conditioning_label(G)[0, 11].item() == pytest.approx(2.7)
    G2 = moved(tiny_generator(), radius=1.7)
    assert conditioning_label(G2)[0, 11].item() == pytest.approx(1.7)


def moved(G, **orbit):
    G.config = dataclasses.replace(G.config, orbit=dataclasses.replace(G.orbit, **orbit))
    return G


@pytest.mark.parametrize("change", [dict(radius=2.0), dict(pivot=(0.0, 0.1, 0.2))])
def test_the_cameras_stand_where_the_configuration_says(change):
    """Position and viewing direction of every rendered view, worked out from the orbit."""
    G = moved(tiny_generator(), **change)
    pose = split_label(next(render_views(G, [0])).labels)[0]
    position, forward = pose[:, :3, 3], pose[:, :3, 2]
    torch.testing.assert_close(position.norm(dim=1), torch.full((3,), float(G.orbit.radius)))
    to_pivot = torch.tensor(G.orbit.pivot) - position
    torch.testing.assert_close(forward, to_pivot / to_pivot.norm(dim=1, keepdim=True))


def test_cameras_of_each_seeds_own_draw_what_shared_ones_do(G):
    shared = next(render_views(G, [5, 9], cameras=[(0.3, 0.1), (-0.2, 0.0)]))
    labels = shared.labels.unflatten(0, (2, 2))
    own = render_batch(G, [5, 9], labels.flip(1))  # each seed's cameras the other way round
    assert torch.allclose(own.images.unflatten(0, (2, 2)).flip(1), shared.images.unflatten(0, (2, 2)), atol=1e-5)
    assert own.seeds == [5, 5, 9, 9] and own.camera == [0, 1, 0, 1]


def test_random_cameras_depend_on_the_seed_alone_and_fill_their_range(G):
    many = random_labels(G, range(200), 2, "x")
    assert torch.equal(random_labels(G, [7], 2, "x")[0], many[7])
    assert not torch.equal(random_labels(G, [7], 2, "y")[0], many[7])
    assert not torch.equal(many[:, 0], many[:, 1])
    azimuth = yaw_pitch_of(many.flatten(0, 1))[0]
    assert azimuth.abs().max() <= 0.4 + 1e-5 and azimuth.std() == pytest.approx(0.8 / 12**0.5, rel=0.1)
    drawn = drawn_labels(many[:, 0], range(300), 2, "x")
    assert (
        torch.equal(drawn_labels(many[:, 0], [7], 2, "x")[0], drawn[7]) and len(drawn.flatten(0, 1).unique(dim=0)) > 150
    )


def test_samples_for_scores_depend_on_their_number_alone(G):
    labels = random_labels(G, range(20), 1, "x")[:, 0]
    many, one = (render_samples(G, labels, items, seed=3) for items in ([0, 1, 2], [1]))
    assert many.dtype == torch.uint8 and (many[1].int() - one[0].int()).abs().max() <= 1
    assert (render_samples(G, labels, [1], seed=4) != one).any() and (many[0] != many[1]).any()
