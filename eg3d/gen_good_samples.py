"""The heads of a generator whose eyes look where the face looks: pictures sorted by GFAS."""

import os
import re
import tempfile
from pathlib import Path

import click

from eg3d.checkpoints.loading import gaze_network_of, load_generator, locate
from eg3d.gaze.crop import CROPS
from eg3d.gaze.networks import load_gaze_network
from eg3d.metrics.gfas import GazeTally
from eg3d.ops.precision import set_precision
from eg3d.pictures.layout import side_by_side, to_uint8, write_png
from eg3d.pictures.views import render_views
from eg3d.running import cli
from groundwork.files import sha256

SORTED = re.compile(r"sorted_\d{4,}_seed\d{4,}\.png")


@click.command(cls=cli.Command)
@cli.network_option
@click.option("--l2cs-path", required=True, help="Gaze network that scores: a weights file, or embedded-judge.")
@click.option("--outdir", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder for the files.")
@click.option("--seeds", "--seed", type=cli.DISTINCT_SEEDS, default="0-1023", show_default=True, help="As 0,1,4-6.")
@cli.view_options
@click.option("--crop", type=click.Choice(CROPS), default="none", show_default=True, help="What the gaze network sees.")
@click.option("--batch", type=click.IntRange(min=1), default=4, show_default=True, help="Seeds rendered at a time.")
@cli.precision_option
@cli.ops_option
@cli.device_option
@cli.json_option
def main(
    network, l2cs_path, outdir, seeds, trunc, trunc_cutoff, fov_deg, crop, batch, precision, device, json_path
):  # fmt: skip
    """Three views of every seed side by side, best first: sorted_0000_seed0042.png has the lowest GFAS.

    Every view is rendered once and scored as it is written. The pictures take their names at the end, all together;
    sorted pictures of an earlier run in the same folder are replaced.
    """
    cli.check_writable(outdir, "--outdir", folder=True)
    cli.check_writable(json_path, "--json")
    device = cli.pick_device(device)
    estimator = load_gaze_network(l2cs_path, device)
    G = set_precision(load_generator(network, device), precision)
    if estimator.sha256 == gaze_network_of(network):
        click.echo(f"warning: {network} was trained against --l2cs-path={l2cs_path}; let another judge it", err=True)
    tally = GazeTally(estimator, crop)
    outdir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".sorting.", dir=outdir) as folder:
        unsorted = {seed: Path(folder) / f"{seed}.png" for seed in seeds}
        for views in render_views(G, seeds, truncation_psi=trunc, truncation_cutoff=trunc_cutoff, fov_deg=fov_deg,
                                  batch_size=batch, progress="pictures"):  # fmt: skip
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
    facts = {"network": network, "network_sha256": sha256(locate(network)), "trunc": trunc,
             "trunc_cutoff": trunc_cutoff, "fov_deg": fov_deg, "order": order}  # fmt: skip
    cli.write_json(json_path, facts | report.to_dict())
    again = f", in place of {len(earlier)} of an earlier run" if earlier else ""
    click.echo(f"{len(order)} pictures in {outdir}, best first{again}")
    click.echo(f"GFAS {report.gfas_mse_sum:.4f}; best seed {order[0]}: {report.per_seed_mse_sum[order[0]]:.4f}, "
               f"worst seed {order[-1]}: {report.per_seed_mse_sum[order[-1]]:.4f}")  # fmt: skip


if __name__ == "__main__":
    main()
