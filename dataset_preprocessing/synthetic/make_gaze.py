"""Renders heads of known gaze in the GazeHub layout, to train and to test gaze networks."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import click

from eg3d.running.cli import Command, seed_option
from eg3d.world.contact_sheet import write_sheet
from eg3d.world.rendered_sets import write_gaze
from eg3d.world.worlds import SPLITS, WORLDS
from groundwork.places import FOLDER, OUTPUT_PICTURE, Output


@click.command(cls=Command)
@click.option("--outdir", type=Output(FOLDER, ("*",)), help="New folder to write.  [required without --sheet]")
@click.option("--world", type=click.Choice(WORLDS), default="cartoons", show_default=True, help="Whose heads.")
@click.option("--count", type=click.IntRange(min=10), default=8000, show_default=True, help="Number of images.")
@click.option(
    "--split", type=click.Choice(SPLITS), default="gaze-loss", show_default=True, help="Whose identities to draw."
)
@click.option("--size", type=click.IntRange(16, 1024), help="Width and height, pixels.  [default: 64; people: 128]")
@click.option("--sheet", type=OUTPUT_PICTURE, help="Also draw a contact sheet, a PNG file.")
@seed_option
def main(outdir, world, count, split, size, sheet, seed):
    """Writes OUTDIR/Image and OUTDIR/Label/{train,val,test}.label (80, 10 and 10 %), as GazeHub lays out Gaze360.

    Head pose is uniform (camera yaw within 0.8, pitch within 0.4), and so is the gaze in the camera frame (yaw within
    0.9 rad, pitch within 0.55) as far as the eyes can turn. Labels: 2DGaze is "yaw,pitch" in radians, yaw positive
    toward the image's left, pitch positive up, 0,0 into the lens, and 2DHead likewise where the face points. The
    contact sheet draws the true gaze as arrows.
    """
    if outdir is None and sheet is None:
        raise ValueError("nothing to do: pass --outdir=FOLDER, --sheet=FILE.png, or both")
    if outdir is not None:
        write_gaze(outdir, count, seed, split, size, progress=True, world=world)
        click.echo(f"{count} heads -> {outdir}")
    if sheet is not None:
        write_sheet(sheet, "gaze", split, seed, size, world=world)
        click.echo(f"contact sheet -> {sheet}")


if __name__ == "__main__":
    main()
