"""What a redirector is asked when it is measured: which patch, toward which angles, and what the truth looks like."""

from dataclasses import dataclass

import torch

from groundwork.draws import draw_key
from redirection.patch_sets import PatchSet
from redirection.world_patches import FURTHEST, GRID

ON_GRID_DEG = 0.05
LEAST_CHANGE_DEG = 2.5  # between the gazes of a pair


@dataclass(frozen=True)
class Pairs:
    """Rows [N] of a set: the source, and the true picture of the same eye at the wanted gaze and about that head pose.

    wanted [N, 3]: P of the source, V and H of the target. on_grid [N]: whether Columbia has V and H of the target.
    """

    source: torch.Tensor
    target: torch.Tensor
    wanted: torch.Tensor
    on_grid: torch.Tensor

    def __len__(self) -> int:
        return len(self.source)


def draw_pairs(patches: PatchSet, count: int, seed: int, most_turn_deg: float) -> Pairs:
    """`count` different pairs, or all there are, of one person and eye, whose head poses differ by most_turn_deg.

    Errors: ValueError, one line, if nobody is there so twice.
    """
    angles = patches.angles
    whose = patches.person * 2 + patches.eye
    found = []
    for group in whose.unique():
        rows = (whose == group).nonzero()[:, 0]
        a, b = rows.repeat_interleave(len(rows)), rows.repeat(len(rows))
        change = (angles[b] - angles[a]).abs()
        good = (change[:, 0] <= most_turn_deg) & (change[:, 1:].norm(dim=1) >= LEAST_CHANGE_DEG)
        found.append(torch.stack([a[good], b[good]], 1))
    pairs = torch.cat(found)
    if not len(pairs):
        raise ValueError(
            f"no eye is there twice at head poses within {most_turn_deg:g} degrees; give a set of several gazes of "
            "each person, or a larger --turn"
        )
    draws = torch.Generator().manual_seed(draw_key(seed, "redirection-pairs", 0, 0))
    source, target = pairs[torch.randperm(len(pairs), generator=draws)[:count]].T
    wanted = torch.cat([angles[source, :1], angles[target, 1:]], 1)
    on_grid = _near_grid(wanted[:, 1], "V") & _near_grid(wanted[:, 2], "H")
    return Pairs(source, target, wanted, on_grid)


def _near_grid(values: torch.Tensor, name: str) -> torch.Tensor:
    return ((values[:, None] - torch.tensor(GRID[name], dtype=values.dtype)).abs() < ON_GRID_DEG).any(1)


def beyond(patches: PatchSet, pairs: Pairs, times: float) -> tuple[torch.Tensor, torch.Tensor]:
    """(rows of the pairs, wanted [M, 3]): those whose way, `times` as long, ends beyond the angles of Columbia."""
    shown = patches.angles[pairs.source]
    wanted = shown + times * (pairs.wanted - shown)
    rows = ((wanted[:, 1].abs() > FURTHEST["V"]) | (wanted[:, 2].abs() > FURTHEST["H"])).nonzero()[:, 0]
    return rows, wanted[rows]


def one_of_each(patches: PatchSet, most: int, seed: int) -> torch.Tensor:
    """Rows [M]: a random patch of each person and eye, at most `most` of them."""
    draws = torch.Generator().manual_seed(draw_key(seed, "redirection-sources", 0, 0))
    order = torch.randperm(len(patches), generator=draws)
    whose = (patches.person * 2 + patches.eye)[order]
    _, first = torch.unique(whose, return_inverse=True)
    seen, chosen = set(), []
    for row, group in zip(order.tolist(), first.tolist(), strict=True):
        if group not in seen:
            seen.add(group)
            chosen.append(row)
    return torch.tensor(chosen[:most])
