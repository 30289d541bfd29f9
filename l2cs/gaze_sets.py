"""Images of gaze data sets on their way into memory."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from groundwork.archive import Folder, Unreadable, read_file
from groundwork.damage import Damage
from groundwork.images import read_picture, silence_pillow

MEMORY_LIMIT = 4 << 30  # bytes of decoded images; larger sets are read from disk batch by batch


def read_image(path: Path, size: int | None = None) -> np.ndarray:
    """RGB uint8 [H, W, 3]: the middle square of the file, resized to `size` when it has another side."""
    image = read_picture(read_file(path), f"{path}:")
    side = min(image.size)
    if image.width != image.height:
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, top, left + side, top + side))
    if size is not None and side != size:
        image = image.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(image)


def image_files(path: Path) -> tuple[dict[str, Path], str | None]:
    """Name -> file of the image itself, or of all images below a folder; and a line about the other files."""
    if not path.is_dir():
        return {path.name: path}, None
    folder = Folder(path)
    if not folder.pictures:
        raise ValueError(f"{path}: no images in this folder{folder.why_empty()}; give another one")
    return {name: folder.file(name) for name in folder.pictures}, folder.left_out()


def find_damaged(files: dict[str, Path], damage: Damage) -> None:
    """Decodes all images and forgets them."""
    silence_pillow()

    def fault(name: str) -> Unreadable | None:
        try:
            read_image(files[name])
        except Unreadable as error:
            return error

    with ThreadPoolExecutor(2) as pool:
        for name, error in zip(files, tqdm(pool.map(fault, files), "reading", len(files), unit="img"), strict=True):
            if error is not None:
                damage.add(name, error)


class FaceImages:
    """Images by index, as uint8 [B, 3, S, S]; decoded once into memory when they fit.

    All get the side of the first image (it must not be larger than `max_size`, or is shrunk to it).
    """

    def __init__(self, paths: list[Path], max_size: int, memory_limit: int = MEMORY_LIMIT, progress: bool = True):
        silence_pillow()
        self._paths = paths
        self.size = min(read_image(paths[0]).shape[0], max_size)
        self._memory = None
        if len(paths) * 3 * self.size**2 <= memory_limit:
            memory = np.empty((len(paths), self.size, self.size, 3), np.uint8)
            with ThreadPoolExecutor(2) as pool:
                images = pool.map(lambda path: read_image(path, self.size), paths)
                for i, image in enumerate(tqdm(images, "images", len(paths), unit="img", disable=not progress)):
                    memory[i] = image
            self._memory = torch.from_numpy(memory).permute(0, 3, 1, 2)

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, indices: torch.Tensor) -> torch.Tensor:
        if self._memory is not None:
            return self._memory[indices]
        images = [torch.from_numpy(read_image(self._paths[i], self.size).copy()) for i in indices.tolist()]
        return torch.stack(images).permute(0, 3, 1, 2)


def to_float(images: torch.Tensor) -> torch.Tensor:
    """uint8 [B, 3, S, S] -> float in [-1, 1), the inverse of writing images as clamp(x * 127.5 + 128)."""
    return (images.float() - 128) / 127.5
