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


def matching(landmarks, crop, camera, centre_points, model_points=None) -> tuple[float, float]:
    """(alpha, beta): a depth z of the crop is alpha z + beta mm from the camera. Arguments as of `metric`.

    alpha, mm per pixel, is what makes the mesh keep its shape: a pixel of depth is as long as a pixel across at the
    distance of the face. With `model_points` it is the published one, size of the model by size of the landmarks. That
    stretches the mesh in depth, and bends the gaze of its eyes, if the face is not shaped like the model or the head
    pose is off: by 1.1 degrees in the mean on heads of the embedded world of cartoons, with MPIIFaceGaze's model.
    """
    six, centre_points = six_of(np.asarray(landmarks, dtype=np.float64)), np.asarray(centre_points, dtype=np.float64)
    size = perimeter(six)
    if not size > 0:
        raise ValueError("the 68 landmarks of the mesh lie in one place, or are no numbers; reconstruct this face anew")
    if model_points is None:
        alpha = 1 / _pixels_per_mm(centre_points.mean(axis=0), crop, camera)
    else:
        alpha = perimeter(np.asarray(model_points, dtype=np.float64)) / size
    beta = float(np.mean(np.linalg.norm(centre_points, axis=1) - alpha * six[:, 2]))
    return alpha, beta


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
    points, crop, camera = np.asarray(points, dtype=np.float64), _checked_crop(crop), checked_camera(camera)
    alpha, beta = matching(landmarks, crop, camera, centre_points, model_points)
    pixels = np.concatenate([points[:, :2], np.ones((len(points), 1))], axis=1)
    rays = pixels @ np.linalg.inv(crop @ camera).T
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    along = alpha * points[:, 2:] + beta
    if not (along > 0).all():
        raise ValueError("the mesh reaches behind the camera; check its depth, the crop and the head pose")
    return along * rays


def in_crop_space(points, crop, camera, centre) -> np.ndarray:
    """Points [V, 3] of the camera frame, mm -> pixels of the crop [V, 3], so that `metric` gives the same shape back.

    For meshes whose true place is known, as those of the embedded worlds. centre: [3] of the face, mm.
    """
    points, crop, camera = np.asarray(points, dtype=np.float64), _checked_crop(crop), checked_camera(camera)
    seen = points @ (crop @ camera).T
    deep = np.linalg.norm(points, axis=1, keepdims=True) - np.linalg.norm(centre)
    return np.concatenate([seen[:, :2] / seen[:, 2:], deep * _pixels_per_mm(np.asarray(centre), crop, camera)], axis=1)


def _pixels_per_mm(centre: np.ndarray, crop: np.ndarray, camera: np.ndarray) -> float:
    """Of what lies across the ray to `centre` [3], mm: pixels of the crop, the root of the ratio of areas."""
    slant = centre[2] / np.linalg.norm(centre)
    return float(np.sqrt(abs(np.linalg.det((crop @ camera)[:2, :2])) / slant**3) / np.linalg.norm(centre))


def _checked_crop(crop) -> np.ndarray:
    crop = np.asarray(crop, dtype=np.float64)
    if crop.shape != (3, 3) or not np.isfinite(crop).all() or abs(np.linalg.det(crop)) < 1e-12:
        raise ValueError("the matrix of the crop cannot be inverted; check the file of crop parameters")
    return crop
