"""Options that say where labelled faces are: any set in the GazeHub layout, or the people of MPIIFaceGaze."""

import click

from groundwork.command import option_stack
from groundwork.places import INPUT_FILE, INPUT_FOLDER


def gaze360_options(label_file: str, text: str):
    """--dataset, and images and labels of a set in the GazeHub layout; label_file is the default."""
    return option_stack(
        click.option("--dataset", type=click.Choice(["gaze360", "mpiigaze"]), default="gaze360", show_default=True,
                     help="Layout of the labels."),
        click.option("--gaze360image_dir", type=INPUT_FOLDER, default="datasets/Gaze360/Image", show_default=True,
                     help="gaze360: folder of the face images."),
        click.option("--gaze360label_dir", type=INPUT_FILE, default=f"datasets/Gaze360/Label/{label_file}",
                     show_default=True, help=text),
    )  # fmt: skip


mpii_options = option_stack(
    click.option("--gazeMpiimage_dir", "mpii_images", type=INPUT_FOLDER, default="datasets/MPIIFaceGaze/Image",
                 show_default=True, help="mpiigaze: folder of the face images."),
    click.option("--gazeMpiilabel_dir", "mpii_labels", type=INPUT_FOLDER, default="datasets/MPIIFaceGaze/Label",
                 show_default=True, help="mpiigaze: folder with a label file per person."),
)  # fmt: skip
