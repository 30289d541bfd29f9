import math

import pytest
import torch

from l2cs.estimator import GazeAngles, GazeEstimator, angular_error, gaze_vector


def test_gradient_reaches_the_image_and_no_parameter(tiny_estimator):
    images = torch.rand(2, 3, 64, 64).mul(2).sub(1).requires_grad_(True)
    angles = tiny_estimator(images)
    (angles.yaw.square() + angles.pitch.square()).sum().backward()
    assert images.grad.isfinite().all() and images.grad.abs().max() > 0
    assert all(not p.requires_grad and p.grad is None for p in tiny_estimator.parameters())


def test_parameters_and_statistics_never_change_even_when_asked_to_train(tiny_estimator):
    before = {name: value.clone() for name, value in tiny_estimator.state_dict().items()}
    torch.nn.Sequential(tiny_estimator).train()
    assert not any(module.training for module in tiny_estimator.modules())
    tiny_estimator(torch.randn(4, 3, 32, 32))
    assert all(torch.equal(before[name], value) for name, value in tiny_estimator.state_dict().items())


def test_a_batch_of_one_gives_the_same_as_in_a_larger_batch(tiny_estimator):
    images = torch.rand(3, 3, 40, 40) * 2 - 1
    alone, together = tiny_estimator(images[:1]), tiny_estimator(images)
    assert alone.yaw.shape == alone.pitch.shape == (1,)
    assert torch.allclose(alone.yaw, together.yaw[:1], atol=1e-6)


def test_result_is_float32_under_autocast_and_for_half_images(tiny_estimator):
    images = torch.rand(2, 3, 32, 32).half().float() * 2 - 1
    exact = tiny_estimator(images)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = tiny_estimator(images)
    assert mixed.yaw.dtype == torch.float32 and torch.equal(mixed.yaw, exact.yaw)
    assert tiny_estimator(images.bfloat16()).pitch.dtype == torch.float32


def test_gaze_axes_are_image_left_and_up():
    yaw, pitch = torch.tensor([0.0, 0.3, 0.0]), torch.tensor([0.0, 0.0, 0.3])
    ahead, left, up = gaze_vector(GazeAngles(yaw, pitch))  # OpenCV: x right, y down, z away from the camera
    assert torch.equal(ahead, torch.tensor([-0.0, -0.0, -1.0]))
    assert left[0] < 0 and left[1] == 0 and up[1] < 0 and up[0] == 0


def test_angular_error_is_the_angle_and_has_a_gradient_everywhere():
    truth = GazeAngles(torch.zeros(4), torch.zeros(4))
    yaw = torch.tensor([0.0, 0.5, math.pi / 2, 3.0], requires_grad=True)
    error = angular_error(GazeAngles(yaw, torch.zeros(4)), truth)
    assert torch.allclose(error, yaw.detach(), atol=2e-6)
    error.sum().backward()
    assert yaw.grad.isfinite().all() and yaw.grad[1].item() == pytest.approx(1, abs=1e-5)


def test_missing_files_are_one_line_that_names_the_file(tmp_path):
    with pytest.raises(ValueError, match="nowhere.pkl: there is no such file"):
        GazeEstimator.load(tmp_path / "nowhere.pkl")
