"""HDF5 files of face pictures with gaze labels: what is in them, and how they are read.

Three kinds are read: those that `dataset_preprocessing/nv_rendering/main.py` writes, the published files of novel
views (MPII-NV; Qin et al. 2022, arXiv 2201.07927), which have fewer keys, and ETH-XGaze's own (Zhang et al. 2020).
Angles have one convention in all of them: (pitch, yaw) in radians of the negated gaze, and of the head's third axis,
which points into the head; positive pitch is up in the picture, positive yaw toward the picture's left.
"""

from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from groundwork.files import open_regular

SIDE = "side"  # stands in a shape for the side of the pictures
MOST_ROWS = 10_000_000  # of one file; ETH-XGaze's largest has some ten thousand
MOST_CHUNK = 1 << 28  # bytes that are unpacked to read one row
MOST_SIDE = 2048  # px; published pictures have 224
DAMAGE = (OSError, RuntimeError, KeyError)  # what h5py raises for bytes that are wrong
SIGNATURE = b"\x89HDF\r\n\x1a\n"
MADE_BY = "made_by"  # the attribute that our files have
FULL = "full"  # the folder below --save_dir where the files of persons lie


@dataclass(frozen=True)
class Key:
    """A dataset: the shape of one row, how a number is stored, and what it means."""

    shape: tuple[int | str, ...]
    dtype: str
    meaning: str
    unit: str = ""
    columns: str = ""


# The seven keys of the published description, in the order in which the published program makes them, then ours.
KEYS = {
    "face_gaze": Key((2,), "float64", "Direction of the negated gaze, in the frame of this picture's camera",
                     "radian", "pitch, yaw"),
    "face_head_pose": Key((3,), "float64", "Head pose: direction of the third axis of the head's rotation, in the "
                          "frame of this picture's camera", "radian", "roll, pitch, yaw"),
    "rotation_matrix": Key((3, 3), "float64", "R2 Q: turns the normalised source (head, gaze, points) to this view; "
                           "column vectors"),
    "face_mask": Key((SIDE, SIDE), "uint8", "255: face, 0: anything else; values between at its edge"),
    "face_patch": Key((SIDE, SIDE, 3), "uint8", "The picture", columns="B, G, R"),
    "face_mat_norm": Key((3, 3), "float32", "R of data normalisation: turns the photo's camera frame to the normalised "
                         "frame of the source; the same for all views of a source"),
    "landmarks_norm": Key((68, 2), "float32", "68 landmarks of the source's normalised photo, at this picture's size; "
                          "the same for all views of a source", "px; the first pixel spans 0..1", "x, y"),
}  # fmt: skip
FURTHER = {
    "pj_landmarks_norm": Key((68, 2), "float32", "The 68 landmarks of the mesh in this picture",
                             "px; the first pixel spans 0..1", "x, y"),
    "file_name": Key((), "S255", "Photo of the source, below the folder of photos"),
    "source_row": Key((), "int32", "Row of the source among those of this person"),
    "view": Key((), "int32", "Number of the view among those of its source"),
    "variant": Key((), "uint8", "Which of the variants named in the attribute `variants` of the file"),
    "ambient": Key((), "float32", "Colours of the mesh are multiplied by it"),
    "directional": Key((), "float32", "As ambient, times the cosine between normal and light"),
    "light": Key((3,), "float32", "Unit vector toward the light, in the frame of this picture's camera", "", "x, y, z"),
    "background": Key((3,), "int32", "Colour behind the face, or the number of the picture in the sorted list and -1, "
                      "-1", "", "R, G, B"),
}  # fmt: skip
# What the published program really writes: two angles of the head, and nothing else.
PUBLISHED = {name: KEYS[name] for name in ("face_gaze", "face_head_pose", "rotation_matrix", "face_mask", "face_patch")}
PUBLISHED["face_head_pose"] = Key((2,), "float64", KEYS["face_head_pose"].meaning, "radian", "pitch, yaw")
PUBLISHED["rotation_matrix"] = Key((3, 3), "float64", "Turns the normalised source to this view; R2, which removes "
                                   "roll, is in it if the attribute rotation_matrix of the file says so")  # fmt: skip


def keys_of(published_layout: bool) -> dict[str, Key]:
    """The datasets of a file in our layout or in the published one, in their order."""
    return dict(PUBLISHED) if published_layout else KEYS | FURTHER


def row_shape(key: Key, side: int) -> tuple[int, ...]:
    """The shape of one row of pictures of that side."""
    return tuple(side if number == SIDE else number for number in key.shape)


def view_files(path: Path) -> list[Path]:
    """The HDF5 files that a path names: a file, or those of a folder, or of its folder `full`, sorted by name."""
    if path.is_file():
        return [path]
    for folder in (path, path / FULL):
        if found := sorted(file for file in folder.glob("*.h5") if not file.name.startswith(".")):
            return found
    if not path.exists():
        raise ValueError(f"{path}: there is no such file or folder; check the path")
    raise ValueError(f"{path}: no .h5 file lies there, nor in {FULL} below it; name the folder that main.py -save had")


@contextmanager
def open_hdf5(path: Path):
    """An HDF5 file opened to read, as h5py's; ValueError, one line, if it is damaged or of another kind."""
    try:
        import h5py  # here: gaze networks are used without it
    except ImportError:
        raise ValueError(f"{path}: reading it needs h5py; pip install 'gaze-corrected-eg3d[novel-views]'") from None
    with open_regular(path) as file:
        head = file.read(len(SIGNATURE))
    if head != SIGNATURE:
        raise ValueError(f"{path}: is no HDF5 file; name one with pictures and gaze labels")
    try:
        opened = h5py.File(path, "r")
    except OSError as error:
        raise _damaged(path, error) from None
    with opened:
        try:
            yield opened
        except DAMAGE as error:
            raise _damaged(path, error) from None


class ViewFile:
    """Pictures and labels of one file, read row by row.

    A context manager. Nothing but labels is ever read whole: `images` and `masks` read the rows that they are asked
    for.

    Attributes:
        path, person: the file; "p00", from an attribute or else from its name.
        keys: names of the datasets that are there and known.
        side: of the pictures, in pixels.
        facts: the attributes of the file.
    """

    def __init__(self, path: Path):
        self.path = Path(path)
        self._opening = open_hdf5(self.path)
        self._file = self._opening.__enter__()
        try:
            self._check()
            self.facts = {name: self._plain(self._file.attrs[name]) for name in self._file.attrs}
            self.person = self._named()
        except DAMAGE as error:
            self.close()
            raise _damaged(self.path, error) from None
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "ViewFile":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def __len__(self) -> int:
        return self._rows

    def close(self) -> None:
        self._opening.__exit__(None, None, None)

    def images(self, rows: Sequence[int]) -> np.ndarray:
        """Pictures as RGB: uint8 [n, side, side, 3]."""
        pictures = self.table("face_patch", rows)
        return pictures if self.facts.get("channels") == "RGB" else pictures[..., ::-1]

    def masks(self, rows: Sequence[int]) -> np.ndarray | None:
        """Where the face is, uint8 [n, side, side], 255 inside; None if the file has no masks."""
        return self.table("face_mask", rows) if "face_mask" in self.keys else None

    def gaze(self) -> np.ndarray:
        """Gaze of all rows, float64 [N, 2]: pitch, yaw in radians. ValueError if the file has none (ETH-XGaze's test
        files keep theirs back)."""
        if "face_gaze" not in self.keys:
            raise ValueError(f"{self.path}: has no face_gaze, so it can be neither trained nor measured on")
        return self._angles("face_gaze")

    def head_pose(self) -> np.ndarray | None:
        """Head pose of all rows, float64 [N, 2]: pitch, yaw in radians, whether the file has two or three numbers; None
        if it has none."""
        return self._angles("face_head_pose")[:, -2:] if "face_head_pose" in self.keys else None

    def table(self, name: str, rows: Sequence[int] | None = None) -> np.ndarray:
        """The numbers of some rows of a dataset, in the order asked for, as they are stored; of all rows by None."""
        dataset = self._file[name]
        try:
            if rows is None:
                return dataset[:]
            found = np.empty((len(rows), *dataset.shape[1:]), dataset.dtype)
            for place, row in enumerate(rows):
                found[place] = dataset[int(row)]
            return found
        except DAMAGE as error:
            raise ValueError(f"{self.path}: {name} cannot be read ({_reason(error)}); make the file again") from None

    def stored_bytes(self) -> int:
        """How much the rows of all known datasets take up in the file, compressed."""
        return sum(self._file[name].id.get_storage_size() for name in self.keys)

    def _angles(self, name: str) -> np.ndarray:
        angles = self.table(name).astype(np.float64)
        wrong = ~(np.abs(angles) <= np.pi).all(axis=1)  # also NaN
        if wrong.any():
            row = int(wrong.argmax())
            raise ValueError(f"{self.path}: {name} of row {row} is {angles[row].tolist()}, which are no angles in "
                             "radians; convert degrees, or make the file again")  # fmt: skip
        return angles

    def _check(self) -> None:
        """Sets keys, side and the number of rows; ValueError for datasets that do not fit."""
        known = KEYS | FURTHER if MADE_BY in self._file.attrs else KEYS
        self.keys = tuple(name for name in known if self._dataset(name) is not None)
        if "face_patch" not in self.keys:
            held = ", ".join(sorted(map(str, self._file))[:8]) or "nothing"
            raise ValueError(f"{self.path}: has no face_patch, so it is no file of faces; it holds {held}")
        patches = self._file["face_patch"]
        self._rows, self.side = len(patches), patches.shape[1] if patches.ndim == 4 else 0
        if not 0 < self._rows <= MOST_ROWS:
            raise ValueError(f"{self.path}: face_patch has {self._rows} rows; a file has 1 to {MOST_ROWS}")
        for name in self.keys:
            self._check_dataset(name)
        if not 0 < self.side <= MOST_SIDE:
            raise ValueError(f"{self.path}: the pictures have {self.side} px a side; 1 to {MOST_SIDE} are read")

    def _dataset(self, name: str):
        """The dataset of that name, or None. ValueError for what is none, or whose numbers lie in another file."""
        import h5py

        link = self._file.get(name, getlink=True)
        if link is None:
            return None
        found = self._file.get(name) if isinstance(link, h5py.HardLink) else None
        if not isinstance(found, h5py.Dataset) or found.is_virtual or found.external:
            raise ValueError(f"{self.path}: {name} is no dataset of this file itself; make the file again")
        return found

    def _check_dataset(self, name: str) -> None:
        dataset, key = self._file[name], (KEYS | FURTHER)[name]
        shape, kind = row_shape(key, self.side), np.dtype(key.dtype).kind
        shapes = {shape, (2,)} if name == "face_head_pose" else {shape}
        if dataset.shape[:1] != (self._rows,) or dataset.shape[1:] not in shapes or dataset.dtype.kind != kind:
            raise ValueError(f"{self.path}: {name} is {dataset.dtype} {dataset.shape}; {key.dtype} "
                             f"{(self._rows, *shape)} is wanted")  # fmt: skip
        if kind == "u" and dataset.dtype != key.dtype:
            raise ValueError(f"{self.path}: {name} is {dataset.dtype}; {key.dtype} is wanted")
        whole = dataset.chunks and int(np.prod([int(n) for n in dataset.chunks])) * dataset.dtype.itemsize
        if whole and whole > MOST_CHUNK:
            raise ValueError(f"{self.path}: {name} is packed in pieces of {whole} bytes; at most {MOST_CHUNK} are read")

    def _named(self) -> str:
        """The person, by the attribute or by the name of the file. Names of pictures are made of it, so it names no
        other folder."""
        person = self.facts.get("person", self.path.stem)
        if (
            not isinstance(person, str)
            or not person
            or not person.isprintable()
            or {"/", "\\"} & set(person)
            or len(person) > 100
        ):
            raise ValueError(f"{self.path}: its attribute person is {person!r:.60}, which is no name; make it again")
        return person

    @staticmethod
    def _plain(value):
        """An attribute as a plain value: text for bytes."""
        return value.decode(errors="replace") if isinstance(value, bytes) else value


def _damaged(path: Path, error: Exception) -> ValueError:
    return ValueError(f"{path}: is damaged or not whole ({_reason(error)}); make it again, or copy it again")


def _reason(error: Exception) -> str:
    """What the HDF5 library says, short."""
    text = " ".join(str(error).split())
    return text[text.rfind("(") + 1 :].rstrip(")")[:120] if "(" in text else text[:120]
