"""Trains DeepWarp (Ganin et al. 2016): gaze redirection by a flow."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import dataclasses
import json
import shlex
import sys

import click

from groundwork.command import SWITCH, Command, device_option, pick_device, seed_option, without_effect
from groundwork.held_folder import held
from groundwork.places import FOLDER, INPUT_FILE, INPUT_FOLDER, Output
from redirection.attributes import Attributes
from redirection.deepwarp.gaze_warp import HEIGHT, WIDTH, WarpConfig
from redirection.deepwarp.rate_schedule import read_schedule
from redirection.deepwarp.warp_run import EPOCH_STEPS, WarpRun, WarpRunConfig
from redirection.patch_run import WRITES
from redirection.patch_sets import read_patches

RATE, HEIGHT_OF_WIDTH = 1e-3, HEIGHT / WIDTH  # published
SIDES = Attributes.parse("L@R")


@click.command(cls=Command)
@click.option("--data_path", type=INPUT_FOLDER, required=True, help="Folder of patches that crop_eyes.py wrote.")
@click.option("--save_path", type=Output(FOLDER, WRITES), required=True,
              help="Run folder; the same command again goes on with the run in it.")  # fmt: skip
@click.option("--batch_size", type=click.IntRange(1), default=64, show_default=True, help="Pairs a step.")
@click.option("--num_epochs", type=click.IntRange(1), default=100, show_default=True,
              help=f"Epochs, of {EPOCH_STEPS} steps each.")  # fmt: skip
@click.option("--steps", type=click.IntRange(1), help="Steps, instead of epochs.")
@click.option("--scheduler", type=INPUT_FILE,
              help=f"Learning rates: lines epoch,lr.  [default: {RATE:g} all along]")  # fmt: skip
@click.option("--width", type=click.IntRange(8, 1024), default=WIDTH, show_default=True,
              help="Of the box, pixels; its height is 41/51 of it.")  # fmt: skip
@click.option("--lightness", **SWITCH, default=False, help="Let pixels become brighter too, as the paper does.")
@click.option("--angle-unit", type=click.FloatRange(1, 360), default=90.0, show_default=True,
              help="Degrees that the network gets as 1.")  # fmt: skip
@click.option("--tick", type=click.IntRange(1), default=100, show_default=True, help="Steps between lines of numbers.")
@click.option("--snap", type=click.IntRange(1), default=1000, show_default=True, help="Steps between states.")
@click.option("--legacy-schedule", **SWITCH, default=False,
              help="Rate 0 before the first line of the schedule, as published.")  # fmt: skip
@click.option("--dry-run", **SWITCH, default=False, help="Print the settings and stop.")
@without_effect("--is_resume", "the same command again goes on with the run in its folder")
@without_effect("--is_left", "patches of right eyes are mirrored, and one network learns from both eyes")
@without_effect("--summary_step", "--tick says how often numbers are written")
@device_option
@seed_option
def main(data_path, save_path, scheduler, device, dry_run, seed, **o):
    """Trains a coarse and a fine warp on pairs of one person, head yaw and eye.

    SAVE_PATH receives weights.safetensors, state.pt, stats.jsonl and samples/. Ctrl-C saves and stops. Patches of
    Columbia's photos have a licence of their own.
    """
    width = o["width"]
    networks = WarpConfig(
        height=round(width * HEIGHT_OF_WIDTH), width=width, lightness=o["lightness"], unit_deg=o["angle_unit"]
    )
    config = WarpRunConfig(
        networks=networks, steps=o["steps"] or o["num_epochs"] * EPOCH_STEPS, batch=o["batch_size"], tick=o["tick"],
        snapshot=o["snap"], seed=seed, schedule=((0, RATE),) if scheduler is None else read_schedule(scheduler),
        legacy_schedule=o["legacy_schedule"],
    )  # fmt: skip
    training, unseen = (read_patches(data_path, part, SIDES).resized(width) for part in ("train", "test"))
    if dry_run:
        click.echo(json.dumps(dataclasses.asdict(config) | {"patches": len(training), "unseen": len(unseen)}, indent=2))
        return
    with held(save_path):
        run = WarpRun(config, training, unseen, save_path, pick_device(device))
        facts = {"command": shlex.join(["redirection/deepwarp/train.py", *sys.argv[1:]]), "patches": len(training)}
        code = run.train(facts)
    click.echo(f"{run.step} steps -> {save_path}")
    if code:
        sys.exit(code)


if __name__ == "__main__":
    main()
