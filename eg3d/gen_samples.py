"""Pictures, and on request shapes, of a generator for given seeds."""

from pathlib import Path

import click

from eg3d import cli
from eg3d.checkpoint import load_generator
from eg3d.models.precision import set_precision
from eg3d.pictures import side_by_side, to_uint8, write_png
from eg3d.shapes import DENSITY_LEVEL, density_grid, generator_field, surface, write_mrc, write_ply
from eg3d.views import FFHQ_FOV_DEG, render_views, styles_of_seeds


@click.command(cls=cli.Command)
@cli.network_option
@click.option("--seeds", "--seed", type=cli.SEEDS, required=True, help="For example 0,1,4-6.")
@click.option("--outdir", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder for the files.")
@click.option(
    "--trunc", type=float, callback=cli.finite, default=0.7, show_default=True, help="Truncation psi; 1 turns it off."
)
@click.option("--trunc-cutoff", type=click.IntRange(min=0), default=14, show_default=True, help="Rows of ws truncated.")
@click.option(
    "--fov-deg",
    type=click.FloatRange(1, 120),
    callback=cli.finite,
    default=FFHQ_FOV_DEG,
    show_default=True,
    help="Field of view.",
)
@click.option("--shapes", type=bool, is_flag=False, flag_value=True, default=False, help="Also write the density.")
@click.option("--shape-res", type=click.IntRange(min=4), default=512, show_default=True, help="Voxels per side.")
@click.option("--shape-format", type=click.Choice([".mrc", ".ply"]), default=".mrc", show_default=True,
              help="Volume of densities, or mesh; both in world units.")  # fmt: skip
@click.option(
    "--shape-level",
    type=float,
    callback=cli.finite,
    default=DENSITY_LEVEL,
    show_default=True,
    help="Raw density of the .ply.",
)
@click.option("--batch", type=click.IntRange(min=1), default=4, show_default=True, help="Seeds rendered at a time.")
@cli.precision_option
@cli.ops_option
@cli.device_option
def main(
    network, seeds, outdir, trunc, trunc_cutoff, fov_deg, shapes, shape_res, shape_format, shape_level, batch,
    precision, device,
):  # fmt: skip
    """Three views of every seed side by side, seed0000.png; with --shapes also seed0000.mrc or seed0000.ply.

    The same command writes the same files: nothing is drawn at random but the seeds' latents.
    """
    cli.check_writable(outdir, "--outdir", folder=True)
    G = set_precision(load_generator(network, cli.pick_device(device)), precision)
    look = {"truncation_psi": trunc, "truncation_cutoff": trunc_cutoff, "fov_deg": fov_deg}
    for views in render_views(G, seeds, batch_size=batch, progress="pictures", **look):
        for seed, images in views.by_seed():
            write_png(outdir / f"seed{seed:04d}.png", side_by_side(to_uint8(images)))
    for seed in seeds if shapes else []:
        ws = styles_of_seeds(G, [seed], **look)
        side = G.rendering_kwargs["box_warp"]
        volume = density_grid(generator_field(G, ws), shape_res, side, device=ws.device, progress=f"shape {seed}")
        path = outdir / f"seed{seed:04d}{shape_format}"
        if shape_format == ".ply":
            write_ply(path, surface(volume, side, shape_level))
        else:
            write_mrc(path, volume, side)
    click.echo(f"{len(seeds)} seed{'s' * (len(seeds) != 1)} in {outdir}")


if __name__ == "__main__":
    main()
