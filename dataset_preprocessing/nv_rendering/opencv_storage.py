"""Matrices in files that OpenCV's FileStorage wrote as YAML: cameras, and MPIIFaceGaze's face model."""

import re
from pathlib import Path

import numpy as np

from groundwork.files import open_regular

MOST_BYTES = 1 << 20
MOST_NUMBERS = 1 << 16  # of one matrix
# What OpenCV writes, and no more of YAML: a reader of all of it takes minutes for a file of brackets.
MATRIX = re.compile(
    r"^ *(\w+): *!!opencv-matrix\s+rows: *(\d{1,6})\s+cols: *(\d{1,6})\s+dt: *\S+\s+data: *\[([^\]]*)\]", re.MULTILINE
)


def read_matrices(path: Path) -> dict[str, np.ndarray]:
    """Name -> matrix, float64 [rows, cols], of all in the file; ValueError, naming the file."""
    with open_regular(path) as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise ValueError(f"{path}: has more than {MOST_BYTES >> 10} KiB; give a file with matrices alone")
    found = MATRIX.findall(data.decode(errors="replace"))
    if not found:
        raise ValueError(f"{path}: holds no matrix as OpenCV's FileStorage writes it (rows, cols, dt, data)")
    return {name: _matrix(path, name, int(rows), int(cols), text.split(",")) for name, rows, cols, text in found}


def _matrix(path: Path, name: str, rows: int, cols: int, words: list[str]) -> np.ndarray:
    fits = 0 < rows * cols == len(words) <= MOST_NUMBERS
    try:
        values = np.array([float(word) for word in words]) if fits else np.array(np.nan)
    except ValueError:
        values = np.array(np.nan)
    if not np.isfinite(values).all():
        raise ValueError(f"{path}: the matrix {name} must have rows x cols finite numbers as its data; mend the file")
    return values.reshape(rows, cols)
