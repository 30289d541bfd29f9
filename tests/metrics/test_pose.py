import math

import pytest
import torch

from eg3d.geometry.cameras import FFHQ_FOCAL, fov_to_intrinsics, intrinsics_matrix, lookat_pose, make_label
from eg3d.metrics.pose import angles_of_label, pose_report, rotation_error, rotation_of_angles


def label_of(*angles, focal=FFHQ_FOCAL):
    pose = torch.eye(4, dtype=torch.float64)[None].clone()
    pose[:, :3, :3] = rotation_of_angles(torch.tensor([angles], dtype=torch.float64))
    pose[0, :3, 3] = torch.tensor([0.0, 0.006, 2.7])
    return make_label(pose, intrinsics_matrix(focal))


def test_frontal_camera_has_zero_angles():
    label = make_label(lookat_pose(0.0, 0.0), intrinsics_matrix(FFHQ_FOCAL))
    assert angles_of_label(label).abs().max() < 1e-6


def test_signs_are_deep3dfacerecons():
    # x > 0 puts the camera above, y > 0 toward -x; so a camera above and at +x has x > 0, y < 0
    (pitch, yaw, roll) = angles_of_label(make_label(lookat_pose(0.3, -0.2), intrinsics_matrix(FFHQ_FOCAL)))[0].tolist()
    assert pitch > 0.05 and yaw < -0.2 and abs(roll) < 0.1


def test_angles_to_rotation_and_back():
    angles = (torch.rand(200, 3, dtype=torch.float64) - 0.5) * torch.tensor([2.0, 2.8, 2.0])
    labels = torch.cat([label_of(*row) for row in angles.tolist()])
    assert (angles_of_label(labels) - angles).abs().max() < 1e-6
    turned = rotation_of_angles(angles)
    assert (turned @ turned.mT - torch.eye(3, dtype=torch.float64)).abs().max() < 1e-12
    assert (torch.linalg.det(turned) - 1).abs().max() < 1e-12


def test_single_axis_rotations_by_hand():
    flip = torch.diag(torch.tensor([1.0, -1, -1], dtype=torch.float64))
    c, s = math.cos(0.3), math.sin(0.3)
    about_x = torch.tensor([[1, 0, 0], [0, c, -s], [0, s, c]], dtype=torch.float64)
    about_z = torch.tensor([[c, -s, 0], [s, c, 0], [0, 0, 1]], dtype=torch.float64)
    assert torch.allclose(rotation_of_angles(torch.tensor([[0.3, 0, 0]]))[0], about_x.T @ flip, atol=1e-7)
    assert torch.allclose(rotation_of_angles(torch.tensor([[0, 0, 0.3]]))[0], about_z.T @ flip, atol=1e-7)


def test_the_same_labels_give_zero_everywhere():
    label = label_of(0.1, 0.2, 0.3)
    report = pose_report(label, label)
    assert report.pose_mse == report.rotation_error_deg == report.pose_legacy25 == 0


@pytest.mark.parametrize("axis, name", [(0, "pitch"), (1, "yaw"), (2, "roll")])
def test_five_degrees_about_an_axis_are_reported_as_five_degrees(axis, name):
    angles = [0.0, 0.0, 0.0]
    angles[axis] = math.radians(5)
    report = pose_report(label_of(0, 0, 0), label_of(*angles))
    assert getattr(report, f"{name}_rmse_deg") == pytest.approx(5, abs=1e-9)
    assert report.rotation_error_deg == pytest.approx(5, abs=1e-9)
    assert report.pose_mse == pytest.approx(math.radians(5) ** 2 / 3, rel=1e-9)


def test_angles_wrap_around():
    report = pose_report(label_of(0, 0, math.radians(179)), label_of(0, 0, math.radians(-179)))
    assert report.roll_rmse_deg == pytest.approx(2, abs=1e-6)


def test_legacy_number_has_the_published_constant_floor():
    # 18 degrees instead of 18.837 add 0.0032152 to labels whose poses agree
    pose = lookat_pose(0.2, 0.1)
    rendered, estimated = (make_label(pose, k) for k in (fov_to_intrinsics(18), intrinsics_matrix(FFHQ_FOCAL)))
    report = pose_report(rendered, estimated)
    assert report.pose_legacy25 == pytest.approx(0.0032152, abs=2e-6)
    assert report.pose_mse == 0


def test_means_and_standard_error_by_hand():
    rendered = torch.cat([label_of(0, 0, 0)] * 2)
    estimated = torch.cat([label_of(0, 0, 0.1), label_of(0, 0, 0.3)])
    report = pose_report(rendered, estimated, failed=3)
    assert report.pose_mse == pytest.approx((0.01 + 0.09) / 6)
    assert report.pose_mse_se == pytest.approx((0.09 - 0.01) / 3 / 2)
    assert (report.pose_used, report.pose_failed) == (2, 3)
    assert pose_report(rendered[:1], estimated[:1]).pose_mse_se is None


def test_roundings_beyond_one_give_angles_not_nan():
    profile = rotation_of_angles(torch.tensor([[0.0, math.pi / 2, 0.0]]))
    label = make_label(lookat_pose(torch.zeros(1), torch.zeros(1)), intrinsics_matrix(FFHQ_FOCAL)).double()
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, :3] = profile[0] * (1 + 1e-9)
    label[0, :16] = pose.flatten()
    assert angles_of_label(label)[0, 1].item() == pytest.approx(math.pi / 2)
    half_turn = torch.diag(torch.tensor([1.0, -1, -1], dtype=torch.float64))[None] * (1 + 1e-9)
    assert rotation_error(half_turn, torch.eye(3, dtype=torch.float64)[None]).item() == pytest.approx(math.pi)


def test_tiny_rotations_keep_their_digits():
    a, b = (rotation_of_angles(torch.tensor([[0.2, x, 0.1]], dtype=torch.float64)) for x in (0.3, 0.3 + 1e-7))
    assert rotation_error(a, b).item() == pytest.approx(1e-7, rel=1e-4)
