"""A folder of pictures -> rows of a label file, with a reason for every picture that gets none."""

import json
from pathlib import Path

import torch

from dataset_preprocessing.ffhq.pose_estimators import NoFace
from eg3d.data.images import load_pixels, open_image, silence_pillow
from eg3d.metrics.pose_files import FACTS, LABELS
from eg3d.running import processes
from groundwork.files import atomic_write

KINDS = {".png", ".jpg", ".jpeg"}


def pictures(folder: Path) -> list[Path]:
    """The pictures of a folder, by name; ValueError where there are none."""
    if not folder.is_dir():
        raise ValueError(f"--indir={folder}: there is no such folder; give the one with the pictures")
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in KINDS and file.is_file())
    if not files:
        raise ValueError(f"--indir={folder}: holds no .png or .jpg; give the folder with the pictures")
    return files


def check_place(folder: Path) -> None:
    """ValueError where a `dataset.json` lies that was not estimated here: those labels may be the only ones."""
    if (folder / LABELS).exists() and not (folder / FACTS).exists():
        raise ValueError(f"{folder / LABELS}: exists and was not written by this script; move it or give --outdir")


def estimate(files: list[Path], estimator, batch: int) -> tuple[list, dict[str, str]]:
    """(rows [name, 25 numbers] in the files' order, {name: reason} of pictures without a label), on rank 0.

    A picture that cannot be read, or is not square, is an error: it is none of the crops this is for.
    """
    silence_pillow()
    rows, failed = [], {}
    for labels in processes.batches(files, batch, lambda part: _labels_of(part, estimator), "cameras"):
        for name, label in labels.items():
            if isinstance(label, str):
                failed[name] = label
            else:
                rows.append([name, [float(f"{x:.9g}") for x in label.tolist()]])
    return rows, failed


def write(folder: Path, rows: list, facts: dict) -> None:
    """The label file, and beside it how its labels were made."""
    atomic_write(folder / FACTS, (json.dumps(facts, indent=1) + "\n").encode())
    atomic_write(folder / LABELS, (json.dumps({"labels": rows}, indent=0) + "\n").encode())


def _labels_of(files: list[Path], estimator) -> dict[str, torch.Tensor | str]:
    """The label [25] of each picture by name, in the files' order, or the reason why it has none."""
    inputs, failed = {}, {}
    for file in files:
        try:
            inputs[file.name] = estimator.prepare(read_square(file), file.name)
        except NoFace as reason:
            failed[file.name] = str(reason)
    found = estimator.labels(torch.stack(list(inputs.values()))) if inputs else []
    return failed | dict(zip(inputs, found, strict=True))


def read_square(file: Path):
    """The picture as RGB; ValueError unless it is whole and square."""
    with open_image(file.read_bytes(), str(file)) as image:
        if image.width != image.height:
            size = f"{image.width}x{image.height}"
            raise ValueError(f"{file}: is {size} pixels; cut it as EG3D's crops are (photos are not cropped here)")
        load_pixels(image, str(file))
        return image.convert("RGB")
