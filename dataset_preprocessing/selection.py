"""Choosing images of an EG3D data set by gaze or head yaw: reading, deciding, and copying without re-encoding.

A data set is a zip file or a folder of images with `dataset.json` = {"labels": [[name, [25 floats]], ...]} at its root.
The paper (section 3.1) keeps |yaw| > 0.4 rad: in frontal photos looking ahead and looking into the camera coincide, so
they cannot teach a generator the difference.
"""

import copy
import io
import json
import math
import re
from collections import defaultdict
from collections.abc import Collection
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from tqdm import tqdm

from dataset_preprocessing.packing import new_data_set
from eg3d.data.labelled import open_labelled
from eg3d.gaze.networks import GazeNetwork
from eg3d.gaze.term import estimate_gaze, gaze_target
from eg3d.geometry.label_rows import label_array
from eg3d.pictures.text import for_plot
from eg3d.running import processes
from groundwork.archive import Unreadable, shown
from groundwork.damage import Damage
from groundwork.files import atomic_write, sha256
from groundwork.images import read_picture, silence_pillow
from groundwork.matching import LABEL_FILE
from groundwork.workers import in_threads

THREADS = 3  # that decode
MIRROR_SUFFIX = re.compile(r"[_-]mirror$")

MANIFEST, HISTOGRAM = ".manifest.json", ".histogram.png"  # endings of what lies beside a selection


class FaceSet:
    """The images and labels of a data set; `names` and `labels` are in the order of its `dataset.json`.

    `entries` are the labels as they are written there; `notes` says what was left out.
    """

    def __init__(self, path: Path, skip_unmatched: bool = False):
        self.path = path
        silence_pillow()
        files = open_labelled(path, skip_unmatched)
        self._archive, self.entries, self.notes = files.archive, files.labels, files.all_notes
        self.names = list(self.entries)
        self.labels = label_array(self.entries, self.names, files.where)

    def read(self, name: str) -> bytes:
        """The bytes of one file."""
        return self._archive.read(name)

    def without(self, names: Collection[str]) -> "FaceSet":
        """The same set, as if these images were not in it."""
        rest = copy.copy(self)
        rows = [row for row, name in enumerate(self.names) if name not in names]
        rest.names, rest.labels = [self.names[row] for row in rows], self.labels[rows]
        return rest

    def image(self, name: str) -> torch.Tensor:
        """[3, H, W] in [-1, 1]; `Unreadable` if it is damaged."""
        pixels = np.array(read_picture(self.read(name), f"{self.path}: {shown(name)}"))
        return torch.from_numpy(pixels).permute(2, 0, 1).float() / 127.5 - 1


def label_yaws(faces: FaceSet) -> list[float]:
    """yaw* of every row, radians: the yaw of a gaze straight out of the face, seen from the labelled camera."""
    return gaze_target(faces.labels).yaw.tolist()


@torch.no_grad()
def estimated_yaws(faces: FaceSet, estimator: GazeNetwork, batch: int, device, damage: Damage) -> list[float]:
    """Yaw of the estimated gaze of every row whose image can be read, radians; on rank 0 (empty elsewhere)."""

    def read(names: list[str]) -> tuple[list[float], dict[str, str]]:
        images, faults = _readable(faces, names)
        if not images:
            return [], faults
        stacked = _stacked(faces, images).to(device)
        labels = faces.labels[[row_of[name] for name in images]]
        return estimate_gaze(stacked, labels, estimator).yaw.tolist(), faults

    yaws, row_of = [], {name: row for row, name in enumerate(faces.names)}
    for found, faults in processes.batches(faces.names, batch, read, "reading gaze"):
        yaws += found
        for name, fault in faults.items():
            damage.add(name, fault)
    return yaws


def with_face(faces: FaceSet, yaws: list[float]) -> tuple[FaceSet, list[float], list[str]]:
    """(the images in which the gaze network finds a face, their yaws, names of the others, whose yaw is NaN)."""
    others = {name for name, yaw in zip(faces.names, yaws, strict=True) if math.isnan(yaw)}
    if len(others) == len(yaws) > 0:
        raise ValueError(f"{faces.path}: the gaze network finds a face in none of {len(yaws)} images; take another one")
    return faces.without(others), [yaw for yaw in yaws if not math.isnan(yaw)], sorted(others)


def find_damaged(faces: FaceSet, rows: list[int], damage: Damage) -> None:
    """Decodes the images of these rows and forgets them."""

    def faults(row: int) -> dict[str, str]:
        return _readable(faces, [faces.names[row]])[1]

    for found in tqdm(in_threads(faults, rows, THREADS), "looking for damaged images", len(rows), unit="img"):
        for name, fault in found.items():
            damage.add(name, fault)


def _readable(faces: FaceSet, names: list[str]) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Images [3, H, W] of these names, and the faults of those that cannot be read."""
    images, faults = {}, {}
    for name in names:
        try:
            images[name] = faces.image(name)
        except Unreadable as error:
            faults[name] = str(error)
    return images, faults


def _stacked(faces: FaceSet, images: dict[str, torch.Tensor]) -> torch.Tensor:
    """[N, 3, H, W] of the images by name; ValueError unless they have one size."""
    first = next(iter(images))
    for name, image in images.items():
        if image.shape != images[first].shape:
            sizes = ["x".join(map(str, shape[:0:-1])) for shape in (image.shape, images[first].shape)]
            raise ValueError(f"{faces.path}: {name} is {sizes[0]} pixels, {first} is {sizes[1]}; one size only")
    return torch.stack(list(images.values()))


def pair_key(name: str) -> str:
    """What an image and its mirrored copy (`x.png`, `x_mirror.png` or `x-mirror.png`) have in common."""
    path = PurePosixPath(name)
    return str(path.with_name(MIRROR_SUFFIX.sub("", path.stem)))


def choose(names: list[str], yaws: list[float], min_abs_yaw: float, max_abs_yaw: float | None) -> list[int]:
    """Rows to keep, in order: min_abs_yaw < |yaw| <= max_abs_yaw (radians).

    An image and its mirrored copy stay or go together, by the mean of their |yaw|: estimators are not quite symmetric.
    """
    upper = math.inf if max_abs_yaw is None else max_abs_yaw
    for flag, limit in (("--min-abs-yaw", min_abs_yaw), ("--max-abs-yaw", max_abs_yaw)):
        if limit is not None and math.pi < limit < 360:
            raise ValueError(f"{flag}={limit:g}: is in radians, and {limit:g} degrees are {math.radians(limit):.3f}")
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
    axes.legend(loc="upper right")  # the best place is searched for, with a warning on a busy machine
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
