"""Gaze-face alignment of a generator, judged by one gaze network or two."""

import click

from eg3d.checkpoints.loading import gaze_network_of, load_generator, locate
from eg3d.gaze.crop import CROPS
from eg3d.gaze.networks import GazeNetwork, load_gaze_network
from eg3d.metrics.gfas import GazeTally, Readings
from eg3d.ops.precision import set_precision
from eg3d.pictures.views import render_batch
from eg3d.running import cli, distributed, processes
from groundwork.files import sha256

SCORES, JUDGE = "l2cs_path", "judge"


@click.command(cls=cli.Command)
@cli.network_option
@click.option("--l2cs-path", required=True, help="Gaze network that scores: a weights file, `embedded` or a judge.")
@click.option("--judge", help="A second gaze network, for example `embedded-judge`, that scores the same pictures.")
@click.option(
    "--seeds", "--seed", type=cli.DISTINCT_SEEDS, default="0-1023", show_default=True, help="For example 0,1,4-6."
)
@cli.view_options
@click.option("--crop", type=click.Choice(CROPS), default="none", show_default=True, help="What the networks see.")
@click.option("--batch", type=click.IntRange(min=1), default=8, show_default=True, help="Seeds rendered at a time.")
@cli.precision_option
@cli.ops_option
@cli.process_options
@cli.json_option
def main(**options):
    """Gaze-face alignment score (GFAS): do the eyes look where the face looks? Lower is better; slope 1 is best.

    Three views of every seed, as published: yaw +0.4, 0 and -0.4, a little from above.
    """
    processes.start(run, check, **options)


def check(json_path, **_) -> None:
    cli.check_writable(json_path, "--json")


def run(network, l2cs_path, judge, seeds, trunc, trunc_cutoff, fov_deg, crop, batch, precision, device, json_path):
    """What each process does."""
    paths = {SCORES: l2cs_path} | ({JUDGE: judge} if judge else {})
    estimators = distributed.together(lambda: {name: load_gaze_network(path, device) for name, path in paths.items()})
    G = distributed.first_of_each_machine(lambda: set_precision(load_generator(network, device), precision))
    distributed.by_first(lambda: warn_of_own_judges(network, paths, estimators))
    tallies = {name: GazeTally(estimator, crop) for name, estimator in estimators.items()}

    def read(part: list[int]) -> list[Readings]:
        views = render_batch(G, part, truncation_psi=trunc, truncation_cutoff=trunc_cutoff, fov_deg=fov_deg)
        return [tally.read(views) for tally in tallies.values()]

    for found in processes.batches(seeds, batch, read, "GFAS", "seed"):
        for tally, readings in zip(tallies.values(), found, strict=True):
            tally.take(readings)
    if distributed.rank() == 0:
        reports = {name: tally.report() for name, tally in tallies.items()}
        for name, report in reports.items():
            click.echo(f"{paths[name]}, {report.seeds} seeds x {len(report.views)} views")
            click.echo("\n".join("  " + line for line in report.lines()))
        facts = {"network": network, "network_sha256": sha256(locate(network)), "trunc": trunc,
                 "trunc_cutoff": trunc_cutoff, "fov_deg": fov_deg}  # fmt: skip
        cli.write_json(json_path, facts | {name: report.to_dict() for name, report in reports.items()})


def warn_of_own_judges(network: str, paths: dict[str, str], estimators: dict[str, GazeNetwork]) -> None:
    """Says so where a gaze network judges the generator that was trained against it."""
    trained_with = gaze_network_of(network)
    for name, estimator in estimators.items():
        if estimator.sha256 == trained_with:
            flag = name.replace("_", "-")
            click.echo(f"warning: {network} was trained against --{flag}={paths[name]}; let another judge it", err=True)


if __name__ == "__main__":
    main()
