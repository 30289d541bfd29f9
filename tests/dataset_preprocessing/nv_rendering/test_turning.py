"""Novel views: golden numbers of the published program, true labels, no roll, limited attempts, keyed draws."""

import numpy as np
import pytest
from nv_golden import EXACT, GOLDEN, true_pose

from dataset_preprocessing.nv_rendering.head_pose import LANDMARKS_6, MPII_MODEL, HeadPose
from dataset_preprocessing.nv_rendering.projective_matching import metric
from dataset_preprocessing.nv_rendering.target_patterns import GAZE, HEAD, Gaussian, PoseList, Rows, Uniform
from dataset_preprocessing.nv_rendering.turning import (
    SourceHead,
    apply,
    new_view,
    new_views,
    placed_head,
    source_head,
    to_normalized_frame,
    turned,
)
from l2cs.normalization import (
    angular_error,
    gaze_angles,
    head_angles,
    normalization,
    roll_of,
    rotation_of,
    undistorted_points,
)

pytest.importorskip("cv2", reason="pip install 'gaze-corrected-eg3d[novel-views]'")
CAMERA, CROP, L = GOLDEN["camera"], GOLDEN["crop_params"], GOLDEN["crop_landmarks68"]
MODEL68 = np.random.RandomState(0).uniform(-50, 50, (68, 3))
MODEL68[list(LANDMARKS_6)] = GOLDEN["openface6"]


def head(legacy: bool = False) -> SourceHead:
    """The golden case; its vertices are the landmarks."""
    pose = true_pose()
    return placed_head(L, L, CROP, CAMERA, pose, GOLDEN["gaze_target"], pose, MODEL68, legacy=legacy)


# ------------------------------------------------------------------ the published program


def test_golden_head_in_the_normalised_frame():
    source = head(legacy=True)
    np.testing.assert_allclose(source.landmarks, GOLDEN["normalised_landmarks68"], **EXACT)
    np.testing.assert_allclose(source.points, GOLDEN["normalised_landmarks68"], **EXACT)
    np.testing.assert_allclose(source.gaze, GOLDEN["gaze_normalised"], **EXACT)
    np.testing.assert_allclose(head_angles(source.rotation), GOLDEN["head_pitch_yaw"], **EXACT)
    moved, _ = to_normalized_frame(*[GOLDEN["metric_landmarks68"]] * 2, GOLDEN["R"], legacy=True)
    np.testing.assert_allclose(moved - GOLDEN["metric_landmarks68"] @ GOLDEN["R"].T,
                               np.broadcast_to(GOLDEN["camera_move"], (68, 3)), **EXACT)  # fmt: skip


@pytest.mark.parametrize("mode, of", [("xgaze-train", HEAD), ("gaussian-gaze", GAZE), ("gaussian-head", HEAD)])
def test_golden_views(mode, of):
    source, views = head(legacy=True), []
    for target in GOLDEN["targets"]:
        view = turned(source, target, of == GAZE)
        if np.degrees(np.linalg.norm(view.head_angles)) <= 80:
            views.append(view)
    assert [view.target.tolist() for view in views] == GOLDEN["targets"][[0, 1, 3]].tolist()
    for got, name in [
        ([view.gaze_angles for view in views], "face_gaze"),
        ([view.head_angles for view in views], "face_head_pose"),
        ([view.stored_rotation for view in views], "rotation_matrix"),
        ([apply(view, source.landmarks) for view in views], "landmarks68"),
    ]:
        np.testing.assert_allclose(got, GOLDEN[f"{mode}_{name}"], **EXACT)


def test_the_check_value_of_a_turn():
    turn = rotation_of([-0.1, 0.3]) @ rotation_of([0.15, 0.2]).T
    np.testing.assert_allclose(turn, GOLDEN["check_rotation"], **EXACT)
    np.testing.assert_allclose(head_angles(turn @ rotation_of([0.15, 0.2])), (-0.1, 0.3), atol=1e-12)


# ------------------------------------------------------------------ what holds for every view

PATTERNS = [
    Uniform((-50, 50), (-70, 70)),
    Gaussian(20.0, of=GAZE),
    Gaussian(25.0, of=HEAD),
    Rows(np.random.RandomState(0).uniform(-0.9, 0.9, (50, 2)), "xgaze-train"),
    PoseList(np.radians([[0, 0], [20, -60], [-30, 45], [60, 50]])),
]


@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
def test_a_view_has_no_roll_and_its_labels_turn_with_the_vertices(pattern):
    """Mutations: `level` = I (roll stays), label from the gaze itself, S R for the label."""
    source = head()
    eyes = np.array([[-30.0, 5, 290], [33.0, 4, 295]])
    with_eyes = np.concatenate([source.points, eyes, eyes + 12 * source.gaze])  # balls' centres and pupils
    for view in new_views(source, pattern, 7, "p00", 3, 4):
        assert abs(view.roll) < 1e-12 and abs(roll_of(view.head)) < 1e-12
        moved = apply(view, with_eyes)
        pupils, centres = moved[-2:], moved[-4:-2]
        np.testing.assert_allclose(gaze_angles(pupils - centres), np.tile(view.gaze_angles, (2, 1)), atol=1e-9)
        np.testing.assert_allclose(view.rotation @ source.gaze, view.gaze, atol=1e-12)
        np.testing.assert_allclose(view.rotation @ source.rotation, view.head, atol=1e-12)
        np.testing.assert_allclose(view.stored_rotation, view.rotation)
        np.testing.assert_allclose(moved[list(LANDMARKS_6)].mean(axis=0), (0, 0, 300), atol=1e-9)
        assert np.linalg.norm(view.head_angles) <= np.radians(80)


def test_the_gaze_of_a_level_head_is_that_of_a_photo_of_the_turned_head():
    """A photo of the turned head, normalised as any photo, has the labels of the view: for all its vertices are moved,
    the view is itself a photo by the virtual camera."""
    source = head()
    for view in new_views(source, Gaussian(25.0), 1, "p00", 0, 8):
        roll = rotation_of([0.2, 0.1]) @ np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1.0]])
        photo = normalization(CAMERA, roll @ view.head, roll @ [0, 0, 500.0])
        np.testing.assert_allclose(photo.direction(roll @ view.gaze), view.gaze, atol=1e-12)
        np.testing.assert_allclose(photo.head(roll @ view.head), view.head, atol=1e-12)


def test_a_head_target_is_met_exactly_and_a_gaze_target_up_to_the_roll():
    source = head()
    for target in np.radians([[0, 0], [20, -60], [-30, 45]]):
        np.testing.assert_allclose(turned(source, target).head_angles, target, atol=1e-12)
        gaze = turned(source, target, gaze=True)
        np.testing.assert_allclose(gaze_angles(gaze.turn @ source.gaze), target, atol=1e-12)
        forward = (gaze.turn @ source.gaze)[2]
        assert gaze.gaze[2] == pytest.approx(forward), "roll turns about the optical axis alone"


def test_the_published_views_roll_and_miss_their_targets_a_little():
    source, target = head(legacy=True), np.array([0.3, -0.6])
    view = turned(source, target)
    assert 1e-3 < np.abs(view.head_angles - target).max() < 0.1
    assert np.abs(view.stored_rotation @ source.gaze - view.gaze).max() > 1e-3
    np.testing.assert_allclose(view.rotation @ source.gaze, view.gaze, atol=1e-12)


def test_a_turned_camera_sees_the_mesh_where_the_normalised_photo_shows_it():
    """W p = C_n S R X for every vertex X and its pixel p in the photo: mesh and photo have one frame."""
    source = head()
    pixels = np.concatenate([L[:, :2], np.ones((68, 1))], axis=1) @ np.linalg.inv(CROP).T
    turned_only = metric(L, L, CROP, CAMERA, true_pose().points(MPII_MODEL)) @ source.normalization.rotation.T
    seen = (turned_only * (1, 1, source.normalization.scale)) @ source.normalization.camera.T
    np.testing.assert_allclose(seen[:, :2] / seen[:, 2:], source.normalization.points(pixels[:, :2]), atol=1e-9)
    np.testing.assert_allclose(source.landmarks - source.landmarks[0], turned_only - turned_only[0], atol=1e-9)


def test_both_ways_to_a_source_agree_on_exact_landmarks():
    landmarks = undistorted_points(GOLDEN["landmarks6"], CAMERA, GOLDEN["distortion"])
    source = source_head(L, L, CROP, CAMERA, landmarks, GOLDEN["gaze_target"])
    np.testing.assert_allclose(source.landmarks, head().landmarks, atol=1e-3)
    assert angular_error(source.gaze, head().gaze) < 1e-4
    with pytest.raises(ValueError, match="legacy needs"):
        source_head(L, L, CROP, CAMERA, landmarks, GOLDEN["gaze_target"], legacy=True)
    with pytest.raises(ValueError, match="gaze target"):
        source_head(L, L, CROP, CAMERA, landmarks, [0, np.nan, 0])


def test_an_annotated_pose_and_centre_take_the_place_of_those_by_landmarks_but_in_legacy():
    landmarks = undistorted_points(GOLDEN["landmarks6"], CAMERA, GOLDEN["distortion"])
    pose, centre = HeadPose(rotation_of([0.1, 0.2]), np.zeros(3)), GOLDEN["face_centre"] + [20, -10, 30]
    annotated = dict(pose=pose, centre=centre)
    arguments = (L, L, CROP, CAMERA, landmarks, GOLDEN["gaze_target"])
    source = source_head(*arguments, **annotated)
    np.testing.assert_allclose(source.normalization.rotation @ centre, (0, 0, np.linalg.norm(centre)), atol=1e-9)
    np.testing.assert_allclose(source.rotation, source.normalization.rotation @ pose.rotation)
    toward = GOLDEN["gaze_target"] - centre
    assert angular_error(source.normalization.direction_back(source.gaze), toward) < 1e-5
    published = dict(legacy=True, model68=MODEL68, landmarks68=seen68(MODEL68))
    a, b = (source_head(*arguments, **published, **more) for more in ({}, annotated))
    np.testing.assert_array_equal(a.gaze, b.gaze)


def seen68(model):
    seen = true_pose().points(model) @ CAMERA.T
    return seen[:, :2] / seen[:, 2:]


def test_the_published_head_angles_are_those_of_the_second_pose():
    second = HeadPose(rotation_of([0.1, 0.2]), true_pose().translation)
    arguments = (L, L, CROP, CAMERA, true_pose(), GOLDEN["gaze_target"], second, MODEL68)
    correct, published = placed_head(*arguments), placed_head(*arguments, legacy=True)
    assert np.abs(head_angles(published.rotation) - head_angles(correct.rotation)).max() > 0.1
    np.testing.assert_allclose(correct.rotation, head().rotation)


# ------------------------------------------------------------------ draws


def test_a_view_depends_on_its_key_alone():
    source, pattern = head(), Uniform((-90, 90), (-90, 90))
    all_of_them = new_views(source, pattern, 5, "p03", 17, 16)
    assert max(view.attempts for view in all_of_them) > 1, "some draws are rejected here"
    alone = new_view(source, pattern, 5, "p03", 17, 11)
    np.testing.assert_array_equal(alone.rotation, all_of_them[11].rotation)
    assert len({view.target.tobytes() for view in all_of_them}) == 16
    for seed, person, row, view in [(6, "p03", 17, 11), (5, "p04", 17, 11), (5, "p03", 18, 11), (5, "p03", 17, 12)]:
        assert not np.array_equal(new_view(source, pattern, seed, person, row, view).target, alone.target)


def test_a_pattern_of_which_nothing_can_be_drawn_is_one_line_that_names_row_and_pattern():
    source = head()
    lists = [PoseList(np.radians([[0, yaw]])) for yaw in (81.0, 90.0, -90.0)]
    for pattern in (Rows(np.radians([[85.0, 0.0]]), "xgaze-train"), *lists):
        with pytest.raises(ValueError, match="p02, row 9, view 0: pattern .* at most 80 are drawn") as error:
            new_view(source, pattern, 0, "p02", 9, 0, attempts=20)
        assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="its views are numbered 0 to 0"):
        new_view(source, PoseList(np.zeros((1, 2))), 0, "p02", 9, 1)
    np.testing.assert_allclose(true_pose().points(MPII_MODEL).mean(axis=0), GOLDEN["face_centre"])
