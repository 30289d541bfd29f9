"""Checks a data set before a night is spent on it: every image, every camera, and pictures of both."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import click
import torch

from dataset_preprocessing.checking import examine
from dataset_preprocessing.overview import contact_sheet, draw_poses
from eg3d.data.opening import dataset_path
from eg3d.pictures.layout import write_png
from eg3d.running.cli import Command, json_option, skip_unmatched_option, write_json
from groundwork.archive import open_archive
from groundwork.places import DATA_SET, OUTPUT_PICTURE


@click.command(cls=Command)
@click.option("--data", type=DATA_SET, required=True, help="Data set to check: zip, folder, embedded, or people.")
@click.option("--plot", type=OUTPUT_PICTURE, help="Draw yaw and pitch of all cameras, a PNG file.")
@click.option("--sheet", type=OUTPUT_PICTURE, help="Draw some images by yaw, with the axes of the world, a PNG file.")
@click.option("--workers", type=click.IntRange(1, 64), default=3, show_default=True, help="Threads that decode.")
@skip_unmatched_option
@json_option
def main(data, plot, sheet, workers, skip_unmatched, json_path):
    """Counts, sizes, cameras, duplicates and damaged images of DATA; exit code 0 only if it can be trained on.

    "wrong" is what training would refuse. A "warning" is unusual for faces and worth a look: a radius, focal length or
    look-at point far from the others', a camera that looks away or stands on its head, images with equal pixels.
    """
    path = dataset_path(data)
    for output, flag in ((plot, "--plot"), (sheet, "--sheet"), (json_path, "--json")):
        if output is not None and output.exists():
            raise ValueError(f"{flag}={output}: the file exists; name a new one")
    report, cameras = examine(path, workers, skip_unmatched)
    click.echo("\n".join(report.lines()))
    write_json(json_path, report.to_json())
    if plot is not None and cameras:
        draw_poses(plot, torch.stack(list(cameras.values())), path.name)
        click.echo(f"cameras -> {plot}")
    if sheet is not None and report.sound:
        title = f"{path.name}: {len(report.sound)} images"
        chosen = {name: cameras[name] for name in report.sound}
        write_png(sheet, contact_sheet(open_archive(path), chosen, report.cameras["look_at"], title))
        click.echo(f"contact sheet -> {sheet}")
    if report.errors:
        more = f" (and {len(report.errors) - 1} more, above)" if len(report.errors) > 1 else ""
        raise ValueError(f"--data={data}: cannot be trained on: {report.errors[0]}{more}")


if __name__ == "__main__":
    main()
