"""Pose accuracy: cameras that pictures were rendered from against cameras estimated from the pictures.

A head's rotation is written as Deep3DFaceRecon's angles: with R the camera's OpenCV cam2world rotation,
Q = (R diag(1, -1, -1))^T = Rz(roll) Ry(yaw) Rx(pitch). All zero is a frontal view.
"""

import math
from dataclasses import asdict, dataclass

import torch

from eg3d.geometry.cameras import split_label

FLIP = torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64))


def angles_of_label(labels: torch.Tensor) -> torch.Tensor:
    """Labels [N, 25] -> (pitch, yaw, roll) [N, 3] in radians, float64; yaw within +-pi/2."""
    q = (split_label(labels.double())[0][:, :3, :3] @ FLIP).mT
    pitch, roll = torch.atan2(q[:, 2, 1], q[:, 2, 2]), torch.atan2(q[:, 1, 0], q[:, 0, 0])
    return torch.stack([pitch, torch.asin((-q[:, 2, 0]).clamp(-1, 1)), roll], dim=1)


def rotation_of_angles(angles: torch.Tensor) -> torch.Tensor:
    """(pitch, yaw, roll) [N, 3] -> the camera's cam2world rotation [N, 3, 3], float64."""
    (cx, cy, cz), (sx, sy, sz) = angles.double().cos().unbind(1), angles.double().sin().unbind(1)
    q = [
        [cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx],
        [sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx],
        [-sy, cy * sx, cy * cx],
    ]
    return torch.stack([torch.stack(row, dim=1) for row in q], dim=1).mT @ FLIP


def rotation_error(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Angle [N] in radians of the rotation between two, [N, 3, 3]; exact for small angles too.

    |R - 1| = 2 sqrt(2) sin(angle / 2) in the Frobenius norm, whereas acos((trace - 1) / 2) loses half the digits.
    """
    return 2 * torch.asin(((a.double() - b.double()).flatten(1).norm(dim=1) / math.sqrt(8)).clamp(max=1))


@dataclass(frozen=True)
class PoseReport:
    """Lower is better throughout. Standard errors (`*_se`) are over pictures; None with one."""

    pose_mse: float  # mean over pictures and three angles of the squared difference, rad^2
    pose_mse_se: float | None
    pitch_rmse_deg: float
    yaw_rmse_deg: float
    roll_rmse_deg: float
    rotation_error_deg: float  # mean angle between the two rotations
    rotation_error_deg_se: float | None
    pose_legacy25: float  # the published number: mean squared difference of all 25 numbers, intrinsics and all
    pose_used: int
    pose_failed: int  # rendered, but without an estimate

    def to_dict(self) -> dict:
        return asdict(self)

    def lines(self) -> list[str]:
        """What a person wants to read, one number to a line."""
        mse = _with_error(self.pose_mse, self.pose_mse_se, ".6f")
        axes = f"{self.pitch_rmse_deg:.2f}, {self.yaw_rmse_deg:.2f}, {self.roll_rmse_deg:.2f}"
        rotation = _with_error(self.rotation_error_deg, self.rotation_error_deg_se, ".2f")
        return [
            f"pose_mse (three angles)     {mse} rad^2   (lower is better)",
            f"pitch, yaw, roll            {axes} degrees RMS",
            f"rotation error              {rotation} degrees",
            f"pose_legacy25               {self.pose_legacy25:.6f}   (published code: all 25 label numbers)",
            f"pictures                    {self.pose_used} used, {self.pose_failed} failed",
        ]


def _with_error(value: float, error: float | None, form: str) -> str:
    return f"{value:{form}}" + (f" +- {error:{form}}" if error is not None else "")


def pose_report(rendered: torch.Tensor, estimated: torch.Tensor, failed: int = 0) -> PoseReport:
    """Labels [N, 25] of the rendering cameras and estimated ones, row by row; N at least 1."""
    assert len(rendered) == len(estimated) >= 1
    rendered, estimated = rendered.double(), estimated.double()
    difference = angles_of_label(rendered) - angles_of_label(estimated)
    difference = torch.remainder(difference + math.pi, 2 * math.pi) - math.pi
    squared = difference.square()
    rotations = [split_label(labels)[0][:, :3, :3] for labels in (rendered, estimated)]
    geodesic = rotation_error(*rotations).rad2deg()
    pitch, yaw, roll = squared.mean(dim=0).sqrt().rad2deg().tolist()
    return PoseReport(
        pose_mse=squared.mean().item(),
        pose_mse_se=_standard_error(squared.mean(dim=1)),
        pitch_rmse_deg=pitch,
        yaw_rmse_deg=yaw,
        roll_rmse_deg=roll,
        rotation_error_deg=geodesic.mean().item(),
        rotation_error_deg_se=_standard_error(geodesic),
        pose_legacy25=(rendered - estimated).square().mean().item(),
        pose_used=len(rendered),
        pose_failed=failed,
    )


def _standard_error(values: torch.Tensor) -> float | None:
    return (values.std() / math.sqrt(len(values))).item() if len(values) > 1 else None
