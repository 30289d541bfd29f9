"""Brings images with cameras to the form that training reads: square PNG files of one size, in a zip or a folder."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import re

import click

from dataset_preprocessing.conversion import TRANSFORMS, Conversion, convert
from dataset_preprocessing.packing import check_destination
from eg3d.running.cli import Command, skip_damaged_option, skip_unmatched_option, tell
from groundwork.places import INPUT, NEW_DATA_SET


class Resolution(click.ParamType):
    """`512x512` or `512,512`, as EG3D's tool has it, or `512` -> (512, 512)."""

    name = "WxH"

    def convert(self, value, param, ctx):
        match = re.fullmatch(r"([1-9]\d{0,4})(?:[x,]([1-9]\d{0,4}))?", str(value).strip())
        if not match:
            self.fail(f"'{value}' is no size in pixels; write for example 512x512", param, ctx)
        return int(match[1]), int(match[2] or match[1])


@click.command(cls=Command)
@click.option("--source", type=INPUT, required=True, help="Images to convert: a zip or a folder.")
@click.option("--dest", type=NEW_DATA_SET, required=True, help="New data set: FILE.zip or a folder.")
@click.option("--resolution", type=Resolution(), help="Size to resize to, 512x512.  [default: as the images are]")
@click.option(
    "--transform",
    type=click.Choice(TRANSFORMS),
    help="Cut off first: to the largest square in the middle, or to the shape of a wide --resolution, with black bars "
    "above and below; images smaller than that are left out.  [default: nothing, stretch]",
)
@click.option("--crop-size", type=click.IntRange(min=1), help="Cut this square out of the middle first, pixels.")
@click.option(
    "--background",
    type=click.Choice(["white", "black"]),
    default="white",
    show_default=True,
    help="Where transparent.",
)
@click.option("--max-images", type=click.IntRange(min=1), help="Convert only the first so many.  [default: all]")
@skip_unmatched_option
@skip_damaged_option
@click.option("--workers", type=click.IntRange(1, 64), default=3, show_default=True, help="Threads that convert.")
def main(source, dest, resolution, transform, crop_size, background, max_images, skip_unmatched, skip_damaged, workers):
    """Writes the images of SOURCE as DEST/00000/img00000000.png, ..., with the cameras of SOURCE's dataset.json.

    Cutting changes a camera's focal length and principal point, which are in units of the picture; resizing does not.
    DEST must not exist yet, and appears only when complete.
    """
    check_destination(dest)
    conversion = Conversion(resolution, transform, crop_size, background)
    done = convert(source, dest, conversion, max_images, workers, skip_unmatched, skip_damaged)
    tell(done.notes, done.warnings)
    click.echo(f"{len(done.written)} images -> {dest}")
    if done.dropped:
        click.echo(f"left out {len(done.dropped)} that are too small, the first is {done.dropped[0]!a}")
    for line in done.damaged:
        click.echo(line)
    if not done.labelled:
        click.echo("no dataset.json lists them, so they have no cameras yet; training needs one for every image")


if __name__ == "__main__":
    main()
