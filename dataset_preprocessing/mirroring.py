"""Mirrored copies of the pictures of a set, and what their labels become: cameras, or gaze in the GazeHub layout.

The copy of `x.png` is `x_mirror.png`, the published name. It is always a PNG, so that no pixel changes. A set that has
some of its copies gets the others; a set that has all stays as it is, byte by byte.
"""

import errno
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

from dataset_preprocessing.packing import Write, new_data_set
from dataset_preprocessing.selection import MIRROR_SUFFIX, pair_key
from eg3d.config.presets import ray_ranges
from eg3d.data.labelled import LabelledFiles, look_into
from eg3d.geometry.cameras import mirror_label
from eg3d.geometry.doubts import camera_doubts
from eg3d.geometry.label_rows import label_array
from groundwork.archive import Folder, Unreadable, Zip, normalised, shown
from groundwork.damage import Damage
from groundwork.files import atomic_write
from groundwork.formats import is_hidden
from groundwork.images import read_picture, silence_pillow
from groundwork.strict_json import parse_json
from groundwork.workers import in_threads
from l2cs.gaze_labels import lines_of, match_faces, rows_of

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
    owner = {copy: name for name, copy in chosen.items()}
    in_place = _added(source, lambda copy: _beside(content.archive, owner[copy]))
    with in_place if dest is None else new_data_set(dest) as write:
        results = in_threads(lambda name: _mirrored(content.archive, name), list(missing), workers)
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
            if data != content.label_files[name].read_bytes():
                atomic_write(content.label_files[name], data)
    about = content.about if labels else None
    counts = len(missing) - len(damage.faults), len(chosen) - len(missing)
    return Done(*counts, about, content.notes, content.warnings, left_out)


@dataclass(frozen=True)
class _Content:
    """A set: where its pictures are, and how its label files become those of the mirrored set.

    Attributes:
        archive, pictures: the pictures by name; prefix: where in the set they lie, `Image/`.
        label_files: name of a label file -> where it lies, of a set in a folder.
        labels: `labels(copies, only)` -> {name: bytes} of the label files with the copies' rows, each behind its
            original's. `only`: names of the pictures of the new set, None for all.
        about: what the labels hold.
    """

    archive: Folder | Zip
    pictures: list[str]
    prefix: str
    label_files: dict[str, Path]
    labels: Callable[[dict[str, str], set[str] | None], dict[str, bytes]]
    about: str
    notes: list[str]
    warnings: list[str]


def copies_of(names: list[str], source: Path) -> dict[str, str]:
    """Picture -> its copy, of all that are no copies themselves; ValueError if two would have one."""
    found: dict[str, str] = {}
    owner: dict[str, str] = {}
    there = {pair_key(name): name for name in names if MIRROR_SUFFIX.search(PurePosixPath(name).stem)}
    for name in names:
        path = PurePosixPath(name)
        if MIRROR_SUFFIX.search(path.stem):
            continue
        copy = there.get(pair_key(name), mirrored_name(name))  # also x-mirror.png and x_mirror.jpg
        if (other := owner.setdefault(copy.casefold(), name)) != name:
            raise ValueError(f"--source={source}: the copies of {shown(other)} and {shown(name)} would both be "
                             f"{shown(copy)}; rename one of them")  # fmt: skip
        found[name] = copy
    return found


def mirrored_name(name: str) -> str:
    """`a/x.jpg` -> `a/x_mirror.png`."""
    path = PurePosixPath(name)
    return str(path.with_name(f"{path.stem}_mirror.png"))


def mirrored_png(data: bytes, where: str) -> bytes:
    """A picture's mirror image, a PNG; Unreadable, beginning with `where`, if it is damaged."""
    out = io.BytesIO()
    read_picture(data, where).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(out, "PNG", compress_level=1)
    return out.getvalue()


def _mirrored(archive: Folder | Zip, name: str) -> bytes | Unreadable:
    try:
        return mirrored_png(archive.read(name), f"{archive.path}: {shown(name)}")
    except Unreadable as error:
        return error


def _beside(folder: Folder, name: str) -> Path:
    """Where the copy of a picture goes: beside its file, whose name on the disk may be spelt otherwise."""
    return Path(mirrored_name(str(folder.file(name))))


@contextmanager
def _added(folder: Path, place: Callable[[str], Path]) -> Iterator[Write]:
    """Yields write(name, data); the files go to place(name) all together, when the block has ended well."""
    with tempfile.TemporaryDirectory(prefix=".mirroring.", dir=folder) as temporary:
        names = []

        def write(name: str, data: bytes) -> None:
            (Path(temporary) / name).parent.mkdir(parents=True, exist_ok=True)
            (Path(temporary) / name).write_bytes(data)
            names.append(name)

        yield write
        for name in names:
            try:
                os.replace(Path(temporary) / name, place(name))
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                atomic_write(place(name), (Path(temporary) / name).read_bytes())  # a link has led to another disk


# ------------------------------------------------------------------ cameras


def _camera_set(source: Path, skip_unmatched: bool) -> _Content:
    """A set in EG3D's layout; without labels its pictures alone are mirrored."""
    files = look_into(source, "--source")
    pictures, doubts = files.images, []
    gaze = next((name for name in files.archive.bytes if name.endswith(".label")), None)
    if files.label_file is None and gaze is not None:  # the copies would have no labels
        raise ValueError(f"--source={source}: holds {shown(gaze)}; of a gaze set give the folder in which "
                         f"{GAZE_IMAGES} and {GAZE_LABELS} lie")  # fmt: skip
    if files.has_labels:
        copies = {mirrored_name(name) for name in files.labels}  # of a run that was cut off; they need no label yet
        unlabelled = [name for name in files.matched.unlabelled if name not in copies]
        files = replace(files, matched=replace(files.matched, unlabelled=unlabelled)).settled(skip_unmatched)
        doubts = camera_doubts(label_array(files.labels, list(files.labels), files.where), ray_ranges())
        pictures = [name for name in pictures if name in files.labels or name in copies]
    is_folder = isinstance(files.archive, Folder) and files.label_file is not None
    label_files = {files.label_file: files.archive.file(files.label_file)} if is_folder else {}
    return _Content(
        files.archive, pictures, "", label_files, lambda copies, only: _camera_labels(files, copies, only), "cameras",
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
    value, folder = parse_json(data, finite=False), files.folder
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
    """A set in the GazeHub layout. Pictures that no label file can be expected to name, as those of eyes, join too."""
    archive = Folder(source / GAZE_IMAGES)
    files = [file for file in sorted((source / GAZE_LABELS).glob("*.label")) if not is_hidden(file.name)]
    if not files:
        raise ValueError(f"--source={source}: holds no .label file in {GAZE_LABELS}; give a set with labels")
    tables = {f"{GAZE_LABELS}/{file.name}": _Table(file) for file in files}
    matched, others = match_faces([face for table in tables.values() for face in table.faces], archive, files)
    matched = matched.without([name for name in matched.pictures.values() if name not in archive.bytes])
    copies = {mirrored_name(name) for name in matched.pictures.values()}  # of a run that was cut off
    left = [name for name in matched.unlabelled if name not in copies]
    notes = replace(matched, unlabelled=left).notes(str(source), skip_unmatched) + others
    gone = archive.unreadable.keys() & matched.missing
    pictures = [name for name in archive.pictures if name not in left and name not in gone]

    def labels(copies: dict[str, str], only: set[str] | None) -> dict[str, bytes]:
        return {name: table.mirrored(matched.pictures, copies, only) for name, table in tables.items()}

    places = dict(zip(tables, files, strict=True))
    return _Content(archive, pictures, f"{GAZE_IMAGES}/", places, labels, "gaze", notes, [])


class _Table:
    """A label file: a header line, then a row of columns for each face; vectors have commas inside."""

    def __init__(self, file: Path):
        self.header, lines = lines_of(file)
        self.data = file.read_bytes()
        self.rows = [row for _, row in lines]
        if "Face" not in self.header:
            raise ValueError(f"{file}: the first line must name the columns, with Face among them")
        unknown = [column for column in self.header if column not in _MIRRORED]
        if unknown:
            raise ValueError(f"{file}: nothing is known of how to mirror the column {unknown[0]}; leave it out")
        for number, row in lines:
            if len(row) != len(self.header):
                raise ValueError(f"{file}: line {number} has {len(row)} columns, the first line {len(self.header)}")
        if "2DGaze" in self.header:
            rows_of(file)  # raises what training would
        self.faces = [normalised(row[self.header.index("Face")]) for row in self.rows]

    def mirrored(self, pictures: dict[str, str], copies: dict[str, str], only: set[str] | None) -> bytes:
        """The file with the row of each copy behind that of its face, unless it is there.

        pictures: face -> its picture, where there is one.
        """
        there, added = {pictures.get(face) for face in self.faces}, 0
        lines = [" ".join(self.header)]
        for face, row in zip(self.faces, self.rows, strict=True):
            picture = pictures.get(face)
            if only is not None and picture not in only:
                continue
            lines.append(" ".join(row))
            if picture in copies and copies[picture] not in there:
                values = dict(zip(self.header, row, strict=True))
                lines.append(" ".join(_MIRRORED[column](values) for column in self.header))
                added += 1
        return self.data if only is None and not added else ("\n".join(lines) + "\n").encode()


def _negated(column: str, *places: int) -> Callable[[dict[str, str]], str]:
    """The numbers of a column, those at `places` with the other sign."""

    def of(values: dict[str, str]) -> str:
        numbers = values[column].split(",")
        for place in places:
            if place < len(numbers):
                text = numbers[place].removeprefix("+")
                numbers[place] = text[1:] if text.startswith("-") else f"-{text}"
        return ",".join(numbers)

    return of


def _turned(column: str) -> Callable[[dict[str, str]], str]:
    """A rotation, seen in a mirror: axis times angle, x,y,z, or the nine numbers of a matrix, row by row."""

    def of(values: dict[str, str]) -> str:
        is_matrix = values[column].count(",") == 8
        return _negated(column, *((1, 2, 3, 6) if is_matrix else (1, 2)))(values)

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
    "3DGaze": _negated("3DGaze", 0),  # x,y,z
    "3DHead": _turned("3DHead"),
    "2DGaze": _negated("2DGaze", 0),  # yaw,pitch
    "2DHead": _negated("2DHead", 0),
    "Rmat": _turned("Rmat"),  # of the camera that the picture was normalised to
    "Smat": lambda values: values["Smat"],  # the scale of that
    "GazeOrigin": _negated("GazeOrigin", 0),  # x,y,z
}
