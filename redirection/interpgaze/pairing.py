"""What a step of training draws: whose features are mixed, how far, and, of one person, which pictures go together.

Every draw is keyed by the seed and the number of the step, so a run that goes on draws what an unbroken one would.
"""

from dataclasses import dataclass

import torch

from groundwork.draw_keys import draw_key
from redirection.attributes import ANGLES, Attributes
from redirection.patch_sets import PatchSet

CANDIDATES = 32  # references that are looked at for each source and target
LEAST, FURTHEST = -0.25, 1.5  # of the way to a reference at which a target may lie
LEAST_BETWEEN_DEG = 5.0  # between source and reference in an angle that moves; less would enlarge their errors


@dataclass(frozen=True)
class Mixing:
    """rows [B] of the set; order [B]: a permutation; v [B, branches] and u [B] in [0, 1)."""

    rows: torch.Tensor
    order: torch.Tensor
    v: torch.Tensor
    u: torch.Tensor


@dataclass(frozen=True)
class Triples:
    """Rows [B] of the set: the target is the source moved by v [B, branches] toward the reference."""

    source: torch.Tensor
    reference: torch.Tensor
    target: torch.Tensor
    v: torch.Tensor


def generator(seed: int, phase: str, step: int) -> torch.Generator:
    return torch.Generator().manual_seed(draw_key(seed, phase, 0, step))


def mixing_of_step(seed: int, step: int, count: int, batch: int, branches: int) -> Mixing:
    """Each epoch is shuffled anew, and its incomplete last batch dropped; the pairing is a permutation of the batch."""
    epoch, number = divmod(step, count // batch)
    rows = torch.randperm(count, generator=generator(seed, "order", epoch))[number * batch : (number + 1) * batch]
    draws = generator(seed, "mixing", step)
    order = torch.randperm(batch, generator=draws)
    return Mixing(rows, order, torch.rand(batch, branches, generator=draws), torch.rand(batch, generator=draws))


class _Groups:
    """Rows of a set that have the same values, and random ones of them."""

    def __init__(self, values: list[torch.Tensor]):
        _, self._of_row = torch.stack(values, 1).unique(dim=0, return_inverse=True)
        self._order = self._of_row.argsort(stable=True)
        self._count = self._of_row.bincount()
        self._first = self._count.cumsum(0) - self._count

    @property
    def largest(self) -> int:
        return int(self._count.max())

    def drawn(self, rows: torch.Tensor, draws: torch.Generator, more: tuple[int, ...] = ()) -> torch.Tensor:
        """A random row [B, *more] out of the group of each row [B]."""
        group = self._of_row[rows]
        first, count = (x[group].view(-1, *[1] * len(more)) for x in (self._first, self._count))
        return self._order[first + (torch.rand((len(group), *more), generator=draws) * count).long()]


class PairsOfPeople:
    """Triples of a set in which people are known at several head poses or gazes."""

    def __init__(self, patches: PatchSet, attributes: Attributes, still_heads: float = 0.0):
        """still_heads: share of the triples in which the target has the head yaw of the source.

        ValueError, one line, for a set without such people, or one that differs in what no branch moves.
        """
        places = [attributes.branch_of(angle) for angle in ANGLES]
        for k, (angle, branch) in enumerate(zip(ANGLES, places, strict=True)):
            if branch is None and len(patches.angles[:, k].unique()) > 1:
                raise ValueError(f"--paired: patches differ in {angle}, but --attr has no branch for it; add one")
        self._moved = [k for k, branch in enumerate(places) if branch is not None]
        self._branch = [places[k] for k in self._moved]
        self._branches, self._angles = attributes.branches, patches.angles[:, self._moved]
        whose = [patches.person.double(), patches.eye.double()]
        self._people, self._still_heads = _Groups(whose), still_heads
        self._heads = _Groups([*whose, patches.angles[:, 0].double()])
        if len(patches) and self._people.largest < 2:
            raise ValueError("--paired: nobody is there twice with one eye; give a set with several gazes of a person")

    def of_step(self, seed: int, step: int, rows: torch.Tensor) -> Triples:
        """For sources `rows` [B] targets of the same person and eye, and references, of anybody, near or beyond."""
        draws = generator(seed, "pairs", step)
        target = self._people.drawn(rows, draws)
        if self._still_heads > 0:
            still = torch.rand(len(rows), generator=draws) < self._still_heads
            target = torch.where(still, self._heads.drawn(rows, draws), target)
        candidates = torch.randint(len(self._angles), (len(rows), CANDIDATES), generator=draws)
        candidates[:, ::2] = self._people.drawn(rows, draws, (CANDIDATES // 2,))
        wanted = (self._angles[target] - self._angles[rows])[:, None]  # [B, 1, angles]
        between = self._angles[candidates] - self._angles[rows][:, None]
        still = wanted.abs() < 1e-6
        v = torch.where(still, 0.0, wanted / between)
        good = still | ((between.abs() >= LEAST_BETWEEN_DEG) & (v >= LEAST) & (v <= FURTHEST))
        good = good.all(dim=2)
        chosen = good.int().argmax(dim=1)  # the first good one
        lines = torch.arange(len(rows))
        found = good.any(dim=1)
        reference = torch.where(found, candidates[lines, chosen], target)
        v = torch.where(found[:, None], v[lines, chosen], (~still[:, 0]).float())
        control = torch.zeros(len(rows), self._branches)
        control[:, self._branch] = v
        return Triples(rows, reference, target, control)
