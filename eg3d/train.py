"""Trains a 3D GAN, with or without the gaze term: see `--help`, and eg3d/training/loop.py for what happens."""

import json
from pathlib import Path

import click

from eg3d.checkpoint import load_state, open_checkpoint
from eg3d.cli import Command, device_option, pick_device, precision_option
from eg3d.config import ConfigError, TrainConfig, from_dict, to_dict
from eg3d.flags import resolve
from eg3d.gaze import CROPS, KINDS, TARGETS, GazeLossConfig
from eg3d.presets import PRESETS
from eg3d.training.dataset import ImageDataset
from eg3d.training.loop import train
from eg3d.training.resume import ResumeError
from eg3d.training.trainer import STATE_FILE
from eg3d.world.datasets import embedded_faces
from l2cs.estimator import EMBEDDED, GazeEstimator


def setting(name: str, kind, text: str):
    """An option that, when left out, keeps the preset's value."""
    return click.option(name, type=kind, default=None, help=f"{text}  [default: the preset's]")


POSITIVE = click.IntRange(min=1)
WHOLE = click.IntRange(min=0)
REAL = click.FloatRange(min=0)
UNIT = click.FloatRange(0, 1)

SETTINGS = [
    setting("--data", str, "Data set: a zip or folder with dataset.json, or embedded."),
    setting(
        "--resume",
        str,
        "Start from the weights of this checkpoint: ours, a published .pkl, a .pt, embedded-base or an https:// "
        "address; latest: go on with the stopped run in --outdir.",
    ),
    setting("--gpus", POSITIVE, "Number of processes; more than 1 comes with a later issue."),
    setting("--batch", POSITIVE, "Images per step, over all processes."),
    setting("--batch-gpu", POSITIVE, "Images a process handles at once; the rest is accumulated."),
    setting("--gamma", REAL, "Weight of R1."),
    setting("--kimg", REAL, "Length of the run, in thousand images."),
    setting("--tick", REAL, "Thousand images between two lines of stats.jsonl."),
    setting("--snap", POSITIVE, "Ticks between two snapshots."),
    setting("--seed", int, "Seed of every random draw."),
    setting("--workers", POSITIVE, "Threads that decode images."),
    setting("--nobench", bool, "Do not let cuDNN time its algorithms."),
    setting("--cond", bool, "Condition on cameras; only True can be trained."),
    setting("--mirror", bool, "Use each image mirrored too, its camera mirrored with it."),
    setting("--aug", click.Choice(["noaug", "ada", "fixed"]), "Augmentation; only noaug so far."),
    setting("--metrics", str, "Metrics at snapshots; only none so far."),
    setting("--freezed", WHOLE, "Freeze the first layers of the discriminator."),
    setting("--cbase", POSITIVE, "Channels of the networks times resolution."),
    setting("--cmax", POSITIVE, "Most channels of the networks."),
    setting("--glr", REAL, "Learning rate of the generator."),
    setting("--dlr", REAL, "Learning rate of the discriminator."),
    setting("--map-depth", POSITIVE, "Layers of the generator's mapping network."),
    setting("--mbstd-group", POSITIVE, "Group size of the minibatch statistics."),
    setting("--neural_rendering_resolution_initial", POSITIVE, "Rays per side at the start."),
    setting("--neural_rendering_resolution_final", POSITIVE, "Rays per side at the end."),
    setting("--neural_rendering_resolution_fade_kimg", REAL, "Thousand images from the first to the last."),
    setting("--blur_fade_kimg", REAL, "Thousand images of blur before the discriminator, for a batch of 32."),
    setting("--resume_blur", bool, "With --resume, blur and swap as at a start."),
    setting("--gen_pose_cond", bool, "Condition the generator on a camera."),
    setting("--gpc_reg_prob", UNIT, "How often that camera is another one than the rendered."),
    setting("--gpc_reg_fade_kimg", REAL, "Thousand images from always to that."),
    setting("--c-scale", float, "Factor on the conditioning camera."),
    setting("--disc_c_noise", REAL, "Noise on the discriminator's camera, in label deviations."),
    setting("--sr_noise_mode", click.Choice(["random", "none"]), "Noise of the super-resolution."),
    setting("--sr-module", str, "Class of the super-resolution."),
    setting("--sr_num_fp16_res", WHOLE, "Above 0: float16 in the super-resolution."),
    setting("--g_num_fp16_res", WHOLE, "Largest resolutions of the backbone in float16."),
    setting("--d_num_fp16_res", WHOLE, "Largest resolutions of the discriminator in float16."),
    setting("--style_mixing_prob", UNIT, "How often latents are mixed."),
    setting("--density_reg", REAL, "Weight of the density regularisation."),
    setting("--density_reg_every", POSITIVE, "Steps between two of its steps."),
    setting("--density_reg_p_dist", REAL, "Distance of its pairs of points, world units."),
    setting("--reg_type", str, "Its kind: l1, monotonic-detach or monotonic-fixed."),
    setting("--decoder_lr_mul", REAL, "Factor on the decoder's learning rate."),
    setting(
        "--l2cs-path",
        str,
        "Gaze network of the gaze term and of the scores at snapshots: weights, embedded or embedded-judge.",
    ),
    setting("--gaze-weight", REAL, "Weight of the gaze term; 0 is plain EG3D."),
    setting("--gaze-loss", click.Choice(KINDS), "mse: published code; euclid: paper, Eq. 1; angular: 1 - cos."),
    setting("--gaze-targets", click.Choice(TARGETS), "legacy: the published targets, wrong in pitch."),
    setting("--gaze-warmup-kimg", REAL, "Thousand images until the gaze term has its full weight."),
    setting("--gaze-crop", click.Choice(CROPS), "face: show the gaze network the face only."),
]


def with_settings(command):
    """Adds SETTINGS to a command, in their order."""
    for option in reversed(SETTINGS):
        command = option(command)
    return command


@click.command(cls=Command)
@click.option("--outdir", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder of the run.")
@click.option("--cfg", type=click.Choice(list(PRESETS)), required=True, help="Preset that holds all other values.")
@with_settings
@click.option("--resume-partial", is_flag=True, help="With --resume: start what does not fit from random weights.")
@precision_option
@click.option("--desc", help="Name of a folder inside --outdir for this run.")
@device_option
@click.option("--stop-after-minutes", type=REAL, help="Save and stop after this time; nothing else depends on it.")
@click.option("-n", "--dry-run", is_flag=True, help="Print the configuration as JSON and stop.")
def main(outdir, cfg, desc, device, stop_after_minutes, dry_run, **flags):
    """Trains EG3D on images with cameras; the gaze term (--gaze-weight) makes the eyes follow the face.

    Ctrl-C ends the running step and saves; the same command with --resume=latest goes on as if nothing had happened.
    """
    outdir = outdir / desc if desc else outdir
    state, latest = None, flags["resume"] == "latest"
    if latest:
        state = load_state(outdir / STATE_FILE)
        flags["resume"] = from_dict(json.loads(state["config"])).resume
    config = resolve(cfg, **flags)
    if dry_run:
        click.echo(json.dumps(to_dict(config), indent=2))
        return
    check_ready(config, outdir, latest)
    device = pick_device(device)
    estimator = load_gaze_network(config.gaze, device)
    dataset = open_data(config)
    config = resolve(cfg, resolution=dataset.resolution, **flags)
    limit = None if stop_after_minutes is None else 60 * stop_after_minutes
    try:
        trainer = train(config, outdir, dataset, device, state, estimator, limit)
    except ResumeError as error:
        click.echo("\n".join(error.report), err=True)
        raise
    if trainer.images_seen < config.kimg * 1000:
        click.echo(f"stopped after {trainer.images_seen} images; the same command with --resume=latest goes on")


def check_ready(config: TrainConfig, outdir: Path, latest: bool) -> None:
    """What would otherwise only show after the data has been read."""
    if config.gpus > 1:
        raise ConfigError(f"--gpus={config.gpus}: several processes are not implemented yet (a later issue); use 1")
    if not config.data.path:
        raise ConfigError("--data is missing: give a zip or folder with dataset.json, or embedded")
    if config.resume is not None and not latest:
        open_checkpoint(config.resume)
    if (outdir / STATE_FILE).exists() and not latest:
        raise ConfigError(
            f"--outdir={outdir} holds a run; add --resume=latest to go on with it, or give another folder"
        )


def load_gaze_network(gaze: GazeLossConfig, device) -> GazeEstimator | None:
    """The network of the gaze term; at weight 0 it only scores, and one still to be made is left out."""
    path = EMBEDDED.get(gaze.l2cs_path)
    if not gaze.l2cs_path or (gaze.weight == 0 and path is not None and not path.is_file()):
        return None
    return GazeEstimator.load(gaze.l2cs_path, device)


def open_data(config: TrainConfig) -> ImageDataset:
    """The run's data set; the embedded one is rendered on its first use."""
    path = embedded_faces() if config.data.path == "embedded" else Path(config.data.path)
    return ImageDataset(path, config.data.mirror, config.data.workers)


if __name__ == "__main__":
    main()
