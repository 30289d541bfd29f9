"""Novel views of reconstructed faces, with true gaze and head pose."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import click

from dataset_preprocessing.nv_rendering.run_options import run, run_options
from groundwork.command import Command
from groundwork.places import FOLDER, Output

DEST = Output(FOLDER, ("settings.json", "full/*"))


@click.command(cls=Command)
@click.option("--dest", type=DEST, required=True, help="Folder for full/pXX.h5. A run that was stopped goes on there.")
@run_options
def main(dest, **options):
    """Turns reconstructed faces to new head poses, draws them before other backgrounds and in other light, and writes
    pictures, masks and labels to HDF5, a file for each person."""
    run(dest, **options)


if __name__ == "__main__":
    main()
