"""Images with camera labels: a folder or a zip with `dataset.json` (EG3D's layout), and their order.

Files are read by `groundwork/archive.py`, pixels by `groundwork/images.py`, cameras by `labelled.py`; errors name the
member and the remedy.
"""

import copy
import hashlib
import json
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock

import numpy as np
import torch
from tqdm import tqdm

from eg3d.data.labelled import open_labelled
from eg3d.geometry.cameras import mirror_label
from eg3d.geometry.label_rows import label_array
from groundwork.archive import Zip, shown
from groundwork.draw_keys import draw_key
from groundwork.images import open_image, read_rgb, silence_pillow

RAM_BYTES = 2**30  # smaller sets are decoded once and kept


class ImageDataset:
    """Square RGB images and their cameras, by index.

    Attributes:
        names: sorted member names.
        labels: [n, 25] float32, checked to be cameras.
        resolution: pixels per side; all images share it.
        notes: lines that say what was left out.

    With `mirror`, index n + i is image i flipped left to right, its camera flipped too.
    """

    def __init__(self, path: Path, mirror: bool = False, workers: int = 3, skip_unmatched: bool = False):
        path = Path(path)
        silence_pillow()
        self.path, self.mirror = path, mirror
        files = open_labelled(path, skip_unmatched)
        self._archive, self.notes = files.archive, files.all_notes
        self.names = sorted(files.labels)
        self.labels = label_array(files.labels, self.names, files.where).float()
        self._pool = ThreadPoolExecutor(max(workers, 1), "decode")
        self.resolution = self._size_of_first()
        self._images = None  # [n, 3, H, W] once read, when the set is small
        self._keeping = Lock()
        self._digest = None

    def __len__(self) -> int:
        return len(self.names) * (2 if self.mirror else 1)

    def as_stored(self) -> "ImageDataset":
        """The same data set without mirrored copies; both share what is read."""
        if not self.mirror:
            return self
        self.keep_if_small()
        plain = copy.copy(self)
        plain.mirror = False
        return plain

    @property
    def digest(self) -> str:
        """sha256 over names, labels and contents of the images; the same in a folder and a zip; reads a folder once."""
        if self._digest is None:
            held = self._pool.map(self._archive.content, self.names)
            is_zip = isinstance(self._archive, Zip)
            held = tqdm(held, "reading the data set", len(self.names), unit="img", disable=is_zip, delay=2)
            self._digest = self._digest_with(held)
        return self._digest

    def _digest_with(self, texts: Iterable[str]) -> str:
        """sha256 over names and labels, with a text for each image."""
        rows = json.dumps([[name, text] for name, text in zip(self.names, texts, strict=True)])
        return hashlib.sha256(rows.encode() + self.labels.numpy().tobytes()).hexdigest()

    def identity(self, state: dict | None = None) -> dict[str, str]:
        """What a training state keeps of its data set; ValueError if `state` is of a run with another one.

        Sizes are compared first, which costs nothing. But all uncompressed images have one size, so their content is
        compared too. A zip lists checksums of it. A folder must be read, which its first run does once. Later starts
        read it again only if a file in it has been written to or moved.
        """
        found = {
            "dataset_outline": self._digest_with(str(self._archive.bytes[name]) for name in self.names),
            "dataset_stamp": self._digest_with(self._archive.stamps[name] for name in self.names),
        }
        if state is not None:
            if state["dataset_stamp"] == found["dataset_stamp"]:
                self._digest = state["dataset_digest"]
            if state["dataset_outline"] != found["dataset_outline"] or state["dataset_digest"] != self.digest:
                raise ValueError(
                    f"--data={self.path}: is not the data set the stopped run saw (other names, content or cameras); "
                    "give that one, or start another --outdir"
                )
        return found | {"dataset_digest": self.digest}

    @property
    def kept(self) -> bool:
        """Whether all images lie decoded in memory."""
        return self._images is not None

    def keep_if_small(self) -> None:
        """Decodes a set that fits into memory, and keeps it. So a damaged image shows before a run writes anything."""
        with self._keeping:
            if self._images is None and len(self.names) * 3 * self.resolution**2 <= RAM_BYTES:
                self._images = self._decode_all(range(len(self.names)))

    def batch(self, indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """uint8 images [N, 3, H, W] and labels [N, 25] of the indices [N]. May be called from any thread."""
        self.keep_if_small()
        plain = indices % len(self.names)
        images = self._decode_all(plain.tolist()) if self._images is None else self._images[plain]
        flipped = indices >= len(self.names)
        if flipped.any():
            images = torch.where(flipped[:, None, None, None], images.flip(3), images)
        return images, self.label_rows(indices)

    def label_rows(self, indices: torch.Tensor) -> torch.Tensor:
        """Labels [N, 25] of the indices [N]."""
        labels = self.labels[indices % len(self.names)]
        flipped = indices >= len(self.names)
        return torch.where(flipped[:, None], mirror_label(labels), labels) if flipped.any() else labels

    def _size_of_first(self) -> int:
        where = f"{self.path}: {shown(self.names[0])}"
        with open_image(self._archive.read(self.names[0]), where) as image:
            width, height = image.size
        if width != height:
            raise ValueError(
                f"{where} is {width}x{height}; crop the images to squares (dataset_preprocessing/dataset_tool.py)"
            )
        return width

    def _decode_all(self, plain: Sequence[int]) -> torch.Tensor:
        """uint8 [N, 3, H, W] of stored images, by several threads."""
        images = np.empty((len(plain), 3, self.resolution, self.resolution), np.uint8)

        def fill(row: int) -> None:
            name = self.names[plain[row]]
            pixels = read_rgb(self._archive.read(name), f"{self.path}: {shown(name)}", self.resolution)
            images[row] = pixels.transpose(2, 0, 1)

        for _ in self._pool.map(fill, range(len(plain))):  # raises the first error
            pass
        return torch.from_numpy(images)


class EpochOrder:
    """Which images form the global batch that starts at a position: a new permutation in each epoch.

    It depends on seed and position alone, so a run that goes on sees what an unbroken one would.
    """

    def __init__(self, size: int, seed: int):
        self._size, self._seed = size, seed
        self._epoch, self._permutation = -1, torch.empty(0)

    def indices(self, position: int, count: int) -> torch.Tensor:
        """Data set indices [count] of the images at position .. position + count - 1."""
        return torch.tensor([self._at(p) for p in range(position, position + count)])

    def _at(self, position: int) -> int:
        epoch, offset = divmod(position, self._size)
        if epoch != self._epoch:
            generator = torch.Generator().manual_seed(draw_key(self._seed, "data order", epoch, 0))
            self._epoch, self._permutation = epoch, torch.randperm(self._size, generator=generator)
        return int(self._permutation[offset])
