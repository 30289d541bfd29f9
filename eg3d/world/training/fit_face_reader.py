"""Training of the embedded pose and landmark network (`metrics.face_reader`) on rendered people of known pose."""

from pathlib import Path

import torch
import torch.nn.functional as F

from eg3d.geometry.cameras import mirror_label
from eg3d.metrics.face_reader import FaceReader, FaceReading, mirrored_points
from eg3d.metrics.iresnet import Architecture
from eg3d.metrics.pose import angles_of_label, rotation_error, rotation_of_angles
from eg3d.world.training.fitting import FitConfig, fit
from eg3d.world.views_of_persons import People
from l2cs.augmented_crops import Augmentation, augment

ARCHITECTURE = Architecture((1, 1, 1, 1), (16, 32, 64, 128), input_size=64, embedding=128, stem_stride=2)
CONFIG = FitConfig(name="face-reader", epochs=12)
POINT_SCALE, ANGLE_SCALE = 0.02, 0.05  # of the side, and rad: where the loss turns from squared to linear
AUGMENTATION = Augmentation(mirror=False, shift_px=0, zoom=0)  # a move would change what the camera's angles mean


def train(people: People, folder: Path, architecture: Architecture = ARCHITECTURE) -> FaceReader:
    """The network, trained (or continued) in `folder`."""
    images = torch.from_numpy(people.images).permute(0, 3, 1, 2)
    points, labels = torch.from_numpy(people.points), torch.from_numpy(people.labels)
    other_points = mirrored_points(points)
    angles, other_angles = angles_of_label(labels).float(), angles_of_label(mirror_label(labels)).float()
    with torch.random.fork_rng():
        torch.manual_seed(CONFIG.seed)
        reader = FaceReader(architecture).to(memory_format=torch.channels_last)

    def loss_of(chosen: torch.Tensor, draws: torch.Generator) -> torch.Tensor:
        flip = torch.rand(len(chosen), generator=draws) < 0.5
        batch = images[chosen].float() / 127.5 - 1
        batch = torch.where(flip[:, None, None, None], batch.flip(3), batch)
        batch, _ = augment(batch, torch.zeros(len(batch), 2), AUGMENTATION, draws)
        reading = reader(batch.to(memory_format=torch.channels_last))
        true_points = torch.where(flip[:, None, None], other_points[chosen], points[chosen])
        true_angles = torch.where(flip[:, None], other_angles[chosen], angles[chosen])
        in_points = F.smooth_l1_loss(reading.points / POINT_SCALE, true_points / POINT_SCALE)
        return in_points + F.smooth_l1_loss(reading.angles / ANGLE_SCALE, true_angles / ANGLE_SCALE)

    fit(reader, loss_of, len(images), CONFIG, folder)
    return reader


@torch.no_grad()
def errors(reader: FaceReader, people: People) -> dict[str, float]:
    """Errors on rendered people: rotation in degrees, points as a share of the picture's side."""
    images = torch.from_numpy(people.images).permute(0, 3, 1, 2).float() / 127.5 - 1
    reading = FaceReading(*(torch.cat(parts) for parts in zip(*map(reader, images.split(256)), strict=True)))
    true_angles = angles_of_label(torch.from_numpy(people.labels))
    off = rotation_error(rotation_of_angles(reading.angles), rotation_of_angles(true_angles)).rad2deg()
    pitch, yaw, roll = (reading.angles.double() - true_angles).square().mean(dim=0).sqrt().rad2deg().tolist()
    distance = (reading.points - torch.from_numpy(people.points)).norm(dim=-1)
    return {
        "rotation_error_deg": off.mean().item(),
        "pitch_rmse_deg": pitch,
        "yaw_rmse_deg": yaw,
        "roll_rmse_deg": roll,
        "point_error_share_of_side": distance.mean().item(),
    }
