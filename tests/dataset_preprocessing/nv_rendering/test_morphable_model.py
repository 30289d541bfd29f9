"""3DDFA's morphable model against the published program, and the files of it that users bring."""

import pickle

import numpy as np
import pytest
import scipy.io
import torch
from golden import DATA, draw

from dataset_preprocessing.nv_rendering import morphable_model
from dataset_preprocessing.nv_rendering.crop_box import to_photo
from dataset_preprocessing.nv_rendering.morphable_model import load_model, read_triangles

FLOAT32_STEPS = 1e-5  # px at 72 px; the published program computes in float32 too
VERTICES = 476


@pytest.fixture(scope="module")
def golden() -> dict:
    with np.load(DATA / "nv_rendering.npz") as file:
        return dict(file)


@pytest.fixture
def configs(tmp_path, golden):
    """A folder like 3DDFA's train.configs, with the stand-in model of the golden files."""
    mean = np.float32(0.5 * 60000 * np.tanh(draw("u", (3 * VERTICES, 1), 0).numpy()))
    corners = 3 * 7 * np.arange(68)[:, None] + np.arange(3)
    arrays = {
        "u_shp": mean, "u_exp": np.zeros_like(mean), "keypoints_sim": corners.ravel(),
        "w_shp_sim": 300 * draw("w_shp", (3 * VERTICES, 40), 0).numpy(),
        "w_exp_sim": 200 * draw("w_exp", (3 * VERTICES, 10), 0).numpy(),
    }  # fmt: skip
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    whitening = {name: golden[f"ddfa_{name}"] for name in ("param_mean", "param_std")}
    (tmp_path / "param_whitening.pkl").write_bytes(pickle.dumps(whitening, 2))
    return tmp_path


def test_vertices_and_landmarks_are_the_published_ones(configs, golden):
    face = load_model(configs).face(golden["ddfa_param"], legacy=True)
    for found, name in ((face.vertices[::17], "vertices_crop_every_17"), (face.landmarks, "landmarks_crop")):
        assert np.abs(found - golden[f"ddfa_{name}"].T * (1, 1, -1)).max() < FLOAT32_STEPS, name
    photo = to_photo(face.vertices[::17], golden["crop_params"])
    assert np.abs(photo - golden["ddfa_vertices_photo_every_17"][:2].T).max() < 1e-4


def test_a_point_that_the_model_puts_onto_the_first_pixel_is_there(configs, golden):
    # Counted from 1, y up: the centre of the top left pixel is (1, 120); ours is (0, 0).
    model = load_model(configs)
    flat = model.param_mean.copy()
    flat[:12] = [0, 0, 0, 1, 0, 0, 0, 120, 0, 0, 0, -7]
    face = model.face((flat - model.param_mean) / model.param_std)
    assert np.abs(face.vertices - (0, 0, 7)).max() < 1e-4
    published = model.face((flat - model.param_mean) / model.param_std, legacy=True)
    assert np.abs(published.vertices - (1, 1, 7)).max() < 1e-4


def test_shape_and_expression_move_the_vertices_as_the_bases_say(configs):
    model = load_model(configs)
    rest, step = np.zeros(62, np.float32), 0.001
    pose = (model.param_mean[:12]).reshape(3, 4).astype(np.float64)
    for number, basis in ((12, model.shape[:, 0]), (51, model.shape[:, 39]), (52, model.expression[:, 0])):
        moved = rest.copy()
        moved[number] = step * 1000
        found = model.face(moved).vertices - model.face(rest).vertices
        expected = basis.reshape(-1, 3) @ pose[:, :3].T * (1, -1, -1) * model.param_std[number]
        assert np.abs(found - expected).max() < 1e-4


def test_triangles_count_from_zero_and_are_turned_over(tmp_path):
    path = tmp_path / "tri.mat"
    scipy.io.savemat(path, {"tri": np.array([[1, 4], [2, 5], [3, 6]], np.int32)})
    found = read_triangles(path, 6)
    assert found.tolist() == [[2, 1, 0], [5, 4, 3]] and found.dtype == np.int32
    with pytest.raises(ValueError, match="none of the model's 5"):
        read_triangles(path, 5)
    scipy.io.savemat(path, {"other": np.eye(3)})
    with pytest.raises(ValueError, match="has no array 'tri'"):
        read_triangles(path, 6)
    path.write_bytes(b"no MATLAB file")
    with pytest.raises(ValueError, match=r"tri\.mat: is no MATLAB file"):
        read_triangles(path, 6)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("u_shp.npy", np.zeros((1427, 1), np.float32), "are no vertices x y z"),
        ("u_exp.npy", np.zeros((1425, 1), np.float32), "must hold 1428 x 1"),
        ("w_shp_sim.npy", np.zeros((1428, 199), np.float32), "must hold 1428 x 40"),
        ("w_exp_sim.npy", np.full((1428, 10), np.nan, np.float32), "finite floats"),
        ("w_exp_sim.npy", np.zeros((1428, 10), np.int32), "finite floats"),
        ("keypoints_sim.npy", np.arange(204) + 1, "does not list x, y and z of 68 vertices"),
        ("keypoints_sim.npy", np.arange(204) + 3 * 476, "none of the model's 476"),
    ],
)
def test_a_foreign_file_is_one_line_that_names_it(configs, name, array, message):
    np.save(configs / name, array)
    with pytest.raises(ValueError, match=message) as error:
        load_model(configs)
    assert name in str(error.value) and "\n" not in str(error.value)


def test_a_whitening_without_its_numbers_is_one_line(configs):
    path = configs / "param_whitening.pkl"
    for content in ({"param_mean": np.zeros(62)}, {"param_mean": np.zeros(61), "param_std": np.ones(62)}):
        path.write_bytes(pickle.dumps(content, 4))
        with pytest.raises(ValueError, match="has no param_mean and param_std of 62 finite numbers"):
            load_model(configs)
    path.write_bytes(pickle.dumps({"param_mean": torch.zeros(62)}, 4))
    with pytest.raises(ValueError, match="it holds code, which is never run"):
        load_model(configs)
    path.unlink()
    with pytest.raises(OSError):
        load_model(configs)


def test_the_published_sizes_fit():
    assert (morphable_model.POSE, morphable_model.SHAPE, morphable_model.EXPRESSION) == (12, 40, 10)
