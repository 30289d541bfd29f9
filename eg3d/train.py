"""Trains a 3D GAN, with or without the gaze term: see `--help`, and eg3d/training/loop.py for what happens."""

import contextlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import torch

from eg3d.checkpoints.loading import load_state, open_checkpoint
from eg3d.config.augmentation import MODES, PIPES
from eg3d.config.flags import resolve
from eg3d.config.presets import PRESETS
from eg3d.config.run import ConfigError, TrainConfig, check_same_run, from_dict, to_dict
from eg3d.data.dataset import ImageDataset
from eg3d.gaze.term import CROPS, KINDS, TARGETS, GazeLossConfig
from eg3d.metrics.registry import DETECTORS, NAMES
from eg3d.ops.kernels.backend import chosen, using
from eg3d.running import distributed
from eg3d.running.cli import Command, device_option, finite, ops_option, pick_device, precision_option
from eg3d.scores.snapshot_metrics import SnapshotMetrics
from eg3d.training.loop import train
from eg3d.training.records import check_tensorboard, held
from eg3d.training.resume import ResumeError
from eg3d.training.trainer import STATE_FILE, Trainer
from eg3d.world.rendered_sets import world_faces
from l2cs.estimator import WORLD_NETWORKS, GazeEstimator


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
        "address; latest: go on with the run in --outdir, which there must be.",
    ),
    setting("--gpus", POSITIVE, "Processes, one per GPU; under torchrun its number, left out."),
    setting("--batch", POSITIVE, "Images per step, over all processes."),
    setting("--batch-gpu", POSITIVE, "Images a process handles at once; the rest is accumulated."),
    setting("--gamma", REAL, "Weight of R1."),
    setting("--kimg", REAL, "Length of the run, in thousand images."),
    setting("--tick", REAL, "Thousand images between two lines of stats.jsonl."),
    setting("--snap", POSITIVE, "Ticks between two snapshots."),
    setting("--keep", POSITIVE, "How many of the last snapshots stay, besides the one with the best gaze score."),
    setting("--state-minutes", REAL, "Time between two states to go on from, where snapshots are further apart."),
    setting("--bad-steps", POSITIVE, "Steps in a row with a loss that is not finite, until the run stops."),
    setting("--tensorboard", bool, "Also write every line of stats.jsonl for TensorBoard."),
    setting("--seed", int, "Seed of every random draw."),
    setting("--workers", POSITIVE, "Threads that decode images."),
    setting("--nobench", bool, "Do not let cuDNN time its algorithms."),
    setting("--cond", bool, "Condition on cameras; only True can be trained."),
    setting("--mirror", bool, "Use each image mirrored too, its camera mirrored with it."),
    setting("--aug", click.Choice(MODES), "Augmentation of what the discriminator sees: none, adaptive or fixed."),
    setting(
        "--augpipe", click.Choice(list(PIPES)), "What may change; colour moves no pixel, so that cameras stay true."
    ),
    setting("--p", UNIT, "Strength of --aug=fixed."),
    setting("--target", UNIT, "Mean sign of D(real) that --aug=ada holds."),
    setting(
        "--metrics",
        str,
        f"Metrics at snapshots, besides the gaze score by --l2cs-path: a comma list of {', '.join(NAMES)}; or none.",
    ),
    setting("--num-gen", POSITIVE, "Generated pictures per metric, named by it: 2000 of fid50k_full are fid2k_full."),
    setting("--detector", click.Choice(DETECTORS), "Whose features they compare, as in calc_metrics.py."),
    setting("--inception-weights", str, "torch-fidelity's weights-inception-2015-12-05-6726825d.pth."),
    setting("--vgg-weights", str, "torchvision's VGG16, for precision and recall."),
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
    setting("--gaze-mask", bool, "Let the gaze term change only what lies round the eyes."),
    setting("--gaze-cond-d", bool, "Tell the discriminator where the eyes look, besides the camera."),
    setting("--freeze-g", WHOLE, "Freeze the mapping network and so many blocks of the backbone, from 4 px on."),
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
@ops_option
@click.option("--desc", help="Name of a folder inside --outdir for this run.")
@device_option
@click.option(
    "--stop-after-minutes",
    type=REAL,
    callback=finite,
    help="Save and stop after this time; nothing else depends on it.",
)
@click.option(
    "--wait-minutes", type=click.FloatRange(0, 1e6, min_open=True), callback=finite, default=30, show_default=True,
    help="How long a process waits for another before the run ends.",
)  # fmt: skip
@click.option("-n", "--dry-run", is_flag=True, help="Print the configuration as JSON and stop.")
def main(outdir, cfg, desc, device, stop_after_minutes, wait_minutes, dry_run, **flags):
    """Trains EG3D on images with cameras; the gaze term (--gaze-weight) makes the eyes follow the face.

    A run that was stopped, killed or cut off goes on by the same command, as if nothing had happened. Ctrl-C and
    SIGTERM end the running step and save. Exit codes: 0 when --kimg are reached; 75, 130 or 143 when stopped by
    --stop-after-minutes, Ctrl-C or SIGTERM; 2 for an error that you can mend.
    """
    outdir = outdir / desc if desc else outdir
    flags["gpus"] = distributed.check_count(flags["gpus"])
    if dry_run:
        if distributed.first_started():
            click.echo(json.dumps(to_dict(read_flags(outdir, cfg, flags)[0]), indent=2))
        return
    count, device = flags["gpus"] or 1, pick_device(device)
    if count > 1 and not distributed.started_outside():
        prepare(outdir, cfg, flags)  # what is wrong shows before the processes start
    arguments = (outdir, cfg, flags, device, stop_after_minutes, chosen())
    sys.exit(distributed.launch(run, arguments, count, device, wait_minutes))


def prepare(outdir: Path, cfg: str, flags: dict) -> tuple[TrainConfig, dict | None]:
    """The configuration and the state of the run that `outdir` holds, None where there is none; all checked."""
    config, state = read_flags(outdir, cfg, flags)
    check_ready(config, first=state is None)
    return config, state


def read_flags(outdir: Path, cfg: str, flags: dict) -> tuple[TrainConfig, dict | None]:
    """What the flags ask for, compared with the state in `outdir` where there is one."""
    latest, path = flags["resume"] == "latest", outdir / STATE_FILE
    if not latest and not path.exists():
        return resolve(cfg, **flags), None
    state = load_state(path)
    saved = from_dict(json.loads(state["config"]))
    config = resolve(cfg, saved.generator.resolution, **flags | ({"resume": saved.resume} if latest else {}))
    check_same_run(saved, config)
    return config, state


def check_ready(config: TrainConfig, first: bool) -> None:
    """What would otherwise only show after the data has been read; `first`: it starts from the weights of `resume`."""
    if not config.data.path:
        raise ConfigError("--data is missing: give a zip or folder with dataset.json, or embedded")
    if config.watch.tensorboard:
        check_tensorboard()
    if config.resume is not None and first:
        open_checkpoint(config.resume)


def run(outdir: Path, cfg: str, flags: dict, device, stop_after_minutes: float | None, ops: str) -> int:
    """What each process of a run does; returns the exit code."""
    with contextlib.ExitStack() as stack:
        # Before the state is read, so that nobody writes another one meanwhile.
        distributed.by_first(lambda: stack.enter_context(held(outdir)))
        config, *state = distributed.large_from_first(lambda: prepare(outdir, cfg, flags))
        stack.enter_context(advice_on_memory(config))
        return run_in_folder(outdir, cfg, flags, config, state, device, stop_after_minutes, ops)


def run_in_folder(outdir, cfg, flags, config: TrainConfig, state: list, device, stop_after_minutes, ops: str) -> int:
    """`run` once the folder is this run's; `state` holds one thing, to be taken out, so that it can be freed."""
    device = distributed.device_of(device)
    estimator = distributed.together(lambda: load_gaze_network(config.gaze, device))
    dataset = distributed.first_of_each_machine(lambda: open_data(config))
    config = distributed.together(lambda: resolve(cfg, dataset.resolution, **flags | {"resume": config.resume}))
    distributed.by_first(lambda: dataset.identity(state[0]))  # before metrics read all of another data set
    limit = None if stop_after_minutes is None else 60 * stop_after_minutes
    measure = None if config.watch.metrics == "none" else SnapshotMetrics(config, dataset, device)
    try:
        with using(ops):
            trainer = train(config, outdir, dataset, device, state.pop(), estimator, limit, measure, locked=True)
    except ResumeError as error:
        click.echo("\n".join(error.report), err=True)
        raise
    if trainer.stop_code and distributed.rank() == 0:
        click.echo(f"stopped after {trainer.images_seen} images, {what_is_saved(trainer)}; the same command goes on")
    return trainer.stop_code


def what_is_saved(trainer: Trainer) -> str:
    """What the state on the disk holds after a stop."""
    if trainer.images_saved == trainer.images_seen:
        return "all saved"
    sick = "the last with a loss that is not finite"
    return f"{sick}; " + (f"{trainer.images_saved} are saved" if trainer.images_saved else "none are saved")


@contextlib.contextmanager
def advice_on_memory(config: TrainConfig) -> Iterator[None]:
    """Memory that has run out, of whatever device, as one ValueError of a line."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:  # torch.OutOfMemoryError is a RuntimeError
        text = str(error)
        known = isinstance(error, MemoryError | torch.OutOfMemoryError) or "DefaultCPUAllocator" in text
        if not known and "ALLOC_FAILED" not in text:  # of cuDNN and cuBLAS
            raise
        wanted = re.search(r"tried to allocate [\d.]+ \w+", text, re.IGNORECASE)
        raise ValueError(
            f"the memory ran out ({wanted[0].lower() if wanted else 'no more could be had'}): a process handles "
            f"{config.micro_batch} images at once; give a smaller --batch-gpu, which divides --batch={config.batch} "
            "(a run that has begun keeps its own: use another --outdir, with --resume=SNAPSHOT)"
        ) from None


def load_gaze_network(gaze: GazeLossConfig, device) -> GazeEstimator | None:
    """The network of the gaze term; at weight 0 it only scores, and one still to be made is left out."""
    path = WORLD_NETWORKS.get(gaze.l2cs_path)
    scores_only = gaze.weight == 0 and not gaze.cond_d
    if not gaze.l2cs_path or (scores_only and path is not None and not path.is_file()):
        return None
    return GazeEstimator.load(gaze.l2cs_path, device)


def open_data(config: TrainConfig) -> ImageDataset:
    """The run's data set; the embedded one is rendered on its first use."""
    path = world_faces() if config.data.path == "embedded" else Path(config.data.path)
    return ImageDataset(path, config.data.mirror, config.data.workers)


if __name__ == "__main__":
    main()
