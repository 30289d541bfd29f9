"""The shipped gaze networks, on rendered heads of people they never saw (split "test")."""

import math

import numpy as np
import pytest
import torch

from eg3d.gaze.term import gaze_target
from eg3d.world.cartoon.cartoon_head import render_head
from eg3d.world.cartoon.heads import Identity
from eg3d.world.rendered_sets import camera_label, gaze_samples
from l2cs.augmented_crops import gaussian_blur
from l2cs.estimator import (
    GazeAngles,
    GazeEstimator,
    angular_error,
    measured_facts,
    mirror_faces,
    mirror_self_test,
)
from l2cs.gaze_sets import to_float

GENERATOR_BLUR_PX = 0.8  # the generator's pictures are about as soft as renders with this blur


@pytest.fixture(scope="module", params=["embedded", "embedded-judge"])
def shipped(request) -> GazeEstimator:
    return GazeEstimator.load(request.param)


def as_images(rendered: np.ndarray) -> torch.Tensor:
    return to_float(torch.from_numpy(rendered).permute(0, 3, 1, 2))


@pytest.fixture(scope="module")
def heads():
    images, angles, _ = gaze_samples("test", 64, seed=1)
    return as_images(images), torch.from_numpy(angles)


@pytest.fixture(scope="module")
def turning_heads():
    """12 people from 5 sides each: looking into the camera, looking along the face, and their labels."""
    to_camera, along_face, labels = [], [], []
    for person in range(12):
        identity = Identity.draw("test", 7_000_000 + person)
        for yaw in np.linspace(-0.4, 0.4, 5):
            label = camera_label(yaw, 0.0)
            eyes = identity.eye_centres.mean(axis=0)
            to_camera.append(render_head(identity, label, label[[3, 7, 11]] - eyes).rgb)
            along_face.append(render_head(identity, label, (0, 0, 1)).rgb)
            labels.append(label)
    blur = torch.full((len(labels),), GENERATOR_BLUR_PX)
    views = [gaussian_blur(as_images(np.stack(images)), blur) for images in (to_camera, along_face)]
    return *views, torch.from_numpy(np.stack(labels))


def slope(x: torch.Tensor, y: torch.Tensor) -> float:
    return float(((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum())


def test_shipped_networks_read_the_gaze_of_unseen_people(shipped, heads):
    images, truth = heads
    found = shipped(images)
    assert angular_error(found, GazeAngles(*truth.T)).mean().rad2deg() <= 6
    for name, true, estimated in zip(("yaw", "pitch"), truth.T, found, strict=True):
        clear = true.abs() > math.radians(10)
        assert clear.sum() > 40, name
        assert (true[clear] * estimated[clear] > 0).all(), name


def test_shipped_networks_read_eyes_and_not_head_pose(shipped, turning_heads):
    to_camera, along_face, labels = turning_heads
    target = gaze_target(labels).yaw
    assert abs(slope(target, shipped(to_camera).yaw)) <= 0.15
    assert slope(target, shipped(along_face).yaw) >= 0.85


def test_shipped_networks_are_mirror_symmetric(shipped):
    report = mirror_self_test(shipped, mirror_faces())
    assert report.yaw_correlation < -0.95 and report.pitch_correlation > 0.95


def test_the_judge_is_another_network_than_the_loss():
    loss, judge = GazeEstimator.load("embedded"), GazeEstimator.load("embedded-judge")
    assert loss.architecture.widths != judge.architecture.widths and loss.sha256 != judge.sha256
    assert "gaze-loss" in loss.facts["command"] and "gaze-judge" in judge.facts["command"]


def test_a_gradient_of_the_shipped_networks_moves_the_eyes_where_it_should(shipped, turning_heads):
    # One step against the gradient of (yaw - more)^2 raises the estimate: no dead or reversed path through the network.
    images = turning_heads[1][:4].clone().requires_grad_(True)
    before = shipped(images).yaw
    (gradient,) = torch.autograd.grad(before.sum(), images)
    after = shipped(images + 0.02 * gradient / gradient.abs().amax(dim=(1, 2, 3), keepdim=True)).yaw
    assert (after > before).all()


@pytest.mark.parametrize("name", ["embedded", "embedded-judge"])
def test_what_a_network_reads_without_eyes_is_known_beside_its_weights(name):
    assert 0 <= GazeEstimator.load(name, check=False).facts["painted_eyes_slope"] < 0.5


def test_measurements_belong_to_one_file_only(tmp_path):
    (tmp_path / "measured.json").write_text('{"gaze_networks": {"a": {"sha256": "1", "painted_eyes_slope": 0.2}}}')
    (tmp_path / "people_measured.json").write_text(
        '{"gaze_networks": {"b": {"sha256": "3", "painted_eyes_slope": 0.1}}}'
    )
    assert [measured_facts(tmp_path, digest).get("painted_eyes_slope") for digest in "132"] == [0.2, 0.1, None]
    assert measured_facts(tmp_path / "none", "1") == {}
