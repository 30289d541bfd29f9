"""Reconstructed faces in files, as recon_mpii.py of Gaze-NV-Rendering writes them: three files for one photo.

* `NNNN.obj`: coloured vertices and triangles. x and y are pixels of the crop; z, in the same unit, grows away from the
  camera. Colours are RGB, 0 to 255.
* `NNNN_lm.txt`: the 68 landmarks in the same space.
* `NNNN_crop_params.txt`: the matrix A that takes homogeneous pixels of the photo to pixels of the crop.

Files of other programs may have no colours, colours from 0 to 1, or faces with texture and normals (`1/1/1`).
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from groundwork.archive import read_file
from groundwork.files import atomic_write

LANDMARKS = 68
OBJ, LANDMARK_FILE, CROP_FILE = ".obj", "_lm.txt", "_crop_params.txt"
ENDINGS = (LANDMARK_FILE, CROP_FILE, OBJ)  # in the order of writing: if the mesh is there, the others are too
MOST_VERTICES, MOST_FACES = 1_000_000, 2_000_000  # a published mesh has 53,215 and 105,840
MOST_LINES = 4_000_000
LARGEST = 1e6  # of any coordinate; a crop has some hundred pixels
PLAIN, MOST_SIGNS = b"0123456789.- \n", 15  # what numbers of our own OBJ files are written with; of one number
PASSED_OVER = {b"#", b"vn", b"vt", b"vp", b"o", b"g", b"s", b"l", b"mtllib", b"usemtl"}  # of an OBJ file
AGAIN = "make it again by recon_mpii.py"


@dataclass(frozen=True)
class Reconstruction:
    """A face of a photo as a coloured mesh.

    Attributes:
        vertices: float64 [V, 3]: x, y in pixels of the crop, and z in the same unit, larger = further.
        colours: uint8 [V, 3], RGB.
        faces: int32 [F, 3], numbers of vertices from 0, in the order of the file.
        landmarks: float64 [68, 3], in the space of the vertices.
        crop: float64 [3, 3], photo pixels -> crop pixels.
    """

    vertices: np.ndarray
    colours: np.ndarray
    faces: np.ndarray
    landmarks: np.ndarray
    crop: np.ndarray


def files_of(stem: Path) -> list[Path]:
    """The three files of a photo; stem: its place without the ending, `OUT/p00/day01/0005`."""
    return [Path(f"{stem}{ending}") for ending in ENDINGS]


def is_written(stem: Path, endings: Collection[str] = ENDINGS) -> bool:
    """Whether all files of these endings are there. Each appears as a whole or not at all."""
    return all(Path(f"{stem}{ending}").is_file() for ending in endings)


def write_reconstruction(stem: Path, mesh: Reconstruction, endings: Collection[str] = ENDINGS) -> None:
    """Writes the three files, or those of some endings; the mesh last, so that it is there only if all are."""
    lines = {
        LANDMARK_FILE: lambda: _rows("%.3f %.3f %.3f", mesh.landmarks),
        CROP_FILE: lambda: _rows("%.4f %.4f %.4f", mesh.crop),
        OBJ: lambda: _obj_lines(mesh),
    }
    for ending in ENDINGS:
        if ending in endings:
            atomic_write(Path(f"{stem}{ending}"), lines[ending]())


def read_reconstruction(stem: Path) -> Reconstruction:
    """The three files of a photo. ValueError, one line with the file's name, if one is missing, damaged or foreign."""
    landmarks, crop, obj = files_of(stem)
    vertices, colours, faces = read_obj(obj)
    if colours is None:
        raise ValueError(f"{obj}: its vertices have no colours (v x y z r g b); {AGAIN}")
    return Reconstruction(vertices, colours, faces, read_landmarks(landmarks), read_crop(crop))


def read_obj(path: Path) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """Vertices float64 [V, 3], colours uint8 [V, 3] or None, faces int32 [F, 3] of an OBJ file of triangles.

    ValueError, one line, for anything else.
    """
    data = _bytes(path)
    if (plain := _plain_obj(data)) is not None:
        numbers, faces = plain
    else:
        numbers, faces = _any_obj(path, data)
    if len(numbers) > MOST_VERTICES or len(faces) > MOST_FACES:
        raise ValueError(f"{path}: has more than {MOST_VERTICES} vertices or {MOST_FACES} faces; give a coarser mesh")
    if faces.min() < 1 or faces.max() > len(numbers) or (faces % 1).any():
        raise ValueError(f"{path}: a face names a vertex that is none of its {len(numbers)}; {AGAIN}")
    return numbers[:, :3].copy(), _colours(path, numbers[:, 3:]), faces.astype(np.int32) - 1


def _plain_obj(data: bytes) -> tuple[np.ndarray, np.ndarray] | None:
    """Vertices float64 [V, 3 or 6] and faces float64 [F, 3] of a file as `_obj_lines` writes it: first all `v`, then
    all `f`, one space between words, no further lines. None for any other, which takes twice as long."""
    end = data.find(b"\nf ") + 1
    numbers = _plain_lines(data[:end], b"v")
    faces = None if numbers is None else _plain_lines(data[end:], b"f")
    if faces is None or numbers.shape[1] not in (3, 6) or faces.shape[1] != 3:
        return None
    return (numbers, faces) if np.abs(numbers).max() <= LARGEST and np.abs(faces).max() <= LARGEST else None


def _plain_lines(data: bytes, kind: bytes) -> np.ndarray | None:
    """float64 [N, width] of N lines `kind number number ...`, each as wide as the first; None if any is otherwise."""
    count, width = data.count(b"\n"), data.partition(b"\n")[0].count(b" ")
    if not count or not width or data[-1:] != b"\n" or data.count(kind) != count or data.translate(None, PLAIN + kind):
        return None
    signs = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(signs <= ord(" "))  # of words: spaces and line breaks
    if len(ends) != count * (width + 1):
        return None
    ends, starts = ends.reshape(count, -1), np.append(0, ends[:-1] + 1).reshape(count, -1)
    in_step = (signs[ends[:, -1]] == ord("\n")) & (signs[starts[:, 0]] == kind[0]) & (ends[:, 0] == starts[:, 0] + 1)
    if not in_step.all():
        return None
    numbers = _decimals(signs, starts[:, 1:].ravel(), ends[:, 1:].ravel())
    return None if numbers is None else numbers.reshape(count, width)


def _decimals(signs: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray | None:
    """float64 [N] of words like -12.3450, each from its start to before its end; None if one is no such number.

    The digits are a whole number below 10^15, which is divided by a power of ten: both are exact, so the quotient is
    the float64 nearest to what is written, as of Python's float().
    """
    negative = signs[starts] == ord("-")
    starts = starts + negative
    if (ends <= starts).any() or (ends - starts).max() > MOST_SIGNS:
        return None
    whole, place, divisor = (np.full(len(starts), number, np.int64) for number in (0, 1, 0))
    for back in range(1, int((ends - starts).max()) + 1):
        at = ends - back
        sign = np.where(at >= starts, signs[np.maximum(at, 0)], ord("0"))
        dot = sign == ord(".")
        if (dot & (divisor > 0)).any() or not (dot | (sign >= ord("0"))).all():
            return None
        divisor[dot] = place[dot]
        whole += np.where(dot, 0, sign - np.int64(ord("0"))) * place
        place *= np.where(dot, 1, 10)
    if ((divisor > 0) & (ends - starts == 1)).any():  # a dot alone
        return None
    numbers = whole / np.maximum(divisor, 1)
    return np.where(negative, -numbers, numbers)


def _any_obj(path: Path, data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Vertices float64 [V, 3 or 6] and faces float64 [F, 3] of any OBJ file of triangles; ValueError for another."""
    rows: dict[bytes, list[bytes]] = {b"v": [], b"f": []}
    for line in data.splitlines():
        kind, *rest = line.split(None, 1) or [b"#"]
        if kind in rows:
            rows[kind] += rest or [b""]
        elif kind not in PASSED_OVER and not kind.startswith(b"#"):
            raise ValueError(f"{path}: is no OBJ file, it has a line that begins with {kind[:20]!r}; {AGAIN}")
    if len(rows[b"v"]) > MOST_VERTICES or len(rows[b"f"]) > MOST_FACES:
        raise ValueError(f"{path}: has more than {MOST_VERTICES} vertices or {MOST_FACES} faces; give a coarser mesh")
    if b"/" in data:  # texture and normals
        rows[b"f"] = [b" ".join(word.partition(b"/")[0] for word in row.split()) for row in rows[b"f"]]
    return (
        _table(path, rows[b"v"], (3, 6), "vertices 'v x y z r g b'"),
        _table(path, rows[b"f"], (3,), "triangles 'f i j k'"),
    )


def read_landmarks(path: Path) -> np.ndarray:
    """float64 [68, 3] of a file of 68 lines `x y z`; ValueError, one line, for anything else."""
    lines = _lines(path)
    if len(lines) != LANDMARKS:
        raise ValueError(f"{path}: has {len(lines)} landmarks, and {LANDMARKS} are needed, one 'x y z' a line; {AGAIN}")
    return _table(path, lines, (3,), "landmarks 'x y z'")


def read_crop(path: Path) -> np.ndarray:
    """float64 [3, 3], photo pixels -> crop pixels; ValueError, one line, for anything else."""
    crop = _table(path, _lines(path), (3,), "three rows of three numbers")
    if crop.shape != (3, 3) or (crop[2] != (0, 0, 1)).any() or abs(np.linalg.det(crop)) < 1e-9:
        raise ValueError(f"{path}: is no matrix from photo to crop (3 x 3, last row 0 0 1, invertible); {AGAIN}")
    return crop


# ------------------------------------------------------------------ lines


def _rows(form: str, table: np.ndarray) -> bytes:
    """A line for each row; all at once, as there are 100,000."""
    return (f"{form}\n" * len(table) % tuple(table.ravel().tolist())).encode()


def _obj_lines(mesh: Reconstruction) -> bytes:
    coloured = np.column_stack([mesh.vertices, mesh.colours])
    return _rows("v %.4f %.4f %.4f %d %d %d", coloured) + _rows("f %d %d %d", mesh.faces + 1)


def _lines(path: Path) -> list[bytes]:
    return [line for line in _bytes(path).splitlines() if line.strip()]


def _bytes(path: Path) -> bytes:
    data = read_file(path)
    if b"\0" in data[:4096]:
        raise ValueError(f"{path}: is no text file; {AGAIN}")
    if data.count(b"\n") + data.count(b"\r") > MOST_LINES:
        raise ValueError(f"{path}: has more than {MOST_LINES} lines; give a coarser mesh")
    return data


def _table(path: Path, rows: list[bytes], widths: tuple[int, ...], what: str) -> np.ndarray:
    """float64 [N, width] of lines of numbers."""
    if not rows or len(rows[0].split()) not in widths:
        raise ValueError(f"{path}: has no {what}; {AGAIN}")
    try:
        numbers = np.loadtxt(rows, np.float64, comments=None, ndmin=2)
        if len(numbers) < len(rows):
            raise ValueError  # NumPy passes over empty lines
    except ValueError:
        raise ValueError(f"{path}: a line of its {what} is longer or shorter, or is no numbers; {AGAIN}") from None
    if not (np.abs(numbers) <= LARGEST).all():  # also NaN
        raise ValueError(f"{path}: has numbers that are not finite or beyond {LARGEST:g}; {AGAIN}")
    return numbers


def _colours(path: Path, numbers: np.ndarray) -> np.ndarray | None:
    """uint8 [V, 3] of what stands behind x y z: 0 to 255, or 0 to 1 as some programs write."""
    if not numbers.size:
        return None
    if numbers.max() <= 1 and (numbers % 1).any():
        numbers = 255 * numbers
    if numbers.min() < 0 or numbers.max() > 255:
        raise ValueError(f"{path}: has colours outside 0 to 255; {AGAIN}")
    return np.rint(numbers).astype(np.uint8)
