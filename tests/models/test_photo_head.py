"""A generator of one head: any seed and truncation draw it, in whatever file it lies."""

import pytest
import torch
from click.testing import CliRunner
from tiny_networks import tiny_eye_field, tiny_generator

from eg3d.checkpoints.loading import CheckpointError, load_generator, save_snapshot
from eg3d.convert import main as convert
from eg3d.geometry.head_gaze import Aim
from eg3d.models.photo_head import PhotoEyeField, PhotoHead, head_of
from eg3d.pictures.views import ViewOptions, camera_labels, render_views, render_ws, ws_of_seeds

CAMERAS = [(0.3, 0.1)]


@pytest.fixture(scope="module")
def base():
    return tiny_generator()


@pytest.fixture(scope="module")
def ws(base):
    torch.manual_seed(5)
    return ws_of_seeds(base, [3])[0] + 0.3 * torch.randn(base.num_ws, base.w_dim)  # a row for each layer


def drawn(G, seeds, psi):
    return torch.cat([views.images for views in render_views(G, seeds, CAMERAS, ViewOptions(psi=psi))])


def test_every_seed_and_truncation_draws_the_stored_head_and_nothing_else(base, ws):
    expected = render_ws(base, ws[None], camera_labels(*CAMERAS[0], base.orbit))["image"][0]
    head = head_of(base, ws)
    for psi in (0.3, 1.0):
        for image in drawn(head, [0, 7], psi):
            assert torch.allclose(image, expected, atol=1e-5)
    assert (drawn(base, [0], 1.0)[0] - expected).abs().max() > 0.01


def test_a_file_of_it_is_loaded_as_any_other_and_a_file_without_its_latent_is_an_error(base, ws, tmp_path):
    file = tmp_path / "me.safetensors"
    save_snapshot(file, {"G_ema": head_of(base, ws)}, {}, half=True)
    G = load_generator(file)
    assert type(G) is PhotoHead and torch.allclose(drawn(G, [4], 0.7), drawn(head_of(base, ws), [4], 0.7), atol=0.02)
    lacking = head_of(base, ws)
    del lacking.backbone.mapping.ws
    save_snapshot(file, {"G_ema": lacking}, {})
    with pytest.raises(CheckpointError, match=r"backbone\.mapping\.ws is missing"):
        load_generator(file)


def test_the_gaze_of_a_photo_on_an_eye_field_can_be_set(base, ws, tmp_path):
    file, field = tmp_path / "me.safetensors", tiny_eye_field(base)
    save_snapshot(file, {"G_ema": head_of(field, ws)}, {})
    G = load_generator(file)
    assert type(G) is PhotoEyeField
    labels = camera_labels(*CAMERAS[0], G.orbit)
    for gaze in ([0.0, 0.0], [0.5, 0.2]):
        G.aim = Aim(*gaze)
        expected = render_ws(field, ws[None], labels, torch.tensor([gaze]))["image"]
        assert torch.allclose(drawn(G, [9], 0.2), expected, atol=1e-5)


def test_no_published_class_can_hold_it(base, ws, tmp_path):
    save_snapshot(tmp_path / "me.safetensors", {"G_ema": head_of(base, ws)}, {})
    result = CliRunner().invoke(convert, [f"--source={tmp_path}/me.safetensors", f"--dest={tmp_path}/me.pkl"])
    assert result.exit_code == 2 and "PhotoHead" in result.stderr and result.stderr.count("\n") == 1, result.output
    assert not (tmp_path / "me.pkl").exists()
