"""Head pose: golden numbers, exact landmarks give the true pose, and what gives none."""

import numpy as np
import pytest
from nv_golden import GOLDEN, true_pose

from dataset_preprocessing.nv_rendering.head_pose import (
    LANDMARKS_6,
    MPII_MODEL,
    face_centre,
    head_pose,
    read_face_model,
    six_of,
)
from l2cs.normalization import angular_error, distorted_points, rotation_matrix, rotation_of

pytest.importorskip("cv2", reason="pip install 'gaze-corrected-eg3d[novel-views]'")
CAMERA = GOLDEN["camera"]


def seen(points: np.ndarray) -> np.ndarray:
    pixels = points @ CAMERA.T
    return pixels[:, :2] / pixels[:, 2:]


@pytest.mark.parametrize("landmarks", ["", "_rounded"])
def test_golden_pose(landmarks):
    pose = head_pose(GOLDEN[f"landmarks6{landmarks}"], MPII_MODEL, CAMERA, GOLDEN["distortion"])
    np.testing.assert_allclose(pose.rotation, rotation_matrix(GOLDEN[f"pnp_rvec{landmarks}"]), atol=1e-5)
    np.testing.assert_allclose(pose.translation, GOLDEN[f"pnp_tvec{landmarks}"], rtol=1e-5)


def test_the_model_is_that_of_the_golden_case_and_its_centre_too():
    np.testing.assert_array_equal(MPII_MODEL, GOLDEN["face_model6"].T)
    np.testing.assert_allclose(face_centre(true_pose()), GOLDEN["face_centre"], rtol=1e-12)


@pytest.mark.parametrize("lens", [None, [-0.2, 0.05, 1e-3, -1e-3, 0.0]])
def test_exact_landmarks_give_the_true_pose(lens):
    true = true_pose()
    points = seen(true.points(MPII_MODEL))
    pose = head_pose(points if lens is None else distorted_points(points, CAMERA, lens), MPII_MODEL, CAMERA, lens)
    assert angular_error(pose.rotation.T, true.rotation.T).max() < 1e-3
    np.testing.assert_allclose(pose.translation, true.translation, atol=1e-2)


def test_68_points_and_six_of_them():
    model = np.random.RandomState(0).uniform(-60, 60, (68, 3))
    model[list(LANDMARKS_6)] = MPII_MODEL
    pose = head_pose(seen(true_pose().points(model)), model, CAMERA)
    assert angular_error(pose.rotation.T, true_pose().rotation.T).max() < 1e-3
    np.testing.assert_allclose(face_centre(pose, model), GOLDEN["face_centre"], atol=1e-2)
    np.testing.assert_array_equal(six_of(model), MPII_MODEL)


def test_a_flat_face_of_rounded_landmarks_has_a_pose():
    """EPnP alone ends far from it in some of these, tens of pixels off (mutation: no start from a frontal face)."""
    flat = np.array([[-51.5, -18, 0.4], [-11.5, -18, 0.4], [11.5, -18, 0.4], [51.5, -18, 0.4], [-26, 36, -0.8],
                     [26, 36, -0.8]])  # fmt: skip
    state, errors = np.random.RandomState(0), []
    for _ in range(60):
        turn = rotation_of(state.uniform(-0.25, 0.25, 2))
        points = flat @ turn.T + state.uniform((-90, -60, 480), (90, 60, 700))
        pose = head_pose(np.round(seen(points)), flat, CAMERA)
        errors.append(np.abs(seen(pose.points(flat)) - seen(points)).max())
    assert max(errors) < 1.5, "px; rounding moves a landmark by up to 0.7"


def test_what_gives_no_pose_is_one_line():
    points = GOLDEN["landmarks6"]
    bad = points.copy()
    bad[3, 1] = np.nan
    for change, says in [
        (dict(points=points[:5], model=MPII_MODEL[:5]), "at least 6"),
        (dict(points=points[:5]), "one for each point"),
        (dict(points=bad), "finite number"),
        (dict(camera=np.zeros((3, 3))), "focal lengths above 0"),
        (dict(points=np.zeros((6, 2))), "no head pose fits|behind"),
        (dict(points=points[[3, 2, 1, 0, 5, 4]]), "left and right swapped"),
        (dict(points=points[[1, 0, 2, 3, 4, 5]]), "in another order"),
    ]:
        with pytest.raises(ValueError, match=says) as error:
            head_pose(**dict(points=points, model=MPII_MODEL, camera=CAMERA) | change)
        assert "\n" not in str(error.value)


STORAGE = """%YAML:1.0
---
face_model: !!opencv-matrix
   rows: 3
   cols: 6
   dt: d
   data: [ {} ]
"""


def test_face_models_are_read_from_both_kinds_of_files(tmp_path):
    yml, text = tmp_path / "face_model.yml", tmp_path / "OpenFace.txt"
    yml.write_text(STORAGE.format(", ".join(f"{x:.17e}" for x in MPII_MODEL.T.ravel())))
    np.testing.assert_array_equal(read_face_model(yml), MPII_MODEL)
    model = np.random.RandomState(0).uniform(-60, 60, (68, 3))
    text.write_text("\n".join(" ".join(map(repr, row)) for row in model.tolist()))
    np.testing.assert_array_equal(read_face_model(text), model)


def test_a_model_that_opencv_wrote_is_read(tmp_path):
    import cv2

    path = tmp_path / "face_model.yml"
    storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
    storage.write("face_model", MPII_MODEL.T)
    storage.release()
    np.testing.assert_array_equal(read_face_model(path), MPII_MODEL)


@pytest.mark.parametrize(
    "name, text, says",
    [
        ("a.yml", STORAGE.format("1, 2"), "rows x cols finite numbers"),
        ("a.yml", STORAGE.format(", ".join(["1"] * 17 + [".nan"])), "rows x cols finite numbers"),
        ("a.yml", STORAGE.format(", ".join(["1e7"] * 18)), "6 or 68 points"),
        ("a.yml", "%YAML:1.0\n---\nx: 1\n", "no matrix"),
        ("a.yml", STORAGE.replace("cols: 6", "cols: 999999").format("1"), "rows x cols finite numbers"),
        ("a.yml", STORAGE.format("!!python/object/apply:os.system x"), "rows x cols finite numbers"),
        ("a.yml", "a: " + "[" * 100000, "no matrix"),
        ("a.txt", "1 2\n3 4\n", "three numbers in each line"),
        ("a.txt", "1 2 3\n", "6 or 68 points"),
        ("a.txt", "nan 2 3\n" * 6, "6 or 68 points"),
        ("a.txt", "", "6 or 68 points"),
    ],
)
def test_a_damaged_face_model_is_one_line(tmp_path, name, text, says):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=says) as error:
        read_face_model(tmp_path / name)
    assert str(tmp_path / name) in str(error.value) and "\n" not in str(error.value)
