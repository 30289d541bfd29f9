"""Novel views of reconstructed faces, with true gaze and head pose: the published command."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import click

from dataset_preprocessing.nv_rendering.run_options import run, run_options
from groundwork.command import SWITCH, Command, without_effect
from groundwork.places import FOLDER, Output

SAVE_DIR = Output(FOLDER, ("settings.json", "full/*"))
NOTHING = "the published program does not use it either"


@click.command(cls=Command)
@click.option("-save", "--save_dir", type=SAVE_DIR, required=True,
              help="Folder for full/pXX.h5. A run that was stopped goes on there.")  # fmt: skip
@without_effect("--ablation", NOTHING, "-ablation", **SWITCH)
@without_effect("--group", NOTHING)
@run_options
def main(save_dir, **options):
    """Turns reconstructed faces to new head poses, draws them before other backgrounds and in other light, and writes
    pictures, masks and labels to HDF5, a file for each person.

    render.py is the same without the published flags.
    """
    run(save_dir, **options)


if __name__ == "__main__":
    main()
