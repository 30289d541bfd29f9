"""Pictures, and on request shapes, of a generator for given seeds."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import click

from eg3d.checkpoints.loading import load_generator
from eg3d.pictures.aims import aim_eyes
from eg3d.pictures.layout import side_by_side, to_uint8, write_png
from eg3d.pictures.shapes import write_shape
from eg3d.pictures.views import render_views, ws_of_seeds
from eg3d.running import cli


@click.command(cls=cli.Command)
@cli.network_option
@click.option("--seeds", "--seed", type=cli.SEEDS, required=True, help="For example 0,1,4-6.")
@cli.outdir_option(["seed[0-9]*.png"])
@cli.view_options
@cli.gaze_option
@cli.shape_options(".mrc")
@cli.batch_option(4)
@cli.compute_options
@cli.drawing_options_without_effect
def main(network, seeds, outdir, view, gaze, shapes, batch, precision, device):
    """Three views of every seed side by side, seed0000.png; with --shapes also seed0000.mrc or a mesh.

    The same command writes the same files: nothing is drawn at random but the seeds' latents.
    """
    G = load_generator(network, cli.pick_device(device), precision)
    aim_eyes([G], gaze)
    for views in render_views(G, seeds, view=view, batch_size=batch, progress="pictures"):
        for seed, images in views.by_seed():
            write_png(outdir / f"seed{seed:04d}.png", side_by_side(to_uint8(images)))
    for seed in seeds if shapes else []:
        ws = ws_of_seeds(G, [seed], view)
        write_shape(outdir / f"seed{seed:04d}", G, ws, shapes, f"shape {seed}")
    click.echo(f"{len(seeds)} seed{'s' * (len(seeds) != 1)} in {outdir}")


if __name__ == "__main__":
    main()
