"""Pictures and scores of a generator that has nothing but what eg3d/models/protocol.py names."""

import pytest
import torch
from tiny_networks import tiny_estimator

from eg3d.geometry.cameras import Orbit
from eg3d.metrics.gfas import gaze_face_alignment
from eg3d.pictures.shapes import ShapeOptions, write_shape
from eg3d.pictures.video import film, path_labels, plan_films, set_quality
from eg3d.pictures.views import PUBLISHED, random_labels, render_batch, render_samples, render_views


class Flat:
    """Draws the colour of the latent, and the height of the camera."""

    z_dim, resolution, orbit = 3, 8, Orbit(pivot=(0.0, 0.0, 0.0), radius=2.0)

    def __init__(self):
        self.scale = torch.nn.Parameter(torch.tensor(0.1))

    def parameters(self):
        return iter([self.scale])

    def mapping(self, z, c, truncation_psi=1.0, truncation_cutoff=None):
        return truncation_psi * z

    def synthesis(self, ws, c, *, draws=None, noise_mode="random"):
        colours = ws.repeat_interleave(len(c) // len(ws), dim=0) + c[:, 7:8]
        return {"image": (self.scale * colours)[:, :, None, None].expand(-1, -1, 8, 8)}


def test_views_samples_and_gaze_scores_need_nothing_beyond_the_protocol():
    G = Flat()
    batch = render_batch(G, [0, 1, 2])
    assert batch.images.shape == (9, 3, 8, 8) and batch.labels.shape == (9, 25)
    assert batch.labels[:, [3, 7, 11]].norm(dim=1).allclose(torch.tensor(2.0))  # the orbit's radius
    assert render_samples(G, batch.labels, [0, 1], seed=0).shape == (2, 3, 8, 8)
    assert random_labels(G, [0, 1], 2, "x").shape == (2, 2, 25)
    report = gaze_face_alignment(render_views(G, range(4)), tiny_estimator())
    assert report.seeds == 4 and report.gfas_mse_sum > 0


def test_a_film_needs_nothing_more_and_what_only_tri_planes_have_is_an_error_of_one_line(tmp_path):
    G = set_quality(Flat(), sample_mult=2)
    (plan,) = plan_films([0], (1, 1), None, True)
    labels = path_labels(None, 2, G, PUBLISHED.fov_deg)
    frames = list(film(G, plan, labels, PUBLISHED, side=16))
    assert [frame.shape for frame in frames] == [(16, 16, 3)] * 2
    with pytest.raises(ValueError, match="--image_mode=image_depth: a Flat draws none; use image$"):
        next(film(G, plan, labels, PUBLISHED, "image_depth"))
    with pytest.raises(ValueError, match="--nrr=8: a Flat has no rays; leave it out"):
        set_quality(G, rendering_resolution=8)
    with pytest.raises(ValueError, match="a Flat has no shape to write"):
        write_shape(tmp_path / "x", G, torch.zeros(1, 3), ShapeOptions(8, ".ply"))
