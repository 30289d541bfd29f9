"""Trains what tells whose eyes are whose (PAM), before GazeAnimation itself."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import dataclasses
import json
from pathlib import Path

import click

from groundwork.command import Command, device_option, seed_option
from groundwork.held_folder import held
from l2cs.set_options import device_of
from redirection.gaze_animation.eye_content_file import NAME, save_eyes
from redirection.gaze_animation.painting_options import (
    batches_of,
    places_of,
    run_config,
    run_options,
    train_and_tell,
)
from redirection.gaze_animation.painting_steps import EyeTraining, StepConfig
from redirection.gaze_animation.portrait_lists import read_domains
from redirection.gaze_animation.portrait_run import PortraitRun
from redirection.gaze_animation.portrait_sheets import eye_sheet


@click.command(cls=Command)
@run_options(NAME, "pam_dir")
@click.option("--lr_r", type=click.FloatRange(0, min_open=True), default=StepConfig().lr_r, show_default=True,
              help="Learning rate.")  # fmt: skip
@device_option
@seed_option
@click.pass_context
def main(context, device, gpu, dry_run, **o):
    """Pre-trains the content encoder Gr on eyes of both domains, each rebuilt from the mirrored other one.

    EXPER_NAME receives checkpoints/eyes.safetensors, for train.py --pretrain_path=EXPER_NAME, and sheets.
    """
    domains = read_domains(Path(o["data_dir"]), o["test_num"])
    spectral = "rows" if o["legacy_spectral"] else "vector"
    config = run_config(o, step=StepConfig(lr_r=o["lr_r"], decay_from=o["decay_from"], spectral=spectral))
    if dry_run:
        click.echo(json.dumps(dataclasses.asdict(config), indent=2))
        return
    for note in domains.notes:
        click.echo(note, err=True)
    places, batches = places_of(o), batches_of(domains, config, Path(o["data_dir"]))
    training = EyeTraining(config.networks, config.step, o["seed"])

    def sheets():
        return {"eyes": eye_sheet(training.nets, batches.of_step(0).to(device))}

    device = device_of(device, gpu)
    with held(places.folder):
        run = PortraitRun(
            config, training, batches, places, device,
            lambda folder, facts: save_eyes(folder / NAME, training.nets, facts), sheets,
        )  # fmt: skip
        train_and_tell(run, context, "pretrain.py", NAME)


if __name__ == "__main__":
    main()
