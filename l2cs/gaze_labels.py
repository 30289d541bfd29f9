"""Labels of gaze data sets in the GazeHub layout, matched with their images.

A label file is a header line, then one space-separated row per face; vectors are comma-separated. Angles are
"yaw,pitch" in radians with the signs drawn in `l2cs.estimator.GazeEstimator`.

    Gaze360       Face Left Right Origin 3DGaze 2DGaze
    MPIIFaceGaze  Face Left Right Origin WhichEye 3DGaze 3DHead 2DGaze 2DHead Rmat Smat GazeOrigin

Several label files share one folder of images: those of training, of testing, of each person. An image counts as
unlabelled if none of them names it, but one of them names others in its folder.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import torch

from groundwork.archive import Folder, normalised, read_file
from groundwork.formats import is_hidden
from groundwork.matching import Matched, first_of, match_names

GAZE360_TRAIN_DEG, GAZE360_TEST_DEG, MPII_DEG = 180.0, 90.0, 42.0  # rows beyond are left out, as published
MOST_RAD = math.pi + 1e-3  # of an angle, with room for rounding; larger ones are degrees
IMAGE_COLUMNS = ("Face", "Left", "Right")


@dataclass(frozen=True)
class GazeList:
    """Files of face crops and their gaze [N, 2]: yaw, pitch in radians, float32; and what the user must know."""

    paths: list[Path]
    angles: torch.Tensor
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.paths)


@dataclass(frozen=True)
class _Row:
    face: str
    yaw: float
    pitch: float

    def within(self, limit_rad: float) -> bool:
        return max(abs(self.yaw), abs(self.pitch)) <= limit_rad


def read_labels(
    label_file: Path, image_dir: Path, limit_deg: float, skip_unmatched: bool = False, others: Iterable[Path] = ()
) -> GazeList:
    """One label file. Rows beyond the limit are left out.

    Errors: OSError, or ValueError that names the file, and the line or the first image that is missing.
    Args: others: more label files of these images, besides those in the folder of this one.
    """
    return _read([label_file], image_dir, limit_deg, skip_unmatched, others)[0]


def people_files(label_dir: Path) -> list[Path]:
    """MPIIFaceGaze has one label file per person; sorted by name. Fold k holds out file k."""
    people = sorted(file for file in label_dir.glob("*.label") if not is_hidden(file.name))
    if len(people) < 2:
        raise ValueError(f"{label_dir}: found {len(people)} .label files; leaving one person out needs at least two")
    return people


def read_people(label_dir: Path, image_dir: Path, skip_unmatched: bool = False) -> list[GazeList]:
    """Everyone of MPIIFaceGaze, in the order of `people_files`; the notes are in the first."""
    return _read(people_files(label_dir), image_dir, MPII_DEG, skip_unmatched)


def without_person(people: list[GazeList], fold: int) -> tuple[GazeList, GazeList]:
    """(everyone else's rows, that person's)."""
    if not 0 <= fold < len(people):
        raise ValueError(f"--fold={fold}: there are {len(people)} people, so folds 0 to {len(people) - 1}")
    rest = people[:fold] + people[fold + 1 :]
    return GazeList([p for part in rest for p in part.paths], torch.cat([part.angles for part in rest])), people[fold]


def _read(files: list[Path], image_dir: Path, limit_deg: float, skip: bool, others: Iterable[Path] = ()):
    """A GazeList of each label file; the first has the notes about all."""
    rows = {file: _rows(file) for file in files}
    near = {file: [row for row in rows[file] if row.within(math.radians(limit_deg))] for file in files}
    for file in files:
        if not near[file]:
            raise ValueError(f"{file}: no row lies within {limit_deg:g} degrees; is it the right label file?")
    where, notes = str(files[0] if len(files) == 1 else files[0].parent), []
    before, after = (sum(map(len, parts.values())) for parts in (rows, near))
    if after < before:
        notes.append(f"{where}: {before - after} of {before} rows lie beyond {limit_deg:g} degrees and are left out, "
                     "as published")  # fmt: skip
    matched, others = _match([row.face for part in near.values() for row in part], image_dir, [*files, *others])
    notes += matched.notes(where, skip) + others
    lists = []
    for file in files:
        kept = [row for row in near[file] if row.face in matched.pictures]
        if not kept:
            raise ValueError(
                f"{file}: all of its {len(near[file])} images are missing in {image_dir}; give their folder"
            )
        angles = torch.tensor([(row.yaw, row.pitch) for row in kept], dtype=torch.float32)
        lists.append(GazeList([Path(matched.pictures[row.face]) for row in kept], angles))
    return [replace(lists[0], notes=tuple(notes)), *lists[1:]]


def _rows(label_file: Path) -> list[_Row]:
    """All rows; columns are found by their names in the header. ValueError names the file and the line."""
    header, lines = _lines(label_file)
    if "Face" not in header or "2DGaze" not in header:
        raise ValueError(f"{label_file}: the first line must name the columns, with Face and 2DGaze among them")
    face, gaze = header.index("Face"), header.index("2DGaze")
    rows, beyond = [], []
    for number, columns in lines:
        try:
            yaw, pitch = (float(v) for v in columns[gaze].split(","))
            if not math.isfinite(yaw + pitch):
                raise ValueError
        except (IndexError, ValueError):
            raise ValueError(f"{label_file}: line {number} has no 'yaw,pitch' in column {gaze + 1} (2DGaze)") from None
        rows.append(_Row(normalised(columns[face]), yaw, pitch))
        if not rows[-1].within(MOST_RAD):
            beyond.append(f"{columns[gaze]} in line {number}")
    if beyond:
        raise ValueError(
            f"{label_file}: {len(beyond)} of {len(rows)} gaze angles are beyond pi, {first_of(beyond)}; are they "
            f"degrees? Column {gaze + 1} (2DGaze) must be radians: multiply all by pi/180"
        )
    return rows


def _lines(label_file: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Names of the columns, and (number of the line, its columns) of each row."""
    lines = label_text(label_file).splitlines()
    split = [(number, line.split()) for number, line in enumerate(lines, start=1)]
    return split[0][1] if split else [], [(number, columns) for number, columns in split[1:] if columns]


def label_text(label_file: Path) -> str:
    """What a label file holds; ValueError, at once, for a pipe or device, or what is far too large or no text."""
    try:
        return read_file(label_file).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{label_file}: is not a text file; give a label file in the GazeHub layout") from None


def _match(faces: list[str], image_dir: Path, label_files: list[Path]) -> tuple[Matched, list[str]]:
    """Faces that label files list, matched with the paths of images; and notes about other files in their folder."""
    if not image_dir.is_dir():
        raise ValueError(f"{image_dir}: there is no such folder; give the one with the images of {label_files[0]}")
    folder = Folder(image_dir)
    matched = match_names(faces, folder.pictures).without(folder.unreadable)
    # names that lead out of the folder, as ../eyes/1.png, are in no listing of it
    outside = {name: str(image_dir / name) for name in matched.missing if (image_dir / name).is_file()}
    missing = [name for name in matched.missing if name not in outside]
    named = _named_images(label_files) if matched.unlabelled else set()
    folders = {PurePosixPath(name).parent for name in named}
    left = [name for name in matched.unlabelled if name not in named]
    pictures = {face: str(folder.file(picture)) for face, picture in matched.pictures.items()} | outside
    if not pictures:
        return replace(matched, missing=missing, unlabelled=left), []
    labels = [name for name in folder.bytes if name.endswith(label_files[0].suffix)]
    notes = [f"{image_dir}: {files}"] if (files := folder.left_out(labels)) else []
    unlabelled = [name for name in left if PurePosixPath(name).parent in folders]
    elsewhere = [name for name in left if PurePosixPath(name).parent not in folders]
    if elsewhere:
        notes.append(f"{image_dir}: {len(elsewhere)} images lie in folders of which no label file names one, "
                     f"{first_of(elsewhere)}")  # fmt: skip
    return replace(matched, pictures=pictures, missing=missing, unlabelled=unlabelled), notes


def _named_images(label_files: list[Path]) -> set[str]:
    """Images of faces and eyes that these files name, or others of the same kind beside them."""
    named = set()
    for file in {beside for given in label_files for beside in given.parent.glob(f"*{given.suffix}")}:
        try:
            header, lines = _lines(file)
        except (ValueError, OSError):
            continue  # it is not one of those that are asked for
        places = [header.index(name) for name in IMAGE_COLUMNS if name in header]
        named |= {normalised(columns[at]) for _, columns in lines for at in places if at < len(columns)}
    return named
