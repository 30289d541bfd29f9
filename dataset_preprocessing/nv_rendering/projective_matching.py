"""From a face reconstructed in pixels of a crop to the face in front of the camera, in mm.

Projective matching (Qin, Shimoyama & Sugano 2022). Every point keeps its pixel in the photo, so it lies on the ray
through that pixel. How far along the ray follows from the depth that the reconstruction gives it.
"""

import numpy as np

from dataset_preprocessing.nv_rendering.head_pose import six_of
from l2cs.normalization import checked_camera


def perimeter(six: np.ndarray) -> float:
    """Mean side, of [6, 3] points, of the triangle of both eyes' centres and the centre of the mouth."""
    eye, other, mouth = six.reshape(3, 2, 3).mean(axis=1)
    return float(np.mean([np.linalg.norm(eye - other), np.linalg.norm(other - mouth), np.linalg.norm(mouth - eye)]))


def matching(landmarks, centre_points, model_points=None) -> tuple[float, float]:
    """(alpha, beta): a depth z of the crop is alpha z + beta mm from the camera.

    Args:
        landmarks: [68, 3] in pixels of the crop, z larger = further.
        centre_points: F [6, 3], the six points of the head pose in the camera frame, mm.
        model_points: O [6, 3], the face model whose size the face gets, mm. None: that of `centre_points`, so that size
            and place are of one model. The published program has two: OpenFace's size, MPIIFaceGaze's place.
    """
    six, centre_points = six_of(np.asarray(landmarks, dtype=np.float64)), np.asarray(centre_points, dtype=np.float64)
    size = perimeter(six)
    if not size > 0:
        raise ValueError("the 68 landmarks of the mesh lie in one place, or are no numbers; reconstruct this face anew")
    alpha = perimeter(centre_points if model_points is None else np.asarray(model_points, dtype=np.float64)) / size
    beta = float(np.mean(np.linalg.norm(centre_points, axis=1) - alpha * six[:, 2]))
    return alpha, beta


def metric(points, landmarks, crop, camera, centre_points, model_points=None) -> np.ndarray:
    """Points of the crop -> points of the camera frame, mm.

    Projected by the camera they give the same pixels of the photo, crop^-1 (u, v, 1). The six landmarks are, in the
    mean, as far from the camera as `centre_points`.

    Args:
        points: [V, 3] pixels of the crop, z larger = further.
        crop: A [3, 3], pixels of the undistorted photo to pixels of the crop.
        camera: C [3, 3] of the photo.
        landmarks, centre_points, model_points: as in `matching`.
    Errors: ValueError for matrices that cannot be inverted, and for points behind the camera.
    """
    alpha, beta = matching(landmarks, centre_points, model_points)
    points, crop = np.asarray(points, dtype=np.float64), np.asarray(crop, dtype=np.float64)
    if crop.shape != (3, 3) or not np.isfinite(crop).all() or abs(np.linalg.det(crop)) < 1e-12:
        raise ValueError("the matrix of the crop cannot be inverted; check the file of crop parameters")
    pixels = np.concatenate([points[:, :2], np.ones((len(points), 1))], axis=1)
    rays = pixels @ np.linalg.inv(crop @ checked_camera(camera)).T
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    along = alpha * points[:, 2:] + beta
    if not (along > 0).all():
        raise ValueError("the mesh reaches behind the camera; check its depth, the crop and the head pose")
    return along * rays
