"""Options that several scripts share: where labelled faces are (any set in the GazeHub layout, the people of
MPIIFaceGaze, or HDF5 files), which GPU computes, and which network a file should hold.
"""

import re
from pathlib import Path

import click
import torch

from groundwork.command import option_stack, pick_device
from groundwork.places import INPUT, INPUT_FILE, INPUT_FOLDER
from l2cs.estimator import GazeEstimator
from l2cs.model import PUBLISHED
from l2cs.view_sets import ViewSet, read_views


def gaze360_options(label_file: str, text: str):
    """--dataset, and images and labels of a set in the GazeHub layout; label_file is the default."""
    return option_stack(
        click.option("--dataset", type=click.Choice(["gaze360", "mpiigaze", "views"]), default="gaze360",
                     show_default=True, help="Layout of the labels; views: HDF5 files."),
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

views_option = click.option(
    "--views", type=INPUT, multiple=True,
    help="views: HDF5 file or folder of them, of novel views, MPII-NV or ETH-XGaze; several are mixed.",
)  # fmt: skip

gpu_option = click.option("--gpu", help="Number of the GPU that computes, as published.  [default: by --device]")
arch_option = click.option("--arch", type=click.Choice(list(PUBLISHED)), help="The network that the weights must be "
                           "of.  [default: what the file holds]")  # fmt: skip


def views_of(views: tuple[Path, ...], flag: str = "--views") -> dict[str, ViewSet]:
    """The views of each person in what an option names; ValueError if it names nothing."""
    if not views:
        raise ValueError(f"--dataset=views: give the HDF5 files, or a folder of them, by {flag}=PATH")
    return read_views(views)


def device_of(device: str, gpu: str | None):
    """--device and --gpu -> torch.device.

    The published commands name GPU 0. Where PyTorch sees no GPU at all, one line says that the CPU computes. Of several
    GPUs the first one is taken: one network fits on it.
    """
    if gpu is None:
        return pick_device(device)
    if not re.fullmatch(r"[0-9]{1,3}(,[0-9]{1,3})*", gpu):
        raise ValueError(f"--gpu={gpu}: is not the number of a GPU; write for example --gpu=0")
    if device == "cpu":
        raise ValueError(f"--gpu={gpu} and --device=cpu contradict each other; give one of the two")
    number, *more = map(int, gpu.split(","))
    if more:
        click.echo(f"note: --gpu={gpu}: one GPU is enough, number {number} computes", err=True)
    found = pick_device(device)
    if found.type == "cpu":
        click.echo(f"note: --gpu={gpu}: PyTorch sees no GPU here, the CPU computes", err=True)
        return found
    if number >= (there := torch.cuda.device_count()):
        raise ValueError(f"--gpu={gpu}: PyTorch sees the GPUs 0 to {there - 1} here; give one of them")
    return torch.device("cuda", number)


def load_estimator(snapshot, arch: str | None, device, check: bool = True) -> GazeEstimator:
    """The weights of --snapshot; ValueError if they are of another network than --arch."""
    estimator = GazeEstimator.load(snapshot, device, check)
    if arch not in (None, estimator.architecture.name):
        held = estimator.architecture.name
        raise ValueError(f"--arch={arch}: {snapshot} holds {held}; leave --arch out, the file tells")
    return estimator
