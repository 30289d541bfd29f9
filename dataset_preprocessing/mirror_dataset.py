"""Adds to a set of pictures the mirrored copy of each, with its camera or its gaze mirrored too."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import click

from dataset_preprocessing.mirroring import mirror
from dataset_preprocessing.packing import check_destination
from eg3d.running import cli
from groundwork.places import INPUT, NEW_DATA_SET


@click.command(cls=cli.Command)
@click.option("--source", type=INPUT, required=True,
              help="Data set, a zip or a folder; or a gaze set, a folder with Image and Label.")  # fmt: skip
@click.option("--dest", type=NEW_DATA_SET, help="New set: FILE.zip or a folder.  [default: copies join SOURCE]")
@click.option("--max_images", type=click.IntRange(min=1), help="Mirror only the first so many.  [default: all]")
@click.option("--workers", type=click.IntRange(1, 64), default=3, show_default=True, help="Threads that mirror.")
@cli.skip_damaged_option
@cli.skip_unmatched_option
def main(source, dest, max_images, workers, skip_damaged, skip_unmatched):
    """Writes x_mirror.png for every x.png, and its row in dataset.json, or in the .label files of a gaze set.

    A second run adds nothing, and mirrors no copy again. With a DEST the pictures of SOURCE are copied as they are.
    """
    if dest is not None:
        check_destination(dest)
    done = mirror(source, dest, max_images, workers, skip_unmatched, skip_damaged)
    cli.tell(done.notes, done.warnings)
    already = f", {done.there} were there already" if done.there else ""
    click.echo(f"{done.made} mirrored pictures -> {dest or source}{already}; labels: {done.labels or 'none'}")
    for line in done.damaged:
        click.echo(line)


if __name__ == "__main__":
    main()
