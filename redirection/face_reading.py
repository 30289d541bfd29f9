"""Where both eyes of a face look, as a network of patches, or the judge of faces, reads it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from redirection.eye_patches import EyeSquare
from redirection.face_judge import FaceReader
from redirection.lid_points import Lids

PATCH = 64  # px of the patches that are read
SIGNS = (-1.0, 1.0)  # patches of right eyes are mirrored
MOVES = tuple((x, y) for x in (-1.0, 0.0, 1.0) for y in (-1.0, 0.0, 1.0))  # px of a patch, as the judge's training has


class PatchReader(Protocol):
    """What measures: the judge of patches. read(uint8 [N, 3, s, s]) has angles [N, 3]: P, V, H in degrees as
    the patches show them, identity [N, D], unit vectors, and features [N, F]."""

    name: str

    def read(self, patches: torch.Tensor): ...


@dataclass(frozen=True)
class FaceReading:
    """gaze [N, 2]: yaw, pitch in degrees, mean of both eyes; identity [N, D], features [N, F] of both eyes together."""

    gaze: np.ndarray
    identity: torch.Tensor
    features: torch.Tensor


def read_gaze(
    judge: PatchReader, pictures: Sequence[np.ndarray], lids: Sequence[Lids], points: Sequence[np.ndarray] | None = None
) -> FaceReading:
    """What a judge sees in portraits, cut by the lids of the input. points [68, 2] px of each: for a judge of faces,
    which says the gaze itself; all portraits are of one size."""
    squares = [[EyeSquare.of_lids(own[eye], eye) for eye in "RL"] for own in lids]
    cut = [one.cut(picture, PATCH) for picture, pair in zip(pictures, squares, strict=True) for one in pair]
    patches = torch.from_numpy(np.stack(cut)).permute(0, 3, 1, 2).contiguous()
    seen = judge.read(patches)
    if isinstance(judge, FaceReader):
        gaze = judge.gaze(patches.unflatten(0, (-1, 2)), np.stack(points), squares, len(pictures[0]))
    else:
        yaw, pitch = (seen.angles[:, k].double().view(-1, 2) for k in (2, 1))
        gaze = torch.stack([(yaw * torch.tensor(SIGNS)).mean(dim=1), pitch.mean(dim=1)], dim=1).numpy()
    return FaceReading(gaze, seen.identity.reshape(len(pictures), -1), seen.features.reshape(len(pictures), -1))


def steady_gaze(
    judge: PatchReader, pictures: Sequence[np.ndarray], lids: Sequence[Lids], points: Sequence[np.ndarray] | None = None
) -> np.ndarray:
    """[N, 2]: as `read_gaze`, the mean of nine readings, whose patches are cut up to a pixel beside the eye."""

    def beside(own: Lids, move: tuple[float, float]) -> Lids:
        return {eye: own[eye] + np.array(move) * EyeSquare.of_lids(own[eye], eye).side / PATCH for eye in "RL"}

    moved = ([beside(own, move) for own in lids] for move in MOVES)
    return np.mean([read_gaze(judge, pictures, own, points).gaze for own in moved], axis=0)
