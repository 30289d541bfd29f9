"""Bins of gaze angle: logits -> angle, differentiable, and angle -> class target.

L2CS-Net (Abdelrahman et al. 2022) classifies each angle into bins and reads the angle as the expectation of the bins.
"""

import math
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Binning:
    """`bins` bins of `width_deg` degrees; bin i begins at `i * width_deg - offset_deg`."""

    bins: int
    width_deg: float
    offset_deg: float


BINNINGS = {90: Binning(90, 4.0, 180.0), 28: Binning(28, 3.0, 42.0)}  # Gaze360, MPIIFaceGaze


def binning_of(bins: int) -> Binning:
    """The binning with that number of bins; ValueError when no data set uses it."""
    if bins not in BINNINGS:
        raise ValueError(f"{bins} bins: L2CS-Net uses 90 (Gaze360, 4 degrees) or 28 (MPIIFaceGaze, 3 degrees)")
    return BINNINGS[bins]


def decode_degrees(logits: torch.Tensor, binning: Binning) -> torch.Tensor:
    """Softmax expectation over the bins: logits [N, B] -> degrees [N].

    Each bin counts with its *lower* edge, as published weights expect: uniform logits over 90 bins give -2 degrees.
    """
    index = torch.arange(binning.bins, device=logits.device, dtype=logits.dtype)
    return binning.width_deg * (logits.softmax(dim=1) * index).sum(dim=1) - binning.offset_deg


def decode(logits: torch.Tensor, binning: Binning) -> torch.Tensor:
    """Logits [N, B] -> radians [N]; the gradient reaches the logits."""
    return decode_degrees(logits, binning) * (math.pi / 180)


def digitize(degrees: torch.Tensor, binning: Binning) -> torch.Tensor:
    """Class target floor((degrees + offset) / width) [N], int64; the upper end of the range belongs to the last bin."""
    index = torch.floor((degrees + binning.offset_deg) / binning.width_deg).long()
    return index.clamp(0, binning.bins - 1)
