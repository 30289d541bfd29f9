"""Frechet and kernel distance, inception score, precision and recall of a generator against a data set."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import json

import click

from eg3d.checkpoints.loading import load_generator, network_facts
from eg3d.config.presets import ray_ranges
from eg3d.data.opening import open_dataset_for
from eg3d.geometry.doubts import camera_doubts
from eg3d.metrics.registry import (
    DETECTORS,
    INCEPTION,
    NAMES,
    PUBLISHED_COUNT,
    WEIGHTS_HELP,
    parse_metrics,
    takes_weights,
)
from eg3d.pictures.aims import aim_eyes, aim_facts
from eg3d.running import cli, distributed, processes
from eg3d.scores.distances import Distances, load_detectors
from eg3d.scores.origin import beside_in_run, run_of, trained_on
from eg3d.training.run_folder import METRIC, OPTIONS_FILE
from eg3d.training.stats import append_line
from groundwork.places import DATA_SET, FILE, GENERATOR, INPUT_FILE, NamedInput


@click.command(cls=cli.Command)
@cli.network_of(NamedInput(FILE, GENERATOR.names, beside_in_run))
@click.option("--metrics", default="fid50k_full", show_default=True, help=f"Comma list of {', '.join(NAMES)}; or none.")
@click.option(
    "--data",
    type=DATA_SET,
    help="Data set: zip or folder with dataset.json, embedded, or people.  [default: of the training]",
)
@click.option("--mirror", type=bool, default=False, show_default=True,
              help="Metrics without _full: also take the images mirrored, with mirrored cameras.")  # fmt: skip
@cli.skip_unmatched_option
@click.option("--num-gen", type=click.IntRange(min=1), default=PUBLISHED_COUNT, show_default=True,
              help="Generated images; another number gives the metric another name, as fid2k_full.")  # fmt: skip
@click.option("--detector", type=click.Choice(DETECTORS), default=INCEPTION, show_default=True,
              help="Whose features; those of embedded (for the embedded world) give fd_embedded, not FID.")  # fmt: skip
@click.option("--inception-weights", type=INPUT_FILE, help=f"Weights of the detector: {WEIGHTS_HELP}.")
@click.option("--vgg-weights", type=INPUT_FILE,
              help="torchvision's VGG16, for precision and recall.  [default: the detector's features]")  # fmt: skip
@click.option("--trunc", type=float, default=1.0, show_default=True,
              help="Truncation psi; 1, as published, turns it off.")  # fmt: skip
@cli.gaze_option
@cli.batch_option(16, "Images of a process at once.")
@click.option("--verbose", type=bool, default=True, show_default=True, help="Show progress and what is measured.")
@cli.seed_option
@cli.shared_compute_options
@cli.json_option
def main(**options):
    """Quality metrics of a generator: prints one JSON line per metric, and adds it to metric-NAME.jsonl where the
    network lies in the folder of a run.

    Cameras are those of the data set, one drawn for each image. Standard errors are over generated images, the data
    set taken as given.
    """
    processes.start(run, check, **options)


def check(metrics, mirror, num_gen, detector, inception_weights, vgg_weights, json_path, **_) -> None:
    if inception_weights and not takes_weights(detector):
        raise ValueError(f"--inception-weights: --detector={detector} has no use for them; leave one out")
    if json_path and json_path.name.startswith(METRIC) and (json_path.parent / OPTIONS_FILE).is_file():
        raise ValueError(f"--json={json_path}: the lines of a metric go into a file of such a name; give another name")
    wanted = parse_metrics(metrics, num_gen, detector, vgg_weights is not None)
    full = [metric.name for metric in wanted if metric.full]
    if mirror and full and len(full) < len(wanted):
        raise ValueError(f"--mirror=True: {full[0]} never mirrors, other metrics do; measure them in two calls")


def run(network, metrics, data, mirror, skip_unmatched, num_gen, detector, inception_weights, vgg_weights, trunc, batch,
        verbose, seed, precision, device, json_path, gaze):  # fmt: skip
    """What each process does."""
    metrics = parse_metrics(metrics, num_gen, detector, vgg_weights is not None)
    if not metrics:
        return
    detectors = distributed.together(lambda: load_detectors(metrics, inception_weights, vgg_weights, device))
    G = distributed.first_of_each_machine(lambda: load_generator(network, device, precision))
    aim_eyes([G], gaze)
    mirror = mirror and not metrics[0].full  # which takes images as they are; `check` wants all metrics alike
    dataset = distributed.first_of_each_machine(
        lambda: open_dataset_for(data or trained_on(network), G.img_resolution, mirror, skip_unmatched)
    )
    distributed.tell_once(dataset.notes, camera_doubts(dataset.labels, ray_ranges(G)))
    distances = Distances(metrics, detectors, dataset, verbose)
    folder, snapshot = run_of(network)
    facts = (
        {"data": data or str(dataset.path), "data_sha256": distances.digest} | network_facts(network) | aim_facts(gaze)
    )
    records = []
    for line in distances.lines(G, seed, trunc, batch, verbose, snapshot, **facts):
        if folder:
            append_line(folder / f"metric-{line['metric']}.jsonl", line)
        click.echo(json.dumps(line, allow_nan=False))
        records.append(line)
    if distributed.rank() == 0:
        cli.write_json(json_path, {"metrics": records})


if __name__ == "__main__":
    main()
