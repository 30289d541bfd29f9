"""Trains a 3D GAN, with or without the gaze term: see `--help`, and eg3d/training/loop.py for what happens."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import contextlib
import json
import sys
from pathlib import Path

import click

from eg3d.config.command_line import GroupedCommand, with_flags
from eg3d.config.flags import GROUPS, TABLE, resolve
from eg3d.config.presets import PRESETS, ray_ranges
from eg3d.config.run import TrainConfig, to_dict
from eg3d.data.opening import open_dataset
from eg3d.gaze.term import GazeTerm
from eg3d.geometry.doubts import camera_doubts
from eg3d.ops.kernels.backend import chosen, using
from eg3d.running import distributed
from eg3d.running.cli import device_option, ops_option, pick_device
from eg3d.scores.snapshot_metrics import SnapshotMetrics
from eg3d.training.loop import train
from eg3d.training.preparation import advice_on_memory, notes, prepare, read_flags
from eg3d.training.resume import ResumeError
from eg3d.training.run_folder import OWN_NAMES
from groundwork.command import option_stack, tell, without_effect
from groundwork.held_folder import held
from groundwork.places import FOLDER, Output


def name_inside(ctx, param, value: str | None) -> str | None:
    """Callback of --desc: refuses what leads out of --outdir."""
    if value is not None and (Path(value).is_absolute() or ".." in Path(value).parts):
        raise click.BadParameter(f"'{value}' does not lie in --outdir; give a name without ..", ctx, param)
    return value


# Nothing is tried there: --dry-run leaves the disk alone, and a run says itself what is wrong with its folder.
RUN_FOLDER = Output(
    FOLDER, [f"{name}*" for name in OWN_NAMES], at=lambda path, arguments: path / (arguments["desc"] or ""),
    shares=["resume"], probed=False,
)  # fmt: skip
UNREAD = "the published code never reads it"
dead_options = option_stack(
    without_effect("--c-noise", UNREAD, type=float),
    without_effect("--sr_first_cutoff", UNREAD, type=float),
    without_effect("--sr_first_stopband", UNREAD, type=float),
)


@click.command(cls=GroupedCommand, headings=GROUPS)
@click.option("--outdir", type=RUN_FOLDER, required=True, help="Folder of the run.")
@click.option("--cfg", type=click.Choice(list(PRESETS)), required=True, help="Preset, for all that is not given.")
@with_flags(TABLE, PRESETS)
@ops_option
@click.option("--desc", callback=name_inside, help="Name of a folder inside --outdir for this run.")
@device_option
@dead_options
@click.option(
    "--stop-after-minutes",
    type=click.FloatRange(min=0),
    help="Save and stop after this time; nothing else depends on it.",
)
@click.option(
    "--wait-minutes", type=click.FloatRange(0, 1e6, min_open=True), default=30, show_default=True,
    help="How long a process waits for another before the run ends.",
)  # fmt: skip
@click.option("-n", "--dry-run", is_flag=True, help="Print the configuration as JSON and stop; no file is opened.")
def main(outdir, cfg, desc, device, stop_after_minutes, wait_minutes, dry_run, **flags):
    """Trains EG3D on images with cameras; the gaze term (--gaze-weight) makes the eyes follow the face.

    A run that was stopped, killed or cut off goes on by the same command, as if nothing had happened; --batch,
    --batch-gpu and --gpus may change. Ctrl-C and SIGTERM end the running step and save. Exit codes: 0 when --kimg are
    reached; 75, 130 or 143 when stopped by --stop-after-minutes, Ctrl-C or SIGTERM; 2 for an error that you can mend.
    """
    outdir = outdir / desc if desc else outdir
    flags["gpus"] = distributed.check_count(flags["gpus"])
    if dry_run:
        if distributed.first_started():
            config, state = read_flags(outdir, cfg, flags)
            tell(notes(config, flags, state))
            click.echo(json.dumps(to_dict(config), indent=2))
        return
    count, device = flags["gpus"] or 1, pick_device(device)
    if count != 1 and not distributed.started_outside():
        prepare(outdir, cfg, flags)  # what is wrong shows before the processes start
    arguments = (outdir, cfg, flags, device, stop_after_minutes, chosen())
    sys.exit(distributed.launch(run, arguments, count, device, wait_minutes))


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
    estimator = distributed.together(lambda: GazeTerm.load(config.gaze, device).network)
    dataset = distributed.first_of_each_machine(
        lambda: open_dataset(
            config.data.path, config.data.mirror, config.data.workers, skip_unmatched=config.data.skip_unmatched
        )
    )
    distributed.tell_once(dataset.notes)
    if state[0] is None:  # only now the size of the images is known
        config = distributed.together(lambda: resolve(cfg, dataset.resolution, **flags))
    distributed.tell_once([], camera_doubts(dataset.labels, ray_ranges(config.generator)))
    distributed.by_first(lambda: dataset.identity(state[0]))  # before metrics read all of another data set
    limit = None if stop_after_minutes is None else 60 * stop_after_minutes
    measure = None if config.watch.metrics == "none" else SnapshotMetrics(config, dataset, device)
    said = notes(config, flags, state[0])
    try:
        with using(ops):
            trainer, progress = train(
                config, outdir, dataset, device, state.pop(), estimator, limit, measure, locked=True, notes=said
            )
    except ResumeError as error:
        click.echo("\n".join(error.report), err=True)
        raise
    if progress.stop_code and distributed.rank() == 0:
        seen = trainer.images_seen
        click.echo(f"stopped after {seen} images, {progress.what_is_saved(seen)}; the same command goes on")
    return progress.stop_code


if __name__ == "__main__":
    main()
