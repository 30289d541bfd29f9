"""The files about a set of eye patches: which attributes each has, who is for training, and what was left out.

info/gaze.csv          name and one column for each attribute, 1 or -1
info/gaze-train.txt    names, one a line; gaze-test.txt likewise, of other people
info/degrees.csv       name, photo, person, eye, P, V, H as the photo shows them, and where the patch lies in it
info/rejects.csv       photo, eye, reason
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from groundwork.files import open_regular, write_text
from redirection.attributes import Attributes
from redirection.eye_patches import EyeSquare
from redirection.patch_names import PatchName

INFO = "info"
LABELS, DEGREES, REJECTS = "gaze.csv", "degrees.csv", "rejects.csv"
LISTS = {"train": "gaze-train.txt", "test": "gaze-test.txt"}
LARGEST = 64 << 20  # bytes of a table; Columbia's has 0.8 MB


@dataclass(frozen=True)
class CutPatch:
    """One patch: its file in all/, what its name says (None: nothing), the photo it is of, and where it lies there."""

    file: str
    name: PatchName | None
    photo: str
    square: EyeSquare


def write_tables(
    folder: Path,
    patches: Sequence[CutPatch],
    test_people: set[int],
    attributes: Attributes,
    rejects: Sequence[tuple[str, str, str]],
) -> None:
    """Writes FOLDER/info. rejects: photo, eye, reason."""
    rows, named = [], [one for one in patches if one.name]
    for one in named:
        labels = attributes.labels_of_angles(one.name.angles, one.name.eye)
        rows.append([one.file, *(1 if value else -1 for group in labels for value in group.tolist())])
    _write(folder / INFO / LABELS, ["name", *attributes.columns], rows)
    for part, file in LISTS.items():
        chosen = [one.file for one in named if (one.name.person in test_people) == (part == "test")]
        write_text(folder / INFO / file, "".join(f"{name}\n" for name in chosen))
    _write(
        folder / INFO / DEGREES,
        ["name", "photo", "person", "eye", "P", "V", "H", "x", "y", "side"],
        [
            [one.file, one.photo, one.name.person if one.name else "", "R" if one.square.mirrored else "L",
             *(map(_plain, one.name.angles.values()) if one.name else ["", "", ""]),
             *(f"{v:.3f}" for v in (one.square.x, one.square.y, one.square.side))]
            for one in patches
        ],
    )  # fmt: skip
    _write(folder / INFO / REJECTS, ["photo", "eye", "reason"], rejects)


def read_labels(path: Path, attributes: Attributes) -> dict[str, list[int]]:
    """{name: values in the order of `attributes.columns`} of a table like info/gaze.csv.

    Errors: ValueError, one line, for an attribute that the table lacks, or a row that is wrong.
    """
    header, rows = read_table(path)
    places = []
    for column in attributes.columns:
        if column not in header:
            raise ValueError(f"{path}: has no column {column}; leave it out of --attr (it has {', '.join(header[1:])})")
        places.append(header.index(column))
    labels: dict[str, list[int]] = {}
    for number, row in enumerate(rows, 2):
        values = [row[place].strip() for place in places]
        if not all(value in ("1", "-1") for value in values):
            raise ValueError(f"{path}: line {number} holds another value than 1 and -1; make the table again")
        labels[row[0]] = [int(value) for value in values]
    return labels


def read_table(path: Path) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a small CSV; ValueError, one line, if rows are not as long as the header."""
    with open_regular(path) as file:
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise ValueError(f"{path}: has more than {LARGEST} bytes, so it is no table of patches")
    try:
        header, *rows = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
    except (ValueError, csv.Error):  # empty, no text, or torn quotes
        raise ValueError(f"{path}: is no CSV table; make it again (redirection/crop_eyes.py)") from None
    for number, row in enumerate(rows, 2):
        if len(row) != len(header):
            raise ValueError(f"{path}: line {number} has {len(row)} values, the header {len(header)}; make it again")
    return [name.strip() for name in header], rows


def read_list(path: Path) -> list[str]:
    """Names, one a line."""
    with open_regular(path) as file:
        return [line.strip() for line in file.read(LARGEST).decode(errors="replace").splitlines() if line.strip()]


def _write(path: Path, header: Sequence[str], rows: Sequence[Sequence]) -> None:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_text(path, out.getvalue())


def _plain(value: float) -> str:
    return f"{value + 0.0:g}"
