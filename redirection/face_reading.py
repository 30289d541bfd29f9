"""Where the eyes of faces look, as a network of patches, or one of whole faces, reads it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from redirection.eye_patches import EyeSquare
from redirection.lid_points import Lids

PATCH = 64  # px of the patches that are read
MOVES = tuple((x, y) for x in (-1.0, 0.0, 1.0) for y in (-1.0, 0.0, 1.0))  # px of a patch, as the judge's training has
Squares = Sequence[Sequence[EyeSquare]]


class GazeReader(Protocol):
    """Says where faces look. gaze: both eyes uint8 [N, 2, 3, s, s], R mirrored; the 68 points [N, 68, 2] of portraits
    of `size` px, and the squares of R and L that were cut -> yaw, pitch in degrees [N, 2]."""

    def gaze(self, patches: torch.Tensor, points: np.ndarray | None, squares: Squares, size: float) -> np.ndarray: ...


class EyeJudge(GazeReader, Protocol):
    """What measures. read(uint8 [N, 3, s, s]) has identity [N, D], unit vectors, and features [N, F] of patches."""

    name: str

    def read(self, patches: torch.Tensor): ...


@dataclass(frozen=True)
class FaceReading:
    """gaze [N, 2]: yaw, pitch in degrees; identity [N, D], features [N, F] of both eyes together."""

    gaze: np.ndarray
    identity: torch.Tensor
    features: torch.Tensor


def read_gaze(
    reader: GazeReader,
    pictures: Sequence[np.ndarray],
    lids: Sequence[Lids],
    points: Sequence[np.ndarray] | None = None,
) -> np.ndarray:
    """Yaw, pitch in degrees [N, 2] of portraits, all of one size, cut by the lids of the input.

    points [68, 2] px of each, for a judge that knows them.
    """
    return reader.gaze(*_cut(pictures, lids, points))


def read_eyes(
    judge: EyeJudge, pictures: Sequence[np.ndarray], lids: Sequence[Lids], points: Sequence[np.ndarray] | None = None
) -> FaceReading:
    """As `read_gaze`, and what the eyes are like."""
    cut = _cut(pictures, lids, points)
    seen = judge.read(cut[0].flatten(0, 1))
    identity, features = (one.reshape(len(pictures), -1) for one in (seen.identity, seen.features))
    return FaceReading(judge.gaze(*cut), identity, features)


def _cut(pictures, lids, points) -> tuple[torch.Tensor, np.ndarray | None, Squares, int]:
    """What `GazeReader.gaze` is given."""
    squares = [[EyeSquare.of_lids(own[eye], eye) for eye in "RL"] for own in lids]
    cut = [[one.cut(picture, PATCH) for one in pair] for picture, pair in zip(pictures, squares, strict=True)]
    patches = torch.from_numpy(np.array(cut)).permute(0, 1, 4, 2, 3).contiguous()
    return patches, None if points is None else np.stack(points), squares, len(pictures[0])


def steady_gaze(
    reader: GazeReader,
    pictures: Sequence[np.ndarray],
    lids: Sequence[Lids],
    points: Sequence[np.ndarray] | None = None,
) -> np.ndarray:
    """[N, 2]: as `read_gaze`, the mean of nine readings, whose patches are cut up to a pixel beside the eye."""

    def beside(own: Lids, move: tuple[float, float]) -> Lids:
        return {eye: own[eye] + np.array(move) * EyeSquare.of_lids(own[eye], eye).side / PATCH for eye in "RL"}

    moved = ([beside(own, move) for own in lids] for move in MOVES)
    return np.mean([read_gaze(reader, pictures, own, points) for own in moved], axis=0)
