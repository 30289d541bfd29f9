"""Matrices in files that OpenCV's FileStorage wrote as YAML: cameras, and MPIIFaceGaze's face model."""

import re
from pathlib import Path

import numpy as np

from groundwork.files import open_regular

MOST_BYTES = 1 << 20
MOST_NUMBERS = 1 << 16  # of one matrix


def read_matrices(path: Path) -> dict[str, np.ndarray]:
    """Name -> matrix, float64 [rows, cols], of those at the top of the file; ValueError, naming the file.

    The file is read as plain YAML: no tag but that of a matrix means anything, and no code runs.
    """
    with open_regular(path) as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise ValueError(f"{path}: has more than {MOST_BYTES >> 10} KiB; give a file with matrices alone")
    matrices = {
        name: _matrix(path, name, node)
        for name, node in _mapping(path, data).items()
        if isinstance(node, dict) and {"rows", "cols", "data"} <= node.keys()
    }
    if not matrices:
        raise ValueError(f"{path}: holds no matrix as OpenCV's FileStorage writes it (rows, cols, dt, data)")
    return matrices


def _mapping(path: Path, data: bytes) -> dict:
    try:
        import yaml
    except ImportError:
        raise ValueError(f"{path}: needs PyYAML; pip install 'gaze-corrected-eg3d[novel-views]'") from None

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_constructor(
        "tag:yaml.org,2002:opencv-matrix", lambda loader, node: loader.construct_mapping(node, deep=True)
    )
    # OpenCV writes `%YAML:1.0`, which is no directive of YAML.
    text = re.sub(r"\A\ufeff?%YAML[^\n]*\n", "", data.decode(errors="replace"))
    try:
        value = yaml.load(text, Loader)
    except (yaml.YAMLError, ValueError, RecursionError, AttributeError, TypeError) as error:
        raise ValueError(f"{path}: is no YAML that can be read ({' '.join(str(error).split())[:120]})") from None
    if not isinstance(value, dict):
        raise ValueError(f"{path}: holds no named values; give a file of OpenCV's FileStorage")
    return value


def _matrix(path: Path, name: str, node: dict) -> np.ndarray:
    try:
        rows, cols = int(node["rows"]), int(node["cols"])
        fits = 0 < rows and 0 < cols and rows * cols <= MOST_NUMBERS and len(node["data"]) == rows * cols
        values = np.array([float(value) for value in node["data"]]) if fits else None
    except (TypeError, ValueError, OverflowError):
        values = None
    if values is None or not np.isfinite(values).all():
        raise ValueError(f"{path}: the matrix {name} must have rows x cols finite numbers as its data; mend the file")
    return values.reshape(rows, cols)
