"""Label files of pose accuracy: {"labels": [[name, [25 numbers]], ...]}, matched by name."""

import re
from dataclasses import replace
from pathlib import Path, PurePosixPath

import torch

from eg3d.geometry.label_rows import LAYOUT, entries_of, label_array
from groundwork.matching import FACTS_FILE, LABEL_FILE, Words, faceless_in, first_of, match_names
from groundwork.places import EMBEDDED
from groundwork.strict_json import JsonError, read_json
from groundwork.strict_pickle import one_line


def read_labels(path: Path, flag: str) -> dict[str, torch.Tensor]:
    """{name: label [25]} of a label file; ValueError, one line, unless every label is a proper camera, or null."""
    where = f"{flag}={path}"
    try:
        content = read_json(path, finite=False)
    except FileNotFoundError:
        raise ValueError(f"{where}: there is no such file; run the step that writes it first") from None
    except JsonError as error:
        raise ValueError(f"{where} is not {LAYOUT} ({error}); write it again") from None
    entries = {name: label for name, label in entries_of(content, where).items() if label is not None}
    if not entries:
        raise ValueError(f"{where}: holds no labels")
    return dict(zip(entries, label_array(entries, list(entries), where), strict=True))


def read_world(path: Path) -> str | None:
    """Whose heads the pictures show that a file of rendering cameras lists, as `eg3d.scores.origin.drawn_world` says.

    None where it does not tell: if there is no such file, or an older one. ValueError for a world that is not known.
    """
    try:
        content = read_json(path, finite=False)
    except (OSError, JsonError):  # `read_labels` says what is wrong with it
        return None
    world = content.get("world") if isinstance(content, dict) else None
    if world not in (None, "", *EMBEDDED):
        raise ValueError(f"{path}: its pictures show a world {one_line(str(world), 40)!r}, which is not known here; "
                         "name a pose network by --recon-weights or --pose")  # fmt: skip
    return world


def other_world(world: str | None, facts: dict) -> list[str]:
    """A warning if the pose network of a world has estimated the cameras of pictures that show none of its heads."""
    by, _, rest = str(facts.get("estimator")).partition(" ")
    if world is None or by not in EMBEDDED or by == world or not rest.startswith("pose network"):
        return []
    return [f"the pose network {by} has estimated the cameras, and the pictures show "
            f"{f'the world {world}' if world else 'photos'}; run preprocess_in_the_wild.py again"]  # fmt: skip


def estimate_beside(file1: Path, file2: Path) -> Path | None:
    """Where the estimate lies that the published commands look for in `file2`, if nothing is there; else None.

    The published preprocess_in_the_wild.py wrote into a folder of its own, with the name of --indir: its README goes on
    with --file2=../dataset_preprocessing/ffhq/pose/dataset.json. Ours writes beside the pictures, where `file1` lies.
    """
    folder = file1.resolve().parent
    found = file2.name == LABEL_FILE and file2.parent.name == folder.name and (folder / FACTS_FILE).is_file()
    return file1.parent / LABEL_FILE if found and not file2.exists() and (folder / LABEL_FILE).is_file() else None


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
    if facts is None and matched.faceless:
        notes.append(f"{file2}: no {FACTS_FILE} lies beside it, so pictures without an estimate count as failed: "
                     f"{len(matched.faceless)} of {len(rendered)}, {first_of(matched.faceless)}")  # fmt: skip
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
