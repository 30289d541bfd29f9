"""What the packaged face networks see in rendered heads of known camera and gaze."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import time
from typing import NamedTuple

import click
import numpy as np
import torch
from options import results_option
from PIL import Image
from timing import write_results
from tqdm import tqdm

from dataset_preprocessing.ffhq import pos
from dataset_preprocessing.ffhq.photos import Rules
from eg3d.faces.face_mesh import PRESENT
from eg3d.faces.mesh_pose import MeshPose
from eg3d.faces.mtcnn import Mtcnn
from eg3d.gaze.iris_network import LIMITS, IrisGaze
from eg3d.geometry.cameras import split_label
from eg3d.metrics.pose import angles_of_label, rotation_error
from eg3d.pictures.layout import to_uint8
from eg3d.running.cli import Command, json_option, write_json
from eg3d.world.rendered_sets import camera_label, head_angles_to_vector, vector_to_camera_angles
from eg3d.world.worlds import SPLITS, WORLDS, world_of

YAW_DEG, ELEVATION_DEG = 40, 20  # half-ranges of the cameras, uniform
GAZE_RAD = (0.5, 0.3)  # half-ranges of the eyes in the head, yaw and pitch
BATCH = 10


class Heads(NamedTuple):
    """pictures [N, 3, S, S] in [-1, 1], labels [N, 25], gaze [N, 2] in the camera's frame (yaw, pitch), rad."""

    pictures: torch.Tensor
    labels: torch.Tensor
    gaze: torch.Tensor


@click.command(cls=Command)
@click.option("--world", "name", type=click.Choice(list(WORLDS)), default="people", show_default=True)
@click.option("--heads", type=click.IntRange(min=10), default=200, show_default=True)
@click.option("--split", type=click.Choice(SPLITS), default="test", show_default=True, help="Whose identities to draw.")
@click.option("--first", type=click.IntRange(min=0), default=0, show_default=True, help="Number of the first head.")
@click.option("--size", type=click.IntRange(96, 1024), default=512, show_default=True, help="Pixels per side.")
@json_option
@results_option
def main(name, heads, split, first, size, json_path, results):
    """Share of faces found, error of the cameras by FaceMesh, and of the gaze by irises."""
    torch.set_num_threads(1)
    networks, end = (MeshPose(), IrisGaze(), Mtcnn()), first + heads
    parts = [
        read(*networks, drawn(name, split, range(i, min(i + BATCH, end)), size))
        for i in tqdm(range(first, end, BATCH), "heads")
    ]
    columns = {key: torch.cat([part[key] for part in parts]) for key in parts[0]}
    numbers = {"world": name, "split": split, "first": first, "heads": heads, "size": size}
    numbers |= detector_numbers(columns) | pose_numbers(columns) | gaze_numbers(columns)
    for key, value in numbers.items():
        click.echo(f"{key:28} {value:.4g}" if isinstance(value, float) else f"{key:28} {value}")
    click.echo(f"gaze by irises: {LIMITS}")
    write_json(json_path, numbers)
    click.echo(f"written to {write_results(results, f'faces-{name}-{split}-{first}', torch.device('cpu'), numbers)}")


def drawn(name: str, split: str, numbers: range, size: int) -> Heads:
    """Heads of a world's split; each from a camera and with a gaze of its own, drawn by its number."""
    world, rows = world_of(name), []
    for number in numbers:
        rng = np.random.default_rng([7, number])
        yaw, elevation = np.deg2rad(rng.uniform(-1, 1, 2) * (YAW_DEG, ELEVATION_DEG))
        label = camera_label(yaw, -np.pi / 2 * np.sin(elevation))
        gaze = head_angles_to_vector(*(rng.uniform(-1, 1, 2) * GAZE_RAD))
        picture = world.render(world.draw(split, number), label, gaze, size).rgb
        rotation = label[:16].reshape(4, 4)[:3, :3].astype(np.float64)
        rows.append((picture, label, np.array(vector_to_camera_angles(gaze @ rotation))))
    pictures, labels, gazes = (torch.from_numpy(np.stack(column)) for column in zip(*rows, strict=True))
    return Heads(pictures.permute(0, 3, 1, 2).float() / 127.5 - 1, labels, gazes)


@torch.no_grad()
def read(pose: MeshPose, gaze: IrisGaze, detector: Mtcnn, heads: Heads) -> dict[str, torch.Tensor]:
    """What each sees in some heads, beside the truth, and the seconds on one thread of the first two."""
    start = time.process_time()
    found = pose.read(heads.pictures)
    middle = time.process_time()
    eyes = torch.stack(gaze(heads.pictures), dim=1).double()
    end = time.process_time()
    faces = [detector(Image.fromarray(picture)) for picture in to_uint8(heads.pictures)]
    side = heads.pictures.shape[2]
    in_crops = side * pos.EG3D_RESCALE / pos.EG3D_CROP  # px per decimetre
    sizes = [pos.place(face.points[0] - 0.5, side).scale / in_crops for face in faces if len(face.scores)]
    return {
        "label": found.labels, "true_label": heads.labels, "presence": found.presence,
        "mirror": found.disagreement_deg, "gaze": eyes, "true_gaze": heads.gaze,
        "score": torch.tensor([max(face.scores, default=0.0) for face in faces]),
        "enlarged": torch.tensor(sizes, dtype=torch.float64),
        "seconds": torch.tensor([[middle - start, end - middle]]),
    }  # fmt: skip


def detector_numbers(columns: dict[str, torch.Tensor]) -> dict[str, float]:
    """Found by MTCNN, and as sure as photos need; how much larger faces are than in the crops that it would place."""
    return {
        "mtcnn_found": (columns["score"] > 0).double().mean().item(),
        "mtcnn_sure": (columns["score"] >= Rules().min_confidence).double().mean().item(),
        "larger_than_in_crops": columns["enlarged"].mean().item(),
    }


def pose_numbers(columns: dict[str, torch.Tensor]) -> dict[str, float]:
    """Found, and of those that are found errors in degrees."""
    found = columns["presence"] >= PRESENT
    labels, truth = columns["label"][found], columns["true_label"][found]
    error = rotation_error(*(split_label(part)[0][:, :3, :3] for part in (labels, truth))).rad2deg()
    angles, true = (angles_of_label(part).rad2deg() for part in (labels, truth))
    off, names = angles - true, ("pitch", "yaw", "roll")
    return {
        "found": found.double().mean().item(),
        "camera_error_mean_deg": error.mean().item(),
        "camera_error_median_deg": error.median().item(),
        "mirror_median_deg": columns["mirror"][found].median().item(),
        **{f"{name}_rms_deg": off[:, i].square().mean().sqrt().item() for i, name in enumerate(names)},
        **{f"{name}_bias_deg": off[:, i].mean().item() for i, name in enumerate(names)},
        **{f"{names[i]}_slope": slope(true[:, i], angles[:, i]) for i in (0, 1)},
        "pose_ms": 1000 * columns["seconds"][:, 0].sum().item() / len(found),
    }


def gaze_numbers(columns: dict[str, torch.Tensor]) -> dict[str, float]:
    """Correlation and slope of the gaze's two angles at given head pose: what the pose tells is taken from both."""
    found = columns["gaze"].isfinite().all(dim=1)
    estimated, true = columns["gaze"][found], columns["true_gaze"][found].double()
    pose = angles_of_label(columns["true_label"][found])[:, :2]
    known = torch.cat([pose, torch.ones(len(pose), 1, dtype=torch.float64)], dim=1)
    estimated, true = (part - known @ torch.linalg.lstsq(known, part).solution for part in (estimated, true))
    numbers = {"gaze_found": found.double().mean().item()}
    for i, name in enumerate(("yaw", "pitch")):
        e, t = estimated[:, i], true[:, i]
        numbers[f"iris_{name}_correlation"] = ((e @ t) / (e.norm() * t.norm())).item()
        numbers[f"iris_{name}_slope"] = ((e @ t) / (t @ t)).item()
    return numbers | {"gaze_ms": 1000 * columns["seconds"][:, 1].sum().item() / len(found)}


def slope(x: torch.Tensor, y: torch.Tensor) -> float:
    """Of the line that fits best."""
    dx = x - x.mean()
    return ((dx @ y) / (dx @ dx)).item()


if __name__ == "__main__":
    main()
