"""Gaze-face alignment of a generator, judged by one gaze network or two."""

import click

from eg3d import cli
from eg3d.checkpoint import gaze_network_of, load_generator
from eg3d.gaze import CROPS
from eg3d.metrics.gfas import gaze_face_alignments
from eg3d.models.precision import set_precision
from eg3d.views import render_views
from l2cs.estimator import GazeEstimator

SCORES, JUDGE = "l2cs_path", "judge"


@click.command(cls=cli.Command)
@cli.network_option
@click.option("--l2cs-path", required=True, help="Gaze network that scores: a weights file, `embedded` or a judge.")
@click.option("--judge", help="A second gaze network, for example `embedded-judge`, that scores the same pictures.")
@click.option(
    "--seeds", "--seed", type=cli.DISTINCT_SEEDS, default="0-1023", show_default=True, help="For example 0,1,4-6."
)
@cli.look_options
@click.option("--crop", type=click.Choice(CROPS), default="none", show_default=True, help="What the networks see.")
@click.option("--batch", type=click.IntRange(min=1), default=8, show_default=True, help="Seeds rendered at a time.")
@cli.precision_option
@cli.ops_option
@cli.device_option
@cli.json_option
def main(network, l2cs_path, judge, seeds, trunc, trunc_cutoff, fov_deg, crop, batch, precision, device, json_path):
    """Gaze-face alignment score (GFAS): do the eyes look where the face looks? Lower is better; slope 1 is best.

    Three views of every seed, as published: yaw +0.4, 0 and -0.4, a little from above.
    """
    device = cli.pick_device(device)
    cli.check_writable(json_path, "--json")
    paths = {SCORES: l2cs_path} | ({JUDGE: judge} if judge else {})
    estimators = {name: GazeEstimator.load(path, device) for name, path in paths.items()}
    G = set_precision(load_generator(network, device), precision)
    trained_with = gaze_network_of(network)
    for name, estimator in estimators.items():
        if estimator.sha256 == trained_with:
            flag = name.replace("_", "-")
            click.echo(f"warning: {network} was trained against --{flag}={paths[name]}; let another judge it", err=True)
    views = render_views(G, seeds, truncation_psi=trunc, truncation_cutoff=trunc_cutoff, fov_deg=fov_deg,
                         batch_size=batch, progress="GFAS")  # fmt: skip
    reports = gaze_face_alignments(views, estimators, crop)
    for name, report in reports.items():
        click.echo(f"{paths[name]}, {report.seeds} seeds x {len(report.views)} views")
        click.echo("\n".join("  " + line for line in report.lines()))
    cli.write_json(json_path, {"network": network} | {name: report.to_dict() for name, report in reports.items()})


if __name__ == "__main__":
    main()
