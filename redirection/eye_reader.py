"""Readers of eyes whose angles nobody gives. They are built as judges are (`patch_judge`, `face_judge`), with another
start, and are in methods; judges are in none.

The eye reader: head yaw and gaze of one patch, from the people of the judge of patches. The gaze reader: the gaze of
both eyes together, from other people than the judge of faces; it knows the face's points.
"""

import functools

import torch

from groundwork.files import WORLD_WEIGHTS
from redirection.face_judge import FaceGazeReader
from redirection.patch_judge import Judge, JudgeArchitecture

READER = WORLD_WEIGHTS / "people_eye_reader.safetensors"
ARCHITECTURE = JudgeArchitecture(widths=(16, 16, 32, 48), hidden=32, identity=16)
EPOCHS = 5
OF_FACES = WORLD_WEIGHTS / "people_gaze_reader.safetensors"


@functools.cache
def eye_reader() -> Judge:
    """The network with its name and facts."""
    return Judge.load(str(READER))


@functools.cache
def gaze_reader() -> FaceGazeReader:
    """The network with its name and facts."""
    return FaceGazeReader.load(str(OF_FACES))


def angles_shown(patches: torch.Tensor) -> torch.Tensor:
    """P, V, H in degrees [N, 3] that uint8 patches [N, 3, S, S] show."""
    return eye_reader().read(patches).angles
