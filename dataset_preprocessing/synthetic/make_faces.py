"""Renders an FFHQ-like data set of an embedded world: faces whose eyes mostly look at the camera."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import click

from eg3d.running.cli import OUTPUT_FILE, Command, seed_option
from eg3d.world.contact_sheet import write_sheet
from eg3d.world.rendered_sets import write_faces
from eg3d.world.worlds import SPLITS, WORLDS
from groundwork.places import OUTPUT_PICTURE


@click.command(cls=Command)
@click.option("--dest", type=OUTPUT_FILE, help="Data set to write, FILE.zip.  [required without --sheet]")
@click.option("--world", type=click.Choice(WORLDS), default="cartoons", show_default=True, help="Whose heads.")
@click.option("--count", type=click.IntRange(min=1), default=8000, show_default=True, help="Number of images.")
@click.option(
    "--split", type=click.Choice(SPLITS), default="faces", show_default=True, help="Whose identities to draw."
)
@click.option("--size", type=click.IntRange(16, 1024), help="Width and height, pixels.  [default: 64; people: 128]")
@click.option("--sheet", type=OUTPUT_PICTURE, help="Also draw a contact sheet, a PNG file.")
@seed_option
def main(dest, world, count, split, size, sheet, seed):
    """Writes FILE.zip with images, camera labels (dataset.json) and the truth (truth.npz); the same bytes every time.

    Camera yaw and pitch are normal with sigma 0.35 and 0.15 rad. Four of five faces look at the camera (5 degrees of
    noise), the others anywhere their eyes can turn. Truth: gaze in the head and in the camera frame, 68 landmarks,
    irises, eye mask, identity. The contact sheet shows identities from several sides, then the first images, gaze as
    arrows.
    """
    if dest is None and sheet is None:
        raise ValueError("nothing to do: pass --dest=FILE.zip, --sheet=FILE.png, or both")
    if dest is not None:
        write_faces(dest, count, seed, split, size, progress=True, world=world)
        click.echo(f"{count} faces -> {dest}")
    if sheet is not None:
        write_sheet(sheet, "faces", split, seed, size, world=world)
        click.echo(f"contact sheet -> {sheet}")


if __name__ == "__main__":
    main()
