"""A folder of pictures -> rows of a label file, with a reason for every picture that gets none."""

import json
from collections.abc import Callable
from pathlib import Path

import torch

from dataset_preprocessing.ffhq.pose_estimators import NoFace
from eg3d.metrics.pose_files import read_labels
from eg3d.running import processes
from groundwork.archive import Folder, Unreadable, read_file, shown
from groundwork.damage import Damage
from groundwork.files import atomic_write
from groundwork.images import read_picture, silence_pillow
from groundwork.matching import FACTS_FILE, LABEL_FILE, RENDERED_FILE, Words, first_of, match_names

LISTED = 20  # names for a terminal


def pictures(folder: Path, others: Callable[[Folder], list[str]] = lambda archive: []) -> tuple[dict, list[str]]:
    """The pictures of a folder, {name in it: file}, in order, and notes for the user; ValueError if there are none.

    others: gives the names of other files that belong to them.
    """
    if not folder.is_dir():
        raise ValueError(f"--indir={folder}: there is no such folder; give the one with the pictures")
    archive = Folder(folder)
    names = [*archive.pictures, *others(archive)]
    if not names:
        raise ValueError(f"--indir={folder}: holds no pictures{archive.why_empty()}; give the folder with the pictures")
    unnamed = [name for name in names if not _is_text(name)]
    if unnamed:
        raise ValueError(f"--indir={folder}: {len(unnamed)} of {len(names)} pictures have names that are no "
                         f"UTF-8, so no label file can list them, {first_of(unnamed)}; rename them")  # fmt: skip
    unread = archive.left_out([LABEL_FILE, FACTS_FILE, RENDERED_FILE, *names])
    notes = [f"{folder}: {unread}"] if unread else []
    return {name: archive.file(name) for name in names}, notes


def _is_text(name: str) -> bool:
    """Whether JSON can hold a name; bytes of a file's name that are no UTF-8 stand in it as halves of characters."""
    return not any("\ud800" <= character <= "\udfff" for character in name)


def expected(folder: Path, files: dict[str, Path], skip_unmatched: bool) -> tuple[dict[str, Path], list[str]]:
    """The pictures that gen_samples_pose.py says it draws, if the folder is one of its; and notes for the user.

    So a run of it that was stopped shows, and pictures of another one that lie there too.
    """
    if not (folder / RENDERED_FILE).exists():
        return files, []
    where = folder / RENDERED_FILE
    matched = match_names(list(read_labels(where, "--indir")), list(files))
    words = Words("pictures that it lists are missing", "pictures are not in its list")
    notes = matched.notes(str(where), skip_unmatched, words)
    kept = set(matched.pictures.values())
    return {name: file for name, file in files.items() if name in kept}, notes


def check_place(folder: Path) -> None:
    """ValueError where a `dataset.json` lies that was not estimated here: those labels may be the only ones."""
    if (folder / LABEL_FILE).exists() and not (folder / FACTS_FILE).exists():
        raise ValueError(f"{folder / LABEL_FILE}: exists and was not written by this script; move it or give --outdir")


def estimate(files: dict[str, Path], estimator, batch: int, damage: Damage) -> tuple[list, dict[str, str], list[str]]:
    """(rows [name, 25 numbers] in the files' order, {name: reason} of pictures without a label, the names of those of
    them that are damaged or no crops), on rank 0."""
    silence_pillow()
    rows, failed, unusable = [], {}, []
    for labels in processes.batches(list(files.items()), batch, lambda part: _labels_of(part, estimator), "cameras"):
        for name, label in labels.items():
            if isinstance(label, Unreadable):
                damage.add(name, label)
            if isinstance(label, Unreadable | NotSquare):
                unusable.append(name)
            if isinstance(label, str | ValueError):
                failed[name] = str(label)
            else:
                rows.append([name, [float(f"{x:.9g}") for x in label.tolist()]])
    return rows, failed, unusable


def write(folder: Path, rows: list, facts: dict) -> None:
    """The label file, and beside it how its labels were made."""
    atomic_write(folder / FACTS_FILE, (json.dumps(facts, indent=1) + "\n").encode())
    atomic_write(folder / LABEL_FILE, (json.dumps({"labels": rows}, indent=0) + "\n").encode())


def failures(failed: dict[str, str]) -> list[str]:
    """Lines about the pictures that got no camera."""
    if not failed:
        return []
    lines = [f"no camera for {shown(name)}: {reason}" for name, reason in list(failed.items())[:LISTED]]
    if len(failed) > LISTED:
        lines.append(f"and {len(failed) - LISTED} more, which {FACTS_FILE} names")
    return [*lines, f"as long as {FACTS_FILE} lies beside {LABEL_FILE}, these pictures are left out of the data set"]


def _labels_of(files: list[tuple[str, Path]], estimator) -> dict[str, torch.Tensor | str | ValueError]:
    """The label [25] of each picture by name, in the files' order, or the reason why it has none."""
    inputs, failed = {}, {}
    for name, file in files:
        try:
            inputs[name] = estimator.prepare(read_square(file), name)
        except NoFace as reason:
            failed[name] = str(reason)
        except (Unreadable, NotSquare) as error:
            failed[name] = error
    found = estimator.labels(torch.stack(list(inputs.values()))) if inputs else []
    return failed | dict(zip(inputs, found, strict=True))


class NotSquare(ValueError):
    """A picture that cannot be one of EG3D's crops."""


def read_square(file: Path):
    """The picture as RGB. `NotSquare` if it is no crop, `Unreadable` if it is not whole."""
    picture = read_picture(read_file(file), str(file))
    if picture.width != picture.height:
        size = f"{picture.width}x{picture.height}"
        raise NotSquare(f"is {size} pixels, and no crop as EG3D's are; --crop finds the faces in photos and cuts them")
    return picture
