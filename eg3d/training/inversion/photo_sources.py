"""Where photos to invert come from: a data set, or a picture beside its label file."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from eg3d.data.labelled import open_labelled
from eg3d.geometry.doubts import camera_doubts
from eg3d.geometry.label_rows import LAYOUT, entries_of, label_array
from groundwork.archive import read_file, shown
from groundwork.images import read_picture
from groundwork.matching import LABEL_FILE
from groundwork.strict_json import JsonError, read_json


@dataclass(frozen=True)
class Source:
    """A photo: name, without ending, what its files will be called; read() -> (square picture, label [25]).

    sha256() of its bytes, and of its label if one was given.
    """

    name: str
    read: Callable[[], tuple[Image.Image, torch.Tensor]]
    sha256: Callable[[], str]


def digest(data: bytes, label: torch.Tensor | None) -> str:
    return hashlib.sha256(data + (b"" if label is None else label.numpy().tobytes())).hexdigest()


def of_data_set(path: Path, ray_ranges, skip_unmatched: bool = False) -> tuple[list[Source], list[str]]:
    """The images of a zip or folder with `dataset.json`, and notes for the user.

    ValueError if the label file is missing, if its cameras are of another unit or convention, or if two heads would
    have one name.
    """
    files = open_labelled(path, skip_unmatched)
    names, owners = sorted(files.labels), {}
    for name in names:
        if (other := owners.setdefault(_head_name(name), name)) != name:
            raise ValueError(f"{files.archive.path}: {shown(other)} and {shown(name)} would both become "
                             f"{shown(_head_name(name))}.safetensors; rename one")  # fmt: skip
    labels = label_array(files.labels, names, files.where).float()
    check_cameras(labels, files.where, ray_ranges)

    def source(name: str, label: torch.Tensor) -> Source:
        where = f"{files.archive.path}: {shown(name)}"
        return Source(
            _head_name(name),
            lambda: (squared(read_picture(files.archive.read(name), where), where), label),
            lambda: digest(files.archive.read(name), label),
        )

    return [source(name, label) for name, label in zip(names, labels, strict=True)], files.all_notes


def _head_name(picture: str) -> str:
    return picture.rpartition(".")[0]


def label_beside(image: Path, ray_ranges) -> torch.Tensor | None:
    """The label [25] of a picture that a label file in its folder, or in the one above, lists; None if none does."""
    for folder in (image.absolute().parent, image.absolute().parent.parent):
        file = folder / LABEL_FILE
        if file.is_file():
            name = image.absolute().relative_to(folder).as_posix()
            entries = _listed(file)
            if entries.get(name) is not None:
                label = label_array(entries, [name], str(file)).float()
                check_cameras(label, f"{file}: {shown(name)}", ray_ranges)
                return label[0]
    return None


def _listed(file: Path) -> dict[str, object]:
    try:
        return entries_of(read_json(file, finite=False), str(file))
    except JsonError as error:
        raise ValueError(f"{file} is not {LAYOUT} ({error}); write it again") from None


def check_cameras(labels: torch.Tensor, where: str, ray_ranges) -> None:
    """ValueError if cameras [N, 25] seem to be of another unit or convention; no head would be found with them."""
    for doubt in camera_doubts(labels, ray_ranges):
        raise ValueError(f"{where}: {doubt}")


def squared(picture: Image.Image, where: str) -> Image.Image:
    """The picture; ValueError if it is no square, to which alone a label belongs."""
    if picture.width != picture.height:
        raise ValueError(f"{where} is {picture.width}x{picture.height}, and a label is of a square; cut it out with "
                         "dataset_preprocessing/dataset_tool.py, or give the photo by --image with --crop")  # fmt: skip
    return picture


def read_square(image: Path) -> Image.Image:
    return squared(read_picture(read_file(image), str(image)), str(image))


def pixels(pictures: Sequence[Image.Image], side: int) -> torch.Tensor:
    """Square pictures of any size -> [N, 3, side, side] in [-1, 1], resized as dataset_tool.py does."""
    sized = [p if p.width == side else p.resize((side, side), Image.Resampling.LANCZOS) for p in pictures]
    return torch.from_numpy(np.stack([np.asarray(p) for p in sized])).permute(0, 3, 1, 2).float() / 127.5 - 1
