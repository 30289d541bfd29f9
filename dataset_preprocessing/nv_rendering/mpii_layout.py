"""Reads and writes what MPIIFaceGaze consists of, and the supplementary files of the published program.

    ROOT/p00/day01/0005.jpg          photos
    ROOT/p00/p00.txt                 a line for each photo: landmarks, head pose, gaze target
    ROOT/p00/Calibration/Camera.mat  cameraMatrix [3, 3] and distCoeffs of the person's camera
    source_supply/p00.h5             68 landmarks, target and camera of each photo that novel views are made of
    random_*.txt, augmentation_ids.txt  stored random numbers, a row for each photo

Lengths are mm and directions are in the camera's frame: x right, y down, z forward (OpenCV). Landmarks are in pixels of
the photo as it is stored, lens distortion and all; whole numbers are the centres of pixels. The direction of a gaze is
the gaze target minus the face centre. Whatever is missing or damaged is a ValueError of one line that names the file.

Source: MPIIFaceGaze (Zhang et al. 2017), its readme; the README of Gaze-NV-Rendering (Qin et al. 2022).
"""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
import scipy.io

from groundwork.files import atomic_write, open_regular
from groundwork.matlab_file import MatlabError, read_matlab

MOST_BYTES = 1 << 26  # of a file of text, or of an array; the published ones have a few megabytes
MOST_CAMERA_BYTES = 1 << 20
NUMBERS = 26  # of an annotation line, between the name and the eye
EYES = ("left", "right")
DISTORTIONS = (4, 5)  # how many numbers a lens may have; of OpenCV's order k1, k2, p1, p2, k3
# Written into Camera.mat in place of the day and the machine, so that the same camera is the same bytes.
MAT_HEADER = b"MATLAB 5.0 MAT-file, camera of a person".ljust(116)


@dataclass(frozen=True)
class Camera:
    """matrix [3, 3] of the pinhole camera, in pixels; distortion [5] of its lens: k1, k2, p1, p2, k3 (OpenCV)."""

    matrix: np.ndarray
    distortion: np.ndarray = field(default_factory=lambda: np.zeros(5))


@dataclass(frozen=True)
class PhotoRow:
    """One annotation line.

    name: "p00/day01/0005.jpg"; person "p00"; landmarks6 [6, 2] px: outer and inner corner of the subject's right eye,
    inner and outer corner of the left one, right and left corner of the mouth; gaze_target [3] mm; rotation [3]:
    rotation vector of the head, rad; translation [3] mm; centre [3] mm: of the face; eye: "left" or "right", the one
    that MPIIGaze's evaluation uses; screen [2]: the gaze target on the screen, px.
    """

    name: str
    person: str
    landmarks6: np.ndarray
    gaze_target: np.ndarray
    rotation: np.ndarray
    translation: np.ndarray
    centre: np.ndarray
    eye: str
    screen: np.ndarray = field(default_factory=lambda: np.zeros(2))


@dataclass(frozen=True)
class SourceRow:
    """One row of `source_supply/pXX.h5`.

    file_name: "p00/day01/0005.jpg"; gaze_target [3] mm; camera; head_pose: numbers whose meaning nothing here depends
    on; landmarks [68, 2] px of the stored photo, in dlib's order.
    """

    file_name: str
    gaze_target: np.ndarray
    camera: Camera
    head_pose: np.ndarray
    landmarks: np.ndarray


# ---------------------------------------------------------------- photos and annotation lines


def people(root: Path) -> list[str]:
    """Names of the people in a folder, in order: "p00", "p01", ...; ValueError if there is none."""
    root = Path(root)
    found = sorted(path.name for path in root.iterdir() if re.fullmatch(r"p\d+", path.name) and path.is_dir())
    if not found:
        raise ValueError(f"{root}: holds no folder p00, p01, ... of a person; give the folder of MPIIFaceGaze")
    return found


def read_person(root: Path, person: str) -> list[PhotoRow]:
    """The annotation lines of a person, in the file's order."""
    path = Path(root) / person / f"{person}.txt"
    lines = _text(path, "the annotation file of this person").splitlines()
    rows = [_photo_row(line.split(), person, f"{path}, line {n}") for n, line in enumerate(lines, 1) if line.strip()]
    if not rows:
        raise ValueError(f"{path}: has no line, so this person has no photo; take the person's folder away")
    return rows


def _photo_row(words: list[str], person: str, where: str) -> PhotoRow:
    if len(words) != 2 + NUMBERS:
        raise ValueError(
            f"{where}: has {len(words)} words, not {2 + NUMBERS}: a name, {NUMBERS} numbers, left or right"
        )
    name, *numbers, eye = words
    if eye not in EYES:
        raise ValueError(f"{where}: ends in '{eye[:40]}', which must be left or right")
    values = _finite(numbers, where)
    return PhotoRow(
        name=f"{person}/{_photo_name(name, where)}",
        person=person,
        landmarks6=values[2:14].reshape(6, 2),
        gaze_target=values[23:26],
        rotation=values[14:17],
        translation=values[17:20],
        centre=values[20:23],
        eye=eye,
        screen=values[:2],
    )


def _photo_name(name: str, where: str) -> str:
    """The name, if it leads to a place below its folder."""
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or "\0" in name or "\\" in name:
        raise ValueError(f"{where}: '{name[:80]}' must be the name of a photo below this folder, as day01/0005.jpg")
    return str(PurePosixPath(name))


def write_person(root: Path, person: str, rows: Sequence[PhotoRow], camera: Camera) -> None:
    """Writes a person's annotation file and camera. Landmarks become whole pixels, as MPIIFaceGaze has them."""
    folder = Path(root) / person
    write_camera(root, person, camera)
    atomic_write(folder / f"{person}.txt", "".join(annotation_line(row) + "\n" for row in rows).encode())


def annotation_line(row: PhotoRow) -> str:
    """The line of a photo; lengths to a thousandth of a mm, the head's rotation to a millionth of a radian."""
    pixels = np.rint([row.screen, *row.landmarks6]).astype(np.int64).ravel()
    lengths = np.concatenate([row.translation, row.centre, row.gaze_target])
    words = [*map(str, pixels), *(f"{x:.6f}" for x in row.rotation), *(f"{x:.3f}" for x in lengths)]
    return " ".join([row.name.removeprefix(f"{row.person}/"), *words, row.eye])


# ---------------------------------------------------------------- cameras


def camera_of(root: Path, person: str) -> Camera:
    """The camera of a person, from its Calibration/Camera.mat."""
    path = _camera_file(root, person)
    try:
        found = read_matlab(path, ("cameraMatrix", "distCoeffs"), MOST_CAMERA_BYTES)
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no such file; it must be the camera of this person") from None
    except MatlabError as error:
        raise ValueError(f"{path}: is no MATLAB file that can be read ({error}); give the set's own file") from None
    matrix, distortion = (_plain_array(found.get(name)) for name in ("cameraMatrix", "distCoeffs"))
    return checked_camera(matrix, distortion, f"{path}: cameraMatrix", f"{path}: distCoeffs")


def checked_camera(matrix, distortion, where: str, where_lens: str) -> Camera:
    """The camera of these numbers; ValueError, which begins with `where`, if no photo can have been taken with it."""
    matrix, distortion = _plain_array(matrix), _plain_array(distortion).ravel()
    if matrix.shape != (3, 3) or not np.isfinite(matrix).all():
        raise ValueError(f"{where}: must be 3 x 3 finite numbers; give the camera's matrix in pixels")
    if not np.allclose(matrix[2], (0, 0, 1)) or (np.diag(matrix) <= 0).any() or abs(matrix[1, 0]) > 1e-6:
        raise ValueError(f"{where}: is no matrix of a camera; it must be [[fx, s, cx], [0, fy, cy], [0, 0, 1]]")
    if len(distortion) not in DISTORTIONS or not np.isfinite(distortion).all():
        raise ValueError(f"{where_lens}: must be 4 or 5 finite numbers, k1, k2, p1, p2, k3 of the lens")
    return Camera(matrix, np.concatenate([distortion, np.zeros(5 - len(distortion))]))


def write_camera(root: Path, person: str, camera: Camera) -> None:
    out = io.BytesIO()
    scipy.io.savemat(out, {"cameraMatrix": camera.matrix, "distCoeffs": camera.distortion.reshape(1, -1)})
    atomic_write(_camera_file(root, person), MAT_HEADER + out.getvalue()[len(MAT_HEADER) :])


def _camera_file(root: Path, person: str) -> Path:
    return Path(root) / person / "Calibration" / "Camera.mat"


# ---------------------------------------------------------------- supplementary files

SOURCE_SHAPES = {  # of a row, in `source_supply/pXX.h5`; None: any. The lens may have 4 or 5 numbers, in any shape
    "file_name": (), "3d_gaze_target": (3,), "camera_parameters": (3, 3), "distortion_parameters": None,
    "head_pose": None, "landmarks_2d_detect": (68, 2),
}  # fmt: skip
TABLES = {  # columns, least, most, whether the numbers are whole
    "random_bg_ids": (1, 0, 2**31, True),  # of the sorted pictures of the background folder
    "random_colors": (3, 0, 255, True),  # RGB
    "random_lightings_ac": (1, 0, 1, False),  # ambient light
    "augmentation_ids": (16, 0, 1, False),  # which variant of a view is kept
    "random_dark_ids": (None, -(2**31), 2**31, False),  # named in the published settings, and not used
}


def sources(folder: Path) -> list[str]:
    """Names of the people whose `pXX.h5` lies in a folder, in order; ValueError if there is none."""
    found = sorted(path.stem for path in Path(folder).iterdir() if re.fullmatch(r"p\d+\.h5", path.name))
    if not found:
        raise ValueError(f"{folder}: holds no file p00.h5, p01.h5, ...; give the folder source_supply")
    return found


def read_sources(folder: Path, person: str) -> list[SourceRow]:
    """The rows of `pXX.h5` in the file's order; their numbers are a photo's place in all that is random."""
    path = Path(folder) / f"{person}.h5"
    arrays = {name: _checked_rows(path, name, array) for name, array in _stored(path).items()}
    count = {len(array) for array in arrays.values()}
    if len(count) > 1 or not min(count):
        raise ValueError(f"{path}: has no rows, or not of each kind as many; fetch or make the file again")
    names = [_source_name(name, f"{path}, row {n}") for n, name in enumerate(arrays.pop("file_name"))]
    arrays = {name: np.asarray(array, np.float64) for name, array in arrays.items()}
    for name, array in arrays.items():
        finite = np.isfinite(array.reshape(len(array), -1)).all(axis=1)
        if not finite.all():
            raise ValueError(f"{path}, row {finite.argmin()}: {name} holds a number that is not finite")
    return [
        SourceRow(
            file_name=name,
            gaze_target=arrays["3d_gaze_target"][n],
            camera=checked_camera(
                arrays["camera_parameters"][n],
                arrays["distortion_parameters"][n],
                f"{path}, row {n}: camera_parameters",
                f"{path}, row {n}: distortion_parameters",
            ),
            head_pose=arrays["head_pose"][n],
            landmarks=arrays["landmarks_2d_detect"][n],
        )
        for n, name in enumerate(names)
    ]


def write_sources(folder: Path, person: str, rows: Sequence[SourceRow]) -> None:
    """Writes `pXX.h5`; the same rows are the same bytes."""
    import h5py

    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        names = [row.file_name.encode() for row in rows]
        file["file_name"] = np.array(names, h5py.string_dtype("utf-8"))
        file["3d_gaze_target"] = np.stack([row.gaze_target for row in rows])
        file["camera_parameters"] = np.stack([row.camera.matrix for row in rows])
        file["distortion_parameters"] = np.stack([row.camera.distortion for row in rows])
        file["head_pose"] = np.stack([row.head_pose for row in rows])
        file["landmarks_2d_detect"] = np.stack([row.landmarks for row in rows])
    atomic_write(Path(folder) / f"{person}.h5", out.getvalue())


def read_table(path: Path, name: str) -> np.ndarray:
    """Stored random numbers float64 [N, columns] of a text file; name: a key of TABLES."""
    path = Path(path)
    columns, least, most, whole = TABLES[name]
    lines = [line.split() for line in _text(path, f"the table {name}").splitlines() if line.strip()]
    columns = columns or len(lines[0] if lines else ())
    for number, words in enumerate(lines, 1):
        if len(words) != columns:
            raise ValueError(f"{path}, line {number}: has {len(words)} numbers, not {columns}, as {name} must have")
    values = _finite([word for words in lines for word in words], str(path)).reshape(-1, columns)
    if not len(values):
        raise ValueError(f"{path}: holds no numbers; fetch or make the file again")
    wrong = ((values < least) | (values > most) | (whole & (values % 1 != 0))).any(axis=1)
    if wrong.any():
        kind = "whole numbers" if whole else "numbers"
        raise ValueError(f"{path}, line {wrong.argmax() + 1}: {name} holds {kind} from {least} to {most}")
    return values


def write_table(path: Path, name: str, values: np.ndarray) -> None:
    """Writes stored random numbers [N, columns]; name: a key of TABLES."""
    number = "{:.0f}" if TABLES[name][3] else "{:.8f}"
    rows = np.asarray(values, np.float64).reshape(len(values), -1)
    atomic_write(Path(path), "".join(" ".join(map(number.format, row)) + "\n" for row in rows).encode())


def _stored(path: Path) -> dict[str, np.ndarray | None]:
    """The arrays of a file of source rows; None for one that is not in the file itself, or is too large."""
    import h5py

    def stored(file, name: str) -> np.ndarray | None:
        # Links to other files and data outside of the file could name any file of this machine.
        item = file[name] if name in file and isinstance(file.get(name, getlink=True), h5py.HardLink) else None
        if not isinstance(item, h5py.Dataset) or item.external or item.is_virtual or not item.shape:
            return None
        return item[()] if item.dtype.itemsize * np.prod(item.shape, dtype=float) <= MOST_BYTES else None

    try:
        with open_regular(path) as stream, h5py.File(stream, "r") as file:
            return {name: stored(file, name) for name in SOURCE_SHAPES}
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no such file; it must hold the source rows of this person") from None
    except Exception as error:  # of many kinds: HDF5's library believes what it reads until it stumbles
        reason = " ".join(str(error).split())[:100] or type(error).__name__
        raise ValueError(f"{path}: is no HDF5 file that can be read ({reason}); fetch or make it again") from None


def _checked_rows(path: Path, name: str, array: np.ndarray | None) -> np.ndarray:
    """All rows of a data set; ValueError unless they are there and each of the right shape."""
    shape = SOURCE_SHAPES[name]
    if array is None:
        raise ValueError(f"{path}: lacks the data set '{name}'; it must have {', '.join(SOURCE_SHAPES)}")
    if shape is not None and array.shape[1:] != shape:
        wanted, got = ("x".join(map(str, ("N", *sides))) for sides in (shape, array.shape[1:]))
        raise ValueError(f"{path}: '{name}' has shape {got}, not {wanted}")
    if array.dtype.kind not in ("OS" if name == "file_name" else "fiu"):
        raise ValueError(f"{path}: '{name}' holds no {'names' if name == 'file_name' else 'numbers'}")
    return array


def _source_name(name, where: str) -> str:
    text = name.decode(errors="replace") if isinstance(name, bytes) else str(name)
    if len(PurePosixPath(text).parts) < 2:
        raise ValueError(f"{where}: '{text[:80]}' must name a photo with its person, as p00/day01/0005.jpg")
    return _photo_name(text, where)


# ---------------------------------------------------------------- files of text


def _text(path: Path, what: str) -> str:
    try:
        return _bytes(path, MOST_BYTES, what).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path}: holds no text; it must be {what}") from None


def _bytes(path: Path, most: int, what: str) -> bytes:
    """What a file holds; ValueError if it is not there or has more than `most` bytes."""
    try:
        with open_regular(path) as file:
            data = file.read(most + 1)
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no such file; it must be {what}") from None
    if len(data) > most:
        raise ValueError(f"{path}: has more than {most} bytes; it must be {what}")
    return data


def _finite(words: Sequence[str], where: str) -> np.ndarray:
    """Numbers float64 [N]; ValueError names the first word that is none."""
    try:
        values = np.array(words, dtype=np.float64)
    except ValueError:
        wrong = next(word for word in words if not _is_number(word))
        raise ValueError(f"{where}: '{wrong[:40]}' is not a number") from None
    if not np.isfinite(values).all():
        raise ValueError(f"{where}: '{words[int(np.isfinite(values).argmin())][:40]}' is not a finite number")
    return values


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _plain_array(value) -> np.ndarray:
    """float64, or an empty array for what holds no numbers."""
    array = np.asarray(0 if value is None else value)
    return array.astype(np.float64) if array.dtype.kind in "fiu" and array.ndim else np.empty(0)
