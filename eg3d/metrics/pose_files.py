"""Label files of pose accuracy: {"labels": [[name, [25 numbers]], ...]}, matched by name."""

import re
from dataclasses import replace
from pathlib import Path, PurePosixPath

import torch

from eg3d.geometry.cameras import LABEL_DIM, check_labels
from groundwork.archive import normalised
from groundwork.matching import FACTS_FILE, Words, faceless_in, first_of, match_names
from groundwork.strict_json import JsonError, read_json


def read_labels(path: Path, flag: str) -> dict[str, torch.Tensor]:
    """{name: label [25]} of a label file; ValueError, one line, unless every label is a proper camera."""
    where = f"{flag}={path}"
    try:
        rows = read_json(path)["labels"]
    except FileNotFoundError:
        raise ValueError(f"{where}: there is no such file; run the step that writes it first") from None
    except (JsonError, KeyError, TypeError) as error:
        reason = f" ({error})" if isinstance(error, JsonError) else ""
        layout = '{"labels": [[name, [25 numbers]], ...]}'
        raise ValueError(f"{where}: is no label file{reason}; it must hold {layout}") from None
    labels = {}
    for row in rows if isinstance(rows, list) else [None]:
        if not (isinstance(row, list) and len(row) == 2 and isinstance(row[0], str) and isinstance(row[1], list)):
            raise ValueError(f"{where}: is no label file; 'labels' must be a list of [name, [25 numbers]]")
        name, numbers = normalised(row[0]), row[1]
        if len(numbers) != LABEL_DIM or not all(isinstance(x, (int, float)) for x in numbers):
            raise ValueError(f"{where}: the label of {name[:80]!r} must be 25 numbers")
        if name in labels:
            raise ValueError(f"{where}: {name[:80]!r} is there twice; write the file anew")
        labels[name] = torch.tensor(numbers, dtype=torch.float64)
    if not labels:
        raise ValueError(f"{where}: holds no labels")
    check_labels(torch.stack(list(labels.values())), where, [name[:80] for name in labels])
    return labels


def match(
    rendered: dict[str, torch.Tensor], estimated: dict[str, torch.Tensor], file1: Path, file2: Path,
    skip_unmatched: bool = False,
) -> tuple[torch.Tensor, torch.Tensor, int, list[str]]:  # fmt: skip
    """(rendered [N, 25], estimated [N, 25], number of pictures in which no face was found, notes for the user).

    The estimator's facts beside `file2` say which pictures it failed on. Without them all pictures without an estimate
    count as failed. Estimates of mirrored copies are left aside. Whatever else has no counterpart is an error.
    """
    facts = read_facts(file2.parent)
    faceless = list(rendered) if facts is None else faceless_in(facts)
    mirrored = [name for name in estimated if name not in rendered and _unmirrored(name) in rendered]
    matched = match_names([name for name in estimated if name not in mirrored], list(rendered), faceless)
    words = Words(f"estimates are of pictures that {file1} does not list", f"pictures of {file1} have no estimate")
    notes = replace(matched, faceless=[]).notes(str(file2), skip_unmatched, words)
    if mirrored:
        notes.append(f"{file2}: {len(mirrored)} estimates of mirrored copies are left aside, {first_of(mirrored)}")
    first = torch.stack([rendered[name] for name in matched.pictures.values()])
    second = torch.stack([estimated[name] for name in matched.pictures])
    return first, second, len(matched.faceless), notes


def _unmirrored(name: str) -> str:
    path = PurePosixPath(name)
    return str(path.with_name(re.sub(r"[_-]mirror$", "", path.stem) + path.suffix))


def read_facts(folder: Path) -> dict | None:
    """What stands beside estimated labels about how they were made; None if that cannot be read."""
    try:
        facts = read_json(folder / FACTS_FILE)
    except (OSError, JsonError):
        return None
    return facts if isinstance(facts, dict) else None


def estimate_facts(file2: Path) -> dict:
    """Those of them that go into a report."""
    known = read_facts(file2.parent) or {}
    return {key: known[key] for key in ("estimator", "sha256", "landmarks") if key in known}
