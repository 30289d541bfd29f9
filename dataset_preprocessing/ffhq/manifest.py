"""What became of every photo: a file of JSON lines beside the data set, from which a run that was stopped goes on.

The first line says by which rules the data set is made. Each of the others is a photo or film: its name, its stamp,
which changes when somebody writes to it, and its faces. A face has its fate: `kept`, with the crop's name and label,
or another word, with the reason in full.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from eg3d.geometry.cameras import LABEL_DIM
from groundwork.archive import is_inside
from groundwork.files import atomic_write
from groundwork.strict_json import JsonError, parse_json

ENDING = ".manifest.jsonl"
KEPT, UNREADABLE = "kept", "unreadable"


class Manifest:
    """`rows` are those of earlier runs by the same rules, by the photo's name, and what `append` adds."""

    def __init__(self, path: Path, rules: dict, about: dict):
        """rules: what decides about the crops. about: what else the first line says.

        ValueError if the file there was written by other rules, or is no manifest.
        """
        self.path, self._head = path, {"rules": rules, **about}
        self.rows: dict[str, dict] = {}
        self._made: set[str] = set()  # crops of all lines, also of those that later ones replace
        if path.exists():
            self._read(rules)

    def _read(self, rules: dict) -> None:
        head, *lines = _parsed(self.path)
        if not isinstance(head, dict) or not isinstance(head.get("rules"), dict):
            raise ValueError(f"{self.path}: is no manifest of this script; move it, or give another --outdir")
        for key in [*rules, *head["rules"]]:
            before, now = (known.get(key) for known in (head["rules"], rules))
            if before != now:
                raise ValueError(f"{self.path}: these crops were made with {key} {before}, not {now}; give another "
                                 "--outdir, or remove this file and the crops to make them again")  # fmt: skip
        rows = [row for row in lines if is_row(row)]
        self.rows, self._made = {row["photo"]: row for row in rows}, set(crops_of(*rows))

    def begin(self) -> None:
        """Writes the file as it is known; what a run that was killed has left half written goes."""
        lines = [self._head, *(self.rows[name] for name in sorted(self.rows))]
        atomic_write(self.path, b"".join(_line(value) for value in lines))

    def append(self, row: dict) -> None:
        """Adds a photo, or what is now known of it."""
        self.rows[row["photo"]] = row
        self._made.update(crops_of(row))
        with open(self.path, "ab") as file:
            file.write(_line(row))

    def done(self, name: str, stamp: str, folder: Path) -> bool:
        """Whether a photo has its row, has not changed since, and all its crops are there.

        What could not be read is tried again: a package, a permission or a network drive may have been missing.
        """
        row = self.rows.get(name)
        if row is None or row["stamp"] != stamp or row["fate"] == UNREADABLE:
            return False
        return all((folder / crop).is_file() for crop in crops_of(row))

    def keep_only(self, names: Iterable[str], folder: Path) -> None:
        """Forgets the photos that are gone, and removes the crops of any line that no photo has now."""
        wanted = set(names)
        self.rows = {name: row for name, row in self.rows.items() if name in wanted}
        for crop in self._made - set(crops_of(*self.rows.values())):
            (folder / crop).unlink(missing_ok=True)

    def kept(self) -> Iterator[dict]:
        """The faces that have a crop, in the order of the crops' names."""
        faces = [face for row in self.rows.values() for face in row["faces"] if face["fate"] == KEPT]
        return iter(sorted(faces, key=lambda face: face["crop"]))

    def fates(self) -> dict[str, int]:
        """How many photos and faces have which fate, the most frequent first."""
        counts: dict[str, int] = {}
        for row in self.rows.values():
            for fate in [face["fate"] for face in row["faces"]] or [row["fate"]]:
                counts[fate] = counts.get(fate, 0) + 1
        return dict(sorted(counts.items(), key=lambda pair: -pair[1]))


def crops_of(*rows: dict) -> list[str]:
    return [face["crop"] for row in rows for face in row["faces"] if face["fate"] == KEPT]


def is_row(value) -> bool:
    """Whether a line is one of ours, whole: nobody vouches for the file."""
    if not isinstance(value, dict) or not all(isinstance(value.get(key), str) for key in ("photo", "stamp", "fate")):
        return False
    faces = value.get("faces")
    return isinstance(faces, list) and all(map(_is_face, faces))


def _is_face(face) -> bool:
    if not isinstance(face, dict) or not isinstance(face.get("fate"), str):
        return False
    if face["fate"] != KEPT:
        return True
    label, points, crop = face.get("label"), face.get("crop_points"), face.get("crop")
    if not isinstance(crop, str) or not is_inside(crop) or not isinstance(points, list):
        return False
    return _are_numbers(label, LABEL_DIM) and len(points) == 5 and all(_are_numbers(point, 2) for point in points)


def _are_numbers(values, count: int) -> bool:
    return isinstance(values, list) and len(values) == count and all(type(x) in (int, float) for x in values)


def _parsed(path: Path) -> list:
    """The values of the lines; None for one that is none, as the last one of a run that was killed."""
    values = []
    for line in path.read_bytes().splitlines() or [b""]:
        try:
            values.append(parse_json(line))
        except JsonError:
            values.append(None)
    return values


def _line(value: dict) -> bytes:
    return json.dumps(value, allow_nan=False).encode() + b"\n"
