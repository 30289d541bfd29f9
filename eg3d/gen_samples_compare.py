"""The same seeds from two generators side by side, and the GFAS of each; on request a page to turn them."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import shlex
import sys

import click

from eg3d.checkpoints.loading import load_generator, locate, short_names
from eg3d.gaze.crop import CROPS
from eg3d.gaze.networks import check_always_answers
from eg3d.models.eye_field import is_aimed
from eg3d.pictures.aims import aim_eyes, aim_facts
from eg3d.pictures.comparison import SHEET_HEADS, Comparison
from eg3d.pictures.gaze_grid import gaze_grid
from eg3d.pictures.layout import write_png
from eg3d.pictures.report import NO_FRECHET, is_frechet, judges_of, measured_of, write_report
from eg3d.running import cli
from eg3d.scores.judges import load_gaze_judges
from groundwork.files import sha256
from groundwork.places import GAZE_NETWORK, GENERATOR, INPUT_FILE


@click.command(cls=cli.Command)
@cli.network_option
@click.option(
    "--network2", type=GENERATOR, required=True, help="The generator to compare it with, given in the same ways."
)
@click.option("--l2cs-path", type=GAZE_NETWORK, required=True,
              help="Gaze network that scores: a weights file, embedded-judge or people-judge.")  # fmt: skip
@click.option("--seeds", "--seed", type=cli.DISTINCT_SEEDS, required=True, help="For example 0,1,4-6.")
@cli.outdir_option(["seed[0-9]*_compare_?.png", "compare.png", "gaze.png", "gaze2.png"])
@cli.view_options
@cli.gaze_option
@click.option("--crop", type=click.Choice(CROPS), default="none", show_default=True, help="What the gaze network sees.")
@click.option("--report", type=cli.OUTPUT_FILE, help="Also write this HTML page, which needs no network.")
@click.option("--report-seeds", type=click.IntRange(min=1), default=24, show_default=True, help="Heads in the page.")
@click.option("--scores", type=INPUT_FILE, multiple=True,
              help="For the page: scores of these networks, by calc_metrics.py --json; may be repeated.")  # fmt: skip
@cli.batch_option(4)
@cli.compute_options
@cli.json_option
@cli.drawing_options_without_effect
@cli.shape_options_without_effect
def main(network, network2, l2cs_path, seeds, outdir, view, gaze, crop, report, report_seeds, scores, batch, precision,
         device, json_path):  # fmt: skip
    """Two generators side by side, --network left, seed0000_compare_0.png to _2.png from three views; GFAS of each.

    Also compare.png: the first heads, --network above. If the gaze of one can be set, also gaze.png, or gaze2.png for
    --network2: the first heads with several gazes, from three cameras each.
    """
    check_always_answers(l2cs_path, f"--l2cs-path={l2cs_path}")
    device, names = cli.pick_device(device), (network, network2)
    hashes = [sha256(locate(name)) for name in names]
    measured = measured_of(scores, hashes)
    (judge,) = load_gaze_judges({"l2cs_path": l2cs_path}, names, device).values()
    generators = [load_generator(name, device, precision) for name in names]
    aim_eyes(generators, gaze)
    left, right = (G.img_resolution for G in generators)
    if left != right:
        raise ValueError(f"--network={network} draws {left} px, --network2={network2} {right} px; "
                         "only pictures of one size can be compared")  # fmt: skip
    comparison = Comparison(generators, short_names(names), judge, crop, view, batch)
    found = comparison.write_pictures(seeds, outdir)
    for name, result in zip(names, found, strict=True):
        click.echo(f"{name}: GFAS {result.gfas_mse_sum:.4f}, of {result.seeds} seeds")
        click.echo("\n".join("  " + line for line in result.lines()))
    for name, G in zip(("gaze.png", "gaze2.png"), generators, strict=True):
        if is_aimed(G):
            write_png(outdir / name, gaze_grid(G, seeds[:SHEET_HEADS], view))
            click.echo(f"look at {outdir / name}")
    facts = {"l2cs_path": l2cs_path} | view.facts() | aim_facts(gaze)
    for flag, name, digest, result in zip(("network", "network2"), names, hashes, found, strict=True):
        facts[flag] = {"file": name, "sha256": digest} | result.to_dict()
    cli.write_json(json_path, facts)
    if report:
        made = {
            "command": shlex.join(["gen_samples_compare.py", *sys.argv[1:]]),
            "gaze network": f"{l2cs_path}, sha256 {judge.sha256}",
            "truncation": f"psi {view.psi:g}, cutoff {view.cutoff}, field of view {view.fov_deg:g} degrees",
        }
        files = {name: f"sha256 {digest}" for name, digest in zip(names, hashes, strict=True)}
        subjects = comparison.subjects(found, measured, report_seeds)
        write_report(report, subjects, made | judges_of(scores) | files)
        if not any(is_frechet(name) for scores_of in measured for name in scores_of):
            click.echo(NO_FRECHET)
        click.echo(f"look at {report}")
    click.echo(f"look at {outdir / 'compare.png'}")


if __name__ == "__main__":
    main()
