"""`GazeTerm`: what a training loop asks of the gaze term, whatever generator it has."""

import dataclasses
from types import SimpleNamespace

import pytest
import torch
from tiny_networks import tiny_estimator, tiny_generator

from eg3d.gaze.term import CROPS, KINDS, GazeLossConfig, GazeTerm, angle_error, estimate_gaze, gaze_target, kinds_help
from eg3d.geometry.cameras import FFHQ_FOCAL, intrinsics_matrix, lookat_pose, make_label
from eg3d.models.protocol import Generator
from groundwork.draws import Midpoints
from l2cs.estimator import GazeAngles, GazeEstimator
from l2cs.model import L2CS, Architecture

CAMERAS = make_label(lookat_pose([0.3, -0.2], [-0.2, 0.1]), intrinsics_matrix(FFHQ_FOCAL))


class Reader:
    """A gaze network by hand: yaw and pitch are the mean colours of red and green. Keeps what it was shown."""

    sha256, facts, differentiable = "5" * 64, {}, True

    def __call__(self, images):
        self.seen = images
        return GazeAngles(*images.mean(dim=(2, 3))[:, :2].unbind(dim=1))


def term(network=None, **settings) -> GazeTerm:
    still = dict(jitter_shift=0.0, jitter_blur=0.0, jitter_noise=0.0)
    return GazeTerm(GazeLossConfig(**dict(weight=2.0, l2cs_path="by hand", **still) | settings), network or Reader())


@pytest.mark.parametrize("kind", KINDS)
def test_the_term_is_the_weighted_error_of_what_the_network_reads(kind):
    images = torch.rand(2, 3, 16, 16)
    error = angle_error(Reader()(images), gaze_target(CAMERAS), kind)
    torch.testing.assert_close(term(kind=kind)(images, CAMERAS), 2 * error)
    assert error.min() > 0.01  # or nothing is shown


def test_the_weight_of_the_term_rises_over_the_warm_up():
    images, warm = torch.rand(2, 3, 16, 16), term(warmup_kimg=1.0)
    full = warm(images, CAMERAS)
    for seen, part in ((0, 0), (250, 0.25), (1000, 1), (5000, 1)):
        torch.testing.assert_close(warm(images, CAMERAS, seen), part * full)


def test_gradients_of_the_term_reach_every_image():
    images = torch.rand(2, 3, 16, 16, requires_grad=True)
    term()(images, CAMERAS).sum().backward()
    assert (images.grad[:, :2].abs().amax(dim=(1, 2, 3)) > 0).all()


def test_the_network_sees_the_crop_that_is_asked_for():
    for crop, side in (("none", 64), ("face", 36)):
        cropped = term(crop=crop)
        cropped(torch.rand(2, 3, 64, 64), CAMERAS)
        assert cropped.network.seen.shape[-1] == side, crop
        told = term(weight=0.0, cond_d=True, crop=crop)
        told.discriminator_label(torch.rand(2, 3, 64, 64), CAMERAS)
        assert told.network.seen.shape[-1] == side, crop
    assert list(CROPS) == ["none", "face"]


def test_a_network_that_looks_at_the_eyes_of_whole_pictures_takes_no_crop():
    network = GazeEstimator(L2CS(Architecture.small(input_size=32, window="eyes")))
    images = torch.rand(2, 3, 64, 64)
    assert estimate_gaze(images, CAMERAS, network).yaw.shape == (2,)
    with pytest.raises(ValueError, match="crop face: this gaze network looks at the eyes of whole pictures"):
        estimate_gaze(images, CAMERAS, network, crop="face")


def test_the_loss_is_disturbed_and_what_the_discriminator_is_told_is_not():
    images, moved = torch.rand(2, 3, 16, 16), term(jitter_noise=0.2, cond_d=True)
    moved(images, CAMERAS)
    assert not torch.equal(moved.network.seen, images)
    label = moved.discriminator_label(images, CAMERAS)
    assert torch.equal(moved.network.seen, images) and torch.equal(label[:, :25], CAMERAS)
    torch.testing.assert_close(label[:, 25:], torch.stack(Reader()(images), dim=1))


def test_a_term_that_is_off_adds_nothing_and_needs_no_network():
    off = GazeTerm(GazeLossConfig(weight=0.0))
    assert torch.equal(off(torch.rand(2, 3, 8, 8), CAMERAS), torch.zeros(2))
    assert off.discriminator_label(torch.rand(2, 3, 8, 8), CAMERAS) is CAMERAS and off.digest is None


def test_facts_name_the_network_only_if_training_depends_on_it():
    for settings, digest in ((dict(), "5" * 64), (dict(weight=0.0, cond_d=True), "5" * 64), (dict(weight=0.0), None)):
        given = term(**settings)
        assert given.facts() == dataclasses.asdict(given.config) | {"network_sha256": digest}


def test_the_help_of_the_distances_names_each_and_where_it_is_from():
    text = kinds_help()
    assert "mse: mean of the two squared differences, rad^2 (published code); euclid: root" in text
    assert "paper, Eq. 1" in text and all(f"{name}: " in text for name in KINDS)


# ---------------------------------------------------------------- the mask asks for more


def test_without_the_mask_a_generator_is_never_asked_for_anything():
    images = torch.rand(2, 3, 16, 16)
    assert term().picture({"image": images}, CAMERAS, G=None, ws=None, draws=None) is images


def test_the_mask_says_in_one_line_what_a_generator_lacks():
    masked, drawn = term(mask=True), {"image": torch.rand(2, 3, 16, 16)}
    with pytest.raises(
        ValueError, match=r"--gaze-mask: this SimpleNamespace lacks `kept_depth`, an `image_depth`"
    ) as error:
        plain = SimpleNamespace(orbit=SimpleNamespace(radius=2.7), forget_planes=lambda: None)
        masked.picture(drawn, CAMERAS, plain, ws=None, draws=None)
    assert "\n" not in str(error.value)


def test_the_mask_takes_what_the_tri_plane_generator_has():
    G, masked = tiny_generator(), term(mask=True)
    ws = G.mapping(torch.randn(2, G.z_dim), CAMERAS)
    drawn = G.synthesis(ws, CAMERAS, draws=Midpoints(), cache_backbone=True)
    with torch.no_grad():
        torch.testing.assert_close(masked.picture(drawn, CAMERAS, G, ws, Midpoints()), drawn["image"])
    assert G._cached is None


# ---------------------------------------------------------------- the protocols


def test_the_networks_of_this_repository_have_what_the_protocols_name():
    G, network = tiny_generator(), tiny_estimator()
    names = set(Generator.__annotations__) | {name for name in vars(Generator) if not name.startswith("_")}
    assert {"z_dim", "orbit", "resolution", "mapping", "synthesis", "parameters"} <= names
    for name in names:
        assert hasattr(G, name), name
    assert G.orbit.pivot == (0, 0, 0.2) and G.orbit.radius == 2.7 and G.resolution == 32
    assert isinstance(network, GazeEstimator) and network.differentiable and network.sha256 and network.facts == {}
