"""Where both eyes of a face look, as a network of patches reads it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from redirection.eye_patches import EyeSquare
from redirection.lid_points import Lids

PATCH = 64  # px of the patches that are read
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


def read_gaze(judge: PatchReader, pictures: Sequence[np.ndarray], lids: Sequence[Lids]) -> FaceReading:
    """What a judge of patches sees in portraits, cut by the lids of the input."""
    patches, signs = [], []
    for picture, own in zip(pictures, lids, strict=True):
        for eye, sign in (("R", -1.0), ("L", 1.0)):
            patches.append(EyeSquare.of_lids(own[eye], eye).cut(picture, PATCH))
            signs.append(sign)
    seen = judge.read(torch.from_numpy(np.stack(patches)).permute(0, 3, 1, 2).contiguous())
    yaw, pitch = seen.angles[:, 2].double() * torch.tensor(signs), seen.angles[:, 1].double()
    gaze = torch.stack([yaw.view(-1, 2).mean(dim=1), pitch.view(-1, 2).mean(dim=1)], dim=1).numpy()
    return FaceReading(gaze, seen.identity.reshape(len(pictures), -1), seen.features.reshape(len(pictures), -1))


def steady_gaze(judge: PatchReader, pictures: Sequence[np.ndarray], lids: Sequence[Lids]) -> np.ndarray:
    """[N, 2]: as `read_gaze`, the mean of nine readings, whose patches are cut up to a pixel beside the eye."""

    def beside(own: Lids, move: tuple[float, float]) -> Lids:
        return {eye: own[eye] + np.array(move) * EyeSquare.of_lids(own[eye], eye).side / PATCH for eye in "RL"}

    return np.mean([read_gaze(judge, pictures, [beside(own, move) for own in lids]).gaze for move in MOVES], axis=0)
