"""Labels are true: heads of both worlds, whose eyes are balls, are turned, and the eyes look where the label says."""

import numpy as np
import pytest

from dataset_preprocessing.nv_rendering.head_pose import LANDMARKS_6, HeadPose
from dataset_preprocessing.nv_rendering.mesh_files import read_reconstruction, write_reconstruction
from dataset_preprocessing.nv_rendering.projective_matching import metric
from dataset_preprocessing.nv_rendering.target_patterns import Gaussian, Uniform
from dataset_preprocessing.nv_rendering.true_meshes import seen as seen_by
from dataset_preprocessing.nv_rendering.turning import apply, new_views, source_head
from dataset_preprocessing.synthetic.webcam import Webcam, draw_shot
from eg3d.world.painted_mesh import true_mesh
from eg3d.world.photograph import truth_of
from eg3d.world.render import EYE_AT_LEFT, EYE_AT_RIGHT
from l2cs.normalization import FOCAL, SIZE, angular_error, undistorted_points

PATTERNS = (Uniform((-50, 50), (-70, 70)), Gaussian(20.0))
MOST_DEG, MOST_PX = 0.1, 0.5


def rotation_between(points: np.ndarray, turned: np.ndarray) -> np.ndarray:
    """The rotation [3, 3] that takes the first, about their mean, nearest to the second (Kabsch)."""
    u, _, vt = np.linalg.svd((turned - turned.mean(axis=0)).T @ (points - points.mean(axis=0)))
    return u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt


def pixels(points: np.ndarray) -> np.ndarray:
    """Pixels in the picture of the virtual camera."""
    return points[:, :2] / points[:, 2:] * FOCAL + SIZE / 2


@pytest.mark.parametrize("world", ["cartoons", "people"])
def test_the_stored_gaze_is_that_of_the_turned_eyeballs_and_landmarks_are_where_they_should(world, tmp_path, request):
    if world == "people":
        request.getfixturevalue("makehuman_data")
    webcam = Webcam(world=world, people=1 if world == "people" else 2, photos=1)
    for person in range(webcam.people):
        shot, _ = draw_shot(webcam, person, 0)
        truth, mesh, camera = truth_of(shot), true_mesh(shot, detail=0.2), np.reshape(shot.matrix, (3, 3))
        head_to_camera = HeadPose(truth.rotation, truth.translation)
        parts = [head_to_camera.points(part) for part in (mesh.vertices, mesh.landmarks)]
        write_reconstruction(tmp_path / "a", seen_by(*parts, mesh.colours, mesh.faces, camera))
        face = read_reconstruction(tmp_path / "a")  # rounded as the files are
        source = source_head(face.vertices, face.landmarks, face.crop, camera, None, truth.centre + 600 * truth.gaze,
                             pose=head_to_camera, centre=truth.centre)  # fmt: skip

        # in the photo: the mesh lies where the lens shows the face
        placed = metric(face.landmarks, face.landmarks, face.crop, camera, np.tile(truth.centre, (6, 1))) @ camera.T
        photo = undistorted_points(truth.landmarks, camera, shot.lens)
        assert np.abs(placed[:, :2] / placed[:, 2:] - photo).max() < MOST_PX

        for view in (view for pattern in PATTERNS for view in new_views(source, pattern, 0, "p00", person, 4)):
            vertices, landmarks = apply(view, source.points), apply(view, source.landmarks)
            for eye in (EYE_AT_LEFT, EYE_AT_RIGHT):
                ball = mesh.part == eye
                gaze = rotation_between(mesh.vertices[ball], vertices[ball]) @ mesh.gaze
                assert angular_error(gaze, view.gaze) < MOST_DEG
                by_hand = np.arcsin(-gaze[1]), np.arctan2(-gaze[0], -gaze[2])
                np.testing.assert_allclose(view.gaze_angles, by_hand, atol=np.radians(MOST_DEG) * 2)
            turn = rotation_between(mesh.landmarks, landmarks)
            assert angular_error(turn.T, view.head.T).max() < MOST_DEG, "the head has the stored pose"
            middle = mesh.landmarks[list(LANDMARKS_6)].mean(axis=0)
            true = (mesh.landmarks - middle) @ view.head.T + (0, 0, 300)  # life-size, at its distance
            assert np.abs(pixels(landmarks) - pixels(true)).max() < MOST_PX
