"""The heads of a generator whose eyes look where the face looks: pictures sorted by GFAS."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import os
import re
import tempfile
from pathlib import Path

import click

from eg3d.checkpoints.loading import load_generator, network_facts
from eg3d.gaze.crop import CROPS
from eg3d.gaze.networks import check_always_answers
from eg3d.metrics.gfas import GazeTally
from eg3d.pictures.aims import aim_eyes, aim_facts
from eg3d.pictures.layout import side_by_side, to_uint8, write_png
from eg3d.pictures.views import render_views
from eg3d.running import cli
from eg3d.scores.judges import load_gaze_judges
from groundwork.places import GAZE_NETWORK

SORTED = re.compile(r"sorted_\d{4,}_seed\d{4,}\.png")


@click.command(cls=cli.Command)
@cli.network_option
@click.option("--l2cs-path", type=GAZE_NETWORK, required=True,
              help="Gaze network that scores: a weights file, embedded-judge or people-judge.")  # fmt: skip
@cli.outdir_option(["sorted_*_seed*.png"])
@click.option("--seeds", "--seed", type=cli.DISTINCT_SEEDS, default="0-1023", show_default=True, help="As 0,1,4-6.")
@cli.view_options
@cli.gaze_option
@click.option("--crop", type=click.Choice(CROPS), default="none", show_default=True, help="What the gaze network sees.")
@cli.batch_option(4)
@cli.compute_options
@cli.json_option
@cli.drawing_options_without_effect
@cli.shape_options_without_effect
def main(network, l2cs_path, outdir, seeds, view, gaze, crop, batch, precision, device, json_path):
    """Three views of every seed side by side, best first: sorted_0000_seed0042.png has the lowest GFAS.

    Every view is rendered once and scored as it is written. The pictures take their names at the end, all together;
    sorted pictures of an earlier run in the same folder are replaced.
    """
    check_always_answers(l2cs_path, f"--l2cs-path={l2cs_path}")
    device = cli.pick_device(device)
    (judge,) = load_gaze_judges({"l2cs_path": l2cs_path}, [network], device).values()
    G, tally = load_generator(network, device, precision), GazeTally(judge, crop)
    aim_eyes([G], gaze)
    outdir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".sorting.", dir=outdir) as folder:
        unsorted = {seed: Path(folder) / f"{seed}.png" for seed in seeds}
        for views in render_views(G, seeds, view=view, batch_size=batch, progress="pictures"):
            tally.add(views)
            for seed, images in views.by_seed():
                write_png(unsorted[seed], side_by_side(to_uint8(images)))
        report = tally.report()
        earlier = [file for file in outdir.iterdir() if SORTED.fullmatch(file.name)]
        for file in earlier:
            file.unlink()
        order = sorted(seeds, key=lambda seed: (report.per_seed_mse_sum[seed], seed))
        for rank, seed in enumerate(order):
            os.replace(unsorted[seed], outdir / f"sorted_{rank:04d}_seed{seed:04d}.png")
    cli.write_json(
        json_path, network_facts(network) | view.facts() | aim_facts(gaze) | {"order": order} | report.to_dict()
    )
    again = f", in place of {len(earlier)} of an earlier run" if earlier else ""
    click.echo(f"{len(order)} pictures in {outdir}, best first{again}")
    click.echo(f"GFAS {report.gfas_mse_sum:.4f}; best seed {order[0]}: {report.per_seed_mse_sum[order[0]]:.4f}, "
               f"worst seed {order[-1]}: {report.per_seed_mse_sum[order[-1]]:.4f}")  # fmt: skip


if __name__ == "__main__":
    main()
