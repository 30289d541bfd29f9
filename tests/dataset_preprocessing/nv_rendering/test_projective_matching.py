"""Projective matching: golden numbers, every point keeps its pixel, and the distance is that of the head pose."""

import json

import numpy as np
import pytest
from nv_golden import DATA, EXACT, GOLDEN, true_pose

from dataset_preprocessing.nv_rendering.head_pose import LANDMARKS_6, MPII_MODEL
from dataset_preprocessing.nv_rendering.projective_matching import matching, metric, perimeter
from dataset_preprocessing.nv_rendering.true_meshes import seen
from l2cs.normalization import rotation_of

L, CROP, CAMERA, OPENFACE = (GOLDEN[name] for name in ("crop_landmarks68", "crop_params", "camera", "openface6"))
F = true_pose().points(MPII_MODEL)


def test_golden_alpha_beta_and_metric_landmarks():
    facts = json.loads((DATA / "nv_rendering.json").read_text())
    assert perimeter(MPII_MODEL) == pytest.approx(facts["peri_mpii"], rel=1e-12)
    assert perimeter(OPENFACE) == pytest.approx(facts["peri_openface6"], rel=1e-12)
    np.testing.assert_allclose(matching(L, CROP, CAMERA, F, OPENFACE), (GOLDEN["alpha"], GOLDEN["beta"]), rtol=1e-9)
    np.testing.assert_allclose(metric(L, L, CROP, CAMERA, F, OPENFACE), GOLDEN["metric_landmarks68"], **EXACT)


@pytest.mark.parametrize("model", [None, OPENFACE])
def test_every_point_keeps_its_pixel_and_the_six_their_mean_distance(model):
    points = np.random.RandomState(0).uniform((0, 0, -40), (119, 119, 40), (500, 3))
    placed = metric(points, L, CROP, CAMERA, F, model)
    seen = placed @ CAMERA.T
    photo = np.concatenate([points[:, :2], np.ones((500, 1))], axis=1) @ np.linalg.inv(CROP).T
    np.testing.assert_allclose(seen[:, :2] / seen[:, 2:], photo[:, :2], atol=1e-9)
    six = metric(L, L, CROP, CAMERA, F, model)[list(LANDMARKS_6)]
    assert np.linalg.norm(six, axis=1).mean() == pytest.approx(np.linalg.norm(F, axis=1).mean(), rel=1e-12)


@pytest.mark.parametrize("yaw", [0.0, 0.5, 1.2])
@pytest.mark.parametrize("centre", [(0, 0, 500.0), (160.0, -90, 450)])
def test_a_mesh_keeps_its_shape_whatever_model_the_head_pose_is_of(centre, yaw):
    """Mutation: alpha by the size of a model, as published, stretches the mesh in depth."""
    model = np.random.RandomState(0).uniform(-50, 50, (68, 3)) * (1, 1, 0.6)
    model[list(LANDMARKS_6)] = MPII_MODEL * (1, 0.7, 1) + (0, -20, 5)  # a shorter face than the published model
    true = model @ rotation_of([0.1, yaw]).T + centre
    found, six = seen(true, true, None, None, CAMERA), true[list(LANDMARKS_6)]
    for size in (1.0, 1.1):  # a head pose that takes the face for larger sees it farther away
        arguments = found.vertices, found.landmarks, found.crop, CAMERA, size * six
        np.testing.assert_allclose(metric(*arguments), size * true, atol=1e-6)
        assert np.abs(metric(*arguments, MPII_MODEL) - size * true).max() > 1


def test_what_cannot_be_placed_is_one_line():
    for change, says in [
        (dict(crop=np.zeros((3, 3))), "matrix of the crop"),
        (dict(camera=np.zeros((3, 3))), "focal lengths"),
        (dict(landmarks=np.zeros((68, 3))), "in one place"),
        (dict(landmarks=np.full((68, 3), np.nan)), "in one place, or are no numbers"),
        (dict(points=L - [0, 0, 5000]), "behind the camera"),
        (dict(points=np.full((4, 3), np.nan)), "behind the camera"),
    ]:
        with pytest.raises(ValueError, match=says):
            metric(**dict(points=L, landmarks=L, crop=CROP, camera=CAMERA, centre_points=F) | change)
