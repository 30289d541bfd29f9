"""The same seeds from two generators side by side, and the GFAS of each; on request a page to turn them."""

import shlex
import sys
from pathlib import Path

import click

from eg3d.checkpoints.loading import gaze_network_of, load_generator, locate, short_names
from eg3d.gaze.crop import CROPS
from eg3d.gaze.networks import load_gaze_network
from eg3d.metrics.gfas import GazeTally, GfasReport
from eg3d.ops.precision import set_precision
from eg3d.pictures.layout import before_after_sheet, side_by_side, to_uint8, write_png
from eg3d.pictures.report import (
    NO_FRECHET,
    TURN_CAMERAS,
    Subject,
    is_frechet,
    judges_of,
    measured_of,
    shown_seeds,
    turns_of,
    write_report,
)  # fmt: skip
from eg3d.pictures.views import GFAS_CAMERAS, render_views
from eg3d.running import cli
from groundwork.files import sha256

FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(cls=cli.Command)
@cli.network_option
@click.option("--network2", required=True, help="The generator to compare it with, given in the same ways.")
@click.option("--l2cs-path", required=True, help="Gaze network that scores: a weights file, or embedded-judge.")
@click.option("--seeds", "--seed", type=cli.DISTINCT_SEEDS, required=True, help="For example 0,1,4-6.")
@click.option("--outdir", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder for the files.")
@cli.view_options
@click.option("--crop", type=click.Choice(CROPS), default="none", show_default=True, help="What the gaze network sees.")
@click.option("--report", type=FILE, help="Also write this HTML page, which needs no network.")
@click.option("--report-seeds", type=click.IntRange(min=1), default=24, show_default=True, help="Heads in the page.")
@click.option("--scores", type=FILE, multiple=True,
              help="For the page: scores of these networks, by calc_metrics.py --json; may be repeated.")  # fmt: skip
@click.option("--batch", type=click.IntRange(min=1), default=4, show_default=True, help="Seeds rendered at a time.")
@cli.precision_option
@cli.ops_option
@cli.device_option
@cli.json_option
def main(
    network, network2, l2cs_path, seeds, outdir, trunc, trunc_cutoff, fov_deg, crop, report, report_seeds, scores,
    batch, precision, device, json_path,
):  # fmt: skip
    """Two generators side by side, --network left, seed0000_compare_0.png to _2.png from three views; GFAS of each.

    Also compare.png: the first heads, --network above.
    """
    for path, flag in ((report, "--report"), (json_path, "--json")):
        cli.check_writable(path, flag)
    cli.check_writable(outdir, "--outdir", folder=True)
    device, names = cli.pick_device(device), (network, network2)
    hashes = [sha256(locate(name)) for name in names]
    measured = measured_of(scores, hashes)
    estimator = load_gaze_network(l2cs_path, device)
    for name in names:
        if estimator.sha256 == gaze_network_of(name):
            click.echo(f"warning: {name} was trained against --l2cs-path={l2cs_path}; let another judge it", err=True)
    generators = [set_precision(load_generator(name, device), precision) for name in names]
    left, right = (G.img_resolution for G in generators)
    if left != right:
        raise ValueError(f"--network={network} draws {left} px, --network2={network2} {right} px; "
                         "only pictures of one size can be compared")  # fmt: skip
    look = {"truncation_psi": trunc, "truncation_cutoff": trunc_cutoff, "fov_deg": fov_deg, "batch_size": batch}

    short = short_names(names)
    found = compare(generators, seeds, estimator, crop, outdir, short, look)
    for name, result in zip(names, found, strict=True):
        click.echo(f"{name}: GFAS {result.gfas_mse_sum:.4f}, of {result.seeds} seeds")
        click.echo("\n".join("  " + line for line in result.lines()))
    settings = {"l2cs_path": l2cs_path, "trunc": trunc, "trunc_cutoff": trunc_cutoff, "fov_deg": fov_deg}
    cli.write_json(json_path, settings | {
        flag: {"file": name, "sha256": digest} | result.to_dict()
        for flag, name, digest, result in zip(("network", "network2"), names, hashes, found, strict=True)
    })  # fmt: skip
    if report:
        shown = shown_seeds(found, report_seeds)
        turns = [turns_of(render_views(G, shown, TURN_CAMERAS, progress="report", **look), estimator, crop)
                 for G in generators]  # fmt: skip
        subjects = [Subject(*parts) for parts in zip(short, found, turns, measured, strict=True)]
        command = " ".join(["gen_samples_compare.py", *map(shlex.quote, sys.argv[1:])])
        made = {
            "command": command,
            "gaze network": f"{l2cs_path}, sha256 {estimator.sha256}",
            "truncation": f"psi {trunc:g}, cutoff {trunc_cutoff}, field of view {fov_deg:g} degrees",
        }
        files = {name: f"sha256 {digest}" for name, digest in zip(names, hashes, strict=True)}
        write_report(report, subjects, made | judges_of(scores) | files)
        if not any(is_frechet(name) for scores_of in measured for name in scores_of):
            click.echo(NO_FRECHET)
        click.echo(f"look at {report}")
    click.echo(f"look at {outdir / 'compare.png'}")


def compare(generators, seeds, estimator, crop, outdir, names, look) -> list[GfasReport]:
    """Writes the pictures while they are scored; every view is rendered once."""
    tallies, first = [GazeTally(estimator, crop) for _ in generators], []
    films = [render_views(G, seeds, progress=name, **look) for G, name in zip(generators, names, strict=True)]
    for pair in zip(*films, strict=True):
        for tally, views in zip(tallies, pair, strict=True):
            tally.add(views)
        for (seed, left), (_, right) in zip(*(views.by_seed() for views in pair), strict=True):
            for i, both in enumerate(zip(to_uint8(left), to_uint8(right), strict=True)):
                write_png(outdir / f"seed{seed:04d}_compare_{i}.png", side_by_side(both))
            first += [(left, right)][: 4 - len(first)]
    found = [tally.report() for tally in tallies]
    captions = [f"{name}: slope of the eyes {result.slope:.2f}   (0: they follow the camera, 1: the face)"
                for name, result in zip(names, found, strict=True)]  # fmt: skip
    before, after = zip(*first, strict=True)
    write_png(outdir / "compare.png", before_after_sheet(before, after, captions, [yaw for yaw, _ in GFAS_CAMERAS]))
    return found


if __name__ == "__main__":
    main()
