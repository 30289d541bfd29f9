"""Gaze networks: what one is, and `load_gaze_network`, which finds the one that a name means.

Another kind of gaze network is a function here that returns a `GazeNetwork`, and a row in LOADERS.
"""

from collections.abc import Callable
from typing import Protocol

import torch

from eg3d.gaze.iris_network import LEAST_SIDE, load_iris_gaze
from eg3d.gaze.onnx_network import load_onnx_network
from l2cs.estimator import GazeAngles, GazeEstimator


class GazeNetwork(Protocol):
    """A frozen network that reads where the eyes in a picture look. Its axes are drawn in `l2cs.estimator`.

    Attributes: sha256 of its weights, which names it in reports (any constant text if it has none); facts, what is
    known of it (may be empty); differentiable, whether gradients reach the images. If not,
    the network can score, but a loss cannot use it.
    """

    sha256: str
    facts: dict
    differentiable: bool

    def __call__(self, images: torch.Tensor) -> GazeAngles:
        """Images [N, 3, H, W] in [-1, 1], one face each -> yaw and pitch [N] in radians, float32.

        NaN for a picture in which the network finds no face; L2CS-Net always answers.
        """


# An ending of file names, with its dot, or a whole name -> the loader, a function of (name, device). All other names
# are L2CS-Net's: `embedded`, `embedded-judge`, published .pkl and our .safetensors files.
LOADERS: dict[str, Callable[..., GazeNetwork]] = {".onnx": load_onnx_network, "iris": load_iris_gaze}
SCORES_ONLY = {".onnx", "iris"}  # of these; known before a file is read
NEEDS_FACES = {"iris"}  # of these: NaN where no face is found, as in all early pictures of a training


LEAST_SIDES = {"iris": LEAST_SIDE}  # of these: px of a picture, if not all sizes will do


def load_gaze_network(name, device="cpu") -> GazeNetwork:
    """The gaze network of this name or path. Errors: OSError or ValueError, one line that names the file."""
    key = _row_of(name)
    return GazeEstimator.load(name, device) if key is None else LOADERS[key](name, device)


def _row_of(name) -> str | None:
    """The key of LOADERS that a name means; None: L2CS-Net."""
    name = str(name)
    return next((k for k in LOADERS if name == k or (k.startswith(".") and name.lower().endswith(k))), None)


def check_always_answers(name: str | None, what: str) -> None:
    """ValueError for a network that finds no face in some pictures, where every picture needs an answer."""
    if name is not None and _row_of(name) in NEEDS_FACES:
        raise ValueError(
            f"{what}: finds no face in some pictures, and every one needs an answer here; give L2CS-Net's weights or "
            "embedded, and let this one judge a finished network, as in calc_gfas.py --judge"
        )


def check_size(name: str, side: int, what: str) -> None:
    """ValueError for a network that needs larger pictures than those of `side` px of the data set `what`."""
    least = LEAST_SIDES.get(_row_of(name), 1)
    if side < least:
        raise ValueError(
            f"gaze network {name}: reads pictures of {least} px or more, and those of {what} have {side}; give larger "
            "ones (dataset_preprocessing/synthetic/make_faces.py --size), or another network"
        )


def check_name_for_loss(name: str, what: str) -> None:
    """As `check_differentiable`, for a network that is not loaded yet."""
    if _row_of(name) in SCORES_ONLY:
        raise _only_scores(what)


def check_differentiable(network: GazeNetwork, what: str) -> None:
    """ValueError for a network that only scores. `what`: the option and its value, as the user gave them."""
    if not network.differentiable:
        raise _only_scores(what)


def _only_scores(what: str) -> ValueError:
    return ValueError(
        f"{what}: this gaze network only scores, for no gradient passes through it; give the loss one in PyTorch "
        "(L2CS-Net's .pkl, our .safetensors, embedded, people), and this one to a score, as in calc_gfas.py --judge"
    )
