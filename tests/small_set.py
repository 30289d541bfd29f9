"""Small data sets for tests: members in memory, packed as a folder or a zip."""

import io
import json
import warnings
import zipfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from eg3d.geometry.cameras import FFHQ_FOCAL, intrinsics_matrix, lookat_pose, make_label

Members = list[tuple[str, bytes]]


def labels(count: int) -> list[list[float]]:
    """Cameras from all round, looking at the pivot of faces."""
    turn = torch.linspace(-0.6, 0.6, count)
    return make_label(lookat_pose(turn, turn.flip(0) / 3), intrinsics_matrix(FFHQ_FOCAL)).tolist()


def image_bytes(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    """uint8 [H, W, 3] -> file."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind)
    return out.getvalue()


def members(count: int = 4, side: int = 16, kind: str = "PNG") -> Members:
    """Random images and their `dataset.json`, which comes last."""
    random = np.random.RandomState(0)
    names = [f"{i // 3:05d}/img{i:08d}.{kind.lower()}" for i in range(count)]
    files = [(name, image_bytes(random.randint(0, 256, (side, side, 3), np.uint8), kind)) for name in names]
    rows = [list(row) for row in zip(names, labels(count), strict=True)]
    return [*files, ("dataset.json", json.dumps({"labels": rows}).encode())]


def zip_bytes(files: Members, method: int = zipfile.ZIP_STORED) -> bytes:
    """A zip of these members, also of two with one name."""
    out = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w", method) as archive:
        warnings.simplefilter("ignore")
        for name, data in files:
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data, method)
    return out.getvalue()


def write_zip(path: Path, files: Members, method: int = zipfile.ZIP_STORED) -> Path:
    path.write_bytes(zip_bytes(files, method))
    return path


def write_folder(path: Path, files: Members) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    for name, data in files:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def with_announced_size(archive: bytes, name: str, size: int) -> bytes:
    """The same zip, whose directory says that the member unpacks to `size` bytes."""
    spoilt = bytearray(archive)
    for signature, name_at, size_at in ((b"PK\1\2", 46, 24), (b"PK\3\4", 30, 22)):
        at = -1
        while (at := spoilt.find(signature, at + 1)) >= 0:
            if spoilt[at + name_at :].startswith(name.encode()):
                spoilt[at + size_at : at + size_at + 4] = size.to_bytes(4, "little")
    return bytes(spoilt)
