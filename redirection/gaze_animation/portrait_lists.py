"""The two-domain layout of GazeAnimation's sets (NewGaze, CelebAGaze), written and read.

    0.txt  0/NAME.jpg    Y: people who look elsewhere
    1.txt  1/NAME.jpg    X: people who look into the camera

A line is `NAME lx ly rx ry`: the eyes in a picture of 256 px, that at the image's left first; more fields are passed
over. The last `test_num` lines of 0.txt are for tests, the last 100 of 1.txt are held out (published split).
"""

import math
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from groundwork.archive import is_inside
from groundwork.files import open_regular
from groundwork.images import read_picture
from redirection.gaze_animation.level_faces import SIDE

ELSEWHERE, CAMERA = "0", "1"
NAMES = {ELSEWHERE: "Y, people who look elsewhere", CAMERA: "X, people who look into the camera"}
TEST, HELD_OUT = 300, 100
ENDINGS = (".jpg", ".png", ".jpeg")
LARGEST_LIST, LARGEST_PICTURE = 64 << 20, 1 << 26  # bytes
MAKE = "make it by redirection/gaze_animation/prepare.py"
KEPT_BYTES = 1 << 30  # of decoded pictures


@dataclass
class Portraits:
    """Some pictures of one domain: files and eyes [N, 2, 2] in pictures of SIDE px. Pictures are read when needed.

    missing: lines of the list without a picture; outside: lines whose eyes do not lie in the picture; unlisted:
    pictures that no line names. None of these are among the N.
    """

    domain: str
    files: list[Path]
    eyes: np.ndarray
    missing: int = 0
    outside: int = 0
    unlisted: int = 0
    _kept: OrderedDict = field(default_factory=OrderedDict, repr=False)

    def __len__(self) -> int:
        return len(self.files)

    @property
    def names(self) -> list[str]:
        return [file.stem for file in self.files]

    def part(self, rows: slice) -> "Portraits":
        return Portraits(self.domain, self.files[rows], self.eyes[rows])

    def notes(self) -> list[str]:
        """What the user should know of list and folder."""
        counts = {
            f"lines of {self.domain}.txt have no picture in {self.domain}/": self.missing,
            f"lines of {self.domain}.txt have eyes outside the picture": self.outside,
            f"pictures of {self.domain}/ are in no line of {self.domain}.txt": self.unlisted,
        }
        return [f"{count} {what}; they are left out" for what, count in counts.items() if count]

    def batch(self, rows, size: int) -> tuple[torch.Tensor, torch.Tensor]:
        """uint8 [B, 3, size, size], eyes float32 [B, 2, 2] in px of these. ValueError for a picture that is damaged."""
        rows = [int(row) for row in rows]
        images = torch.from_numpy(np.stack([self._picture(row, size) for row in rows])).permute(0, 3, 1, 2)
        return images.contiguous(), torch.from_numpy(self.eyes[rows] * (size / SIDE)).float()

    def _picture(self, row: int, size: int) -> np.ndarray:
        if (row, size) not in self._kept:
            file = self.files[row]
            with open_regular(file) as opened:
                data = opened.read(LARGEST_PICTURE + 1)
            if len(data) > LARGEST_PICTURE:
                raise ValueError(f"{file}: has more than {LARGEST_PICTURE >> 20} MiB, so it is no portrait; {MAKE}")
            picture = read_picture(data, str(file))
            if picture.size != (size, size):
                picture = picture.resize((size, size), Image.Resampling.BILINEAR)
            self._kept[row, size] = np.asarray(picture)
            while len(self._kept) * 3 * size * size > KEPT_BYTES:
                self._kept.popitem(last=False)
        return self._kept[row, size]


@dataclass(frozen=True)
class Domains:
    """x: for training, X; x_held: its held-out rest; y: for training, Y; y_test: its test part."""

    x: Portraits
    x_held: Portraits
    y: Portraits
    y_test: Portraits
    notes: tuple[str, ...]


def read_domains(folder: Path, test_num: int = TEST, held_out: int = HELD_OUT) -> Domains:
    """Both domains of a set, split in the order of their lists.

    Errors: ValueError, one line, or OSError: a list that is missing, damaged or empty, or a split that leaves nothing.
    """
    y, x = read_domain(folder, ELSEWHERE), read_domain(folder, CAMERA)
    if len(y) <= test_num:
        raise ValueError(f"{folder / '0.txt'}: has {len(y)} pictures, and {test_num} are for tests; give --test_num")
    if len(x) <= held_out:
        held_out = len(x) // 8
    notes = (*x.notes(), *y.notes())
    cut_x, cut_y = len(x) - held_out, len(y) - test_num
    return Domains(
        x.part(slice(cut_x)), x.part(slice(cut_x, None)), y.part(slice(cut_y)), y.part(slice(cut_y, None)), notes
    )


def read_domain(folder: Path, domain: str) -> Portraits:
    """One domain, "0" or "1", in the order of its list. Errors: as `read_domains`."""
    path, pictures = folder / f"{domain}.txt", folder / domain
    with open_regular(path) as file:
        data = file.read(LARGEST_LIST + 1)
    if len(data) > LARGEST_LIST:
        raise ValueError(f"{path}: has more than {LARGEST_LIST >> 20} MiB, so it is no list of portraits; {MAKE}")
    if not pictures.is_dir():
        raise ValueError(f"{folder}: has no folder {domain} beside {domain}.txt; {MAKE}")
    there = {file.name: file for file in sorted(pictures.iterdir()) if file.suffix.lower() in ENDINGS}
    found = Portraits(domain, [], np.empty((0, 2, 2)))
    eyes, seen = [], set()
    for number, line in enumerate(data.decode("utf-8", errors="replace").splitlines(), 1):
        if not line.strip():
            continue
        name, places = _row(path, number, line)
        if name in seen:
            raise ValueError(f"{path}: line {number} names {name:.60} again; write each name once")
        seen.add(name)
        file = next((there[f"{name}{ending}"] for ending in ENDINGS if f"{name}{ending}" in there), None)
        if file is None:
            found.missing += 1
        elif not ((places >= 0) & (places <= SIDE)).all():
            found.outside += 1
        else:
            found.files.append(file)
            eyes.append(places)
    found.unlisted = sum(file.stem not in seen for file in there.values())
    if not found.files:
        reason = f"{found.missing} lines name no picture of {pictures}" if seen else "it has no line"
        raise ValueError(f"{path}: domain {NAMES[domain]}, is empty ({reason}); {MAKE}")
    found.eyes = np.stack(eyes)
    return found


def _row(path: Path, number: int, line: str) -> tuple[str, np.ndarray]:
    """Name and eyes [2, 2], the one at the left first."""
    name, *others = line.split()
    try:
        values = [float(text) for text in others[:4]]
    except ValueError:
        values = []
    if len(values) != 4 or not all(map(math.isfinite, values)):
        raise ValueError(f"{path}: line {number} has no four numbers after the name: lx ly rx ry; correct it")
    if not is_inside(name) or "/" in name or "\\" in name:
        raise ValueError(f"{path}: line {number}: '{name:.60}' is no name of a picture; correct it")
    eyes = np.array(values).reshape(2, 2)
    if eyes[0, 0] >= eyes[1, 0]:
        raise ValueError(f"{path}: line {number} has the eye at the image's right first; write lx ly rx ry")
    return name, eyes


def list_line(name: str, eyes: np.ndarray) -> str:
    """eyes [2, 2] in a portrait of SIDE px; whole numbers, as published programs read."""
    return " ".join([name, *(str(round(float(value))) for value in np.asarray(eyes).ravel())]) + "\n"
