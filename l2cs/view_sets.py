"""Sets of face pictures in HDF5 files: who is in them, their labels, and pictures read batch by batch.

The files are those that `l2cs.view_files` reads: novel views, MPII-NV, ETH-XGaze. Several sets are mixed by naming them
all. A person is whom a file names; one name in two folders means one person, so that nobody is trained on and measured
on at once.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from l2cs.gaze_sets import MEMORY_LIMIT
from l2cs.view_files import ViewFile, view_files

CHUNK = 64  # rows that are decoded at once


class LabelledFaces(Protocol):
    """What is trained and measured on: `l2cs.gaze_labels.GazeList` and `ViewSet` are such.

    angles [N, 2]: gaze, yaw and pitch in radians, float32; heads [N, 2]: likewise of the head, NaN if not known, or
    None. notes: what the user must know.
    """

    angles: torch.Tensor
    heads: torch.Tensor | None
    notes: tuple[str, ...]

    def __len__(self) -> int: ...

    def images(self, max_size: int, masks: bool = False):
        """Pictures by index, uint8 [B, 3, S, S] and S at most `max_size`; with `masks` their `.masks` too."""


class Part(NamedTuple):
    """All rows of one file."""

    path: Path
    rows: int


@dataclass(frozen=True)
class ViewSet:
    """Files and their labels, in the order of the files. See `LabelledFaces`."""

    parts: tuple[Part, ...]
    angles: torch.Tensor
    heads: torch.Tensor | None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.angles)

    def images(self, max_size: int, masks: bool = False) -> "ViewImages":
        return ViewImages(self.parts, max_size, masks)


def read_views(places: Iterable[Path]) -> dict[str, ViewSet]:
    """The views of each person in files and folders of them; persons sorted by name.

    Errors: ValueError, one line, for a file that is damaged, of another kind, without gaze, or named twice.
    """
    found: dict[str, list[ViewSet]] = {}
    seen: set[Path] = set()
    for path in [file for place in places for file in view_files(place)]:
        if path.resolve() in seen:
            raise ValueError(f"--views={path}: this file is named twice; name each file or folder once")
        seen.add(path.resolve())
        with ViewFile(path) as file:
            found.setdefault(file.person, []).append(_labels_of(file))
    return {person: joined(found[person]) for person in sorted(found)}


def _labels_of(file: ViewFile) -> ViewSet:
    gaze, head = file.gaze(), file.head_pose()
    heads = None if head is None else torch.from_numpy(head[:, ::-1].astype(np.float32))
    return ViewSet((Part(file.path, len(file)),), torch.from_numpy(gaze[:, ::-1].astype(np.float32)), heads)


def joined(sets: Sequence[ViewSet]) -> ViewSet:
    """One set of all; heads that are not known become NaN."""
    heads = [torch.full_like(one.angles, torch.nan) if one.heads is None else one.heads for one in sets]
    known = any(one.heads is not None for one in sets)
    parts = tuple(part for one in sets for part in one.parts)
    return ViewSet(parts, torch.cat([one.angles for one in sets]), torch.cat(heads) if known else None)


def without(persons: dict[str, ViewSet], fold: int) -> tuple[ViewSet, ViewSet]:
    """(everybody else's views, those of person number `fold`)."""
    if len(persons) < 2:
        raise ValueError(f"--fold={fold}: the views show one person; leaving one out needs at least two")
    if not 0 <= fold < len(persons):
        raise ValueError(f"--fold={fold}: there are {len(persons)} people, so folds 0 to {len(persons) - 1}")
    names = list(persons)
    return joined([persons[name] for name in names if name != names[fold]]), persons[names[fold]]


class ViewImages:
    """Pictures of several files by index, as uint8 [B, 3, S, S]; and their face masks, uint8 [B, 1, S, S].

    S is the smallest side of the files, at most `max_size`. Shrunk pictures are kept in memory if they fit; else every
    batch is read from the files. A file without masks counts as all face.
    """

    def __init__(
        self, parts: Sequence[Part], max_size: int, masks: bool = False, memory_limit: int = MEMORY_LIMIT,
        progress: bool = True,
    ):  # fmt: skip
        self._files = [ViewFile(part.path) for part in parts]
        for part, file in zip(parts, self._files, strict=True):
            if len(file) != part.rows:
                raise ValueError(f"{part.path}: had {part.rows} rows and now has {len(file)}; is it still written?")
        self._starts = np.cumsum([0, *(part.rows for part in parts)])
        self.size = min(max_size, *(file.side for file in self._files))
        self.has_masks = masks
        self._memory = None
        layers = 4 if masks else 3
        if len(self) * layers * self.size**2 <= memory_limit:
            memory = np.empty((len(self), layers, self.size, self.size), np.uint8)
            with tqdm(total=len(self), desc="views", unit="img", disable=not progress) as bar:
                for indices in np.array_split(np.arange(len(self)), -(-len(self) // CHUNK)):
                    memory[indices] = self._read(indices)
                    bar.update(len(indices))
            self._memory = torch.from_numpy(memory)
            self.close()

    def __len__(self) -> int:
        return int(self._starts[-1])

    def close(self) -> None:
        for file in self._files:
            file.close()

    def __getitem__(self, indices: torch.Tensor) -> torch.Tensor:
        return self._layers(indices)[:, :3]

    def with_masks(self, indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Pictures and masks of the same rows, read once."""
        layers = self._layers(indices)
        return layers[:, :3], layers[:, 3:]

    def _layers(self, indices: torch.Tensor) -> torch.Tensor:
        if self._memory is not None:
            return self._memory[indices]
        return torch.from_numpy(self._read(indices.numpy()))

    def _read(self, indices: np.ndarray) -> np.ndarray:
        """uint8 [B, 3 or 4, S, S] from the files, in the order asked for."""
        out = np.empty((len(indices), 4 if self.has_masks else 3, self.size, self.size), np.uint8)
        owner = np.searchsorted(self._starts, indices, side="right") - 1
        for number in np.unique(owner):
            places = np.flatnonzero(owner == number)
            file, rows = self._files[number], indices[places] - self._starts[number]
            images = file.images(rows)
            masks = file.masks(rows) if self.has_masks else None
            for i, place in enumerate(places):
                out[place, :3] = self._shrunk(images[i]).transpose(2, 0, 1)
                if self.has_masks:
                    out[place, 3] = 255 if masks is None else self._shrunk(masks[i])
        return out

    def _shrunk(self, image: np.ndarray) -> np.ndarray:
        """As `l2cs.gaze_sets.read_image` shrinks: bilinear over all pixels that a smaller one covers."""
        if image.shape[0] == self.size:
            return image
        return np.asarray(Image.fromarray(image).resize((self.size, self.size), Image.Resampling.BILINEAR))
