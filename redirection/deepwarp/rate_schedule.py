"""The learning rate of each epoch, from a file with a line `epoch,lr` for each change."""

import math
from pathlib import Path

from groundwork.files import open_regular

LARGEST = 1 << 16  # bytes


def read_schedule(path: Path) -> tuple[tuple[int, float], ...]:
    """(epoch, rate) in order. Errors: ValueError, one line, for another file."""
    with open_regular(path) as file:
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise ValueError(f"{path}: has more than {LARGEST} bytes, so it is no schedule")
    changes = []
    for number, line in enumerate(data.decode(errors="replace").splitlines(), 1):
        if not line.strip():
            continue
        try:
            epoch, rate = line.split(",")
            changes.append((int(epoch), float(rate)))
        except ValueError:
            raise ValueError(f"{path}: line {number} is no 'epoch,lr', such as 30,0.0005") from None
        if changes[-1][0] < 0 or not 0 <= changes[-1][1] < math.inf:
            raise ValueError(f"{path}: line {number} has a number below 0, or one that is not finite")
    if not changes or any(a[0] >= b[0] for a, b in zip(changes, changes[1:], strict=False)):
        raise ValueError(f"{path}: give one line or more, with epochs that rise")
    return tuple(changes)


def rate_at(schedule: tuple[tuple[int, float], ...], epoch: int, legacy: bool = False) -> float:
    """The rate of the last change up to an epoch; before the first change the first one's.

    legacy: 0 before the first change, as published: the first line is of epoch 1, so epoch 0 learns nothing.
    """
    passed = [rate for start, rate in schedule if start <= epoch]
    return passed[-1] if passed else 0.0 if legacy else schedule[0][1]
