"""Frechet and kernel distance, inception score, precision and recall of a generator against a data set."""

import json
from pathlib import Path

import click

from eg3d.checkpoints.loading import load_generator, locate, open_checkpoint
from eg3d.data.dataset import ImageDataset
from eg3d.metrics.registry import (
    DETECTORS,
    INCEPTION,
    NAMES,
    PUBLISHED_COUNT,
    Metric,
    parse_metrics,
    takes_weights,
)
from eg3d.ops.precision import set_precision
from eg3d.running import cli, distributed, processes
from eg3d.scores.distances import content_digest, load_detectors, measure, score_line
from eg3d.training.stats import append_line
from eg3d.world.rendered_sets import world_faces
from groundwork.files import sha256

OPTIONS_FILE = "training_options.json"
WEIGHTS = click.Path(dir_okay=False, path_type=Path)


@click.command(cls=cli.Command)
@cli.network_option
@click.option("--metrics", default="fid50k_full", show_default=True, help=f"Comma list of {', '.join(NAMES)}; or none.")
@click.option("--data", help="Data set: zip or folder with dataset.json, or embedded.  [default: that of the training]")
@click.option("--mirror", type=bool, default=False, show_default=True,
              help="Metrics without _full: also take the images mirrored, with mirrored cameras.")  # fmt: skip
@click.option("--num-gen", type=click.IntRange(min=1), default=PUBLISHED_COUNT, show_default=True,
              help="Generated images; another number gives the metric another name, as fid2k_full.")  # fmt: skip
@click.option("--detector", type=click.Choice(DETECTORS), default=INCEPTION, show_default=True,
              help="Whose features; those of embedded (for the embedded world) give fd_embedded, not FID.")  # fmt: skip
@click.option("--inception-weights", type=WEIGHTS, help="torch-fidelity's weights-inception-2015-12-05-6726825d.pth.")
@click.option("--vgg-weights", type=WEIGHTS,
              help="torchvision's VGG16, for precision and recall.  [default: the detector's features]")  # fmt: skip
@click.option("--trunc", type=float, callback=cli.finite, default=1.0, show_default=True,
              help="Truncation psi; 1, as published, turns it off.")  # fmt: skip
@click.option("--batch", type=click.IntRange(min=1), default=16, show_default=True, help="Images of a process at once.")
@click.option("--verbose", type=bool, default=True, show_default=True, help="Show progress and what is measured.")
@cli.seed_option
@cli.precision_option
@cli.ops_option
@cli.process_options
@cli.json_option
def main(**options):
    """Quality metrics of a generator: prints one JSON line per metric, and adds it to metric-NAME.jsonl where the
    network lies in the folder of a run.

    Cameras are those of the data set, one drawn for each image. Standard errors are over generated images, the data
    set taken as given.
    """
    processes.start(run, check, **options)


def check(json_path, **options) -> None:
    cli.check_writable(json_path, "--json")
    if options["inception_weights"] and not takes_weights(options["detector"]):
        raise ValueError(f"--inception-weights: --detector={options['detector']} has no use for them; leave one out")
    metrics_of(options)


def metrics_of(options: dict) -> list[Metric]:
    vgg = options["vgg_weights"] is not None
    return parse_metrics(options["metrics"], options["num_gen"], options["detector"], vgg)


def run(device, json_path: Path | None, **options) -> None:
    """What each process does."""
    metrics, network, verbose = metrics_of(options), options["network"], options["verbose"]
    if not metrics:
        return
    detectors = distributed.together(
        lambda: load_detectors(metrics, options["inception_weights"], options["vgg_weights"], device)
    )
    G = distributed.first_of_each_machine(lambda: set_precision(load_generator(network, device), options["precision"]))
    dataset = distributed.first_of_each_machine(lambda: open_data(G, metrics, options))
    counts = distributed.together(lambda: [metric.real_count(len(dataset)) for metric in metrics])
    digest = distributed.from_first(lambda: content_digest(dataset, verbose))
    if distributed.rank() == 0:
        for metric, count in zip(metrics, counts, strict=True):
            if warning := metric.warning(detectors[metric.features].width, count):
                click.echo(f"warning: {warning}", err=True)
    records, file = [], locate(network)
    folder = run_folder(file) if (run_folder(file) / OPTIONS_FILE).is_file() else None
    seed, psi, batch = options["seed"], options["trunc"], options["batch"]
    for result, count, seconds in measure(G, dataset, digest, metrics, detectors, seed, psi, batch, verbose):
        line = score_line(
            result, count, seconds, detectors[result.metric.features], file.name if folder else None, psi=psi,
            seed=seed, data=options["data"] or str(dataset.path), data_sha256=digest, network=str(network),
            network_sha256=sha256(file),
        )  # fmt: skip
        if folder:
            append_line(folder / f"metric-{result.metric.name}.jsonl", line)
        records.append(line)
        click.echo(json.dumps(records[-1], allow_nan=False))
    if distributed.rank() == 0:
        cli.write_json(json_path, {"metrics": records})


def open_data(G, metrics: list[Metric], options: dict) -> ImageDataset:
    """The data set, of the generator's resolution; `_full` metrics take its images as they are."""
    data = options["data"] or trained_on(options["network"])
    mirror = options["mirror"] and not all(metric.full for metric in metrics)
    if mirror and (full := [metric.name for metric in metrics if metric.full]):
        raise ValueError(f"--mirror=True: {full[0]} never mirrors, other metrics do; measure them in two calls")
    dataset = ImageDataset(world_faces() if data == "embedded" else Path(data), mirror)
    if dataset.resolution != G.img_resolution:
        raise ValueError(
            f"--data={data}: its images have {dataset.resolution} px, the generator draws {G.img_resolution}; "
            "bring them to that size (dataset_preprocessing/dataset_tool.py --resolution)"
        )
    return dataset


def trained_on(network: str) -> str:
    """The data set of a generator's training, where its folder or the file itself says so."""
    if (options := run_folder(locate(network)) / OPTIONS_FILE).is_file():
        try:
            return str(json.loads(options.read_text())["data"]["path"])
        except (ValueError, KeyError, TypeError):
            raise ValueError(f"{options}: cannot be read; give --data") from None
    facts = open_checkpoint(network).facts
    dataset = facts.get("dataset")
    if isinstance(dataset, dict) and dataset.get("name") == "embedded":
        return "embedded"
    published = (facts.get("published") or {}).get("training_set_kwargs")
    if isinstance(published, dict) and published.get("path"):
        raise ValueError(f"--data is missing: this network was trained on {published['path']} where it was made; "
                         "give that data set's zip or folder here")  # fmt: skip
    raise ValueError("--data is missing, and the network does not say what it was trained on; give a zip or folder")


def run_folder(path: Path) -> Path:
    return path.resolve().parent


if __name__ == "__main__":
    main()
