"""Photos or pictures of a world -> a folder of eye patches with its tables."""

import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from groundwork.archive import Folder, Unreadable
from groundwork.files import atomic_write
from groundwork.images import read_picture
from redirection.attributes import Attributes
from redirection.eye_patches import EyeSquare
from redirection.lid_points import Lids, LidSource, NoLids
from redirection.patch_names import ENDING, PatchName
from redirection.patch_tables import CutPatch, write_tables

SHEET_ROWS, SHEET_COLUMNS = 12, 16
COLUMBIA_TEST = frozenset(range(50, 57))  # people of the published test list


@dataclass(frozen=True)
class Face:
    """A picture uint8 [H, W, 3], what to call it, its angles if its name says them, and its lids or why it has none."""

    photo: str
    picture: np.ndarray | None
    name: PatchName | None
    lids: Lids | str


@dataclass
class Cutting:
    """What has been cut so far. rejects: photo, eye, reason."""

    patches: list[CutPatch] = field(default_factory=list)
    rejects: list[tuple[str, str, str]] = field(default_factory=list)
    sheet: list[np.ndarray] = field(default_factory=list)


def photo_faces(folder: Folder, names: Sequence[str], source: LidSource) -> Iterator[Face]:
    """The faces of photos; a name like those of Columbia says person and angles, others say nothing."""
    for name in names:
        try:
            says = PatchName.parse(Path(name).name)
        except ValueError:
            says = None
        try:
            picture = np.asarray(read_picture(folder.read(name), name))
            yield Face(name, picture, says, source(picture, name))
        except (NoLids, Unreadable) as reason:
            yield Face(name, None, says, str(reason))


def cut_all(faces: Iterable[Face], folder: Path, size: int, attributes: Attributes, test: set[int] | None) -> Cutting:
    """Cuts both eyes of all faces, and writes FOLDER, which must not exist: all/, a folder for each head yaw, info/.

    test: people of the test list; None: each eighth person there is. Half-done work leaves nothing behind.
    Errors: ValueError if no patch could be cut, OSError.
    """
    folder.resolve().parent.mkdir(parents=True, exist_ok=True)
    cutting = Cutting()
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.resolve().parent) as temporary:
        whole = Path(temporary) / "whole"
        (whole / "all").mkdir(parents=True)
        for face in faces:
            _cut_face(face, whole, size, cutting)
        if not cutting.patches:
            reason = f" ({cutting.rejects[0][0]}: {cutting.rejects[0][2]})" if cutting.rejects else ""
            raise ValueError(f"no eye could be cut out{reason}; give photos of faces, or other --landmarks")
        people = sorted({one.name.person for one in cutting.patches if one.name})
        chosen = set(people[7::8]) if test is None else test
        write_tables(whole, cutting.patches, chosen, attributes, cutting.rejects)
        os.replace(whole, folder)
    return cutting


def _cut_face(face: Face, folder: Path, size: int, cutting: Cutting) -> None:
    if isinstance(face.lids, str) or face.picture is None:
        cutting.rejects.append((face.photo, "", str(face.lids)))
        return
    for eye, points in face.lids.items():
        name = face.name and face.name.of_eye(eye)
        stem = str(name) if name else f"{Path(face.photo).stem}_{eye}"
        target = folder / "all" / f"{stem}{ENDING}"
        try:
            if target.exists():
                raise ValueError("another photo gave a patch of this name")
            square = EyeSquare.of_lids(points, eye)
            patch = square.cut(face.picture, size)
        except ValueError as reason:
            cutting.rejects.append((face.photo, eye, str(reason)))
            continue
        Image.fromarray(patch).save(target)
        if name:
            (folder / name.folder).mkdir(exist_ok=True)
            os.link(target, folder / name.folder / target.name)
        cutting.patches.append(CutPatch(target.name, name, face.photo, square))
        if len(cutting.sheet) < SHEET_ROWS * SHEET_COLUMNS:
            cutting.sheet.append(patch)


def write_sheet(path: Path, patches: Sequence[np.ndarray]) -> None:
    """A PNG of the first patches, row by row."""
    size, columns = patches[0].shape[0], min(SHEET_COLUMNS, len(patches))
    rows = -(-len(patches) // columns)
    sheet = np.full((rows * size, columns * size, 3), 255, np.uint8)
    for number, patch in enumerate(patches):
        y, x = divmod(number, columns)
        sheet[y * size : (y + 1) * size, x * size : (x + 1) * size] = patch
    with tempfile.SpooledTemporaryFile() as buffer:
        Image.fromarray(sheet).save(buffer, "PNG")
        buffer.seek(0)
        atomic_write(path, buffer.read())
