"""Tables of faces in photos: camera, head pose and gaze of each, of any data set; what `normalize.py` reads and writes.

A table is CSV with a line of names, or JSON, a list of objects. Numbers of one cell are separated by spaces; in JSON
they may be lists. Lengths are mm, angles rad, pixels those of the photo as its lens took it. Every vector is in the
camera frame of the photo: x right, y down, z forward.

    file              the photo, below the folder of photos
    person            a group of rows, with a label file of its own; else "all"
    camera            a file: OpenCV's .yml, or Camera.mat of MPIIFaceGaze
    fx fy cx cy skew  or the camera's numbers, of which skew may be left out, and
    k1 k2 p1 p2 k3    those of its lens
    head_rotation     3 numbers (axis times angle) or 9 (rows), head to camera
    head_translation  3 numbers: where the origin of the face model is
    face_centre       3 numbers; else the mean of eye corners and corners of the mouth of the face model
    landmarks         x y of 6 points (corners of eyes and mouth) or of 68: needed if there is no head pose
    gaze_target       3 numbers: what the person looks at
    gaze              or 3 numbers: the direction from the face to it
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dataset_preprocessing.nv_rendering.mpii_layout import Camera, camera_of, checked_camera, people, read_person
from dataset_preprocessing.nv_rendering.opencv_storage import read_matrices
from groundwork.archive import is_inside, normalised
from groundwork.files import open_regular
from groundwork.matlab_file import MatlabError, read_matlab
from groundwork.strict_json import JsonError, parse_json
from l2cs.normalization import rotation_matrix

MOST_BYTES = 1 << 28  # of a table; a hundred thousand rows with 68 landmarks have 150 MB
MOST_CAMERA_BYTES = 1 << 20
LARGEST = 1e9  # of any number: what is made of larger ones may not be finite
LONGEST_PERSON = 100  # characters
PINHOLE, SKEW, LENS = ("fx", "fy", "cx", "cy"), "skew", ("k1", "k2", "p1", "p2", "k3")
VECTORS = {  # column: how many numbers it may have
    "head_rotation": (3, 9), "head_translation": (3,), "face_centre": (3,), "landmarks": (12, 136),
    "gaze_target": (3,), "gaze": (3,),
}  # fmt: skip
COLUMNS = ("file", "person", "camera", *PINHOLE, SKEW, *LENS, *VECTORS)
EVERYBODY = "all"
CAMERA_NAMES = ("camera_matrix", "cameraMatrix", "K"), ("distortion_coefficients", "distCoeffs", "D")


@dataclass(frozen=True)
class FaceRow:
    """One face in one photo. Frames and units as above; None: the table does not say.

    file; person; camera; rotation [3, 3] and translation [3] of the head; centre [3] of the face; landmarks [6, 2] or
    [68, 2]; gaze_target [3]; gaze [3]; where: table and line, for errors.
    """

    file: str
    person: str
    camera: Camera
    rotation: np.ndarray | None
    translation: np.ndarray | None
    centre: np.ndarray | None
    landmarks: np.ndarray | None
    gaze_target: np.ndarray | None
    gaze: np.ndarray | None
    where: str


def read_table(path: Path, camera: Camera | None = None) -> list[FaceRow]:
    """The rows of a table. camera: of rows that name none. ValueError names the table and the row."""
    with open_regular(path) as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise ValueError(f"{path}: has more than {MOST_BYTES >> 20} MiB; split it")
    entries = _json_entries(path, data) if data.lstrip()[:1] in (b"[", b"{") else _csv_entries(path, data)
    if not entries:
        raise ValueError(f"{path}: has no row; a table has a line of names, and a line for each face")
    cameras: dict[str, Camera] = {}
    return [_row(entry, f"{path}, row {number}", path.parent, camera, cameras)
            for number, entry in enumerate(entries, start=1)]  # fmt: skip


def mpii_rows(root: Path) -> list[FaceRow]:
    """All annotated photos of a folder in MPIIFaceGaze's layout."""
    rows = []
    for person in people(root):
        camera, path = camera_of(root, person), root / person / f"{person}.txt"
        for number, row in enumerate(read_person(root, person), start=1):
            rows.append(FaceRow(row.name, person, camera, rotation_matrix(row.rotation), row.translation, row.centre,
                                row.landmarks6, row.gaze_target, None, f"{path}, line {number}"))  # fmt: skip
    return rows


def read_camera(path: Path) -> Camera:
    """The camera in a file: OpenCV's .yml (camera_matrix, distortion_coefficients), or MPIIFaceGaze's Camera.mat."""
    if path.suffix == ".mat":
        try:
            found = read_matlab(path, ("cameraMatrix", "distCoeffs"), MOST_CAMERA_BYTES)
        except MatlabError as error:
            raise ValueError(f"{path}: is no MATLAB file that can be read ({error}); give another camera") from None
    else:
        found = read_matrices(path)
    matrix, lens = (next((found[name] for name in names if name in found), None) for names in CAMERA_NAMES)
    if matrix is None:
        raise ValueError(f"{path}: holds no matrix {' or '.join(CAMERA_NAMES[0])}; give the file of a camera")
    return checked_camera(matrix, np.zeros(5) if lens is None else lens, f"{path}: camera matrix", f"{path}: lens")


def table_text(rows: Sequence[dict]) -> str:
    """A CSV table of rows {column: text or numbers}; it has the columns that some row has, in the order of COLUMNS."""
    out, columns = io.StringIO(), [name for name in COLUMNS if any(name in row for row in rows)]
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        cells = (row.get(name, "") for name in columns)
        writer.writerow([cell if isinstance(cell, str) else " ".join(f"{x:.9g}" for x in np.ravel(cell))
                         for cell in cells])  # fmt: skip
    return out.getvalue()


# ------------------------------------------------------------------ entries


def _csv_entries(path: Path, data: bytes) -> list[dict]:
    try:
        rows = [row for row in csv.reader(io.StringIO(data.decode("utf-8-sig"))) if row]
    except (UnicodeDecodeError, csv.Error):
        raise ValueError(f"{path}: is no CSV file of text; give a table of faces as CSV or JSON") from None
    names = [name.strip() for name in rows[0]] if rows else []
    for number, row in enumerate(rows[1:], start=1):
        if len(row) != len(names):
            raise ValueError(f"{path}, row {number}: has {len(row)} cells, the line of names has {len(names)}")
    if len(set(names)) < len(names):
        raise ValueError(f"{path}: two columns have one name; give each its own")
    return [{name: cell.strip() for name, cell in zip(names, row, strict=True) if cell.strip()} for row in rows[1:]]


def _json_entries(path: Path, data: bytes) -> list[dict]:
    try:
        entries = parse_json(data)
    except JsonError as error:
        raise ValueError(f"{path}: is no JSON that can be read ({error}); give a list of faces") from None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(f"{path}: must be a list of objects, one for each face, with the names {', '.join(COLUMNS)}")
    return entries


def _row(entry: dict, where: str, folder: Path, camera: Camera | None, cameras: dict[str, Camera]) -> FaceRow:
    unknown = [name for name in entry if name not in COLUMNS]
    if unknown:
        raise ValueError(f"{where}: '{unknown[0][:40]}' is no column of a table; they are {', '.join(COLUMNS)}")
    name, person = entry.get("file"), entry.get("person", EVERYBODY)
    if not isinstance(name, str) or not is_inside(normalised(name)):
        raise ValueError(f"{where}: file must be the name of a photo below the folder of photos")
    if not isinstance(person, str) or not is_inside(person) or "/" in person or "\\" in person:
        raise ValueError(f"{where}: person must be a name without slashes, it names a file of labels")
    if len(person) > LONGEST_PERSON or not person.isprintable():
        raise ValueError(f"{where}: person must have at most {LONGEST_PERSON} characters, all of which can be printed")
    values = {column: _numbers(entry[column], counts, f"{where}: {column}")
              for column, counts in VECTORS.items() if column in entry}  # fmt: skip
    if "gaze_target" not in values and "gaze" not in values:
        raise ValueError(f"{where}: has no gaze; give gaze_target or gaze, in the camera frame")
    if ("head_rotation" in values) != ("head_translation" in values or "face_centre" in values):
        raise ValueError(f"{where}: a head pose is head_rotation with head_translation or face_centre; give both")
    if "head_rotation" not in values and "landmarks" not in values:
        raise ValueError(f"{where}: has no head; give head_rotation and head_translation, or landmarks")
    rotation, landmarks = values.get("head_rotation"), values.get("landmarks")
    try:
        rotation = None if rotation is None else rotation_matrix(rotation)
    except ValueError as error:
        raise ValueError(f"{where}: head_rotation: {error}") from None
    return FaceRow(
        file=normalised(name),
        person=person,
        camera=_camera(entry, where, folder, camera, cameras),
        rotation=rotation,
        translation=values.get("head_translation"),
        centre=values.get("face_centre"),
        landmarks=None if landmarks is None else landmarks.reshape(-1, 2),
        gaze_target=values.get("gaze_target"),
        gaze=values.get("gaze"),
        where=f"{where} ({normalised(name)})",
    )


def _camera(entry: dict, where: str, folder: Path, camera: Camera | None, cameras: dict[str, Camera]) -> Camera:
    """Of the row's own numbers, of the file that it names (beside the table), or the one of all rows."""
    if any(name in entry for name in (*PINHOLE, SKEW)):
        fx, fy, cx, cy = (_numbers(entry.get(name, ""), (1,), f"{where}: {name}")[0] for name in PINHOLE)
        lens = [_numbers(entry.get(name, "0"), (1,), f"{where}: {name}")[0] for name in LENS]
        skew = _numbers(entry.get(SKEW, "0"), (1,), f"{where}: {SKEW}")[0]
        return checked_camera([[fx, skew, cx], [0, fy, cy], [0, 0, 1]], lens, f"{where}: camera", f"{where}: lens")
    name = entry.get("camera")
    if name is None:
        if camera is None:
            raise ValueError(f"{where}: has no camera; give fx fy cx cy, a file in the column camera, or --camera=FILE")
        return camera
    if not isinstance(name, str) or "\0" in name:
        raise ValueError(f"{where}: camera must be the name of a file")
    if name not in cameras:
        cameras[name] = read_camera(folder / name)
    return cameras[name]


def _numbers(value, counts: tuple[int, ...], where: str) -> np.ndarray:
    try:
        words = value.replace(",", " ").split() if isinstance(value, str) else np.ravel(np.array(value, np.float64))
        numbers = np.array([float(word) for word in words])
    except (TypeError, ValueError, OverflowError):
        numbers = np.array([np.nan])
    if len(numbers) not in counts or not (np.abs(numbers) <= LARGEST).all():  # also NaN
        raise ValueError(f"{where} must be {' or '.join(map(str, counts))} finite numbers, at most {LARGEST:g}")
    return numbers
