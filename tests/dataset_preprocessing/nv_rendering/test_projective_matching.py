"""Projective matching: golden numbers, every point keeps its pixel, and the distance is that of the head pose."""

import json

import numpy as np
import pytest
from nv_golden import DATA, EXACT, GOLDEN, true_pose

from dataset_preprocessing.nv_rendering.head_pose import LANDMARKS_6, MPII_MODEL
from dataset_preprocessing.nv_rendering.projective_matching import matching, metric, perimeter

L, CROP, CAMERA, OPENFACE = (GOLDEN[name] for name in ("crop_landmarks68", "crop_params", "camera", "openface6"))
F = true_pose().points(MPII_MODEL)


def test_golden_alpha_beta_and_metric_landmarks():
    facts = json.loads((DATA / "nv_rendering.json").read_text())
    assert perimeter(MPII_MODEL) == pytest.approx(facts["peri_mpii"], rel=1e-12)
    assert perimeter(OPENFACE) == pytest.approx(facts["peri_openface6"], rel=1e-12)
    np.testing.assert_allclose(matching(L, F, OPENFACE), (GOLDEN["alpha"], GOLDEN["beta"]), rtol=1e-9)
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


def test_without_a_second_model_the_face_has_the_size_of_the_head_poses():
    alpha, _ = matching(L, F)
    assert alpha == pytest.approx(perimeter(MPII_MODEL) / perimeter(L[list(LANDMARKS_6)]))
    assert perimeter(F) == pytest.approx(perimeter(MPII_MODEL)), "a pose changes no lengths"


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
