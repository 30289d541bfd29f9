"""Estimates for many images, and how wrong they are."""

import torch
from tqdm import tqdm

from l2cs.estimator import GazeAngles, GazeEstimator, angular_error
from l2cs.gaze_sets import FaceImages, to_float


@torch.no_grad()
def estimate(
    estimator: GazeEstimator, images: FaceImages, batch_size: int = 64, progress: bool = True, device=None
) -> torch.Tensor:
    """Yaw and pitch of every image [N, 2], radians, on the CPU. device: by default that of the network's parameters."""
    device = next(estimator.parameters()).device if device is None else device
    batches = tqdm(torch.arange(len(images)).split(batch_size), "estimating", disable=not progress, leave=False)
    return torch.cat([torch.stack(estimator(to_float(images[i].to(device))), dim=1).cpu() for i in batches])


def measure(estimator: GazeEstimator, images: FaceImages, angles: torch.Tensor, batch_size: int = 64) -> dict:
    """Errors against true angles [N, 2]: {"estimated": [N, 2] rad, "error": [N] rad} and the means in degrees.

    `mean_angular_error_deg` is the usual figure ("MAE"): the mean angle between true and estimated direction.
    """
    estimated = estimate(estimator, images, batch_size)
    error = angular_error(GazeAngles(*estimated.T), GazeAngles(*angles.T))
    per_angle = (estimated - angles).abs().mean(dim=0).rad2deg().tolist()
    return {
        "estimated": estimated,
        "error": error,
        "mean_angular_error_deg": float(error.mean().rad2deg()),
        "mean_yaw_error_deg": per_angle[0],
        "mean_pitch_error_deg": per_angle[1],
        "images": len(images),
    }


def log_lines(results: dict[str, dict]) -> str:
    """A line for each snapshot, as the published test script logs it: its name, the number of images, the MAE."""
    rows = (f"[{name}] Total Num:{of['images']},MAE:{of['mean_angular_error_deg']}" for name, of in results.items())
    return "\n".join(rows) + "\n"
