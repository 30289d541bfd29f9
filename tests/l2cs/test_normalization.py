"""Data normalisation: golden numbers of the published program, there and back, and what must not be confused."""

from pathlib import Path

import numpy as np
import pytest

from l2cs.normalization import (
    angles_of,
    angular_error,
    camera_matrix,
    distorted_points,
    gaze_angles,
    head_angles,
    looking_at,
    normalization,
    roll_of,
    rotation_matrix,
    rotation_of,
    undistorted,
    undistorted_points,
    vectors_of,
)

pytest.importorskip("cv2", reason="pip install 'gaze-corrected-eg3d[novel-views]'")
GOLDEN = dict(np.load(Path(__file__).parent.parent / "data" / "nv_rendering.npz"))
EXACT = dict(rtol=1e-9, atol=1e-12)  # float64 against float64: the published program ran in double precision


def golden_head():
    return rotation_matrix(GOLDEN["true_rvec"]), GOLDEN["face_centre"]


def golden_normalization():
    return normalization(GOLDEN["camera"], *golden_head())


def golden_photo():
    """The photo of the golden case, RGB uint8 [720, 1280, 3]."""
    import zlib

    import cv2

    state = np.random.RandomState(zlib.crc32(b"photo_blocks"))
    blocks = np.uint8(np.clip(127 + 60 * state.randn(24, 40, 3).astype(np.float32), 0, 255))
    return cv2.blur(np.kron(blocks, np.ones((32, 32, 1), np.uint8))[:720, :1280], (15, 15))


# ------------------------------------------------------------------ angles


def test_golden_angles_and_vectors():
    np.testing.assert_allclose(vectors_of(GOLDEN["angles"]), GOLDEN["angle_vectors"], **EXACT)
    np.testing.assert_allclose(angles_of(GOLDEN["angle_vectors"]), GOLDEN["angles_back"], **EXACT)
    vectors, near = GOLDEN["angle_vectors"], vectors_of(GOLDEN["angles"] + 0.01)
    np.testing.assert_allclose(angular_error(near[:-1], vectors[1:]), GOLDEN["angular_error"], **EXACT)


def test_an_angle_between_equal_vectors_is_zero_and_not_nan():
    v = vectors_of(np.random.RandomState(0).uniform(-1, 1, (1000, 2)))
    assert np.nanmax(angular_error(v, v * 3)) < 1e-5 and not np.isnan(angular_error(v, v * 3)).any()


def test_positive_pitch_looks_up_and_positive_yaw_to_the_images_left():
    # camera frame: x right, y down; a gaze toward the camera has z < 0
    assert gaze_angles([0, 0, -5]) == pytest.approx([0, 0], abs=1e-15)
    assert gaze_angles([0, -1, -1]) == pytest.approx([np.pi / 4, 0])
    assert gaze_angles([-1, 0, -1]) == pytest.approx([0, np.pi / 4])
    # a face turned to the image's left: its forward axis, which points into the head, turns right
    left = rotation_of([0, np.pi / 4])
    assert left @ [0, 0, -1] == pytest.approx([-np.sqrt(0.5), 0, -np.sqrt(0.5)])
    assert rotation_of([np.pi / 4, 0]) @ [0, 0, -1] == pytest.approx([0, -np.sqrt(0.5), -np.sqrt(0.5)])


def test_signs_are_those_of_this_repositorys_gaze_labels():
    from eg3d.world.rendered_sets import vector_to_camera_angles

    gaze = np.random.RandomState(0).randn(50, 3)
    yaw, pitch = vector_to_camera_angles(gaze / np.linalg.norm(gaze, axis=1, keepdims=True))
    np.testing.assert_allclose(gaze_angles(gaze), np.stack([pitch, yaw], axis=1), atol=1e-12)


def test_angles_go_there_and_back_as_vectors_and_as_rotations():
    angles = np.random.RandomState(1).uniform((-1.5, -3), (1.5, 3), (200, 2))
    np.testing.assert_allclose(angles_of(vectors_of(angles)), angles, atol=1e-12)
    rotations = rotation_of(angles)
    np.testing.assert_allclose(head_angles(rotations), angles, atol=1e-12)
    np.testing.assert_allclose(rotations[..., 2], vectors_of(angles), atol=1e-15)
    np.testing.assert_allclose(
        rotations @ rotations.swapaxes(1, 2), np.broadcast_to(np.eye(3), (200, 3, 3)), atol=1e-12
    )
    assert np.linalg.det(rotations).min() > 0.999 and np.abs(roll_of(rotations)).max() < 1e-12


def test_roll_is_read_off_a_rotation():
    roll = 0.3
    turn = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    assert roll_of(rotation_of([0.2, -0.5]) @ turn) == pytest.approx(roll)


# ------------------------------------------------------------------ the virtual camera


def test_golden_normalisation():
    n = golden_normalization()
    np.testing.assert_allclose(n.rotation, GOLDEN["R"], **EXACT)
    np.testing.assert_allclose(n.warp, GOLDEN["warp"], rtol=1e-9)
    head = n.head(golden_head()[0])
    np.testing.assert_allclose(head, GOLDEN["head_rotation_normalised"], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(head_angles(head), GOLDEN["head_pitch_yaw"], **EXACT)
    gaze = n.direction(GOLDEN["gaze_target"] - GOLDEN["face_centre"])
    np.testing.assert_allclose(gaze / np.linalg.norm(gaze), GOLDEN["gaze_normalised"], **EXACT)
    np.testing.assert_allclose(gaze_angles(gaze), GOLDEN["gaze_pitch_yaw"], **EXACT)


def test_golden_warped_landmarks_and_picture():
    n, photo = golden_normalization(), golden_photo()
    np.testing.assert_array_equal(photo[8::16, 8::16], GOLDEN["photo_every_16"])
    np.testing.assert_allclose(n.points(GOLDEN["landmarks6"]), GOLDEN["landmarks6_warped_448"], rtol=1e-4)
    difference = n.image(photo)[14::28, 14::28].astype(int) - GOLDEN["photo_warped_every_28"]
    assert np.abs(difference).max() <= 1


def test_the_centre_of_the_face_comes_to_the_centre_of_the_picture_at_the_distance():
    n, (head, centre) = golden_normalization(), golden_head()
    seen = GOLDEN["camera"] @ centre
    assert n.points(seen[:2] / seen[2]) == pytest.approx([224, 224], abs=1e-9)
    assert n.rotation @ centre * n.scale == pytest.approx([0, 0, 300], abs=1e-9)
    assert n.head(head)[1, 0] == pytest.approx(0, abs=1e-15), "the x axis of the head is level"


def test_a_label_is_turned_and_never_scaled():
    """With S R in place of R an oblique gaze gets another angle (mutation: `rotation` = S R)."""
    n, gaze = golden_normalization(), np.array([0.6, -0.3, -0.74])
    assert np.linalg.norm(n.direction(gaze)) == pytest.approx(np.linalg.norm(gaze))
    scaled = np.diag([1, 1, n.scale]) @ n.rotation @ gaze
    assert angular_error(scaled, n.direction(gaze)) > 5, "here S would change the label"
    # the picture is that of a camera turned by R: a far point along the gaze is seen where R says
    ahead = n.rotation.T @ [0.1, -0.2, 1.0]
    seen = GOLDEN["camera"] @ (1e6 * ahead)
    scaled_depth = n.camera @ np.diag([1, 1, n.scale]) @ [0.1, -0.2, 1.0]
    np.testing.assert_allclose(n.points(seen[:2] / seen[2]), scaled_depth[:2] / scaled_depth[2], atol=1e-6)


def test_points_directions_and_heads_come_back():
    n, state = golden_normalization(), np.random.RandomState(2)
    points = state.uniform(200, 1000, (68, 2))
    np.testing.assert_allclose(n.points_back(n.points(points)), points, atol=1e-8)
    directions = state.randn(10, 3)
    np.testing.assert_allclose(n.direction_back(n.direction(directions)), directions, atol=1e-12)
    np.testing.assert_allclose(n.head_back(n.head(golden_head()[0])), golden_head()[0], atol=1e-12)


def test_a_picture_comes_back_to_its_place_in_the_photo():
    n, photo = golden_normalization(), golden_photo()
    back = n.image_back(n.image(photo), (1280, 720))
    x, y = n.points_back([224, 224]).astype(int)
    inside = slice(y - 40, y + 40), slice(x - 40, x + 40)
    assert np.abs(back[inside].astype(int) - photo[inside]).mean() < 1.5
    assert not back[:10, :10].any(), "beyond the picture it is black"


def test_pictures_of_eyes_are_wider_than_high():
    n = normalization(GOLDEN["camera"], *golden_head(), focal=960, distance=600, size=(60, 36))
    assert n.image(golden_photo()).shape == (36, 60, 3) and n.camera[0, 2] == 30 and n.camera[1, 2] == 18


def test_lens_distortion_goes_there_and_back():
    camera, lens = GOLDEN["camera"], [-0.3, 0.12, 1e-3, -5e-4, 0.02]
    points = np.random.RandomState(0).uniform((50, 50), (1230, 670), (100, 2))
    straight = undistorted_points(points, camera, lens)
    assert np.abs(straight - points).max() > 5
    np.testing.assert_allclose(distorted_points(straight, camera, lens), points, atol=1e-6)
    dot = np.zeros((720, 1280), np.uint8)
    dot[300, 400] = 255
    lit = np.argwhere(undistorted(dot, camera, lens) > 40)[:, ::-1]
    where = undistorted_points(np.array([[400.0, 300.0]]), camera, lens)
    assert np.abs(lit - where).max() < 1.5


def test_a_photo_of_a_skewed_camera_is_undistorted_where_its_points_are():
    camera, lens = GOLDEN["camera"] + np.eye(3)[[1, 2, 0]] * [[0, 80, 0]], [-0.1, 0.02, 1e-3, -5e-4, 0.0]
    assert camera[0, 1] == 80
    dot = np.zeros((720, 1280), np.uint8)
    dot[100:105, 398:403] = 255
    lit = np.argwhere(undistorted(dot, camera, lens) > 40)[:, ::-1].mean(axis=0)
    where = undistorted_points(np.array([400.0, 102.0]), camera, lens)
    assert np.abs(lit - where).max() < 0.5  # without the skew it is 3 px off


def test_a_photo_through_its_lens_gives_the_picture_of_the_undistorted_photo_and_comes_back():
    n, photo, camera, lens = golden_normalization(), golden_photo(), GOLDEN["camera"], [-0.25, 0.1, 1e-3, -5e-4, 0.0]
    taken = n.image(photo, camera, lens)
    twice = n.image(undistorted(photo, camera, lens))
    assert np.abs(taken.astype(int) - twice).mean() < 1.0 < np.abs(taken.astype(int) - n.image(photo)).mean()
    pixels = np.array([[100, 60], [224, 300], [400, 350]])
    for (column, row), (x, y) in zip(pixels, distorted_points(n.points_back(pixels), camera, lens), strict=True):
        left, top = int(x), int(y)
        corners = photo[top : top + 2, left : left + 2].astype(float)
        across = corners[:, 0] * (left + 1 - x) + corners[:, 1] * (x - left)
        by_hand = across[0] * (top + 1 - y) + across[1] * (y - top)
        assert np.abs(taken[row, column] - by_hand).max() < 2.0
    back = n.image_back(taken, (1280, 720), camera, lens)
    x, y = distorted_points(n.points_back([[224, 224]]), camera, lens)[0].astype(int)
    inside = slice(y - 40, y + 40), slice(x - 40, x + 40)
    assert np.abs(back[inside].astype(int) - photo[inside]).mean() < 1.5 and not back[:10, :10].any()
    np.testing.assert_array_equal(n.image(photo, camera, np.zeros(5)), n.image(photo))


# ------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    "change, says",
    [
        (dict(camera=np.zeros((3, 3))), "focal lengths above 0"),
        (dict(camera=np.diag([900.0, 0, 1])), "focal lengths above 0"),
        (dict(camera=np.full((3, 3), np.nan)), "finite"),
        (dict(camera=np.eye(4)), "3 x 3"),
        (dict(centre=[0, 0, -500]), "behind the camera"),
        (dict(centre=[0, 0, np.inf]), "finite"),
        (dict(centre=[1, 2]), "3 finite numbers"),
        (dict(head_rotation=2 * np.eye(3)), "orthogonal"),
        (dict(head_rotation=np.diag([1, 1, -1.0])), "mirroring"),
        (dict(head_rotation=rotation_of([0, np.pi / 2]), centre=[0, 0, 500]), "points at the camera"),
        (dict(distance=0.0), "above 0"),
    ],
)
def test_what_cannot_be_normalised_is_one_line(change, says):
    arguments = dict(camera=GOLDEN["camera"], head_rotation=np.eye(3), centre=[0, 0, 500]) | change
    with pytest.raises(ValueError, match=says) as error:
        normalization(**arguments)
    assert "\n" not in str(error.value)


def test_a_level_view_needs_a_centre_away_from_the_camera():
    with pytest.raises(ValueError, match="at the camera"):
        looking_at([0, 0, 0], [1, 0, 0])
    np.testing.assert_allclose(looking_at([0, 0, 7], [2, 0, 5]), np.eye(3), atol=1e-15)
    assert camera_matrix(960, (448, 448))[0, 2] == 224
