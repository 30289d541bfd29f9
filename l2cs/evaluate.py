"""Measures a gaze network on Gaze360, MPIIFaceGaze or any set in the GazeHub layout."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import click
import torch

from groundwork.command import (
    Command,
    device_option,
    json_option,
    pick_device,
    skip_unmatched_option,
    tell,
    write_json,
)
from groundwork.places import GAZE_NETWORK, OUTPUT_FILE
from l2cs.drawing import check_plot, plot_evaluation
from l2cs.estimator import GazeEstimator
from l2cs.gaze_labels import GAZE360_TEST_DEG, read_labels, read_people, without_person
from l2cs.gaze_sets import FaceImages
from l2cs.measuring import measure
from l2cs.set_options import gaze360_options, mpii_options


@click.command(cls=Command)
@click.option("--snapshot", type=GAZE_NETWORK, required=True, help="Weights: a file, embedded, or embedded-judge.")
@gaze360_options("test.label", "Label file.")
@mpii_options
@click.option("--fold", type=click.IntRange(min=0), default=0, show_default=True, help="mpiigaze: whom to measure on.")
@skip_unmatched_option
@click.option("--batch_size", type=click.IntRange(min=1), default=100, show_default=True,
              help="Images per step.")  # fmt: skip
@click.option("--plot", type=OUTPUT_FILE, help="Write a picture (.png) of estimates against truth.")
@json_option
@device_option
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Accepted for uniformity; nothing is drawn.")
def main(snapshot, dataset, gaze360image_dir, gaze360label_dir, mpii_images, mpii_labels, fold, batch_size, plot, **o):
    """Mean angular error (the usual "MAE"), and the mean error of yaw and pitch, in degrees."""
    check_plot(plot, "--plot")
    if dataset == "gaze360":
        faces = read_labels(gaze360label_dir, gaze360image_dir, GAZE360_TEST_DEG, o["skip_unmatched"])
        tell(faces.notes)
    else:
        people = read_people(mpii_labels, mpii_images, o["skip_unmatched"])
        tell(people[0].notes)
        _, faces = without_person(people, fold)
    estimator = GazeEstimator.load(snapshot, pick_device(o["device"]))
    result = measure(estimator, FaceImages(faces.paths, estimator.input_size), faces.angles, batch_size)
    if plot is not None:
        plot_evaluation(plot, faces.angles, result["estimated"], result["error"])
    numbers = {name: value for name, value in result.items() if not isinstance(value, torch.Tensor)}
    numbers |= {"weights": str(snapshot), "sha256": estimator.sha256, "architecture": estimator.architecture.name}
    click.echo("\n".join(f"{name}: {value}" for name, value in numbers.items()))
    write_json(o["json_path"], numbers)


if __name__ == "__main__":
    main()
