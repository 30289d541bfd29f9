"""Labels of gaze data sets in the GazeHub layout, matched with their images.

A label file is a header line, then one space-separated row per face; vectors are comma-separated. Angles are
"yaw,pitch" in radians with the signs drawn in `l2cs.estimator.GazeEstimator`.

    Gaze360       Face Left Right Origin 3DGaze 2DGaze
    MPIIFaceGaze  Face Left Right Origin WhichEye 3DGaze 3DHead 2DGaze 2DHead Rmat Smat GazeOrigin

2DHead, where there is one, is the head pose: "yaw,pitch" with the same signs.

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
from l2cs.gaze_sets import FaceImages

GAZE360_TRAIN_DEG, GAZE360_TEST_DEG, MPII_DEG = 180.0, 90.0, 42.0  # rows beyond are left out, as published
MOST_RAD = math.pi + 1e-3  # of an angle, with room for rounding; larger ones are degrees
IMAGE_COLUMNS = ("Face", "Left", "Right")


@dataclass(frozen=True)
class GazeList:
    """Files of face crops and their gaze [N, 2]: yaw, pitch in radians, float32; and what the user must know.

    heads: where the heads turn [N, 2], likewise, NaN for those that are not known; None if no row says it.
    """

    paths: list[Path]
    angles: torch.Tensor
    notes: tuple[str, ...] = ()
    heads: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.paths)

    def images(self, max_size: int, masks: bool = False) -> FaceImages:
        """The pictures, at most `max_size` pixels wide; such files have no face masks."""
        del masks
        return FaceImages(self.paths, max_size)


@dataclass(frozen=True)
class _Row:
    face: str
    yaw: float
    pitch: float
    head: tuple[float, float]  # yaw, pitch; NaN if the file does not say it

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
    """Everyone of MPIIFaceGaze, in the order of `people_files`; the notes are in the first.

    With `skip_unmatched` people without a single image are left out.
    """
    return _read(people_files(label_dir), image_dir, MPII_DEG, skip_unmatched)


def without_person(people: list[GazeList], fold: int) -> tuple[GazeList, GazeList]:
    """(everyone else's rows, that person's)."""
    if not 0 <= fold < len(people):
        raise ValueError(f"--fold={fold}: there are {len(people)} people, so folds 0 to {len(people) - 1}")
    rest = people[:fold] + people[fold + 1 :]
    heads = None if any(part.heads is None for part in rest) else torch.cat([part.heads for part in rest])
    paths = [path for part in rest for path in part.paths]
    return GazeList(paths, torch.cat([part.angles for part in rest]), heads=heads), people[fold]


def _read(files: list[Path], image_dir: Path, limit_deg: float, skip: bool, others: Iterable[Path] = ()):
    """A GazeList of each label file; the first has the notes about all."""
    rows = {file: rows_of(file) for file in files}
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
            gone = f"{file}: all of its {len(near[file])} images are missing in {image_dir}"
            if not skip or len(files) == 1:
                raise ValueError(f"{gone}; give their folder")
            notes.append(f"{gone}; folds are numbered without this person")
            continue
        angles = torch.tensor([(row.yaw, row.pitch) for row in kept], dtype=torch.float32)
        heads = torch.tensor([row.head for row in kept], dtype=torch.float32)
        known = None if heads.isnan().all() else heads
        lists.append(GazeList([Path(matched.pictures[row.face]) for row in kept], angles, heads=known))
    if len(lists) < min(len(files), 2):
        raise ValueError(f"{where}: only one person has images; leaving one person out needs at least two")
    return [replace(lists[0], notes=tuple(notes)), *lists[1:]]


def rows_of(label_file: Path) -> list[_Row]:
    """All rows; columns are found by their names in the header. ValueError names the file and the line."""
    header, lines = lines_of(label_file)
    if "Face" not in header or "2DGaze" not in header:
        raise ValueError(f"{label_file}: the first line must name the columns, with Face and 2DGaze among them")
    face, gaze = header.index("Face"), header.index("2DGaze")
    head = header.index("2DHead") if "2DHead" in header else None
    rows, beyond = [], []
    for number, columns in lines:
        try:
            yaw, pitch = (float(v) for v in columns[gaze].split(","))
            if not math.isfinite(yaw + pitch):
                raise ValueError
        except (IndexError, ValueError):
            raise ValueError(f"{label_file}: line {number} has no 'yaw,pitch' in column {gaze + 1} (2DGaze)") from None
        if face >= len(columns):
            raise ValueError(f"{label_file}: line {number} has no image in column {face + 1} (Face)")
        rows.append(_Row(normalised(columns[face]), yaw, pitch, _head_in(columns, head)))
        if not rows[-1].within(MOST_RAD):
            beyond.append(f"{columns[gaze]} in line {number}")
    if beyond:
        raise ValueError(
            f"{label_file}: {len(beyond)} of {len(rows)} gaze angles are beyond pi, {first_of(beyond)}; are they "
            f"degrees? Column {gaze + 1} (2DGaze) must be radians: multiply all by pi/180"
        )
    return rows


def _head_in(columns: list[str], at: int | None) -> tuple[float, float]:
    """Yaw and pitch of the head; NaN if there are none, for only tables of errors need them."""
    try:
        yaw, pitch = (float(v) for v in columns[at].split(","))
    except (IndexError, TypeError, ValueError):
        return math.nan, math.nan
    return (yaw, pitch) if max(abs(yaw), abs(pitch)) <= MOST_RAD else (math.nan, math.nan)


def lines_of(label_file: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Names of the columns, and (number of the line, its columns) of each row."""
    try:
        lines = read_file(label_file).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"{label_file}: is not a text file; give a label file in the GazeHub layout") from None
    split = [(number, line.split()) for number, line in enumerate(lines, start=1)]
    return split[0][1] if split else [], [(number, columns) for number, columns in split[1:] if columns]


def _match(faces: list[str], image_dir: Path, label_files: list[Path]) -> tuple[Matched, list[str]]:
    """Faces that label files list, matched with the paths of images; and notes about other files in their folder."""
    if not image_dir.is_dir():
        raise ValueError(f"{image_dir}: there is no such folder; give the one with the images of {label_files[0]}")
    folder = Folder(image_dir)
    matched, notes = match_faces(faces, folder, label_files)
    paths = {face: str(folder.file(name) if name in folder.bytes else image_dir / name)
             for face, name in matched.pictures.items()}  # fmt: skip
    return replace(matched, pictures=paths), notes


def match_faces(faces: list[str], folder: Folder, label_files: list[Path]) -> tuple[Matched, list[str]]:
    """Faces that label files list, matched with the images in a folder; and notes about other files there.

    A face may lie outside: the name of its picture is then its own, as ../eyes/1.png.
    """
    matched = match_names(faces, folder.pictures).without(folder.unreadable)
    outside = {name: name for name in matched.missing if (folder.path / name).is_file()}
    missing = [name for name in matched.missing if name not in outside]
    named = _named_images(label_files) if matched.unlabelled else set()
    folders = {PurePosixPath(name).parent for name in named}
    left = [name for name in matched.unlabelled if name not in named]
    matched = replace(matched, pictures=matched.pictures | outside, missing=missing, unlabelled=left)
    if not matched.pictures:
        return matched, []
    labels = [name for name in folder.bytes if name.endswith(label_files[0].suffix)]
    notes = [f"{folder.path}: {files}"] if (files := folder.left_out(labels)) else []
    unlabelled = [name for name in left if PurePosixPath(name).parent in folders]
    elsewhere = [name for name in left if PurePosixPath(name).parent not in folders]
    if elsewhere:
        notes.append(f"{folder.path}: {len(elsewhere)} images lie in folders of which no label file names one, "
                     f"{first_of(elsewhere)}")  # fmt: skip
    return replace(matched, unlabelled=unlabelled), notes


def _named_images(label_files: list[Path]) -> set[str]:
    """Images of faces and eyes that these files name, or others of the same kind beside them."""
    named = set()
    for file in {beside for given in label_files for beside in given.parent.glob(f"*{given.suffix}")}:
        try:
            header, lines = lines_of(file)
        except (ValueError, OSError):
            continue  # it is not one of those that are asked for
        places = [header.index(name) for name in IMAGE_COLUMNS if name in header]
        named |= {normalised(columns[at]) for _, columns in lines for at in places if at < len(columns)}
    return named
