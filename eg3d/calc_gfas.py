"""Gaze-face alignment of a generator, judged by one gaze network or two."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import click

from eg3d.checkpoints.loading import load_generator, network_facts
from eg3d.gaze.crop import CROPS
from eg3d.metrics.gfas import GazeTally, Readings
from eg3d.pictures.aims import aim_eyes, aim_facts
from eg3d.pictures.views import render_batch
from eg3d.running import cli, distributed, processes
from eg3d.scores.judges import load_gaze_judges
from groundwork.places import GAZE_JUDGE


@click.command(cls=cli.Command)
@cli.network_option
@click.option("--l2cs-path", type=GAZE_JUDGE, required=True,
              help="Gaze network that scores: a weights file, embedded, people, a judge, iris (photos).")  # fmt: skip
@click.option("--judge", type=GAZE_JUDGE,
              help="A second gaze network, as `people-judge` or `iris`, that scores the same pictures.")  # fmt: skip
@click.option(
    "--seeds", "--seed", type=cli.DISTINCT_SEEDS, default="0-1023", show_default=True, help="For example 0,1,4-6."
)
@cli.view_options
@cli.gaze_option
@click.option("--crop", type=click.Choice(CROPS), default="none", show_default=True, help="What the networks see.")
@cli.batch_option(8)
@cli.shared_compute_options
@cli.json_option
@cli.drawing_options_without_effect
@cli.shape_options_without_effect
def main(**options):
    """Gaze-face alignment score (GFAS): do the eyes look where the face looks? Lower is better; slope 1 is best.

    Three views of every seed, as published: yaw +0.4, 0 and -0.4, a little from above.
    """
    processes.start(run, check, **options)


def check(**_) -> None:
    """Options say themselves what they are; there is nothing that contradicts another."""


def run(network, l2cs_path, judge, seeds, view, gaze, crop, batch, precision, device, json_path):
    """What each process does."""
    paths = {"l2cs_path": l2cs_path} | ({"judge": judge} if judge else {})
    judges = load_gaze_judges(paths, [network], device)
    G = distributed.first_of_each_machine(lambda: load_generator(network, device, precision))
    aim_eyes([G], gaze)
    tallies = {name: GazeTally(judge, crop) for name, judge in judges.items()}

    def read(part: list[int]) -> list[Readings]:
        views = render_batch(G, part, view=view)
        return [tally.read(views) for tally in tallies.values()]

    for found in processes.batches(seeds, batch, read, "GFAS", "seed"):
        for tally, readings in zip(tallies.values(), found, strict=True):
            tally.take(readings)
    if distributed.rank() > 0:
        return
    reports = {name: tally.report() for name, tally in tallies.items()}
    for name, report in reports.items():
        click.echo(f"{paths[name]}, {report.seeds} seeds x {len(report.views)} views")
        click.echo("\n".join("  " + line for line in report.lines()))
    scores = {name: report.to_dict() for name, report in reports.items()}
    cli.write_json(json_path, network_facts(network) | view.facts() | aim_facts(gaze) | scores)


if __name__ == "__main__":
    main()
