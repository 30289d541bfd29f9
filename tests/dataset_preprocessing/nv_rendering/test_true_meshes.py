"""The true mesh of an exported photo as a reconstruction: projective matching gives the head back."""

from pathlib import Path

import numpy as np
import pytest

from dataset_preprocessing.nv_rendering import crop_box
from dataset_preprocessing.nv_rendering.head_pose import six_of
from dataset_preprocessing.nv_rendering.mesh_files import read_reconstruction
from dataset_preprocessing.nv_rendering.mpii_layout import camera_of, read_sources
from dataset_preprocessing.nv_rendering.projective_matching import metric
from dataset_preprocessing.nv_rendering.regressors import NoFace, View
from dataset_preprocessing.nv_rendering.true_meshes import TrueMeshes, seen
from dataset_preprocessing.synthetic.webcam import SOURCES, Webcam, write_photos
from eg3d.world.painted_mesh import true_mesh
from eg3d.world.photograph import pose_of, read_shots
from l2cs.normalization import undistorted_points

NAME = "p00/day01/0001"


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "mpii"
    write_photos(folder, Webcam(people=1, photos=1, size=(320, 240)))
    return folder


def test_projective_matching_gives_the_true_head_back(root, run_script, tmp_path):
    ran = run_script("dataset_preprocessing/nv_rendering/recon_mpii.py", f"--mpii_path={root}",
                     f"--output_dir={tmp_path / 'out'}", "--regressor=world", "--workers=1")  # fmt: skip
    assert ran.code == 0, ran
    found, camera = read_reconstruction(tmp_path / "out" / NAME), camera_of(root, "p00")
    shot = read_shots(root / "world.json")[f"{NAME}.jpg"]
    mesh, (rotation, translation) = true_mesh(shot), pose_of(shot)
    truth = mesh.vertices @ rotation.T + translation
    landmarks = mesh.landmarks @ rotation.T + translation
    points = metric(found.vertices, found.landmarks, found.crop, camera.matrix, six_of(landmarks))
    assert np.abs(points - truth).max() < 0.05  # mm; the files keep four decimals
    assert (found.colours == mesh.colours).all() and (found.faces == mesh.faces).all()
    # Its landmarks are those that the annotation has, as the lens's distortion is taken out.
    row = read_sources(root / SOURCES, "p00")[0]
    annotated = undistorted_points(row.landmarks, camera.matrix, camera.distortion)
    assert np.abs(crop_box.to_photo(found.landmarks, found.crop) - annotated).max() < 0.02


def test_a_face_model_of_another_size_gives_the_same_head_larger():
    rng = np.random.default_rng(0)
    camera = np.array([[600.0, 0, 320], [0, 590, 240], [0, 0, 1]])
    landmarks = rng.normal(0, 30, (68, 3)) + (40, -20, 600)
    found = seen(landmarks, landmarks, None, None, camera)
    same = metric(found.vertices, found.landmarks, found.crop, camera, six_of(landmarks))
    assert np.abs(same - landmarks).max() < 1e-9
    larger = metric(found.vertices, found.landmarks, found.crop, camera, 1.1 * six_of(landmarks))
    assert np.abs(larger - 1.1 * landmarks).max() < 1e-9


def test_a_photo_that_the_world_does_not_know_has_no_mesh():
    with pytest.raises(NoFace, match="does not have it"):
        TrueMeshes({})(View("p00/day01/0009.jpg", np.zeros((2, 2, 3), np.uint8)))
