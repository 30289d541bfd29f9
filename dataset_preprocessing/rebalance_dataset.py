"""Repeats the images of rare poses, so that a data set has more side views: EG3D's rebalancing of FFHQ."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import click

from dataset_preprocessing.packing import check_destination
from dataset_preprocessing.rebalancing import write_balanced
from dataset_preprocessing.selection import MANIFEST, FaceSet, beside
from eg3d.config.presets import ray_ranges
from eg3d.data.opening import dataset_path
from eg3d.geometry.doubts import camera_doubts
from eg3d.running import cli
from groundwork.places import DATA_SET, EITHER, Output

DEST = Output(EITHER, ("*",), beside=lambda dest: [beside(dest, MANIFEST)])


@click.command(cls=cli.Command)
@click.option("--data", type=DATA_SET, required=True, help="Data set: zip, folder, embedded or people.")
@click.option("--dest", type=DEST, required=True, help="New data set: FILE.zip or a folder.")
@click.option("--mirror", **cli.SWITCH, default=False, help="Also add mirrored copies, to images that have none.")
@cli.seed_option
@cli.skip_unmatched_option
@cli.json_option
def main(data, dest, mirror, seed, skip_unmatched, json_path):
    """Copies a data set, its images byte by byte, and those of rare yaws 2, 4, 8 or 16 times, with their cameras.

    The yaws are divided into nine arcs; the copies double from arc to arc, as long as none gets fuller than the fullest
    one. A copy of x.png is x_01.png, and that of x_mirror.png x_01_mirror.png. DEST.manifest.json has the counts.
    """
    check_destination(dest)
    faces = FaceSet(dataset_path(data, seed), skip_unmatched)
    cli.tell(faces.notes, camera_doubts(faces.labels, ray_ranges()))
    record = write_balanced(faces, dest, mirror, rebalance=True)
    by_copies = ", ".join(f"{count} images {n} times" for n, count in record["images_by_copies"].items())
    click.echo(f"{by_copies}: {record['written']} images -> {dest}")
    cli.write_json(json_path, record)


if __name__ == "__main__":
    main()
