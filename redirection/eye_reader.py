"""The eye reader: head yaw and gaze of a patch whose angles nobody gives.

It is built as the judge is (`patch_judge`), is narrower and has another start; the judge itself is in no method.
"""

import functools

import torch

from groundwork.files import WORLD_WEIGHTS
from redirection.patch_judge import Judge, JudgeArchitecture

READER = WORLD_WEIGHTS / "people_eye_reader.safetensors"
ARCHITECTURE = JudgeArchitecture(widths=(16, 16, 32, 48), hidden=32, identity=16)
EPOCHS = 5


@functools.cache
def eye_reader() -> Judge:
    """The network with its name and facts."""
    return Judge.load(str(READER))


def angles_shown(patches: torch.Tensor) -> torch.Tensor:
    """P, V, H in degrees [N, 3] that uint8 patches [N, 3, S, S] show."""
    return eye_reader().read(patches).angles
