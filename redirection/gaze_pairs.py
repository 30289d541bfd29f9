"""Pairs of patches that differ in the gaze alone: what He et al. (2019) and DeepWarp (2016) learn from."""

import torch

from groundwork.draws import draw_key
from redirection.patch_sets import PatchSet


class GazePairs:
    """All ordered pairs of one person, head yaw and eye; a patch with itself is a pair too (He et al., section 4).

    A patch that nothing goes with is in no pair.
    """

    def __init__(self, patches: PatchSet):
        """ValueError, one line, for a set without such pairs."""
        keys = torch.stack([patches.person.double(), patches.angles[:, 0].double(), patches.eye.double()], 1)
        _, group, count = keys.unique(dim=0, return_inverse=True, return_counts=True)
        order = group.argsort(stable=True)
        first = count.cumsum(0) - count
        of_row = count[group[order]]
        kept = of_row > 1
        self._order, self._rows = order, order[kept]
        self._first, self._count = first[group[self._rows]], of_row[kept]
        self._ends = self._count.cumsum(0)
        if not len(self._rows):
            raise ValueError("no two patches show an eye of one person at one head yaw; give several gazes of each")

    def __len__(self) -> int:
        return int(self._ends[-1])

    def pairs(self, numbers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Source and target rows [B] of pairs [B], which count from 0."""
        at = torch.searchsorted(self._ends, numbers, right=True)
        inside = numbers - (self._ends[at] - self._count[at])
        return self._rows[at], self._order[self._first[at] + inside]

    def per_epoch(self, batch: int) -> int:
        """Steps of an epoch; a last batch that is not whole is dropped."""
        return max(len(self) // batch, 1)

    def of_step(self, seed: int, step: int, batch: int, phase: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Source and target rows [B]. Each epoch is shuffled anew, for each phase by itself."""
        epoch, number = divmod(step, self.per_epoch(batch))
        draws = torch.Generator().manual_seed(draw_key(seed, f"pairs {phase}", 0, epoch))
        return self.pairs(torch.randperm(len(self), generator=draws)[number * batch : (number + 1) * batch])
