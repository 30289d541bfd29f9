"""Reads what `eg3d.pictures.shapes.write_mrc` writes."""

import struct
from pathlib import Path

import numpy as np

from eg3d.pictures.shapes import MRC_HEADER_BYTES


def read_mrc(path: Path) -> tuple[np.ndarray, float, tuple[float, float, float]]:
    """(volume [x, y, z], voxel spacing, origin) of a little-endian float32 MRC file."""
    data = Path(path).read_bytes()
    assert data[208:212] == b"MAP ", f"{path}: not an MRC file"
    nx, ny, nz, mode = struct.unpack_from("<4i", data, 0)
    assert mode == 2 and len(data) == MRC_HEADER_BYTES + 4 * nx * ny * nz
    volume = np.frombuffer(data, "<f4", offset=MRC_HEADER_BYTES).reshape(nz, ny, nx).transpose(2, 1, 0)
    return volume, struct.unpack_from("<f", data, 40)[0] / nx, struct.unpack_from("<3f", data, 196)
