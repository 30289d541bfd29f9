"""Errors of head yaw and gaze in degrees, and their means in bins."""

from collections.abc import Sequence

import torch

Bins = Sequence[tuple[str, torch.Tensor]]  # name and which rows [N] are in it


def gaze_directions(angles: torch.Tensor) -> torch.Tensor:
    """P, V, H in degrees [N, 3] -> unit vectors [N, 3] of the gaze alone: (cos V sin H, sin V, cos V cos H)."""
    v, h = angles[:, 1].double().deg2rad(), angles[:, 2].double().deg2rad()
    return torch.stack([v.cos() * h.sin(), v.sin(), v.cos() * h.cos()], 1)


def gaze_error(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Angle in degrees [N] between the gazes of P, V, H [N, 3] (He et al. 2019, section 4)."""
    x, y = gaze_directions(a), gaze_directions(b)
    return torch.atan2(torch.linalg.cross(x, y).norm(dim=1), (x * y).sum(1)).rad2deg()


def bins_of(values: torch.Tensor, edges: Sequence[float], unit: str = "deg") -> Bins:
    """`0-5 deg`, `5-10 deg`, ...; rows of values [N] at least the lower and below the upper edge."""
    return [
        (f"{low:g}-{high:g} {unit}", (values >= low) & (values < high))
        for low, high in zip(edges, edges[1:], strict=False)
    ]


def binned(values: torch.Tensor, bins: Bins) -> dict[str, dict]:
    """Mean and count of values [N] in each bin that is not empty."""
    return {name: {"mean": values[rows].mean().item(), "count": int(rows.sum())} for name, rows in bins if rows.any()}
