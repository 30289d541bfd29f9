"""Trains a gaze network on Gaze360, MPIIFaceGaze or any set in the GazeHub layout."""

import json
import shlex
import sys
from pathlib import Path

import click

from groundwork.command import Command, check_writable, device_option, pick_device, seed_option
from groundwork.files import atomic_write
from l2cs.gaze_sets import GAZE360_TEST_DEG, GAZE360_TRAIN_DEG, mpii_people, read_labels, read_mpii
from l2cs.model import PUBLISHED, Architecture
from l2cs.training import WEIGHTS_FILE, TrainingConfig, train_and_measure

FILE = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)
PUBLISHED_DEFAULTS = {"num_epochs": 60, "batch_size": 16, "lr": 1e-5}
SMALL_DEFAULTS = {"num_epochs": 16, "batch_size": 32, "lr": 2e-3}  # 2.9 degrees on the embedded world


@click.command(cls=Command)
@click.option("--dataset", type=click.Choice(["gaze360", "mpiigaze"]), default="gaze360", show_default=True,
              help="Layout of the labels.")  # fmt: skip
@click.option("--gaze360image_dir", type=FOLDER, default="datasets/Gaze360/Image", show_default=True,
              help="gaze360: folder of the face images.")  # fmt: skip
@click.option("--gaze360label_dir", type=FILE, default="datasets/Gaze360/Label/train.label", show_default=True,
              help="The label file.")  # fmt: skip
@click.option("--heldout_images", type=FOLDER, help="gaze360: their images, when in another folder.")
@click.option("--heldout_label", type=FILE, help="gaze360: label file of unseen people, measured after the training.")
@click.option(
    "--gazeMpiimage_dir", "mpii_images", type=FOLDER, default="datasets/MPIIFaceGaze/Image", show_default=True,
              help="mpiigaze: folder of the face images.")  # fmt: skip
@click.option(
    "--gazeMpiilabel_dir", "mpii_labels", type=FOLDER, default="datasets/MPIIFaceGaze/Label", show_default=True,
              help="mpiigaze: folder with a label file per person.")  # fmt: skip
@click.option("--fold", type=click.IntRange(min=0), help="mpiigaze: the person to leave out.  [default: each in turn]")
@click.option("--output", type=FOLDER, default="output/snapshots", show_default=True,
              help="Run folder; the same command again continues the run in it.")  # fmt: skip
@click.option("--export", type=FILE, help="Copy the finished weights to this file.")
@click.option("--snapshot", type=FILE, help="Start from these gaze weights.")
@click.option("--pretrained", type=FILE, help="Start the trunk from this torchvision ResNet state dict.")
@click.option("--arch", type=click.Choice([*PUBLISHED, "small"]), default="ResNet50", show_default=True,
              help="Network: a published ResNet, or small.")  # fmt: skip
@click.option("--width", type=int, default=16, show_default=True, help="small: channels of the first layer, 16 n.")
@click.option(
    "--input-size", type=int, default=64, show_default=True, help="small: side of the network's input, pixels."
)
@click.option("--bins", type=click.Choice(["90", "28"]), help="Bins per angle.  [default: 90; mpiigaze: 28]")
@click.option("--recipe", type=click.Choice(["published", "scratch"]),
              help="published: fixed stem and lr; scratch: all, cosine.  [default: by --arch]")  # fmt: skip
@click.option("--augment/--no-augment", default=None, help="Shift, blur, noise, colour, mirror.  [default: for small]")
@click.option("--num_epochs", type=int, help="[default: 60; small: 16]")
@click.option("--batch_size", type=int, help="[default: 16; small: 32]")
@click.option("--alpha", type=float, default=1.0, show_default=True, help="Weight of the regression term.")
@click.option("--lr", type=float, help="Learning rate.  [default: 1e-5; small: 2e-3]")
@click.option("--json", "json_path", type=FILE, help="Also write the result to this file.")
@device_option
@seed_option
def main(dataset, output, fold, arch, width, input_size, bins, recipe, augment, json_path, device, seed, **o):
    """Trains a gaze network.

    With --dataset=gaze360 any label file and image folder in the GazeHub layout will do, with mpiigaze one person is
    left out and measured afterwards. OUTPUT receives weights.safetensors.
    """
    check_writable(output, "--output", folder=True)
    check_writable(o["export"], "--export")
    check_writable(json_path, "--json")
    device = pick_device(device)
    bins = int(bins or (90 if dataset == "gaze360" else 28))
    small = arch == "small"
    architecture = Architecture.small(width, input_size, bins) if small else Architecture.published(arch, bins)
    defaults = SMALL_DEFAULTS if small else PUBLISHED_DEFAULTS
    chosen = {name: value if o[name] is None else o[name] for name, value in defaults.items()}
    config = TrainingConfig(
        **chosen, alpha=o["alpha"], seed=seed,
        recipe=recipe or ("scratch" if small else "published"), augment=small if augment is None else augment,
    )  # fmt: skip
    sets = {output: None}
    if dataset == "mpiigaze":
        folds = range(len(mpii_people(o["mpii_labels"]))) if fold is None else [fold]
        sets = {output / f"fold{k}": k for k in folds}
    results = {}
    for folder, k in sets.items():
        if k is None:
            images, held_out = o["gaze360image_dir"], None
            training = read_labels(o["gaze360label_dir"], images, GAZE360_TRAIN_DEG)
            if o["heldout_label"]:
                held_out = read_labels(o["heldout_label"], o["heldout_images"] or images, GAZE360_TEST_DEG)
        else:
            training, held_out = (read_mpii(o["mpii_labels"], o["mpii_images"], k, out) for out in (False, True))
        results[folder.name] = train_and_measure(
            architecture,
            config,
            training,
            held_out,
            folder,
            device,
            o["snapshot"],
            o["pretrained"],
            facts={"command": shlex.join(["l2cs/train.py", *sys.argv[1:]])},
        )
        if o["export"] is not None:
            atomic_write(o["export"], (folder / WEIGHTS_FILE).read_bytes())
        click.echo(f"{folder}: {json.dumps(results[folder.name])}")
    if json_path is not None:
        atomic_write(json_path, (json.dumps(results, indent=2) + "\n").encode())


if __name__ == "__main__":
    main()
