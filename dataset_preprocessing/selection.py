"""Choosing images of an EG3D data set by gaze or head yaw: reading, deciding, and copying without re-encoding.

A data set is a zip file or a folder of images with `dataset.json` = {"labels": [[name, [25 floats]], ...]} at its root.
The paper (section 3.1) keeps |yaw| > 0.4 rad: in frontal photos looking ahead and looking into the camera coincide, so
they cannot teach a generator the difference.
"""

import io
import json
import math
import os
import re
import shutil
import tempfile
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from eg3d.cameras import check_labels
from eg3d.files import atomic_file, atomic_write, sha256
from eg3d.gaze import gaze_target
from l2cs.estimator import GazeEstimator

ZIP_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest a zip can hold: the same selection gives the same bytes
MIRROR_SUFFIX = re.compile(r"[_-]mirror$")


class FaceSet:
    """The images and labels of a data set; `names` and `labels` are in the order of its `dataset.json`."""

    def __init__(self, path: Path):
        self.path = path
        if path.is_dir():
            self._zip = None
            present = {file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()}
        else:
            try:
                self._zip = zipfile.ZipFile(path)
            except zipfile.BadZipFile:
                raise ValueError(f"{path}: neither a folder nor a zip file; pass an EG3D data set") from None
            present = set(self._zip.namelist())
        self.names, self.labels = self._read_labels(present)

    def _read_labels(self, present: set[str]) -> tuple[list[str], torch.Tensor]:
        where = f"{self.path}: dataset.json"
        if "dataset.json" not in present:
            raise ValueError(f"{where} is missing; it holds the camera labels (dataset_preprocessing/README.md)")
        try:
            rows = json.loads(self.read("dataset.json"))["labels"] or []
            names, labels = [str(name) for name, _ in rows], [label for _, label in rows]
        except (ValueError, KeyError, TypeError):
            raise ValueError(f'{where} must look like {{"labels": [["name.png", [25 numbers]], ...]}}') from None
        if not names:
            raise ValueError(f"{where} has no labels; selecting needs one camera per image")
        for name, label in zip(names, labels, strict=True):
            if name not in present or PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                raise ValueError(f"{where} lists {name}, which is not in the data set; repair it")
            numbers = isinstance(label, list) and all(isinstance(x, int | float) for x in label)
            if not numbers or len(label) != 25:
                size = len(label) if isinstance(label, list) else 0
                raise ValueError(f"{where}: the label of {name} has {size} numbers, not 25")
        unlabelled = sorted(name for name in present.difference(names) if is_image(name))
        if unlabelled:
            raise ValueError(f"{where} has no label for {unlabelled[0]} ({len(unlabelled)} such images)")
        labels = torch.tensor(labels, dtype=torch.float64)
        check_labels(labels, where)
        return names, labels

    def read(self, name: str) -> bytes:
        """The bytes of one file."""
        if self._zip is None:
            return (self.path / name).read_bytes()
        try:
            return self._zip.read(name)
        except zipfile.BadZipFile:
            raise ValueError(f"{self.path}: {name} is damaged in this zip file; fetch or pack it again") from None

    def image(self, name: str) -> torch.Tensor:
        """[3, H, W] in [-1, 1]."""
        try:
            pixels = np.array(Image.open(io.BytesIO(self.read(name))).convert("RGB"))
        except (UnidentifiedImageError, OSError):
            raise ValueError(f"{self.path}: {name} is not a readable image") from None
        return torch.from_numpy(pixels).permute(2, 0, 1).float() / 127.5 - 1


def is_image(name: str) -> bool:
    """By its ending, as EG3D's loader decides."""
    Image.init()
    return PurePosixPath(name).suffix.lower() in Image.registered_extensions()


def label_yaws(faces: FaceSet) -> list[float]:
    """yaw* of every row, radians: the yaw of a gaze straight out of the face, seen from the labelled camera."""
    return gaze_target(faces.labels).yaw.tolist()


def estimated_yaws(faces: FaceSet, estimator: GazeEstimator, batch: int, device) -> list[float]:
    """Yaw of the estimated gaze of every row, radians."""
    yaws: list[float] = []
    with torch.no_grad(), tqdm(total=len(faces.names), desc="reading gaze", unit="img") as bar:
        for start in range(0, len(faces.names), batch):
            names = faces.names[start : start + batch]
            yaws += estimator(_stacked(faces, names).to(device)).yaw.tolist()
            bar.update(len(names))
    return yaws


def _stacked(faces: FaceSet, names: list[str]) -> torch.Tensor:
    """Images [N, 3, H, W] of these names; ValueError unless they have one size."""
    images = [faces.image(name) for name in names]
    for name, image in zip(names, images, strict=True):
        if image.shape != images[0].shape:
            sizes = ["x".join(map(str, shape[:0:-1])) for shape in (image.shape, images[0].shape)]
            raise ValueError(f"{faces.path}: {name} is {sizes[0]} pixels, {names[0]} is {sizes[1]}; one size only")
    return torch.stack(images)


def pair_key(name: str) -> str:
    """What an image and its mirrored copy (`x.png`, `x_mirror.png` or `x-mirror.png`) have in common."""
    path = PurePosixPath(name)
    return str(path.with_name(MIRROR_SUFFIX.sub("", path.stem)))


def choose(names: list[str], yaws: list[float], min_abs_yaw: float, max_abs_yaw: float | None) -> list[int]:
    """Rows to keep, in order: min_abs_yaw < |yaw| <= max_abs_yaw (radians).

    An image and its mirrored copy stay or go together, by the mean of their |yaw|: estimators are not quite symmetric.
    """
    upper = math.inf if max_abs_yaw is None else max_abs_yaw
    if not 0 <= min_abs_yaw < upper:
        raise ValueError(f"--min-abs-yaw={min_abs_yaw} must be >= 0 and below --max-abs-yaw={upper}")
    pairs: dict[str, list[float]] = defaultdict(list)
    for name, yaw in zip(names, yaws, strict=True):
        pairs[pair_key(name)].append(abs(yaw))
    size = {key: sum(values) / len(values) for key, values in pairs.items()}
    kept = [row for row, name in enumerate(names) if min_abs_yaw < size[pair_key(name)] <= upper]
    if not kept:
        raise ValueError(
            f"no image has |yaw| in ({min_abs_yaw}, {upper}] (they span {min(size.values()):.3f} to "
            f"{max(size.values()):.3f} rad); lower --min-abs-yaw or raise --max-abs-yaw"
        )
    return kept


def check_destination(dest: Path, source: Path) -> None:
    """Raises ValueError unless `dest` is free: absent or empty, and outside the data set it is made from."""
    if dest.is_dir() and (dest.suffix == ".zip" or any(dest.iterdir())):
        raise ValueError(f"--dest={dest}: the folder is not empty; name a new one")
    if dest.is_file() and (dest.suffix != ".zip" or dest.stat().st_size):
        raise ValueError(f"--dest={dest}: the file exists; name a new one")
    if source.is_dir() and source.resolve() in (dest.resolve(), *dest.resolve().parents):
        raise ValueError(f"--dest={dest} lies inside --data={source}; name a folder elsewhere")


@contextmanager
def _new_zip(dest: Path) -> Iterator:
    """Yields write(name, data); the zip (stored, not compressed) appears under its name when all is written."""
    with atomic_file(dest) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        yield lambda name, data: archive.writestr(zipfile.ZipInfo(name, ZIP_DATE), data)


@contextmanager
def _new_folder(dest: Path) -> Iterator:
    """Yields write(name, data); the folder appears under its name when all is written."""
    temporary = Path(tempfile.mkdtemp(prefix=f".{dest.name}.", dir=dest.parent))

    def write(name: str, data: bytes) -> None:
        (temporary / name).parent.mkdir(parents=True, exist_ok=True)
        (temporary / name).write_bytes(data)

    try:
        yield write
        temporary.chmod(0o755)
        os.replace(temporary, dest)  # also replaces an empty folder
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def copy_rows(faces: FaceSet, rows: list[int], dest: Path) -> None:
    """Writes a data set of these rows: the images' own bytes, and a `dataset.json` with their labels, in order."""
    dest.parent.mkdir(parents=True, exist_ok=True)
    labels = dict(json.loads(faces.read("dataset.json"))["labels"])  # as written, without a round trip through float32
    with (_new_zip if dest.suffix == ".zip" else _new_folder)(dest) as write:
        for row in tqdm(rows, desc="copying", unit="img"):
            write(faces.names[row], faces.read(faces.names[row]))
        kept = [[faces.names[row], labels[faces.names[row]]] for row in rows]
        write("dataset.json", json.dumps({"labels": kept}).encode())


def beside(dest: Path, ending: str) -> Path:
    """`faces.zip` or folder `faces` -> `faces<ending>` next to it; inside, a picture would be a training image."""
    return dest.with_name((dest.stem if dest.suffix == ".zip" else dest.name) + ending)


def draw_histogram(yaws: list[float], kept: list[int], title: str, path: Path) -> None:
    """PNG of all yaws and of the kept ones, degrees."""
    from matplotlib.figure import Figure  # slow to import, and only needed here

    degrees = np.degrees(yaws)
    bins = np.linspace(*(np.array([-1.0, 1.0]) * max(1.0, np.abs(degrees).max())), 73)
    figure = Figure(figsize=(6, 3.2), layout="constrained")
    axes = figure.add_subplot()
    axes.hist(degrees, bins, color="0.8", label=f"all ({len(yaws)})")
    axes.hist(degrees[kept], bins, color="tab:blue", label=f"kept ({len(kept)})")
    axes.set(title=title, xlabel="yaw in degrees (positive: toward the image's left)", ylabel="images")
    axes.legend()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120, metadata={"Software": None})
    atomic_write(path, buffer.getvalue())


def manifest(faces: FaceSet, yaws: list[float], kept: list[int], settings: dict) -> dict:
    """What was chosen, from what and how: counts, settings, and [name, yaw in radians] of every kept image."""
    return {
        "source": str(faces.path),
        "source_sha256": sha256(faces.path) if faces.path.is_file() else None,
        **settings,
        "images": len(yaws),
        "kept_images": len(kept),
        "kept": [[faces.names[row], round(yaws[row], 6)] for row in kept],
    }
