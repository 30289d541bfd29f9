"""Options that correct.py and animate.py share: which networks, where lids are, which faces."""

import click

from groundwork.command import option_stack
from groundwork.places import EITHER, NamedInput
from redirection.gaze_animation.animator_file import EMBEDDED
from redirection.gaze_animation.whole_faces import CLOSED
from redirection.lid_points import MESH


def photo_options(faces: str):
    """faces: which ones, by default."""
    return option_stack(
        click.option("--weights", type=NamedInput(EITHER, [*EMBEDDED]), default=next(iter(EMBEDDED)), show_default=True,
                     help="Networks: a name, a .safetensors, or a published checkpoint."),
        click.option("--landmarks", type=NamedInput(EITHER, [MESH]), default=MESH, show_default=True,
                     help="Lids by mesh (MTCNN and FaceMesh), a dlib .dat, or a file or folder of 68 points."),
        click.option("--faces", type=click.Choice(["all", "largest"]), default=faces, show_default=True,
                     help="Which faces; several are found by mesh alone."),
        click.option("--least-open", type=click.FloatRange(0, 1), default=CLOSED, show_default=True,
                     help="Height over width below which an eye is closed, and the face stays as it is."),
    )  # fmt: skip
