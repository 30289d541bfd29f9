"""Trains GazeAnimation: correction and animation of the eyes of whole faces."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import dataclasses
import json
from pathlib import Path

import click

from groundwork.command import SWITCH, Command, device_option, seed_option
from groundwork.held_folder import held
from groundwork.places import EITHER, FILE, Input, NamedInput
from l2cs.set_options import device_of
from redirection.gaze_animation.animator_file import save_animator
from redirection.gaze_animation.crop_features import EMBEDDED, NONE, load_crop_features
from redirection.gaze_animation.eye_content_file import content_of
from redirection.gaze_animation.painting_losses import ADVERSARIAL, PaintingWeights
from redirection.gaze_animation.painting_options import (
    WEIGHTS,
    batches_of,
    places_of,
    run_config,
    run_options,
    train_and_tell,
)
from redirection.gaze_animation.painting_steps import PRECISIONS, PaintingTraining, StepConfig
from redirection.gaze_animation.portrait_lists import read_domains
from redirection.gaze_animation.portrait_run import LARGEST_SHEET, PortraitRun
from redirection.gaze_animation.portrait_sheets import training_sheets, unseen_faces

STEP, LOSSES = StepConfig(), PaintingWeights()
PAM = "./pam_dir/"  # the published default
ABOVE_0 = click.FloatRange(0, min_open=True)


@click.command(cls=Command)
@run_options(WEIGHTS, "log3_28_1")
@click.option(
    "--pretrain_path",
    type=Input(EITHER),
    help=f"Run folder of pretrain.py, its weights, or a published checkpoint.  [default: {PAM}]",
)
@click.option(
    "--random-content", **SWITCH, default=False, help="Train without --pretrain_path, on random content codes."
)
@click.option(
    "--vgg_path",
    type=NamedInput(FILE, [EMBEDDED, NONE]),
    default="./vgg_16.ckpt",
    show_default=True,
    help="VGG-16 (slim checkpoint or torchvision's .pth), embedded: of drawn heads, or none.",
)
@click.option(
    "--loss_type",
    type=click.Choice(list(ADVERSARIAL)),
    default=LOSSES.loss_type,
    show_default=True,
    help="Of the adversarial terms.",
)
@click.option("--lr_d", type=ABOVE_0, default=STEP.lr_d, show_default=True, help="Learning rate of Dx and Dy.")
@click.option("--lr_g", type=ABOVE_0, default=STEP.lr_g, show_default=True, help="Learning rate of Gx, Gy and Er.")
@click.option("--lam_r", type=click.FloatRange(0), default=LOSSES.lam_r, show_default=True, help="Of reconstruction.")
@click.option("--lam_p", type=click.FloatRange(0), default=LOSSES.lam_p, show_default=True, help="Of what VGG-16 sees.")
@click.option("--lam_gp", type=click.FloatRange(0), default=LOSSES.lam_gp, show_default=True, help="Of wgan's penalty.")
@click.option(
    "--known-gaze",
    "lam_gaze",
    type=click.FloatRange(0),
    default=LOSSES.lam_gaze,
    show_default=True,
    help="Of the distance of Er's code to the gaze, which sets of prepare.py --world know; not in the paper.",
)
@click.option("--known-faces", "reads", type=click.IntRange(0), default=0, show_default=True,
              help="With --known-gaze: Er also learns from so many more faces of each domain in a step.")  # fmt: skip
@click.option(
    "--asked-gaze",
    "lam_asked",
    type=click.FloatRange(0),
    default=LOSSES.lam_asked,
    show_default=True,
    help="With --known-gaze: of the distance between a gaze that Gy is asked for and what Er reads of its face.",
)
@click.option("--reuse-synthesis", **SWITCH, default=False, help="Paint what Gy learns from once a step, not twice.")
@click.option("--precision", type=click.Choice(PRECISIONS), default=STEP.precision, show_default=True, help="Of sums.")
@click.option("--use_sp", is_flag=True, help="Spectral normalisation in Dx and Dy.")
@click.option("--legacy-lsgan", **SWITCH, default=False, help="lsgan as published: doubled instead of squared.")
@click.option("--legacy-vgg-input", **SWITCH, default=False, help="Give VGG-16 values from -1 to 1, as published.")
@device_option
@seed_option
@click.pass_context
def main(context, pretrain_path, random_content, vgg_path, device, gpu, dry_run, **o):
    """Trains Gx, Gy, Er, Dx and Dy (Dual In-painting Model for Unsupervised Gaze Correction and Animation).

    EXPER_NAME receives checkpoints/animator.safetensors and state.pt, stats.jsonl and sample_dir/. Ctrl-C saves and
    stops.
    """
    if random_content and pretrain_path is not None:
        raise ValueError("--random-content trains without --pretrain_path; give one of them")
    weights = PaintingWeights(
        **{name: o[name] for name in ("loss_type", "lam_r", "lam_p", "lam_gp", "lam_gaze", "lam_asked", "legacy_lsgan")}
    )
    spectral = None if not o["use_sp"] else "rows" if o["legacy_spectral"] else "vector"
    step = StepConfig(
        lr_d=o["lr_d"],
        lr_g=o["lr_g"],
        decay_from=o["decay_from"],
        spectral=spectral,
        reuse_synthesis=o["reuse_synthesis"],
        precision=o["precision"],
        weights=weights,
    )
    if o["reads"] and not weights.lam_gaze:
        raise ValueError("--known-faces: the gaze is not used; give --known-gaze too")
    config, domains = run_config(o, step=step, reads=o["reads"]), read_domains(Path(o["data_dir"]), o["test_num"])
    if dry_run:
        click.echo(json.dumps(dataclasses.asdict(config), indent=2))
        return
    for note in domains.notes:
        click.echo(note, err=True)
    device = device_of(device, gpu)
    places, batches = places_of(o), batches_of(domains, config, Path(o["data_dir"]))
    seen = load_crop_features(vgg_path, o["legacy_vgg_input"])
    training = PaintingTraining(config.networks, step, None if seen is None else seen.to(device), o["seed"])
    if not random_content:
        content = content_of(Path(pretrain_path or PAM), config.networks)
        training.nets.animator.Gr.load_state_dict(content.state_dict())
    unseen = unseen_faces(domains.y_test, batches, LARGEST_SHEET, device)

    def sheets():
        return training_sheets(training.nets.animator, batches.of_step(0).first(LARGEST_SHEET).to(device), unseen)

    with held(places.folder):
        run = PortraitRun(
            config, training, batches, places, device,
            lambda folder, facts: save_animator(folder / WEIGHTS, training.nets.animator, facts), sheets,
            repr((vgg_path, o["legacy_vgg_input"], random_content)),
        )  # fmt: skip
        train_and_tell(run, context, "train.py", WEIGHTS)


if __name__ == "__main__":
    main()
