"""The rows of a label file, {"labels": [["00000/img00000000.png", [25 numbers]], ...]}, read without trusting them."""

from collections import Counter
from collections.abc import Sequence

import torch

from eg3d.geometry.cameras import LABEL_DIM, check_labels
from groundwork.archive import normalised, shown
from groundwork.strict_pickle import one_line

LAYOUT = '{"labels": [[name, [25 numbers]], ...]}'


def entries_of(content: object, where: str) -> dict[str, object]:
    """Each name in the content of a label file (as `normalised` makes it) and its label, of which nothing is checked.

    {} if its "labels" are null. ValueError, beginning with `where`, if it has another layout or lists a name twice.
    """
    try:
        pairs = [(normalised(name), label) for name, label in content["labels"] or []]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(f"{where} is not {LAYOUT}; write it again") from None
    entries = dict(pairs)
    if len(entries) < len(pairs):
        twice = next(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)
        raise ValueError(f"{where} lists {shown(twice)} twice; every image has one camera")
    return entries


def label_fault(label: object) -> str | None:
    """What is wrong with one label as JSON gave it, apart from its values; None if it is 25 numbers."""
    if not isinstance(label, list):
        return f"is {type(label).__name__}; a camera is a list of {LABEL_DIM} numbers"
    if len(label) != LABEL_DIM:
        return f"is {len(label)} numbers; a camera has {LABEL_DIM} (16 pose + 9 intrinsics)"
    if not all(isinstance(x, int | float) and not isinstance(x, bool) for x in label):
        return "holds something that is not a number; write it again"
    wild = next((x for x in label if not abs(x) < 1e30), None)  # nan, inf, and what float32 could not multiply
    if wild is not None:
        return f"holds {one_line(str(wild), 24)}; all {LABEL_DIM} must be finite"
    return None


def label_array(entries: dict[str, object], names: Sequence[str], where: str) -> torch.Tensor:
    """float64 [n, 25] of these names, checked to be cameras; ValueError names the first that is none."""
    for name in names:
        fault = label_fault(entries[name])
        if fault:
            raise ValueError(f"{where}: the label of {shown(name)} {fault}")
    labels = torch.tensor([entries[name] for name in names], dtype=torch.float64).reshape(-1, LABEL_DIM)
    check_labels(labels, where, [shown(name) for name in names])
    return labels
