"""Attributes of eye patches: how they are named, grouped and mixed (Controllable Continuous Gaze Redirection).

A text like `0P@15P@-15P,0V@10V,L@R` names the groups, separated by commas, and the binary attributes of each,
separated by `@`. P is the head's yaw, V and H are the vertical and horizontal gaze, in degrees. A `#` before a name
means "is not". Each group has one branch of the controller; one more, without a label, takes what is left.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch

PUBLISHED = "0P@15P@-15P@30P@-30P,0V@10V@-10V@15V@-15V,0H@10H@-10H@15H@-15H,L@R"
ANGLES = "PVH"
_ANGLE = re.compile(rf"(-?\d+(?:\.\d+)?)([{ANGLES}])")
_NAME = re.compile(r"#?[^\s,@#]{1,40}")


def angle_of(name: str) -> tuple[float, str] | None:
    """`-15P` -> (-15.0, "P"); None for an attribute that is no angle."""
    found = _ANGLE.fullmatch(name.removeprefix("#"))
    return (float(found[1]), found[2]) if found else None


@dataclass(frozen=True)
class Attributes:
    """The groups of a text like the one above. Errors of a wrong text: ValueError, one line."""

    groups: tuple[tuple[str, ...], ...]

    @classmethod
    def parse(cls, text: str) -> "Attributes":
        return cls(tuple(tuple(name.strip() for name in group.split("@")) for group in text.split(",")))

    def __post_init__(self):
        for name in (names := [name for group in self.groups for name in group]):
            if not _NAME.fullmatch(name):
                raise ValueError(f"--attr: '{name:.40}' is no attribute; write names as 15P@-15P,10V,L@R")
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"--attr: '{twice}' stands there twice; name it once")

    def __str__(self) -> str:
        return ",".join("@".join(group) for group in self.groups)

    @property
    def lengths(self) -> tuple[int, ...]:
        """How many attributes each group has."""
        return tuple(map(len, self.groups))

    @property
    def branches(self) -> int:
        """Of the controller: one for each group, and one for what has no label."""
        return len(self.groups) + 1

    @property
    def columns(self) -> tuple[str, ...]:
        """The names without `#`, in order: columns of a label table."""
        return tuple(name.removeprefix("#") for group in self.groups for name in group)

    def branch_of(self, angle: str) -> int | None:
        """The branch of P, V or H: the group all of whose names are such angles. None if there is none."""
        for k, group in enumerate(self.groups):
            if all((found := angle_of(name)) and found[1] == angle for name in group):
                return k
        return None

    def labels(self, row: Sequence[int]) -> list[torch.Tensor]:
        """The values of one row of a label table, 1 or -1, in the order of `columns` -> one vector of 0 and 1 a group.

        `#` turns a value round. (The published loader makes -1 and -2 of it: it inverts the bits of a number.)
        """
        values, vectors = iter(row), []
        for group in self.groups:
            present = [(next(values) > 0) != name.startswith("#") for name in group]
            vectors.append(torch.tensor(present, dtype=torch.float32))
        return vectors

    def labels_of_angles(self, angles: dict[str, float], side: str) -> list[torch.Tensor]:
        """The same from what a file name says: degrees of P, V and H, and the side, L or R."""
        row = []
        for name in self.columns:
            angle = angle_of(name)
            row.append(1 if (name == side if angle is None else angles.get(angle[1]) == angle[0]) else -1)
        return self.labels(row)


def mixed_labels(labels: Sequence[torch.Tensor], order: torch.Tensor, v: torch.Tensor) -> list[torch.Tensor]:
    """Soft labels of mixed features: a_i + v_i (a_i[order] - a_i) for group i (section 2 of the published method).

    Args:    labels: a tensor [B, n] for each group; order [B]: whose features are mixed in; v [B, branches]
    """
    return [a + v[:, i, None] * (a[order] - a) for i, a in enumerate(labels)]


NO_LABELS = Attributes(())  # of a set of which only pictures and degrees are wanted
