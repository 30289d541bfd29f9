import pytest
import torch

from eg3d.geometry.cameras import FFHQ_FOCAL, check_labels, intrinsics_matrix, lookat_pose, make_label


def labels(row: int, column: int, value: float) -> torch.Tensor:
    good = make_label(lookat_pose(torch.linspace(-0.4, 0.4, 5), 0.1), intrinsics_matrix(FFHQ_FOCAL))
    good[row, column] = value
    return good


@pytest.mark.parametrize(
    ("row", "column", "value", "message"),
    [
        (3, 0, float("nan"), "row 3 holds nan"),
        (1, 24, float("inf"), "row 1 holds inf"),
        (2, 0, 7.0, "row 2 is not a rotation"),
        (4, 12, 0.5, r"row 4 the last row of the pose .*is \(0.5, 0, 0, 1\); it must be \(0, 0, 0, 1\)"),
        (0, 15, 2.0, r"row 0 the last row of the pose"),
        (1, 24, 0.0, r"row 1 the last row of the intrinsics .*must be \(0, 0, 1\)"),
        (2, 16, -4.2, "focal lengths of row 2 are -4.2, 4.26"),
        (2, 20, 0.0, "focal lengths of row 2"),
    ],
)
def test_a_label_that_is_no_camera_is_named_by_file_and_row(row, column, value, message):
    with pytest.raises(ValueError, match=f"^faces.zip: .*{message}") as error:
        check_labels(labels(row, column, value), "faces.zip")
    assert "\n" not in str(error.value)


def test_cameras_as_files_round_them_pass():
    check_labels(labels(0, 15, 1.00001), "faces.zip")


def test_a_mirrored_pose_is_no_rotation():
    broken = labels(0, 15, 1.0)
    broken[1, [0, 4, 8]] *= -1
    with pytest.raises(ValueError, match="row 1 is not a rotation"):
        check_labels(broken, "faces.zip")
