"""Gaze data sets in the GazeHub layout, and images on their way into memory.

A label file is a header line, then one space-separated row per face; vectors are comma-separated. Angles are
"yaw,pitch" in radians with the signs drawn in `l2cs.estimator.GazeEstimator`.

    Gaze360       Face Left Right Origin 3DGaze 2DGaze
    MPIIFaceGaze  Face Left Right Origin WhichEye 3DGaze 3DHead 2DGaze 2DHead Rmat Smat GazeOrigin
"""

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from groundwork.archive import Folder, Unreadable, read_file
from groundwork.damage import Damage
from groundwork.images import read_picture, silence_pillow

GAZE360_TRAIN_DEG, GAZE360_TEST_DEG, MPII_DEG = 180.0, 90.0, 42.0  # rows beyond are left out, as published
MEMORY_LIMIT = 4 << 30  # bytes of decoded images; larger sets are read from disk batch by batch


@dataclass(frozen=True)
class GazeList:
    """Files of face crops and their gaze [N, 2]: yaw, pitch in radians, float32."""

    paths: list[Path]
    angles: torch.Tensor

    def __len__(self) -> int:
        return len(self.paths)


def read_labels(label_file: Path, image_dir: Path, limit_deg: float) -> GazeList:
    """One GazeHub label file; columns are found by their names in the header. Rows beyond the limit are left out.

    Errors: OSError, or ValueError that names the file and the line.
    """
    try:
        lines = label_file.read_text().splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"{label_file}: is not a text file; give a label file in the GazeHub layout") from None
    header = lines[0].split() if lines else []
    if "Face" not in header or "2DGaze" not in header:
        raise ValueError(f"{label_file}: the first line must name the columns, with Face and 2DGaze among them")
    face, gaze = header.index("Face"), header.index("2DGaze")
    paths, angles = [], []
    for number, line in enumerate(lines[1:], start=2):
        columns = line.split()
        if not columns:
            continue
        try:
            yaw, pitch = (float(v) for v in columns[gaze].split(","))
            if not math.isfinite(yaw + pitch):
                raise ValueError
        except (IndexError, ValueError):
            raise ValueError(f"{label_file}: line {number} has no 'yaw,pitch' in column {gaze + 1} (2DGaze)") from None
        if max(abs(yaw), abs(pitch)) <= math.radians(limit_deg):
            paths.append(image_dir / columns[face].replace("\\", "/"))
            angles.append((yaw, pitch))
    if not paths:
        raise ValueError(f"{label_file}: no row lies within {limit_deg:g} degrees; is it the right label file?")
    return GazeList(paths, torch.tensor(angles, dtype=torch.float32))


def mpii_people(label_dir: Path) -> list[Path]:
    """MPIIFaceGaze has one label file per person; sorted by name. Fold k holds out file k."""
    people = sorted(label_dir.glob("*.label"))
    if len(people) < 2:
        raise ValueError(f"{label_dir}: found {len(people)} .label files; leaving one person out needs at least two")
    return people


def read_mpii(label_dir: Path, image_dir: Path, fold: int, held_out: bool) -> GazeList:
    """MPIIFaceGaze, leaving one person out: that person's rows if `held_out`, else everyone else's."""
    people = mpii_people(label_dir)
    if not 0 <= fold < len(people):
        raise ValueError(f"--fold={fold}: {label_dir} has {len(people)} people, so folds 0 to {len(people) - 1}")
    chosen = [people[fold]] if held_out else people[:fold] + people[fold + 1 :]
    parts = [read_labels(file, image_dir, MPII_DEG) for file in chosen]
    return GazeList([p for part in parts for p in part.paths], torch.cat([part.angles for part in parts]))


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
        raise ValueError(f"{path}: no images in this folder")
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
