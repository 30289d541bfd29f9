"""Which head is yaw: the one whose sign turns when the picture is mirrored."""

import warnings

import pytest
import torch

from l2cs.estimator import GazeAngles, GazeEstimator, mirror_faces, mirror_self_test
from l2cs.weights import save_weights


def brightness_tilt(images: torch.Tensor) -> GazeAngles:
    """A hand-made symmetric "network": yaw from left minus right, pitch from top minus bottom."""
    half = images.shape[3] // 2
    yaw = images[..., :half].mean(dim=(1, 2, 3)) - images[..., half:].mean(dim=(1, 2, 3))
    return GazeAngles(yaw, images[:, :, :half].mean(dim=(1, 2, 3)) - images[:, :, half:].mean(dim=(1, 2, 3)))


def test_a_symmetric_network_passes_exactly():
    report = mirror_self_test(brightness_tilt, mirror_faces())
    assert report.passed
    assert report.yaw_correlation == pytest.approx(-1, abs=1e-4)
    assert report.pitch_correlation == pytest.approx(1, abs=1e-4)


def test_faces_of_one_world_are_enough_to_pass_for_a_network_made_for_it(tmp_path, tiny_network, monkeypatch):
    save_weights(tmp_path / "random.safetensors", tiny_network)
    monkeypatch.setattr(GazeEstimator, "forward", lambda self, images: brightness_tilt(images) if images.shape[3] == 128
                        else GazeAngles(*reversed(brightness_tilt(images))))  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        GazeEstimator.load(tmp_path / "random.safetensors")


def test_bundled_faces_of_each_world_look_elsewhere_and_are_told_apart():
    for world, side in (("cartoons", 64), ("people", 128)):
        faces = mirror_faces(world)
        assert faces.shape == (16, 3, side, side) and faces.amin() >= -1 and faces.amax() <= 1
        assert torch.pdist(faces.flatten(1)).min() > 10


def test_swapped_heads_fail():
    report = mirror_self_test(lambda images: GazeAngles(*reversed(brightness_tilt(images))), mirror_faces())
    assert not report.passed and report.yaw_correlation > 0.9 and report.pitch_correlation < -0.9


def test_a_network_that_ignores_the_image_fails():
    assert not mirror_self_test(lambda x: GazeAngles(torch.zeros(len(x)), torch.zeros(len(x))), mirror_faces()).passed


def test_fewer_than_16_faces_are_too_few():
    with pytest.raises(ValueError, match="at least 16"):
        mirror_self_test(brightness_tilt, mirror_faces()[:15])


def test_random_weights_warn_at_load_in_one_line(tmp_path, tiny_network):
    save_weights(tmp_path / "random.safetensors", tiny_network)
    with pytest.warns(UserWarning, match="random.safetensors: mirrored faces") as caught:
        GazeEstimator.load(tmp_path / "random.safetensors")
    assert "\n" not in str(caught[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        GazeEstimator.load(tmp_path / "random.safetensors", check=False)
