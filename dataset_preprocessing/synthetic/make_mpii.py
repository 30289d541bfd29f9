"""Takes photos of an embedded world's heads by webcams, in MPIIFaceGaze's layout, with known gaze and head pose."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import os
import re

import click

from dataset_preprocessing.synthetic.webcam import Webcam, write_photos
from eg3d.running.cli import Command, seed_option
from eg3d.world.worlds import SPLITS, WORLDS
from groundwork.places import FOLDER, Output


def size_of(text: str) -> tuple[int, int]:
    """ "640x480" -> (640, 480)."""
    found = re.fullmatch(r"(\d{2,4})x(\d{2,4})", text)
    width, height = map(int, found.groups()) if found else (0, 0)
    if not (160 <= width <= 2048 and 120 <= height <= 2048):
        raise ValueError(f"--size={text}: must be WIDTHxHEIGHT, as 640x480, from 160x120 to 2048x2048")
    return width, height


@click.command(cls=Command)
@click.option("--outdir", type=Output(FOLDER, ("*",)), required=True, help="Folder to write, or to go on with.")
@click.option("--world", type=click.Choice(WORLDS), default="cartoons", show_default=True, help="Whose heads.")
@click.option("--people", type=click.IntRange(1, 100), default=15, show_default=True, help="Number of people.")
@click.option("--photos", type=click.IntRange(1, 20_000), default=100, show_default=True, help="Photos of each.")
@click.option("--size", default="640x480", show_default=True, help="Width and height of a photo, pixels.")
@click.option(
    "--split", type=click.Choice(SPLITS), default="gaze-loss", show_default=True, help="Whose identities to draw."
)
@click.option("--head-yaw", type=click.FloatRange(0, 90), default=15.0, show_default=True, help="Most, degrees.")
@click.option("--head-pitch", type=click.FloatRange(0, 60), default=15.0, show_default=True, help="Most, degrees.")
@click.option("--head-roll", type=click.FloatRange(0, 45), default=5.0, show_default=True, help="Most, degrees.")
@click.option(
    "--gaze", type=click.Choice(["free", "screen"]), default="free", show_default=True,
    help="Gaze targets: anywhere the eyes can turn, or on a screen below the camera.",
)  # fmt: skip
@click.option("--workers", type=click.IntRange(1, 64), help="Processes that render.  [default: 4, or one a core]")
@seed_option
def main(outdir, world, people, photos, size, split, head_yaw, head_pitch, head_roll, gaze, workers, seed):
    """Writes OUTDIR/p00/day01/0001.jpg ..., p00.txt, Calibration/Camera.mat, and the truth; the same bytes every time.

    Each person has a camera with its own matrix and lens distortion, 450 to 750 mm away; heads are life-size, with the
    eyes 63 mm apart. Head yaw and pitch are uniform, as seen along the line to the face. Both eyes look along
    (gaze target - face centre). Besides: 68 exact landmarks (supplementary/mpii/source_supply/p00.h5), and world.json,
    from which each photo and the true mesh of its head can be made again. Run again, it makes what is missing.
    """
    webcam = Webcam(world, split, seed, people, photos, size_of(size), head_yaw, head_pitch, head_roll, gaze)
    workers = workers or min(4, os.cpu_count() or 1)
    new = write_photos(outdir, webcam, workers if people * photos >= 20 else 1, progress=True)
    click.echo(f"{people * photos} photos of {people} people -> {outdir} ({new} new)")


if __name__ == "__main__":
    main()
