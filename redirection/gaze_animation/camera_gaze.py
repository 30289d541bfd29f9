"""Who looks into the camera: angles of a gaze network, of a table, or of names like those of the Columbia set."""

from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from eg3d.gaze.networks import load_gaze_network
from groundwork.archive import shown
from redirection.gaze_animation.level_faces import EG3D, Placed
from redirection.patch_names import PatchName
from redirection.patch_tables import read_table

NAMES = "names"
ANGLES, SAYS = ("yaw", "pitch"), "camera"
NETWORK_SIDE = 512  # px of what a network gets, if it says nothing else


class NoGaze(Exception):
    """Of this photo the gaze is unknown; the text says why."""


class GazeSource(Protocol):
    """name: for reports. Called with a picture, the eyes [2, 2] in it and its name: degrees between gaze and camera.

    Raises NoGaze.
    """

    name: str

    def __call__(self, picture: np.ndarray, eyes: np.ndarray, name: str) -> float: ...


def off_axis(yaw_deg: float, pitch_deg: float) -> float:
    """Degrees between a gaze and the camera's axis."""
    return float(np.rad2deg(np.arccos(np.clip(np.cos(np.deg2rad(yaw_deg)) * np.cos(np.deg2rad(pitch_deg)), -1, 1))))


class NetworkGaze:
    """By a gaze network that looks at the levelled face, and at its mirror image, which must look the other way."""

    def __init__(self, name: str, device="cpu"):
        self.name, self._network, self._device = f"gaze network {name}", load_gaze_network(name, device), device

    @torch.no_grad()
    def read(self, picture: np.ndarray, eyes: np.ndarray) -> tuple[float, float]:
        """Yaw, pitch in degrees; NaN if the network finds no face."""
        face = Placed.of_eyes(eyes, EG3D).cut(picture, getattr(self._network, "input_size", NETWORK_SIDE))
        image = torch.from_numpy(face.copy()).permute(2, 0, 1)[None].float().to(self._device) / 127.5 - 1
        if hasattr(self._network, "as_cropped"):
            image = self._network.as_cropped(image)
        yaw, pitch = self._network(torch.cat([image, image.flip(3)]))
        return tuple(float(torch.rad2deg(a)) for a in ((yaw[0] - yaw[1]) / 2, (pitch[0] + pitch[1]) / 2))

    def __call__(self, picture: np.ndarray, eyes: np.ndarray, name: str) -> float:
        yaw, pitch = self.read(picture, eyes)
        if not np.isfinite(yaw + pitch):
            raise NoGaze("the gaze network sees no face")
        return off_axis(yaw, pitch)


class ListedGaze:
    """By a table: columns name and either camera (1: looks into it, 0: does not), or yaw and pitch in degrees."""

    def __init__(self, path: Path):
        self.name = f"labels of {path.name}"
        header, rows = read_table(path)
        wanted = [SAYS] if SAYS in header else list(ANGLES)
        if "name" not in header or not set(wanted) <= set(header):
            raise ValueError(f"--labels={path}: has no columns name and camera, or name, yaw and pitch; add them")
        places = [header.index(column) for column in wanted]
        self._of: dict[str, float] = {}
        for number, row in enumerate(rows, 2):
            try:
                values = [float(row[place]) for place in places]
                good = values[0] in (0, 1) if wanted == [SAYS] else all(abs(value) <= 90 for value in values)
            except ValueError:
                good = False
            if not good:
                raise ValueError(f"--labels={path}: line {number} has no {' and '.join(wanted)}; correct it")
            key = Path(row[header.index("name")].strip()).stem
            if key in self._of:
                raise ValueError(f"--labels={path}: line {number} names {shown(key)} again; write each name once")
            self._of[key] = (90.0 * (1 - values[0])) if wanted == [SAYS] else off_axis(*values)

    def __call__(self, picture: np.ndarray, eyes: np.ndarray, name: str) -> float:
        if Path(name).stem not in self._of:
            raise NoGaze("has no row in the labels")
        return self._of[Path(name).stem]


class NamedGaze:
    """By names like Columbia's: 0010_2m_-30P_10V_5H.jpg."""

    name = "names of files"

    def __call__(self, picture: np.ndarray, eyes: np.ndarray, name: str) -> float:
        try:
            angles = PatchName.parse(Path(name).name).angles
        except ValueError:
            raise NoGaze("its name does not say where it looks") from None
        return off_axis(angles["H"], angles["V"])


def load_gaze_source(network: str | None, labels: str | None, device="cpu") -> GazeSource:
    """Of --l2cs-path or --labels; ValueError, one line, unless exactly one is given."""
    if (network is None) == (labels is None):
        raise ValueError("give --l2cs-path=WEIGHTS, a network that reads the gaze, or --labels=TABLE, and not both")
    if network is not None:
        return NetworkGaze(network, device)
    return NamedGaze() if labels == NAMES else ListedGaze(Path(labels))
