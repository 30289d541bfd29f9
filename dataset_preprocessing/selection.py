"""Choosing images of an EG3D data set by gaze or head yaw: reading, deciding, and copying without re-encoding.

A data set is a zip file or a folder of images with `dataset.json` = {"labels": [[name, [25 floats]], ...]} at its root.
The paper (section 3.1) keeps |yaw| > 0.4 rad: in frontal photos looking ahead and looking into the camera coincide, so
they cannot teach a generator the difference.
"""

import io
import json
import math
import re
from collections import defaultdict
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from tqdm import tqdm

from dataset_preprocessing.packing import new_data_set
from eg3d.data.archive import open_archive, shown
from eg3d.data.images import is_image, load_pixels, open_image, silence_pillow
from eg3d.data.labels import LABEL_FILE, label_array, read_entries
from eg3d.gaze.networks import GazeNetwork
from eg3d.gaze.term import gaze_target
from eg3d.pictures.text import for_plot
from eg3d.running import processes
from groundwork.files import atomic_write, sha256

MIRROR_SUFFIX = re.compile(r"[_-]mirror$")

MANIFEST, HISTOGRAM = ".manifest.json", ".histogram.png"  # endings of what lies beside a selection


class FaceSet:
    """The images and labels of a data set; `names` and `labels` are in the order of its `dataset.json`.

    `entries` are the labels as they are written there.
    """

    def __init__(self, path: Path):
        self.path = path
        silence_pillow()
        self._archive = open_archive(path)
        self.entries = read_entries(self._archive)
        self.names, where = list(self.entries), f"{path}: {LABEL_FILE}"
        if not self.names:
            raise ValueError(f"{where} has no labels; selecting needs one camera per image")
        for name in self.names:
            if name not in self._archive.bytes:
                raise ValueError(f"{where} lists {shown(name)}, which is not in the data set; repair it")
        unlabelled = sorted(name for name in self._archive.bytes if is_image(name) and name not in self.entries)
        if unlabelled:
            raise ValueError(f"{where} has no label for {shown(unlabelled[0])} ({len(unlabelled)} such images)")
        self.labels = label_array(self.entries, self.names, where)

    def read(self, name: str) -> bytes:
        """The bytes of one file."""
        return self._archive.read(name)

    def image(self, name: str) -> torch.Tensor:
        """[3, H, W] in [-1, 1]."""
        where = f"{self.path}: {shown(name)}"
        with open_image(self.read(name), where) as image:
            load_pixels(image, where)
            pixels = np.array(image.convert("RGB"))
        return torch.from_numpy(pixels).permute(2, 0, 1).float() / 127.5 - 1


def label_yaws(faces: FaceSet) -> list[float]:
    """yaw* of every row, radians: the yaw of a gaze straight out of the face, seen from the labelled camera."""
    return gaze_target(faces.labels).yaw.tolist()


@torch.no_grad()
def estimated_yaws(faces: FaceSet, estimator: GazeNetwork, batch: int, device) -> list[float]:
    """Yaw of the estimated gaze of every row, radians; on rank 0 (empty elsewhere)."""

    def read(names: list[str]) -> list[float]:
        return estimator(_stacked(faces, names).to(device)).yaw.tolist()

    return [yaw for part in processes.batches(faces.names, batch, read, "reading gaze") for yaw in part]


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


def write(faces: FaceSet, yaws: list[float], kept: list[int], dest: Path, settings: dict) -> dict:
    """The new data set, and beside it DEST.manifest.json and DEST.histogram.png; returns the manifest."""
    copy_rows(faces, kept, dest)
    record = manifest(faces, yaws, kept, settings)
    atomic_write(beside(dest, MANIFEST), (json.dumps(record, indent=1) + "\n").encode())
    draw_histogram(yaws, kept, f"{faces.path.name} by {settings['by']}", beside(dest, HISTOGRAM))
    return record


def copy_rows(faces: FaceSet, rows: list[int], dest: Path) -> None:
    """Writes a data set of these rows: the images' own bytes, and a `dataset.json` with their labels, in order."""
    with new_data_set(dest) as write:
        for row in tqdm(rows, desc="copying", unit="img"):
            write(faces.names[row], faces.read(faces.names[row]))
        kept = [[faces.names[row], faces.entries[faces.names[row]]] for row in rows]  # no round trip through float32
        write(LABEL_FILE, json.dumps({"labels": kept}).encode())


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
    title, how = for_plot(title)
    axes.set_title(title, **how)
    axes.set(xlabel="yaw in degrees (positive: toward the image's left)", ylabel="images")
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
