"""The score of control: errors and slopes worked out by hand, and readings turned into the head frame."""

import numpy as np
import pytest
import torch

from eg3d.gaze.term import gaze_target
from eg3d.geometry.cameras import FFHQ_ORBIT, lookat_pose, make_label
from eg3d.geometry.head_gaze import gaze_along, gaze_direction
from eg3d.metrics.gaze_control import GAZE_GRID, control_report, read_in_head


class Reads:
    """A gaze network that always reads the same."""

    crop = "none"

    def __init__(self, angles):
        self.angles = angles

    def __call__(self, images):
        return self.angles


def labels():
    pose = lookat_pose([0.4, 0.0, -0.3], [-0.2, 0.0, 0.5], FFHQ_ORBIT.pivot, FFHQ_ORBIT.radius)
    return make_label(pose, torch.eye(3))


def test_a_reading_is_turned_into_the_head_frame():
    wanted = torch.tensor([[0.5, -0.2], [0.0, 0.0], [-0.3, 0.1]])
    seen = gaze_target(labels(), gaze_direction(wanted))
    assert (seen.yaw - wanted[:, 0]).abs().max() > 0.2  # the camera does see something else
    read = read_in_head(torch.zeros(3, 3, 8, 8), labels(), Reads(seen))
    assert torch.allclose(read, wanted, atol=1e-5)


def test_directions_and_angles_are_inverse_to_each_other():
    gaze = torch.tensor(GAZE_GRID)
    assert torch.allclose(gaze_along(3 * gaze_direction(gaze)), gaze, atol=1e-6)
    assert gaze_direction(torch.tensor([0.5, 0.2]))[0] < 0 < gaze_direction(torch.tensor([0.5, 0.2]))[1]


def test_errors_slopes_and_the_worst_cell_are_those_worked_out_by_hand():
    wanted = np.array([[-0.5, 0.0], [0.5, 0.0], [0.0, -0.2], [0.0, 0.2]] * 2)
    read = wanted * [0.5, 2.0] + [0.0, 0.0]
    report = control_report(wanted, read, np.repeat([7, 9], 4), np.array([0, 0, 0, 0, 1, 1, 1, 1]))
    assert report.slope_yaw == pytest.approx(0.5) and report.slope_pitch == pytest.approx(2.0)
    assert report.angular_error_deg == pytest.approx(np.degrees((0.25 + 0.25 + 0.2 + 0.2) / 4), rel=1e-6)
    assert report.worst_cell_deg == pytest.approx(np.degrees(0.25))
    assert abs(report.worst_cell["yaw"]) == 0.5 and report.pictures == 8
    assert report.angular_error_deg_se == pytest.approx(0.0, abs=1e-12)


def test_pictures_without_a_face_are_left_out_and_counted():
    wanted = np.array([[0.1, 0.0], [0.3, 0.1], [0.2, 0.2], [0.3, 0.3]])
    read = wanted + [[0, 0], [np.nan, 0], [0, 0], [0, 0]]
    report = control_report(wanted, read, np.array([0, 0, 1, 1]), np.zeros(4, int))
    assert report.failed == 1 and report.pictures == 3 and report.angular_error_deg < 1e-6
    with pytest.raises(ValueError, match="no face in any picture"):
        control_report(wanted, np.full((4, 2), np.nan), np.zeros(4), np.zeros(4))
