"""Mirrored copies of the pictures of a set, and what their labels become: cameras, or gaze in the GazeHub layout.

The copy of `x.png` is `x_mirror.png`, the published name. It is always a PNG, so that no pixel changes. A set that has
some of its copies gets the others; a set that has all stays as it is, byte by byte.
"""

import io
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from PIL import Image
from tqdm import tqdm

from dataset_preprocessing.conversion import in_order
from dataset_preprocessing.packing import Write, new_data_set
from dataset_preprocessing.selection import MIRROR_SUFFIX
from eg3d.config.presets import ray_ranges
from eg3d.data.labelled import LabelledFiles, look_into
from eg3d.data.labels import LABEL_FILE
from eg3d.geometry.cameras import mirror_label
from eg3d.geometry.doubts import camera_doubts
from eg3d.geometry.label_rows import label_array
from groundwork.archive import Folder, Unreadable, Zip, normalised, shown
from groundwork.damage import Damage
from groundwork.files import atomic_write
from groundwork.images import read_picture, silence_pillow
from groundwork.matching import match_names
from groundwork.strict_json import parse_json
from l2cs.gaze_labels import label_text

GAZE_IMAGES, GAZE_LABELS = "Image", "Label"  # folders of a set in the GazeHub layout
SIDES = {"left": "right", "right": "left", "Left": "Right", "Right": "Left"}


@dataclass(frozen=True)
class Done:
    """How many copies were made and how many were there, what the labels are about (None: there are none), what the
    user must know, and lines about pictures that cannot be read."""

    made: int
    there: int
    labels: str | None
    notes: list[str]
    warnings: list[str]
    damaged: list[str]


def mirror(
    source: Path, dest: Path | None, max_images: int | None, workers: int, skip_unmatched: bool, skip_damaged: bool
) -> Done:
    """Adds the copies to `source`, a folder, or writes `dest`: the pictures of `source`, their copies, the labels.

    Nothing is changed if pictures are damaged or do not match their labels, unless those are to be skipped.
    Args: max_images: mirrors only so many; a new set then has no others.
    """
    silence_pillow()
    if dest is None and source.is_file():
        raise ValueError(f"--source={source}: is a file, copies can only join a folder; give --dest for a new set")
    is_gaze = (source / GAZE_IMAGES).is_dir() and (source / GAZE_LABELS).is_dir()
    if is_gaze and dest is not None and dest.suffix == ".zip":
        raise ValueError(f"--dest={dest}: gaze sets are read from folders; name a folder")
    content = _gaze_set(source, skip_unmatched) if is_gaze else _camera_set(source, skip_unmatched)
    pairs = copies_of(content.pictures, source)
    chosen = dict(list(pairs.items())[:max_images])
    there = set(content.pictures)
    missing = {name: copy for name, copy in chosen.items() if copy not in there}
    damage = Damage(skip_damaged)
    with _added(source / content.folder) if dest is None else new_data_set(dest) as write:
        results = in_order(lambda name: _mirrored(content.archive, name), list(missing), workers)
        for name, data in zip(tqdm(missing, "mirroring", unit="img"), results, strict=True):
            if isinstance(data, Unreadable):
                damage.add(name, data)
            elif not damage.stops:
                write((content.prefix if dest is not None else "") + missing[name], data)
        left_out = damage.check(f"--source={source}", len(missing))
        own = content.pictures if max_images is None else [*chosen, *sorted(there.intersection(chosen.values()))]
        own = [name for name in own if name not in damage.faults]
        if dest is not None:
            for name in tqdm(own, "copying", unit="img"):
                write(content.prefix + name, content.archive.read(name))
        with_copies = {name: copy for name, copy in chosen.items() if name not in damage.faults}
        only = None if dest is None else set(own)
        labels = content.labels(with_copies, only)
        for name, data in labels.items() if dest is not None else ():
            write(name, data)
    if dest is None:
        for name, data in labels.items():
            if data != (source / name).read_bytes():
                atomic_write(source / name, data)
    about = content.about if labels else None
    counts = len(missing) - len(damage.faults), len(chosen) - len(missing)
    return Done(*counts, about, content.notes, content.warnings, left_out)


@dataclass(frozen=True)
class _Content:
    """A set: where its pictures are, and how its label files become those of the mirrored set.

    Attributes:
        archive, pictures: the pictures by name; folder, prefix: where in the set they lie, `Image` and `Image/`.
        labels: `labels(copies, only)` -> {name: bytes} of the label files with the copies' rows, each behind its
            original's. `only`: names of the pictures of the new set, None for all.
        about: what the labels hold.
    """

    archive: Folder | Zip
    pictures: list[str]
    folder: str
    prefix: str
    labels: Callable[[dict[str, str], set[str] | None], dict[str, bytes]]
    about: str
    notes: list[str]
    warnings: list[str]


def copies_of(names: list[str], source: Path) -> dict[str, str]:
    """Picture -> its copy, of all that are no copies themselves; ValueError if two would have one."""
    found: dict[str, str] = {}
    owner: dict[str, str] = {}
    for name in names:
        path = PurePosixPath(name)
        if MIRROR_SUFFIX.search(path.stem):
            continue
        copy = mirrored_name(name)
        if (other := owner.setdefault(copy.casefold(), name)) != name:
            raise ValueError(f"--source={source}: the copies of {shown(other)} and {shown(name)} would both be "
                             f"{shown(copy)}; rename one of them")  # fmt: skip
        found[name] = copy
    return found


def mirrored_name(name: str) -> str:
    """`a/x.jpg` -> `a/x_mirror.png`."""
    path = PurePosixPath(name)
    return str(path.with_name(f"{path.stem}_mirror.png"))


def _mirrored(archive: Folder | Zip, name: str) -> bytes | Unreadable:
    try:
        picture = read_picture(archive.read(name), f"{archive.path}: {shown(name)}")
    except Unreadable as error:
        return error
    out = io.BytesIO()
    picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(out, "PNG", compress_level=1)
    return out.getvalue()


@contextmanager
def _added(folder: Path) -> Iterator[Write]:
    """Yields write(name, data); the files take their names in `folder` all together, when the block has ended well."""
    with tempfile.TemporaryDirectory(prefix=".mirroring.", dir=folder) as temporary:
        names = []

        def write(name: str, data: bytes) -> None:
            (Path(temporary) / name).parent.mkdir(parents=True, exist_ok=True)
            (Path(temporary) / name).write_bytes(data)
            names.append(name)

        yield write
        for name in names:
            os.replace(Path(temporary) / name, folder / name)


# ------------------------------------------------------------------ cameras


def _camera_set(source: Path, skip_unmatched: bool) -> _Content:
    """A set in EG3D's layout; without labels its pictures alone are mirrored."""
    files = look_into(source, "--source")
    pictures, doubts = files.images, []
    if files.has_labels:
        copies = {mirrored_name(name) for name in files.labels}  # of a run that was cut off; they need no label yet
        unlabelled = [name for name in files.matched.unlabelled if name not in copies]
        files = replace(files, matched=replace(files.matched, unlabelled=unlabelled)).settled(skip_unmatched)
        doubts = camera_doubts(label_array(files.labels, list(files.labels), files.where), ray_ranges())
        pictures = [name for name in pictures if name in files.labels or name in copies]
    return _Content(
        files.archive, pictures, ".", "", lambda copies, only: _camera_labels(files, copies, only), "cameras",
        files.all_notes, doubts,
    )  # fmt: skip


def _camera_labels(files: LabelledFiles, copies: dict[str, str], only: set[str] | None) -> dict[str, bytes]:
    """Rows without a picture stay where nothing is left out, so that no label is lost."""
    if not files.has_labels:
        return {}
    data, pictures, rows, added = files.archive.read(files.label_file), files.matched.pictures, [], 0
    names = [name for name in copies if name in files.labels and copies[name] not in files.labels]
    labels = mirror_label(label_array(files.labels, names, files.where)).tolist()
    turned = dict(zip(names, labels, strict=True))
    value = parse_json(data, finite=False)
    folder = files.label_file[: -len(LABEL_FILE)]  # which names count from, or from the root
    folder = folder if any(folder + normalised(name) in pictures for name, _ in value["labels"]) else ""
    for name, label in value["labels"]:
        picture = pictures.get(folder + normalised(name))
        if only is None or picture in only:
            rows.append([name, label])
            if picture in turned:
                rows.append([copies[picture][len(folder) :], turned[picture]])
                added += 1
    whole = only is None and not added
    return {files.label_file: data if whole else json.dumps(value | {"labels": rows}).encode()}


# ------------------------------------------------------------------ gaze


def _gaze_set(source: Path, skip_unmatched: bool) -> _Content:
    """A set in the GazeHub layout."""
    archive = Folder(source / GAZE_IMAGES)
    files = {f"{GAZE_LABELS}/{file.name}": file for file in sorted((source / GAZE_LABELS).glob("*.label"))}
    if not files:
        raise ValueError(f"--source={source}: holds no .label file in {GAZE_LABELS}; give a set with labels")
    tables = {name: _Table(file) for name, file in files.items()}
    faces = [face for table in tables.values() for face in table.faces()]
    matched = replace(match_names(faces, archive.pictures), unlabelled=[])  # pictures of eyes are no faces
    notes = matched.notes(str(source), skip_unmatched)

    def labels(copies: dict[str, str], only: set[str] | None) -> dict[str, bytes]:
        return {name: table.mirrored(copies, only) for name, table in tables.items()}

    return _Content(archive, archive.pictures, GAZE_IMAGES, f"{GAZE_IMAGES}/", labels, "gaze", notes, [])


class _Table:
    """A label file: a header line, then a row of columns for each face; vectors have commas inside."""

    def __init__(self, file: Path):
        lines = label_text(file).splitlines()
        self.data = file.read_bytes()
        self.header = lines[0].split() if lines else []
        self.rows = [line.split() for line in lines[1:] if line.strip()]
        if "Face" not in self.header:
            raise ValueError(f"{file}: the first line must name the columns, with Face among them")
        unknown = [column for column in self.header if column not in _MIRRORED]
        if unknown:
            raise ValueError(f"{file}: nothing is known of how to mirror the column {unknown[0]}; leave it out")
        for number, row in enumerate(self.rows, start=2):
            if len(row) != len(self.header):
                raise ValueError(f"{file}: line {number} has {len(row)} columns, the first line {len(self.header)}")

    def faces(self) -> list[str]:
        at = self.header.index("Face")
        return [normalised(row[at]) for row in self.rows]

    def mirrored(self, copies: dict[str, str], only: set[str] | None) -> bytes:
        """The file with the row of each copy behind that of its face, unless it is there."""
        lines, there, added = [" ".join(self.header)], set(self.faces()), 0
        for face, row in zip(self.faces(), self.rows, strict=True):
            if only is not None and face not in only:
                continue
            lines.append(" ".join(row))
            if face in copies and copies[face] not in there:
                values = dict(zip(self.header, row, strict=True))
                lines.append(" ".join(_MIRRORED[column](values) for column in self.header))
                added += 1
        return self.data if only is None and not added else ("\n".join(lines) + "\n").encode()


def _negated(column: str) -> Callable[[dict[str, str]], str]:
    """The vector of a column with the other sign of its first number: x, or yaw."""

    def of(values: dict[str, str]) -> str:
        first, *rest = values[column].split(",")
        return ",".join([first[1:] if first.startswith("-") else f"-{first}", *rest])

    return of


def _copy(column: str) -> Callable[[dict[str, str]], str]:
    return lambda values: mirrored_name(values[column].replace("\\", "/"))


# What each column of a copy's row is, from the columns of the original's. The other eye is now at the left.
_MIRRORED: dict[str, Callable[[dict[str, str]], str]] = {
    "Face": _copy("Face"),
    "Left": _copy("Right"),
    "Right": _copy("Left"),
    "Origin": lambda values: values["Origin"],
    "WhichEye": lambda values: SIDES.get(values["WhichEye"], values["WhichEye"]),
    "3DGaze": _negated("3DGaze"),
    "2DGaze": _negated("2DGaze"),
    "2DHead": _negated("2DHead"),
}
