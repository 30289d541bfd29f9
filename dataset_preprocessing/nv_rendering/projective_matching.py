"""From a face reconstructed in pixels of a crop to the face in front of the camera, in mm.

Projective matching (Qin, Shimoyama & Sugano 2022). Every point keeps its pixel in the photo, so it lies on the ray
through that pixel. How far along the ray follows from the depth that the reconstruction gives it.
"""

import numpy as np

from dataset_preprocessing.nv_rendering.head_pose import six_of
from l2cs.normalization import checked_camera

ROUNDS = (
    100  # of finding alpha; seen from the front each makes the error ten times smaller, from the side half as large
)


def perimeter(six: np.ndarray) -> float:
    """Mean side, of [6, 3] points, of the triangle of both eyes' centres and the centre of the mouth."""
    eye, other, mouth = six.reshape(3, 2, 3).mean(axis=1)
    return float(np.mean([np.linalg.norm(eye - other), np.linalg.norm(other - mouth), np.linalg.norm(mouth - eye)]))


def matching(landmarks, crop, camera, centre_points, model_points=None) -> tuple[float, float]:
    """(alpha, beta): a depth z of the crop is alpha z + beta mm from the camera. Arguments as of `metric`.

    alpha, mm per pixel, is what makes the mesh keep its shape: the six landmarks, where they come to lie, are as large
    in mm as they are in pixels. With `model_points` it is the published one: they are as large as the model. That
    stretches the mesh in depth, and bends the gaze of its eyes by degrees, if the face is not shaped like the model.
    """
    six, centre_points = six_of(np.asarray(landmarks, dtype=np.float64)), np.asarray(centre_points, dtype=np.float64)
    size, away = perimeter(six), np.linalg.norm(centre_points, axis=1).mean()
    if not size > 0:
        raise ValueError("the 68 landmarks of the mesh lie in one place, or are no numbers; reconstruct this face anew")
    middle = six[:, 2].mean()
    if model_points is not None:
        alpha = perimeter(np.asarray(model_points, dtype=np.float64)) / size
        return alpha, float(away - alpha * middle)
    rays = _rays(six, crop, camera)
    alpha, before = perimeter(away * rays) / perimeter(six * (1, 1, 0)), np.inf
    for _ in range(ROUNDS):
        if abs(alpha - before) <= 1e-14 * alpha:
            break
        before, alpha = alpha, perimeter((alpha * (six[:, 2:] - middle) + away) * rays) / size
    return float(alpha), float(away - alpha * middle)


def _rays(points: np.ndarray, crop: np.ndarray, camera: np.ndarray) -> np.ndarray:
    """Unit vectors [V, 3] of the camera frame through pixels of the crop."""
    rays = np.concatenate([points[:, :2], np.ones((len(points), 1))], axis=1) @ np.linalg.inv(crop @ camera).T
    return rays / np.linalg.norm(rays, axis=1, keepdims=True)


def metric(points, landmarks, crop, camera, centre_points, model_points=None) -> np.ndarray:
    """Points of the crop -> points of the camera frame, mm.

    Projected by the camera they give the same pixels of the photo, crop^-1 (u, v, 1). The six landmarks are, in the
    mean, as far from the camera as `centre_points`.

    Args:
        points, landmarks: [V, 3] and [68, 3] pixels of the crop, z larger = further.
        crop: A [3, 3], pixels of the undistorted photo to pixels of the crop.
        camera: C [3, 3] of the photo.
        centre_points: F [6, 3], the six points of the head pose in the camera frame, mm. They say how far the face is.
        model_points: O [6, 3], mm: the size of the face is that of this model, as published. None: see `matching`.
    Errors: ValueError for matrices that cannot be inverted, and for points behind the camera.
    """
    points, crop, camera = np.asarray(points, dtype=np.float64), np.asarray(crop, np.float64), checked_camera(camera)
    if crop.shape != (3, 3) or not np.isfinite(crop).all() or abs(np.linalg.det(crop)) < 1e-12:
        raise ValueError("the matrix of the crop cannot be inverted; check the file of crop parameters")
    alpha, beta = matching(landmarks, crop, camera, centre_points, model_points)
    along = alpha * points[:, 2:] + beta
    if not (along > 0).all():
        raise ValueError("the mesh reaches behind the camera; check its depth, the crop and the head pose")
    return along * _rays(points, crop, camera)
