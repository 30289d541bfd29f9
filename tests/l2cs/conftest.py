"""Tiny gaze networks and tiny data sets."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from l2cs.estimator import GazeEstimator
from l2cs.model import L2CS, Architecture


@pytest.fixture
def tiny_network() -> L2CS:
    torch.manual_seed(0)
    return L2CS(Architecture.small(width=16, input_size=32))


@pytest.fixture
def tiny_estimator(tiny_network) -> GazeEstimator:
    return GazeEstimator(tiny_network)


def draw_disc(yaw: float, pitch: float, size: int = 32) -> np.ndarray:
    """A "face" whose whole expression is one dark disc, displaced as a gaze arrow would be."""
    rows, columns = np.mgrid[:size, :size]
    image = np.full((size, size, 3), 200, np.uint8)
    x, y = size / 2 - 0.5 - 12 * yaw, size / 2 - 0.5 - 12 * pitch
    image[(columns - x) ** 2 + (rows - y) ** 2 < 16] = 40
    return image


@pytest.fixture(name="draw_disc")
def draw_disc_fixture():
    return draw_disc


def write_discs(folder: Path, label_file: Path, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    lines = ["Face Left Right Origin 3DGaze 2DGaze"]
    folder.mkdir(parents=True, exist_ok=True)
    label_file.parent.mkdir(parents=True, exist_ok=True)
    for i, (yaw, pitch) in enumerate(rng.uniform(-0.6, 0.6, (count, 2))):
        name = f"{label_file.stem}{i:04d}.png"
        Image.fromarray(draw_disc(yaw, pitch)).save(folder / name)
        lines.append(f"{name} l r o 0,0,-1 {yaw:.6f},{pitch:.6f}")
    label_file.write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="session")
def disc_set(tmp_path_factory) -> Path:
    """Image/ and Label/{train,test}.label in the layout of Gaze360."""
    root = tmp_path_factory.mktemp("discs")
    write_discs(root / "Image", root / "Label" / "train.label", 256, seed=0)
    write_discs(root / "Image", root / "Label" / "test.label", 48, seed=1)
    return root
