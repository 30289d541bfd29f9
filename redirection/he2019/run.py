"""Trains the gaze redirection of He et al. (2019), or draws what it makes of people it was not trained on."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import dataclasses
import json
import shlex
import sys
from pathlib import Path

import click

from groundwork.command import SWITCH, Command, device_option, pick_device, seed_option, without_effect
from groundwork.held_folder import held
from groundwork.places import FILE, FOLDER, INPUT_FOLDER, NamedInput, Output
from redirection.attributes import Attributes
from redirection.gaze_pairs import GazePairs
from redirection.he2019.angle_file import SIZES, AngleConfig, read_generator
from redirection.he2019.content_style import load_content_style, world_content_style
from redirection.he2019.cycle_losses import CycleWeights
from redirection.he2019.cycle_run import OPTIMIZERS, CycleRun, CycleRunConfig
from redirection.he2019.pictures_of_pairs import EVAL, write_pairs
from redirection.patch_run import WEIGHTS, WRITES
from redirection.patch_sets import PatchSet, read_patches, split_by_person

EPOCHS, EVAL_BATCH = 300, 21  # published
SIDES = Attributes.parse("L@R")


@click.command(cls=Command)
@click.option("--mode", type=click.Choice(["train", "eval"]), default="train", show_default=True, help="What to do.")
@click.option("--data_path", type=INPUT_FOLDER, required=True, help="Folder of patches that crop_eyes.py wrote.")
@click.option("--log_dir", type=Output(FOLDER, [*WRITES, f"{EVAL}/*/*.jpg"]), required=True,
              help="Run folder; the same command again goes on with the run in it.")  # fmt: skip
@click.option("--vgg_path", type=NamedInput(FILE, ["embedded"]),
              help="torchvision's VGG-16, for content and style; or embedded, the small feature network of our world.  "
              "[default: neither loss]")  # fmt: skip
@click.option("--batch_size", type=click.IntRange(1), help="Pairs a step.  [default: 32; eval: 21]")
@click.option("--optimizer", type=click.Choice(list(OPTIMIZERS)), default="adam", show_default=True, help="Of both.")
@click.option("--adam_beta1", type=float, default=0.5, show_default=True, help="Of Adam.")
@click.option("--adam_beta2", type=float, default=0.999, show_default=True, help="Of Adam.")
@click.option("--lr", type=click.FloatRange(0, min_open=True), default=2e-4, show_default=True,
              help="Learning rate; it falls to 0 from the middle on.")  # fmt: skip
@click.option("--epochs", type=click.IntRange(1), help=f"Epochs.  [default: {EPOCHS}]")
@click.option("--steps", type=click.IntRange(1), help="Steps, instead of epochs.")
@click.option("--summary_steps", type=click.IntRange(1), default=500, show_default=True, help="Steps between states.")
@click.option("--tick", type=click.IntRange(1), default=100, show_default=True, help="Steps between lines of numbers.")
@click.option("--image_size", type=click.Choice([str(size) for size in SIZES]), default="64", show_default=True,
              help="Side to which patches are brought.")  # fmt: skip
@click.option("--width", type=click.IntRange(1, 1024), default=64, show_default=True, help="Of the first layers.")
@click.option("--generator-every", type=click.IntRange(1), default=5, show_default=True,
              help="Steps from one move of the generator to the next.")  # fmt: skip
@click.option("--paired", **SWITCH, default=False,
              help="Also learn from the true picture's colours: by absolute differences.")  # fmt: skip
@click.option("--ids", type=click.IntRange(1),
              help="Train on people up to this number; the rest is unseen.  [default: as the lists say]")  # fmt: skip
@click.option("--legacy-input", **SWITCH, default=False, help="VGG-16 sees -1 to 1, as published.")
@click.option("--legacy-stretch", **SWITCH, default=False,
              help="eval: stretch each picture from black to white, as published.")  # fmt: skip
@click.option("--dry-run", **SWITCH, default=False, help="Print the settings and stop.")
@without_effect("--test_dir", "the published code never reads it")
@device_option
@seed_option
def main(mode, data_path, log_dir, vgg_path, device, dry_run, seed, **o):
    """Trains generator and discriminator, or writes eval/{targets,genes,reals} of unseen people with P = 0.

    LOG_DIR receives weights.safetensors, state.pt, stats.jsonl and samples/; for eval it may also hold a published
    checkpoint. Ctrl-C saves and stops. The weights of VGG-16, and patches of Columbia's photos, have licences of their
    own.
    """
    if mode == "eval":
        device = pick_device(device)
        ours = log_dir / WEIGHTS
        generator, _ = read_generator(ours if ours.is_file() or not (log_dir / "checkpoint").is_file() else log_dir)
        unseen = _sets(data_path, o["ids"], generator.architecture.size)[1]
        count = write_pairs(
            log_dir / EVAL, generator.to(device), unseen, device, o["batch_size"] or EVAL_BATCH, o["legacy_stretch"]
        )
        click.echo(f"{count} pairs -> {log_dir / EVAL}")
        return
    training, unseen = _sets(data_path, o["ids"], int(o["image_size"]))
    batch = o["batch_size"] or 32
    config = CycleRunConfig(
        networks=AngleConfig(size=int(o["image_size"]), width=o["width"]),
        weights=CycleWeights(paired=CycleWeights.cycle if o["paired"] else 0.0),
        optimizer=o["optimizer"], lr=o["lr"], beta1=o["adam_beta1"], beta2=o["adam_beta2"],
        generator_every=o["generator_every"], batch=batch, tick=o["tick"], snapshot=o["summary_steps"], seed=seed,
        steps=o["steps"] or (o["epochs"] or EPOCHS) * GazePairs(training).per_epoch(batch),
    )  # fmt: skip
    if dry_run:
        click.echo(json.dumps(dataclasses.asdict(config) | {"patches": len(training), "unseen": len(unseen)}, indent=2))
        return
    seen = None
    if vgg_path is not None:
        world = str(vgg_path) == "embedded"
        seen = world_content_style() if world else load_content_style(Path(vgg_path), o["legacy_input"])
    with held(log_dir):
        perceptual = f"{type(seen).__name__} {o['legacy_input']}"
        run = CycleRun(config, training, unseen, log_dir, pick_device(device), seen, perceptual)
        facts = {"command": shlex.join(["redirection/he2019/run.py", *sys.argv[1:]]), "patches": len(training)}
        code = run.train(facts)
    click.echo(f"{run.step} steps -> {log_dir}")
    if code:
        sys.exit(code)


def _sets(folder, ids: int | None, size: int) -> tuple[PatchSet, PatchSet]:
    """Patches for training, and unseen people's."""
    parts = [read_patches(folder, part, SIDES).resized(size) for part in ("train", "test")]
    return tuple(parts) if ids is None else split_by_person(parts, ids)


if __name__ == "__main__":
    main()
