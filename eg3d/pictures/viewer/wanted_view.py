"""What somebody wants to see: a head, a camera, a gaze, and what is drawn of it; as a text that a link can hold.

    seed=3&psi=0.7&yaw=0.2&gaze=camera

What a text leaves out has its default, and what has its default is left out of a text.
"""

import math
import re
from dataclasses import dataclass, fields
from urllib.parse import parse_qsl, urlencode

import torch

from eg3d.geometry.cameras import FFHQ_FOV_DEG, Orbit, split_label
from eg3d.geometry.head_gaze import gaze_along
from eg3d.pictures.aims import parse_aim
from eg3d.pictures.views import camera_labels

MOST_CHARACTERS = 500
# Two standard deviations of FFHQ's cameras, parameters in rad: beyond them a network has seen little.
COMMON_YAW, COMMON_PITCH = 0.7, 0.3
ROWS = {"all": (0.0, 1.0), "coarse": (0.0, 0.35), "middle": (0.35, 0.7), "fine": (0.7, 1.0)}  # shares of the rows of ws
SHOWS = ("final", "raw", "depth", "normals")
# Where the pointer moves that eyes follow: this share of the way from the camera to the head. At the edge of a picture
# eyes are then turned by some 30 degrees.
POINTER_DEPTH = 0.75
NUMBER = re.compile(r"-?\d{1,6}(\.\d{1,9})?")


@dataclass(frozen=True)
class View:
    """One view of a head. Angles are parameters of `cameras.lookat_pose` in rad; the field of view is in degrees."""

    seed: int = 0
    psi: float = 0.7  # truncation
    other: int = 0  # seed of a second head
    blend: float = 0.0  # 0: the first head, 1: the second, in those rows of ws that `rows` names
    rows: str = "all"
    yaw: float = 0.0
    pitch: float = 0.0
    fov: float = FFHQ_FOV_DEG
    gaze: str = "face"  # face | camera | YAW,PITCH in degrees | at:U,V, a point of the picture
    show: str = "final"

    @classmethod
    def parse(cls, text: str) -> "View":
        """The view that a text means. ValueError, one line, for anything else."""
        if len(text) > MOST_CHARACTERS:
            raise ValueError(f"a view of {len(text)} characters is too long; {MOST_CHARACTERS} are enough")
        try:
            pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text), max_num_fields=len(fields(cls)))
        except ValueError:
            raise ValueError("this is no view; write for example seed=3&psi=0.7&yaw=0.2") from None
        given = dict(pairs)
        if len(given) < len(pairs):
            raise ValueError("the view says something twice; say it once")
        for name in given:
            if name not in READ:
                raise ValueError(f"a view has no {name[:40]!a}; it has {', '.join(READ)}")
        return cls(**{name: READ[name](name, value) for name, value in given.items()})

    def text(self) -> str:
        """The shortest text that `parse` takes for this view."""
        changed = {f.name: value for f in fields(self) if (value := getattr(self, f.name)) != f.default}
        texts = {name: _plain(value) if isinstance(value, float) else value for name, value in changed.items()}
        return urlencode(texts, safe=",:")

    @property
    def head(self) -> tuple:
        """What makes the head, without camera and gaze: what planes of it are kept under."""
        second = (self.other, self.blend, self.rows) if self.blend else ()
        return (self.seed, self.psi, *second)

    def label(self, orbit: Orbit) -> torch.Tensor:
        """The camera [1, 25]."""
        return camera_labels(self.yaw, self.pitch, orbit, self.fov)

    def gaze_in(self, label: torch.Tensor, between_eyes: tuple[float, float, float]) -> torch.Tensor:
        """Yaw and pitch [1, 2] of the eyes in the head frame, rad, seen from camera [1, 25].

        between_eyes: the point between the eyes, in the world; those that look at the pointer look from there.
        """
        if not self.gaze.startswith("at:"):
            return parse_aim(self.gaze).gaze(label)
        u, v = (float(part) for part in self.gaze[3:].split(","))
        pose, intrinsics = split_label(label)
        ray = torch.linalg.solve(intrinsics, torch.tensor([[[u], [v], [1.0]]]))  # in camera axes, depth 1
        depth = pose[:, :3, 3].norm(dim=1) * POINTER_DEPTH
        point = (pose[:, :3, :3] @ ray * depth)[..., 0] + pose[:, :3, 3]
        gaze = gaze_along(point - torch.tensor([between_eyes]))
        return gaze.clamp(-math.radians(60), math.radians(60))


def _plain(value: float) -> str:
    """A number without an exponent, to a millionth."""
    return f"{value:.6f}".rstrip("0").rstrip(".")


def _number(low: float, high: float):
    def read(name: str, text: str) -> float:
        if not NUMBER.fullmatch(text) or not low <= float(text) <= high:
            raise ValueError(f"{name}={text[:40]!a} is no number between {low:g} and {high:g}")
        return float(text)

    return read


def _seed(name: str, text: str) -> int:
    if not re.fullmatch(r"\d{1,10}", text, re.ASCII) or int(text) >= 2**32:
        raise ValueError(f"{name}={text[:40]!a} is no seed; give a whole number from 0 to {2**32 - 1}")
    return int(text)


def _one_of(names):
    def read(name: str, text: str) -> str:
        if text not in names:
            raise ValueError(f"{name}={text[:40]!a} is none of {', '.join(names)}")
        return text

    return read


def _gaze(name: str, text: str) -> str:
    if text in ("face", "camera"):
        return text
    parts = text.removeprefix("at:").split(",")
    most = 4 if text.startswith("at:") else 60
    if len(parts) != 2 or not all(NUMBER.fullmatch(part) and abs(float(part)) <= most for part in parts):
        raise ValueError(f"{name}={text[:40]!a} is none of face, camera, YAW,PITCH (degrees, to 60) and at:U,V")
    return text


# How each field is read.
READ = {
    "seed": _seed, "psi": _number(-2, 2), "other": _seed, "blend": _number(0, 1), "rows": _one_of(ROWS),
    "yaw": _number(-math.pi, math.pi), "pitch": _number(-1.5, 1.5), "fov": _number(4, 90), "gaze": _gaze,
    "show": _one_of(SHOWS),
}  # fmt: skip
