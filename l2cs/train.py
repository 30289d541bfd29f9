"""Trains a gaze network on Gaze360, MPIIFaceGaze, any set in the GazeHub layout, or HDF5 files of novel views."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import json
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from groundwork.command import (
    Command,
    device_option,
    json_option,
    seed_option,
    skip_unmatched_option,
    tell,
    write_json,
)
from groundwork.files import atomic_write
from groundwork.places import FOLDER, INPUT, INPUT_FILE, INPUT_FOLDER, OUTPUT_FILE, Output
from l2cs.estimator import CROP, FACE
from l2cs.gaze_labels import GAZE360_TEST_DEG, GAZE360_TRAIN_DEG, read_labels, read_people, without_person
from l2cs.model import PUBLISHED, Architecture
from l2cs.preprocess import WINDOWS
from l2cs.set_options import device_of, gaze360_options, gpu_option, mpii_options, views_of, views_option
from l2cs.training import STATE_FILE, WEIGHTS_FILE, TrainingConfig, train_and_measure
from l2cs.view_sets import LabelledFaces, joined, read_views, without

WRITES = [f"{folder}{file}" for folder in ("", "fold*/") for file in (WEIGHTS_FILE, STATE_FILE)]


class Fold(click.IntRange):
    """The number of a person, or all."""

    def convert(self, value, param, ctx):
        return value if value == "all" else super().convert(value, param, ctx)


@click.command(cls=Command)
@gaze360_options("train.label", "The label file.")
@click.option("--heldout_images", type=INPUT_FOLDER, help="gaze360: their images, when in another folder.")
@click.option(
    "--heldout_label", type=INPUT_FILE, help="gaze360: label file of unseen people, measured after the training."
)
@mpii_options
@views_option
@click.option("--heldout-views", type=INPUT, multiple=True, help="views: those of unseen people, measured afterwards.")
@click.option("--fold", type=Fold(min=0), metavar="[INTEGER|all]",
              help="The person to leave out; all: each in turn.  [default: mpiigaze: all; views: none]")  # fmt: skip
@skip_unmatched_option
@click.option("--output", type=Output(FOLDER, WRITES), default="output/snapshots", show_default=True,
              help="Run folder; the same command again continues the run in it.")  # fmt: skip
@click.option("--export", type=OUTPUT_FILE, help="Copy the finished weights to this file.")
@click.option("--snapshot", type=INPUT_FILE, help="Start from these gaze weights.")
@click.option("--pretrained", type=INPUT_FILE, help="Start the trunk from this torchvision ResNet state dict.")
@click.option("--arch", type=click.Choice([*PUBLISHED, "small"]), default="ResNet50", show_default=True,
              help="Network: a published ResNet, or small.")  # fmt: skip
@click.option("--width", type=int, default=16, show_default=True, help="small: channels of the first layer, 16 n.")
@click.option(
    "--input-size", type=int, default=64, show_default=True, help="small: side of the network's input, pixels."
)
@click.option("--window", type=click.Choice(WINDOWS), default="all", show_default=True,
              help="small: what of its input is looked at; eyes: of crops as EG3D's.")  # fmt: skip
@click.option("--bins", type=click.Choice(["90", "28"]), help="Bins per angle.  [default: 90; mpiigaze: 28]")
@click.option("--recipe", type=click.Choice(["published", "scratch"]),
              help="published: fixed stem and lr; scratch: all, cosine.  [default: by --arch]")  # fmt: skip
@click.option("--augment/--no-augment", default=None, help="Shift, blur, noise, colour, mirror.  [default: for small]")
@click.option("--zoom", type=float, default=TrainingConfig.zoom, show_default=True,
              help="Largest change of size by --augment, as a fraction.")  # fmt: skip
@click.option("--swap-backgrounds", type=float, default=0.0, show_default=True,
              help="views: share of the images that get another background, by their face masks.")  # fmt: skip
@click.option("--backgrounds", type=INPUT_FOLDER,
              help="views: pictures for them.  [default: colours and patterns alone]")  # fmt: skip
@click.option("--num_epochs", type=int, help="[default: 60; small: 16]")
@click.option("--batch_size", type=int, help="[default: 16; small: 32]")
@click.option("--alpha", type=float, default=1.0, show_default=True, help="Weight of the regression term.")
@click.option("--lr", type=float, help="Learning rate.  [default: 1e-5; small: 2e-3]")
@json_option
@device_option
@gpu_option
@seed_option
def main(dataset, output, fold, arch, width, input_size, window, bins, json_path, device, gpu, **o):
    """Trains a gaze network.

    With --dataset=gaze360 any label file and image folder in the GazeHub layout will do, with mpiigaze one person is
    left out and measured afterwards, with views HDF5 files are read. OUTPUT receives weights.safetensors.
    """
    if dataset != "views" and (o["swap_backgrounds"] or o["backgrounds"]):
        raise ValueError("--swap-backgrounds and --backgrounds need face masks, which only --dataset=views has")
    if o["backgrounds"] and not o["swap_backgrounds"]:
        raise ValueError("--backgrounds: no image gets another background; add --swap-backgrounds=0.5")
    device, small = device_of(device, gpu), arch == "small"
    bins = int(bins or (28 if dataset == "mpiigaze" else 90))
    if small:
        architecture = Architecture.small(width, input_size, bins, window)
    else:
        architecture = Architecture.published(arch, bins)
    given = ("num_epochs", "batch_size", "lr", "recipe", "augment", "alpha", "seed", "swap_backgrounds", "zoom")
    config = TrainingConfig.for_network(small, **{name: o[name] for name in given})
    facts, results = {"command": shlex.join(["l2cs/train.py", *sys.argv[1:]])}, {}
    if dataset == "views":
        facts[CROP] = FACE
    for folder, training, held_out in RUNS[dataset](output, fold, o):
        results[folder.name] = train_and_measure(
            architecture, config, training, held_out, folder, device, o["snapshot"], o["pretrained"], facts,
            o["backgrounds"],
        )  # fmt: skip
        if o["export"] is not None:
            atomic_write(o["export"], (folder / WEIGHTS_FILE).read_bytes())
        click.echo(f"{folder}: {json.dumps(results[folder.name])}")
    write_json(json_path, results)


Run = tuple[Path, LabelledFaces, LabelledFaces | None]  # folder, what is trained on, what is measured


def gaze360_run(output: Path, fold: int | str | None, o: dict) -> Iterator[Run]:
    del fold  # nobody knows who is who
    images, held_out, skip = o["gaze360image_dir"], None, o["skip_unmatched"]
    files = [file for file in (o["gaze360label_dir"], o["heldout_label"]) if file]
    training = read_labels(files[0], images, GAZE360_TRAIN_DEG, skip, files)
    tell(training.notes)
    if o["heldout_label"]:
        held_out = read_labels(files[1], o["heldout_images"] or images, GAZE360_TEST_DEG, skip, files)
        tell(held_out.notes)
    yield output, training, held_out


def mpii_runs(output: Path, fold: int | str | None, o: dict) -> Iterator[Run]:
    """One run for each person that is left out."""
    people = read_people(o["mpii_labels"], o["mpii_images"], o["skip_unmatched"])
    tell(people[0].notes)
    for k in range(len(people)) if fold in (None, "all") else [fold]:
        yield output / f"fold{k}", *without_person(people, k)


def view_runs(output: Path, fold: int | str | None, o: dict) -> Iterator[Run]:
    """One run on all, or one for each person that is left out."""
    persons, unseen = views_of(o["views"]), o["heldout_views"]
    if fold is None:
        yield output, joined(list(persons.values())), joined(list(read_views(unseen).values())) if unseen else None
        return
    if unseen:
        raise ValueError("--fold measures on the person it leaves out, --heldout-views on others; give one of the two")
    for k in range(len(persons)) if fold == "all" else [fold]:
        yield output / f"fold{k}", *without(persons, k)


RUNS = {"gaze360": gaze360_run, "mpiigaze": mpii_runs, "views": view_runs}


if __name__ == "__main__":
    main()
