"""Images with camera labels: a folder or a zip with `dataset.json` at its root (EG3D's layout).

`dataset.json` is {"labels": [["00000/img00000000.png", [25 numbers]], ...]}. Errors name the file
and the remedy.
"""

import hashlib
import io
import json
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock

import numpy as np
import torch
from PIL import Image

from eg3d.cameras import LABEL_DIM, check_labels, mirror_label
from eg3d.draws import draw_key

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}
RAM_BYTES = 2**30  # smaller sets are decoded once and kept


class Folder:
    """Members of a directory by their relative names, with forward slashes."""

    def __init__(self, path: Path):
        self._path = path
        self.sizes = {p.relative_to(path).as_posix(): str(p.stat().st_size) for p in path.rglob("*") if p.is_file()}

    def read(self, name: str) -> bytes:
        return (self._path / name).read_bytes()


class Zip:
    """Members of a zip file."""

    def __init__(self, path: Path):
        try:
            self._zip = zipfile.ZipFile(path)
        except zipfile.BadZipFile:
            raise ValueError(
                f"--data={path}: is not a zip file, or was cut short; copy it again, or give a folder"
            ) from None
        self._lock = Lock()
        members = [info for info in self._zip.infolist() if not info.is_dir()]
        self.sizes = {info.filename: f"{info.file_size}/{info.CRC}" for info in members}

    def read(self, name: str) -> bytes:
        try:
            with self._lock:
                return self._zip.read(name)
        except zipfile.BadZipFile as error:
            raise ValueError(f"{name}: is damaged inside the zip ({error}); copy the data set again") from None


class ImageDataset:
    """Square RGB images and their cameras, by index.

    Attributes:
        names: sorted member names.
        labels: [n, 25] float32, checked to be cameras.
        resolution: pixels per side; all images share it.
        digest: sha256 over names, sizes and labels, so that a run knows its data again.

    With `mirror`, index n + i is image i flipped left to right, its camera flipped too.
    """

    def __init__(self, path: Path, mirror: bool = False, workers: int = 3):
        path = Path(path)
        if not path.exists():
            raise ValueError(f"--data={path}: there is no such file or folder; give a data set's zip or folder")
        if path.is_file() and path.stat().st_size == 0:
            raise ValueError(f"--data={path}: the file is empty; copy the data set again")
        self.path, self.mirror = path, mirror
        self._source = Folder(path) if path.is_dir() else Zip(path)
        self.names = sorted(name for name in self._source.sizes if Path(name).suffix.lower() in SUFFIXES)
        if not self.names:
            raise ValueError(f"--data={path}: holds no images ({', '.join(sorted(SUFFIXES))}); give another one")
        self.labels = torch.from_numpy(self._read_labels())
        check_labels(self.labels, f"{path}: dataset.json")
        self._pool = ThreadPoolExecutor(max(workers, 1))
        self.resolution = self._size_of_first()
        self._images = None  # [n, 3, H, W] once read, when the set is small

    def __len__(self) -> int:
        return len(self.names) * (2 if self.mirror else 1)

    @property
    def digest(self) -> str:
        text = json.dumps([[name, self._source.sizes[name]] for name in self.names])
        return hashlib.sha256(text.encode() + self.labels.numpy().tobytes()).hexdigest()

    def keep_if_small(self) -> None:
        """Decodes a set that fits into memory and keeps it; a damaged image then shows before a run writes anything."""
        if self._images is None and len(self.names) * 3 * self.resolution**2 <= RAM_BYTES:
            self._images = torch.stack(list(self._pool.map(self._decode, range(len(self.names)))))

    def batch(self, indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """uint8 images [N, 3, H, W] and labels [N, 25] of the indices [N]."""
        self.keep_if_small()
        plain = indices % len(self.names)
        if self._images is not None:
            images = self._images[plain]
        else:
            images = torch.stack(list(self._pool.map(self._decode, plain.tolist())))
        flipped = indices >= len(self.names)
        if flipped.any():
            images = torch.where(flipped[:, None, None, None], images.flip(3), images)
        return images, self.label_rows(indices)

    def label_rows(self, indices: torch.Tensor) -> torch.Tensor:
        """Labels [N, 25] of the indices [N]."""
        labels = self.labels[indices % len(self.names)]
        flipped = indices >= len(self.names)
        return torch.where(flipped[:, None], mirror_label(labels), labels) if flipped.any() else labels

    def _read_labels(self) -> np.ndarray:
        where = f"{self.path}: dataset.json"
        if "dataset.json" not in self._source.sizes:
            raise ValueError(f"{where} is missing; it holds every image's camera, see dataset_preprocessing/README.md")
        try:
            entries = json.loads(self._source.read("dataset.json"))["labels"]
            by_name = {name.replace("\\", "/"): label for name, label in entries or []}
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ValueError(f'{where} is not {{"labels": [[name, [25 numbers]], ...]}}; write it again') from None
        for name in self.names:
            if name not in by_name:
                raise ValueError(f"{where} has no label for {name}; every image needs its camera")
            label = by_name[name]
            if not isinstance(label, list) or len(label) != LABEL_DIM:
                got = f"{len(label)} numbers" if isinstance(label, list) else type(label).__name__
                raise ValueError(f"{where}: the label of {name} is {got}; a camera has 25 (16 pose + 9 intrinsics)")
        try:
            return np.array([by_name[name] for name in self.names], dtype=np.float32)
        except (ValueError, TypeError):
            raise ValueError(f"{where}: a label holds something that is not a number; write it again") from None

    def _size_of_first(self) -> int:
        with self._open(self.names[0]) as image:
            width, height = image.size
        if width != height:
            raise ValueError(f"{self.path}: {self.names[0]} is {width}x{height}; crop the images to squares")
        return width

    def _open(self, name: str) -> Image.Image:
        try:
            return Image.open(io.BytesIO(self._source.read(name)))
        except (OSError, ValueError) as error:
            raise ValueError(f"{self.path}: {name} cannot be read as an image ({error}); replace the file") from None

    def _decode(self, index: int) -> torch.Tensor:
        """uint8 [3, H, W] of one stored image."""
        name, side = self.names[index], self.resolution
        with self._open(name) as image:
            if image.size != (side, side):
                raise ValueError(
                    f"{self.path}: {name} is {image.size[0]}x{image.size[1]}, the first image is {side}x{side}; "
                    "bring all images to one size"
                )
            if image.mode not in ("RGB", "L"):
                raise ValueError(f"{self.path}: {name} has mode {image.mode}; store it as plain RGB, without alpha")
            try:
                pixels = np.array(image.convert("RGB"))
            except OSError as error:
                raise ValueError(f"{self.path}: {name} is damaged ({error}); replace the file") from None
        return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


class EpochOrder:
    """Which images form the global batch that starts at a position: a fresh permutation per epoch, keyed by the seed.

    A function of (seed, position) only, so a continued run sees what an unbroken one would.
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
