"""Improved precision and recall: shares of one set inside the manifold of the other (Kynkaanniemi et al. 2019)."""

import math
from typing import NamedTuple

import torch

NEIGHBOURS = 3
ROWS, COLUMNS = 1024, 8192  # a block of distances takes 64 MB


class PrecisionRecall(NamedTuple):
    precision: float
    recall: float
    precision_se: float
    recall_se: float


def squared_distances(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """[N, F] and [M, F] -> [N, M], in float64 (float16, as published, drowns small features)."""
    return (x.square().sum(1)[:, None] + y.square().sum(1) - 2 * x @ y.T).clamp(min=0)


def squared_radii(rows: torch.Tensor, k: int = NEIGHBOURS) -> torch.Tensor:
    """Squared distance [N] of each row to its k-th neighbour, itself not counted."""
    radii = []
    for start in range(0, len(rows), ROWS):
        part, nearest = rows[start : start + ROWS], None
        for first in range(0, len(rows), COLUMNS):
            block = squared_distances(part, rows[first : first + COLUMNS])
            own = torch.arange(start, start + len(part)) - first
            inside = (own >= 0) & (own < block.shape[1])
            block[inside.nonzero()[:, 0], own[inside]] = 0.0  # exactly, so that it is counted first
            found = block if nearest is None else torch.cat([nearest, block], dim=1)
            nearest = found.topk(min(k + 1, found.shape[1]), largest=False).values
        radii.append(nearest.max(dim=1).values)
    return torch.cat(radii)


def share_inside(rows: torch.Tensor, manifold: torch.Tensor, radii: torch.Tensor) -> float:
    """Share of rows that lie in the ball of any row of the manifold."""
    inside = 0
    for part in rows.split(ROWS):
        hit = torch.zeros(len(part), dtype=torch.bool)
        for centres, r in zip(manifold.split(COLUMNS), radii.split(COLUMNS), strict=True):
            hit |= (squared_distances(part, centres) <= r).any(dim=1)
        inside += int(hit.sum())
    return inside / len(rows)


def precision_and_recall(real: torch.Tensor, generated: torch.Tensor, k: int = NEIGHBOURS) -> PrecisionRecall:
    """Precision: generated features inside any ball of the real ones; recall: the other way round.

    The standard errors are binomial, the manifold taken as given: precision's is over generated samples, recall's over
    real ones.
    """
    if min(len(real), len(generated)) <= k:
        raise ValueError(
            f"precision and recall with {k} neighbours need more than {k} images of each kind, here are {len(real)} "
            f"and {len(generated)}"
        )
    real, generated = real.double(), generated.double()
    centre = real.mean(dim=0)  # distances are differences of large numbers otherwise
    real, generated = real - centre, generated - centre
    precision = share_inside(generated, real, squared_radii(real, k))
    recall = share_inside(real, generated, squared_radii(generated, k))
    return PrecisionRecall(precision, recall, _binomial(precision, len(generated)), _binomial(recall, len(real)))


def _binomial(share: float, count: int) -> float:
    return math.sqrt(share * (1 - share) / count)
