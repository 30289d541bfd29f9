"""Measures a gaze network on Gaze360, MPIIFaceGaze or any set in the GazeHub layout."""

import json
from pathlib import Path

import click
import torch

from groundwork.command import Command, check_writable, device_option, pick_device
from groundwork.files import atomic_write
from l2cs.drawing import check_plot, plot_evaluation
from l2cs.estimator import GazeEstimator
from l2cs.gaze_sets import GAZE360_TEST_DEG, FaceImages, read_labels, read_mpii
from l2cs.measuring import measure

FILE = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command(cls=Command)
@click.option("--snapshot", required=True, help="Weights: a file, embedded, or embedded-judge.")
@click.option("--dataset", type=click.Choice(["gaze360", "mpiigaze"]), default="gaze360", show_default=True,
              help="Layout of the labels.")  # fmt: skip
@click.option("--gaze360image_dir", type=FOLDER, default="datasets/Gaze360/Image", show_default=True,
              help="gaze360: folder of the face images.")  # fmt: skip
@click.option(
    "--gaze360label_dir", type=FILE, default="datasets/Gaze360/Label/test.label", show_default=True, help="Label file."
)
@click.option(
    "--gazeMpiimage_dir", "mpii_images", type=FOLDER, default="datasets/MPIIFaceGaze/Image", show_default=True,
              help="mpiigaze: folder of the face images.")  # fmt: skip
@click.option(
    "--gazeMpiilabel_dir", "mpii_labels", type=FOLDER, default="datasets/MPIIFaceGaze/Label", show_default=True,
              help="mpiigaze: folder with a label file per person.")  # fmt: skip
@click.option("--fold", type=click.IntRange(min=0), default=0, show_default=True, help="mpiigaze: whom to measure on.")
@click.option("--batch_size", type=click.IntRange(min=1), default=100, show_default=True,
              help="Images per step.")  # fmt: skip
@click.option("--plot", type=FILE, help="Write a picture (.png) of estimates against truth.")
@click.option("--json", "json_path", type=FILE, help="Also write the numbers to this file.")
@device_option
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Accepted for uniformity; nothing is drawn.")
def main(snapshot, dataset, gaze360image_dir, gaze360label_dir, mpii_images, mpii_labels, fold, batch_size, plot, **o):
    """Mean angular error (the usual "MAE"), and the mean error of yaw and pitch, in degrees."""
    check_plot(plot, "--plot")
    check_writable(o["json_path"], "--json")
    if dataset == "gaze360":
        faces = read_labels(gaze360label_dir, gaze360image_dir, GAZE360_TEST_DEG)
    else:
        faces = read_mpii(mpii_labels, mpii_images, fold, held_out=True)
    estimator = GazeEstimator.load(snapshot, pick_device(o["device"]))
    result = measure(estimator, FaceImages(faces.paths, estimator.input_size), faces.angles, batch_size)
    if plot is not None:
        plot_evaluation(plot, faces.angles, result["estimated"], result["error"])
    numbers = {name: value for name, value in result.items() if not isinstance(value, torch.Tensor)}
    numbers |= {"weights": str(snapshot), "sha256": estimator.sha256, "architecture": estimator.architecture.name}
    click.echo("\n".join(f"{name}: {value}" for name, value in numbers.items()))
    if o["json_path"] is not None:
        atomic_write(o["json_path"], (json.dumps(numbers, indent=2) + "\n").encode())


if __name__ == "__main__":
    main()
