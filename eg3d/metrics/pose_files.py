"""Label files of pose accuracy: {"labels": [[name, [25 numbers]], ...]}, matched by name."""

from pathlib import Path

import torch

from eg3d.geometry.cameras import LABEL_DIM, check_labels
from groundwork.strict_json import JsonError, read_json

LABELS = "dataset.json"  # of estimated labels
FACTS = "pose_estimate.json"  # beside estimated labels: by which network, from which points, which pictures failed


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
        if len(row[1]) != LABEL_DIM or not all(isinstance(x, (int, float)) for x in row[1]):
            raise ValueError(f"{where}: the label of {row[0][:80]!r} must be 25 numbers")
        if row[0] in labels:
            raise ValueError(f"{where}: {row[0][:80]!r} is there twice; write the file anew")
        labels[row[0]] = torch.tensor(row[1], dtype=torch.float64)
    if not labels:
        raise ValueError(f"{where}: holds no labels")
    check_labels(torch.stack(list(labels.values())), where, [name[:80] for name in labels])
    return labels


def estimate_beside(file1: Path, file2: Path) -> Path | None:
    """Where the estimate lies that the published commands look for in `file2`, if nothing is there; else None.

    The published preprocess_in_the_wild.py wrote into a folder of its own, with the name of --indir: its README goes on
    with --file2=../dataset_preprocessing/ffhq/pose/dataset.json. Ours writes beside the pictures, where `file1` lies.
    """
    folder = file1.resolve().parent
    found = file2.name == LABELS and file2.parent.name == folder.name and (folder / FACTS).is_file()
    return file1.parent / LABELS if found and not file2.exists() and (folder / LABELS).is_file() else None


def match(
    rendered: dict[str, torch.Tensor], estimated: dict[str, torch.Tensor], file1: Path, file2: Path
) -> tuple[torch.Tensor, torch.Tensor, int]:
    """(rendered [N, 25], estimated [N, 25], number of rendered pictures without an estimate).

    Estimates of other pictures, mirrored copies for example, are left aside.
    """
    both = [name for name in rendered if name in estimated]
    if not both:
        raise ValueError(f"{file1} and {file2} have no picture in common; are they of one run?")
    pairs = (torch.stack([labels[name] for name in both]) for labels in (rendered, estimated))
    return *pairs, len(rendered) - len(both)


def estimate_facts(file2: Path) -> dict:
    """What stands beside the estimated labels about how they were made; nothing where it is missing."""
    try:
        facts = read_json(file2.parent / FACTS)
    except (OSError, JsonError):
        return {}
    known = facts if isinstance(facts, dict) else {}
    return {key: known[key] for key in ("estimator", "sha256", "landmarks") if key in known}
