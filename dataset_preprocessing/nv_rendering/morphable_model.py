"""3DDFA's morphable model (Zhu et al. 2016; Paysan et al. 2009; Cao et al. 2014): 62 numbers -> a face.

The 62 numbers are a pose (3 x 4, row by row: a scaled rotation and an offset in the crop's pixels), 40 of the shape
and 10 of the expression. Users bring the files, whose data have terms of their own:

* `param_whitening.pkl`: mean and deviation of the 62 numbers;
* `u_shp.npy`, `u_exp.npy`: the mean face is their sum; `w_shp_sim.npy`, `w_exp_sim.npy`: how the numbers move it;
* `keypoints_sim.npy`: which of the vertices' coordinates are the 68 landmarks';
* `tri.mat`: the triangles, counted from 1.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dataset_preprocessing.nv_rendering.crop_box import SIDE
from dataset_preprocessing.nv_rendering.mesh_files import LANDMARKS, MOST_FACES, MOST_VERTICES
from dataset_preprocessing.nv_rendering.mobilenet import OUTPUTS
from groundwork.array_file import read_npy, read_pickled_arrays
from groundwork.matlab_file import MatlabError, read_matlab

POSE, SHAPE, EXPRESSION = 12, 40, 10
WHITENING = "param_whitening.pkl"
MEANS, BASES = ("u_shp.npy", "u_exp.npy"), ("w_shp_sim.npy", "w_exp_sim.npy")
KEYPOINTS = "keypoints_sim.npy"
FETCH = "give the files of 3DDFA's train.configs"


class Face(NamedTuple):
    """Points in the crop: x right and y down in its pixels, z in the same unit, larger = further.

    vertices [V, 3], landmarks [68, 3]: float64.
    """

    vertices: np.ndarray
    landmarks: np.ndarray


@dataclass(frozen=True)
class MorphableModel:
    """mean float32 [3 V], shape [3 V, 40], expression [3 V, 10]: x, y, z of one vertex follow each other.

    landmarks: int [68], numbers of vertices; param_mean, param_std: float32 [62].
    """

    mean: np.ndarray
    shape: np.ndarray
    expression: np.ndarray
    landmarks: np.ndarray
    param_mean: np.ndarray
    param_std: np.ndarray

    def face(self, whitened: np.ndarray, legacy: bool = False) -> Face:
        """What the regressor says, float32 [62] -> points in the crop.

        The model's y points up and its z to the camera. Its training data count pixels from 1: so y down is 121 - y
        from 1, and 120 - y from 0. legacy: as published, which keeps x as it is and takes 121 - y.
        """
        numbers = whitened * self.param_std + self.param_mean
        pose = numbers[:POSE].reshape(3, 4)
        shape, expression = numbers[POSE : POSE + SHAPE], numbers[POSE + SHAPE :]
        points = (self.mean + self.shape @ shape + self.expression @ expression).reshape(-1, 3)
        x, y, z = (pose[:, :3] @ points.T + pose[:, 3:]).astype(np.float64)
        vertices = np.stack([x, SIDE + 1 - y, -z] if legacy else [x - 1, SIDE - y, -z], axis=1)
        return Face(vertices, vertices[self.landmarks])


def load_model(configs: Path) -> MorphableModel:
    """The folder of the bases and the whitening. ValueError, one line, names the file that is damaged or foreign."""
    means = [_numbers(configs / name, (None, 1)) for name in MEANS]
    size = len(means[0])
    if size % 3 or not 0 < size <= 3 * MOST_VERTICES:
        raise ValueError(f"{configs / MEANS[0]}: has {size} numbers, which are no vertices x y z; {FETCH}")
    second = _numbers(configs / MEANS[1], (size, 1))
    shape, expression = (
        _numbers(configs / name, (size, count)) for name, count in zip(BASES, (SHAPE, EXPRESSION), strict=True)
    )
    mean, deviation = read_whitening(configs / WHITENING)
    landmarks = read_keypoints(configs / KEYPOINTS, size // 3)
    return MorphableModel((means[0] + second)[:, 0], shape, expression, landmarks, mean, deviation)


def read_whitening(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation, float32 [62] each, of the pickled {"param_mean": ..., "param_std": ...}."""
    arrays = read_pickled_arrays(path)
    found = [np.asarray(arrays.get(name, ()), np.float32).ravel() for name in ("param_mean", "param_std")]
    if any(array.shape != (OUTPUTS,) or not np.isfinite(array).all() for array in found):
        raise ValueError(f"{path}: has no param_mean and param_std of {OUTPUTS} finite numbers each; {FETCH}")
    return found[0], found[1]


def read_keypoints(path: Path, vertices: int) -> np.ndarray:
    """int64 [68]: the vertices whose coordinates 3 v, 3 v + 1, 3 v + 2 the file lists one after the other."""
    flat = read_npy(path).ravel()
    numbers = flat.astype(np.int64) if flat.dtype.kind in "iu" else np.empty(0, np.int64)
    landmarks = numbers[::3] // 3
    if numbers.shape != (3 * LANDMARKS,) or (numbers != (3 * landmarks[:, None] + np.arange(3)).ravel()).any():
        raise ValueError(f"{path}: does not list x, y and z of {LANDMARKS} vertices; {FETCH}")
    if landmarks.min() < 0 or landmarks.max() >= vertices:
        raise ValueError(f"{path}: names a vertex that is none of the model's {vertices}; {FETCH}")
    return landmarks


def read_triangles(path: Path, vertices: int) -> np.ndarray:
    """int32 [F, 3], from 0, of `tri.mat`; each triangle's order is turned over, as the published meshes have it."""
    try:
        table = read_matlab(path, ["tri"]).get("tri")
    except MatlabError as error:
        raise ValueError(f"{path}: is no MATLAB file that can be read ({error}); give 3DDFA's tri.mat") from None
    if table is None or table.ndim != 2 or table.shape[0] != 3 or not 0 < table.shape[1] <= MOST_FACES:
        raise ValueError(f"{path}: has no array 'tri' of 3 x F numbers; give 3DDFA's tri.mat")
    table = np.asarray(table, np.float64)
    if not (table.min() >= 1 and table.max() <= vertices and not (table % 1).any()):
        raise ValueError(f"{path}: names a vertex that is none of the model's {vertices}; give 3DDFA's tri.mat")
    return np.ascontiguousarray(table.T[:, ::-1]).astype(np.int32) - 1


def _numbers(path: Path, shape: tuple[int | None, int]) -> np.ndarray:
    """float32 of an .npy file of that shape; None: any number of rows."""
    table = read_npy(path)
    fits = table.ndim == 2 and all(want in (None, have) for want, have in zip(shape, table.shape, strict=True))
    if not fits or table.dtype.kind != "f" or not np.isfinite(table).all():
        rows = "3 V" if shape[0] is None else shape[0]
        raise ValueError(f"{path}: must hold {rows} x {shape[1]} finite floats, not {table.dtype} {table.shape}; "
                         f"{FETCH}")  # fmt: skip
    return table.astype(np.float32)
