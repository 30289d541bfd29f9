"""A folder of pictures -> rows of a label file, with a reason for every picture that gets none."""

import json
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


def pictures(folder: Path) -> tuple[dict[str, Path], list[str]]:
    """The pictures of a folder by their names in it, in order, and notes for the user; ValueError if there are none."""
    if not folder.is_dir():
        raise ValueError(f"--indir={folder}: there is no such folder; give the one with the pictures")
    archive = Folder(folder)
    if not archive.pictures:
        raise ValueError(f"--indir={folder}: holds no pictures{archive.why_empty()}; give the folder with the pictures")
    unnamed = [name for name in archive.pictures if not _is_text(name)]
    if unnamed:
        raise ValueError(f"--indir={folder}: {len(unnamed)} of {len(archive.pictures)} pictures have names that are no "
                         f"UTF-8, so no label file can list them, {first_of(unnamed)}; rename them")  # fmt: skip
    others = archive.left_out([LABEL_FILE, FACTS_FILE, RENDERED_FILE])
    notes = [f"{folder}: {others}"] if others else []
    return {name: archive.file(name) for name in archive.pictures}, notes


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


def estimate(files: dict[str, Path], estimator, batch: int, damage: Damage) -> tuple[list, dict[str, str]]:
    """(rows [name, 25 numbers] in the files' order, {name: reason} of pictures without a label), on rank 0.

    A picture that is not square is an error: it is none of the crops this is for.
    """
    silence_pillow()
    rows, failed = [], {}
    for labels in processes.batches(list(files.items()), batch, lambda part: _labels_of(part, estimator), "cameras"):
        for name, label in labels.items():
            if isinstance(label, Unreadable):
                damage.add(name, label)
                failed[name] = str(label)
            elif isinstance(label, str):
                failed[name] = label
            else:
                rows.append([name, [float(f"{x:.9g}") for x in label.tolist()]])
    return rows, failed


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


def _labels_of(files: list[tuple[str, Path]], estimator) -> dict[str, torch.Tensor | str | Unreadable]:
    """The label [25] of each picture by name, in the files' order, or the reason why it has none."""
    inputs, failed = {}, {}
    for name, file in files:
        try:
            inputs[name] = estimator.prepare(read_square(file), name)
        except NoFace as reason:
            failed[name] = str(reason)
        except Unreadable as error:
            failed[name] = error
    found = estimator.labels(torch.stack(list(inputs.values()))) if inputs else []
    return failed | dict(zip(inputs, found, strict=True))


def read_square(file: Path):
    """The picture as RGB; ValueError unless it is whole and square."""
    picture = read_picture(read_file(file), str(file))
    if picture.width != picture.height:
        size = f"{picture.width}x{picture.height}"
        raise ValueError(f"{file}: is {size} pixels; cut it as EG3D's crops are (photos are not cropped here)")
    return picture
