"""Tiny gaze networks and tiny data sets."""

from pathlib import Path

import h5py
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


def write_disc_views(path: Path, count: int, seed: int, side: int = 32, **left_out) -> np.ndarray:
    """An HDF5 file of discs in the published layout (BGR, pitch before yaw); left_out: keys that are None are not
    written. Returns gaze [N, 2], yaw and pitch."""
    rng = np.random.default_rng(seed)
    gaze, head = rng.uniform(-0.6, 0.6, (2, count, 2))
    pictures = np.stack([draw_disc(yaw, pitch, side) for yaw, pitch in gaze])
    pictures[..., 0] = 255  # red in RGB, so that channels in the wrong order are seen
    masks = np.zeros((count, side, side), np.uint8)
    masks[:, side // 4 :, :] = 255
    rows = {"face_gaze": gaze[:, ::-1], "face_head_pose": head[:, ::-1], "face_mask": masks,
            "face_patch": pictures[..., ::-1]} | left_out  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, values in rows.items():
            if values is not None:
                file.create_dataset(name, data=values, chunks=(1, *values.shape[1:]), compression="lzf")
    return gaze.astype(np.float32)


@pytest.fixture(name="write_disc_views", scope="session")
def write_disc_views_fixture():
    return write_disc_views


@pytest.fixture(scope="session")
def disc_views(tmp_path_factory) -> Path:
    """full/p00.h5, p01.h5 and p02.h5, in the layout of novel views."""
    root = tmp_path_factory.mktemp("disc-views")
    for number, count in enumerate((160, 140, 40)):
        write_disc_views(root / "full" / f"p{number:02d}.h5", count, seed=number)
    return root


@pytest.fixture(scope="session")
def disc_set(tmp_path_factory) -> Path:
    """Image/ and Label/{train,test}.label in the layout of Gaze360."""
    root = tmp_path_factory.mktemp("discs")
    write_discs(root / "Image", root / "Label" / "train.label", 256, seed=0)
    write_discs(root / "Image", root / "Label" / "test.label", 48, seed=1)
    return root
