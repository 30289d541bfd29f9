"""Measures a gaze network on Gaze360, MPIIFaceGaze, any set in the GazeHub layout, or HDF5 files of novel views."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

from pathlib import Path

import click
import torch

from groundwork.command import Command, device_option, json_option, skip_unmatched_option, tell, write_json
from groundwork.files import write_text
from groundwork.places import FOLDER, GAZE_SNAPSHOTS, OUTPUT_FILE, Output
from l2cs.drawing import check_plot, plot_evaluation, plot_snapshots
from l2cs.gaze_labels import GAZE360_TEST_DEG, read_labels, read_people, without_person
from l2cs.head_bins import bin_lines, errors_by_head, head_bins_option
from l2cs.measuring import log_lines, measure
from l2cs.set_options import (
    arch_option,
    device_of,
    gaze360_options,
    gpu_option,
    load_estimator,
    mpii_options,
    views_of,
    views_option,
)
from l2cs.view_sets import joined, without
from l2cs.weights import snapshots_in


@click.command(cls=Command)
@click.option("--snapshot", type=GAZE_SNAPSHOTS, required=True,
              help="Weights: a file, a folder of them, embedded, people, or a judge of theirs.")  # fmt: skip
@gaze360_options("test.label", "Label file.")
@mpii_options
@views_option
@click.option("--fold", type=click.IntRange(min=0),
              help="Whom to measure on.  [default: mpiigaze: 0; views: all]")  # fmt: skip
@head_bins_option
@skip_unmatched_option
@click.option("--batch_size", type=click.IntRange(min=1), default=100, show_default=True,
              help="Images per step.")  # fmt: skip
@click.option("--plot", type=OUTPUT_FILE, help="Write a picture (.png) of estimates against truth.")
@click.option("--evalpath", type=Output(FOLDER, ("gaze360.*", "views.*", "fold*/mpiigaze.*", "fold*/views.*")),
              help="Write the errors of all snapshots to DATASET.log and .png there.")  # fmt: skip
@json_option
@arch_option
@device_option
@gpu_option
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Accepted for uniformity; nothing is drawn.")
def main(snapshot, dataset, gaze360image_dir, gaze360label_dir, mpii_images, mpii_labels, views, fold, batch_size,
         plot, evalpath, arch, gpu, **o):  # fmt: skip
    """Mean angular error (the usual "MAE"), and the mean error of yaw and pitch, in degrees.

    Of a folder every snapshot is measured; of mpiigaze that is SNAPSHOT/fold0 where there is such a folder. Where the
    head pose is known (HDF5 files, label files with a column 2DHead) the error is also given for each bin of it.
    """
    check_plot(plot, "--plot")
    if dataset == "gaze360":
        faces = read_labels(gaze360label_dir, gaze360image_dir, GAZE360_TEST_DEG, o["skip_unmatched"])
        tell(faces.notes)
    elif dataset == "mpiigaze":
        people, fold = read_people(mpii_labels, mpii_images, o["skip_unmatched"]), fold or 0
        tell(people[0].notes)
        _, faces = without_person(people, fold)
    else:
        persons = views_of(views)
        faces = joined(list(persons.values())) if fold is None else without(persons, fold)[1]
    part = "." if dataset == "gaze360" or fold is None else f"fold{fold}"
    snapshots = snapshots_in(snapshot, part) if Path(snapshot).is_dir() else [snapshot]
    if plot is not None and len(snapshots) > 1:
        raise ValueError(f"--plot={plot}: shows one network, {snapshot} holds {len(snapshots)}; give --evalpath")
    device, results = device_of(o["device"], gpu), {}
    for weights in snapshots:
        estimator = load_estimator(weights, arch, device)
        result = measure(estimator, faces.images(estimator.input_size), faces.angles, batch_size)
        numbers = {name: value for name, value in result.items() if not isinstance(value, torch.Tensor)}
        numbers |= {"weights": str(weights), "sha256": estimator.sha256, "architecture": estimator.architecture.name}
        results[Path(weights).name] = numbers
        click.echo("\n".join(f"{name}: {value}" for name, value in numbers.items()))
        if faces.heads is not None:
            numbers["by_head"] = errors_by_head(result["error"], faces.heads, o["head_bins"])
            click.echo("\n".join(bin_lines(numbers["by_head"], len(faces))))
    if plot is not None:
        plot_evaluation(plot, faces.angles, result["estimated"], result["error"], numbers.get("by_head"))
    if evalpath is not None:
        write_text(evalpath / part / f"{dataset}.log", log_lines(results))
        plot_snapshots(evalpath / part / f"{dataset}.png", results)
    write_json(o["json_path"], results if len(snapshots) > 1 else numbers)


if __name__ == "__main__":
    main()
