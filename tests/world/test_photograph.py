"""Photos of the worlds' heads: life-size, by any camera and lens; what is said to be true of them is what is seen."""

import json
from dataclasses import asdict, replace
from functools import cache

import numpy as np
import pytest

from eg3d.world.lens import distorted, undistorted
from eg3d.world.painted_mesh import true_mesh
from eg3d.world.photograph import (
    FLIP,
    TRUTH_FILE,
    in_photo,
    millimetres,
    person_of,
    photograph,
    pose_of,
    posed,
    read_shots,
    through_lens,
    truth_of,
)
from eg3d.world.worlds import world_of

LENS = (-0.14, 0.05, 0.002, -0.0015, 0.01)
TURN = np.array([[0.96, -0.05, 0.27], [0.02, 0.99, 0.11], [-0.27, -0.1, 0.96]])
GAZE = np.array([0.3, -0.15, 0.94])


@pytest.fixture
def cv2():
    return pytest.importorskip("cv2")


@pytest.fixture(params=["cartoons", "people"])
def world(request, makehuman_data):
    return request.param


def shot_of(world: str, lens=LENS, place=(35.0, 20.0, 520.0)):
    """320 x 240 px, the head turned, not in the middle, and looking aside."""
    u, _, v = np.linalg.svd(TURN)
    whose = dict(world=world, split="test", person=3, setting=7)
    camera = dict(matrix=(250.0, 0, 166, 0, 252, 117, 0, 0, 1), lens=lens, width=320, height=240)
    return posed(u @ v, np.array(place), gaze=GAZE / np.linalg.norm(GAZE), **whose, **camera)


@cache
def rendered(world: str, lens=LENS):
    shot = shot_of(world, lens)
    return world_of(world).render(person_of(shot), shot.label, shot.gaze, shot.side)


# ---------------------------------------------------------------- the lens


def test_a_lens_moves_points_as_opencv_says_and_back(cv2):
    points = np.random.default_rng(0).uniform(-0.7, 0.7, (200, 2))
    seen = cv2.projectPoints(np.c_[points, np.ones(200)], np.zeros(3), np.zeros(3), np.eye(3), np.array(LENS))[0][:, 0]
    np.testing.assert_allclose(distorted(points, LENS), seen, atol=1e-14)
    np.testing.assert_allclose(undistorted(seen, LENS), points, atol=1e-9)
    with pytest.raises(ValueError, match="has no inverse so far from the middle"):
        undistorted(np.array([[3.0, 0]]), (-0.5, 0, 0, 0, 0))


def test_a_photo_without_distortion_is_the_pinhole_picture(world):
    shot = shot_of(world, (0.0,) * 5)
    assert (shot.side, shot.corner) == (320, (0, 0))
    np.testing.assert_array_equal(photograph(shot), rendered(world, shot.lens).rgb[:240])


def test_undistorting_a_photo_gives_the_pinhole_picture_back(world, cv2):
    shot = shot_of(world, LENS, (190.0, 60.0, 520.0))  # in a corner of the picture, where lenses do most
    canvas = world_of(world).render(person_of(shot), shot.label, shot.gaze, shot.side).rgb
    left, top = shot.corner
    photo, pinhole = through_lens(shot, canvas), canvas[-top : 240 - top, -left : 320 - left]
    straight = cv2.undistort(photo, np.reshape(shot.matrix, (3, 3)), np.array(shot.lens))
    # The lens and OpenCV take pixels from between others, which blurs edges. So all three are blurred.
    seen, pinhole, back = (cv2.blur(picture, (5, 5)).astype(float) for picture in (photo, pinhole, straight))
    before, after = (np.abs(picture - pinhole)[40:220, 170:310].mean() for picture in (seen, back))
    assert before > 3 and after < before / 8


# ---------------------------------------------------------------- what is true


def test_pose_and_size_are_those_that_were_asked_for(world):
    shot = shot_of(world)
    rotation, translation = pose_of(shot)
    u, _, v = np.linalg.svd(TURN)
    np.testing.assert_allclose(rotation, u @ v, atol=1e-12)
    np.testing.assert_allclose(translation, [35, 20, 520], atol=1e-9)
    centres = millimetres(shot.world, shot.split, shot.person) * world_of(world).eye_centres(person_of(shot))
    assert np.linalg.norm(centres[0] - centres[1]) == pytest.approx(63)


def test_landmarks_and_irises_are_where_the_renderer_has_them(world):
    shot, head, truth = shot_of(world), rendered(world), truth_of(shot_of(world))
    matrix = np.reshape(shot.matrix, (3, 3))

    def seen(points):  # pixels of the canvas, from its edge -> of the photo
        straight = points - 0.5 + shot.corner
        flat = (straight - matrix[:2, 2]) / np.diag(matrix)[:2]
        return distorted(flat, shot.lens) * np.diag(matrix)[:2] + matrix[:2, 2]

    np.testing.assert_allclose(truth.landmarks, seen(head.landmarks), atol=1e-4)
    # The gaze that is said to be true leaves the eyeballs where the renderer paints the irises.
    canvas = world_of(world).canvas(person_of(shot), shot.label, shot.gaze)
    scale = millimetres(shot.world, shot.split, shot.person)
    centres = scale * canvas.eye_centres @ FLIP @ truth.rotation.T + truth.translation
    irises = in_photo(shot, centres + scale * canvas.eye_radius * truth.gaze)
    np.testing.assert_allclose(irises, seen(head.irises), atol=0.05)


def test_the_true_mesh_covers_the_head_in_the_photo(world, cv2):
    shot, truth, mesh = shot_of(world), truth_of(shot_of(world)), true_mesh(shot_of(world), detail=0.2)
    points = mesh.vertices @ truth.rotation.T + truth.translation
    matrix, lens = np.reshape(shot.matrix, (3, 3)), np.array(shot.lens)
    pixels = cv2.projectPoints(points, np.zeros(3), np.zeros(3), matrix, lens)[0][:, 0]
    fine = 4  # pixels in each of the photo, and OpenCV's own sixteenths
    covered = np.zeros((240 * fine, 320 * fine), np.uint8)
    for corners in ((pixels[mesh.faces] + 0.5) * fine * 16 - 8).round().astype(np.int32):
        cv2.fillConvexPoly(covered, corners, 1, shift=4)
    covered = covered.reshape(240, fine, 320, fine).mean(axis=(1, 3)) > 0.5
    head = through_lens(shot, np.where(np.isfinite(rendered(world).depth), np.uint8(255), np.uint8(0))) > 127
    assert (covered & head).sum() / (covered | head).sum() > 0.97


def test_a_head_pose_from_exact_landmarks_is_the_true_one(world, cv2):
    from dataset_preprocessing.nv_rendering.head_pose import head_pose

    shot, truth = shot_of(world), truth_of(shot_of(world))
    pose = head_pose(truth.landmarks, truth.model, np.reshape(shot.matrix, (3, 3)), np.array(shot.lens))
    np.testing.assert_allclose(pose.rotation, truth.rotation, atol=1e-6)
    np.testing.assert_allclose(pose.translation, truth.translation, atol=1e-3)


# ---------------------------------------------------------------- the file


def written(folder, shot, **change):
    shared = {"world": shot.world, "split": shot.split, "person": shot.person}
    photo = {name: value for name, value in asdict(shot).items() if name not in shared} | change
    path = folder / TRUTH_FILE
    path.write_text(json.dumps({"people": {"p00": shared | {"photos": {"p00/day01/0001.jpg": photo}}}}))
    return path


def test_shots_are_read_back_from_their_file(tmp_path):
    shot = shot_of("cartoons")
    assert read_shots(written(tmp_path, shot)) == {"p00/day01/0001.jpg": shot}


@pytest.mark.parametrize("change, reason", [
    ({"label": [1.0]}, "length of label=1 must be from 25 to 25"),
    ({"world": "moon"}, "world='moon' is unknown"),
    ({"width": 1e9}, "must be an integer"),
    ({"side": 10**9}, "side=1000000000 must be from 2 to 8192"),
    ({"gaze": [1, 2, "x"]}, "each a number"),
    ({"person": -1}, "person=-1"),
    ({"lid": 1}, "unknown name lid"),
])  # fmt: skip
def test_a_file_of_shots_that_is_damaged_is_one_line(tmp_path, change, reason):
    path = written(tmp_path, shot_of("cartoons"), **change)
    with pytest.raises(ValueError, match=reason) as error:
        read_shots(path)
    assert str(error.value).startswith(f"{path}: p00/day01/0001.jpg: ") and "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "[]", '{"people": {}}', '{"people": {"p00": {"photos": 3}}}'])
def test_another_file_than_one_of_shots_is_one_line(tmp_path, text):
    (tmp_path / TRUTH_FILE).write_text(text)
    with pytest.raises(ValueError, match="world.json: "):
        read_shots(tmp_path / TRUTH_FILE)


def test_another_setting_is_another_light_on_the_same_head():
    shot = shot_of("cartoons")
    other = replace(shot, setting=8)
    assert person_of(shot).light != person_of(other).light and person_of(shot).skin == person_of(other).skin
