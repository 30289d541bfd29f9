"""Draws docs/eye_field.png: heads from three cameras, each with the base's own eyes and with four gazes."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import click

from eg3d.checkpoints.loading import load_generator
from eg3d.pictures.gaze_grid import gaze_grid
from eg3d.pictures.layout import write_png
from eg3d.running import cli
from groundwork.places import OUTPUT_PICTURE


@click.command(cls=cli.Command)
@cli.network_option
@click.option("--seeds", type=cli.DISTINCT_SEEDS, default="0,2,5,6", show_default=True, help="Heads, one row each.")
@click.option("--output", type=OUTPUT_PICTURE, default="docs/eye_field.png", show_default=True, help="The picture.")
@cli.compute_options
def main(network, seeds, output, precision, device):
    """Columns: the base's own picture, then each gaze, from three cameras each. Rows: heads."""
    write_png(output, gaze_grid(load_generator(network, cli.pick_device(device), precision), seeds))
    click.echo(f"look at {output}")


if __name__ == "__main__":
    main()
