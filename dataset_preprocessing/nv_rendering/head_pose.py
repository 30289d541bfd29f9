"""Head pose from landmarks of a photo (PnP), and the face models that it needs.

Frames, units and signs are those of `l2cs.normalization`: OpenCV's camera frame, mm.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dataset_preprocessing.nv_rendering.opencv_storage import read_matrices
from groundwork.files import open_regular
from groundwork.opencv import opencv
from l2cs.normalization import checked_camera

# The six-point model of MPIIFaceGaze (Zhang et al. 2017), mm: eye corners (the subject's right outer, right inner, left
# inner, left outer), corners of the mouth (right, left). Axes as the camera's: y down, z into the head.
MPII_MODEL = np.array([
    [-45.096768, -0.483773, 2.397030],
    [-21.312858, 0.483773, -2.397030],
    [21.312858, 0.483773, -2.397030],
    [45.096768, -0.483773, 2.397030],
    [-26.299577, 68.595035, 0.0],
    [26.299577, 68.595035, 0.0],
])  # fmt: skip
LANDMARKS_6 = (36, 39, 42, 45, 48, 54)  # the same six among the 68 landmarks of iBUG
FEWEST = 6  # points for a pose
# RMS between the landmarks and the projected model, of the landmarks' own spread. Noise of 5 px in a face of 60 px has
# 0.07, a wide open mouth 0.1, two points in the wrong order 0.28.
MOST_MISFIT = 0.25
MOST_BYTES = 1 << 20  # of a file of a face model
MOST_MM = 1000.0  # of a coordinate of a face model


@dataclass(frozen=True)
class HeadPose:
    """Head to camera: x -> rotation x + translation, mm."""

    rotation: np.ndarray
    translation: np.ndarray

    def points(self, model: np.ndarray) -> np.ndarray:
        """Points [N, 3] of the head -> the camera frame."""
        return np.asarray(model) @ self.rotation.T + self.translation


def face_centre(pose: HeadPose, model: np.ndarray = MPII_MODEL) -> np.ndarray:
    """Centre of the face [3], mm: the mean of eye corners and corners of the mouth. model: [6, 3] or [68, 3]."""
    return pose.points(six_of(model)).mean(axis=0)


def six_of(points: np.ndarray) -> np.ndarray:
    """The six points of LANDMARKS_6 among 68; six points are taken as they are."""
    points = np.asarray(points)
    return points[list(LANDMARKS_6)] if len(points) == 68 else points


def head_pose(points, model, camera, distortion=None) -> HeadPose:
    """The pose in which the model's points [N, 3] are seen at `points` [N, 2] of the photo: EPnP (Lepetit et al. 2009),
    then Levenberg-Marquardt. The points of a face lie nearly in a plane, where EPnP may start so far off that no way
    leads to the pose; so it is tried from SQPnP (Terzakis & Lourakis 2020) and from a frontal face too, and the pose
    that fits best is taken.

    camera: [3, 3]; distortion: OpenCV's coefficients of the photo's lens; None if the photo is undistorted.
    Errors: ValueError for fewer than six points, for numbers that are not finite, for a camera that cannot be, and if
        no pose of a face that is seen fits.
    """
    points, model = np.asarray(points, dtype=np.float64), np.asarray(model, dtype=np.float64)
    if points.ndim != 2 or len(points) < FEWEST or points.shape != (len(model), 2) or model.shape[1:] != (3,):
        raise ValueError(
            f"a head pose needs at least {FEWEST} landmarks, one for each point of the face model; "
            f"there are {points.shape} for {model.shape}"
        )
    if not (np.isfinite(points).all() and np.isfinite(model).all()):
        raise ValueError("a landmark or a point of the face model is no finite number; check the files of both")
    camera, cv2 = checked_camera(camera), opencv()
    lens = None if distortion is None else np.asarray(distortion, dtype=np.float64).reshape(-1)
    found = []
    for start in (_epnp, _sqpnp, _frontal):
        try:
            turn, shift = start(points, model, camera, lens)
            done, turn, shift = cv2.solvePnP(
                model, points, camera, lens, turn, shift, useExtrinsicGuess=True, flags=cv2.SOLVEPNP_ITERATIVE
            )
        except cv2.error:
            continue
        if done and np.isfinite(turn).all() and np.isfinite(shift).all():
            pose = HeadPose(cv2.Rodrigues(turn)[0], shift.reshape(3))
            found.append((_misfit(pose, points, model, camera, lens), pose))
    if not found:
        raise ValueError("no head pose fits the landmarks; are they in one place, or in another order?")
    misfit, pose = min(found, key=lambda each: each[0])
    _check_fit(pose, misfit, points, model)
    return pose


def _epnp(points, model, camera, lens) -> tuple[np.ndarray, np.ndarray]:
    return opencv().solvePnP(model, points, camera, lens, flags=opencv().SOLVEPNP_EPNP)[1:]


def _sqpnp(points, model, camera, lens) -> tuple[np.ndarray, np.ndarray]:
    return opencv().solvePnP(model, points, camera, lens, flags=opencv().SOLVEPNP_SQPNP)[1:]


def _frontal(points, model, camera, lens) -> tuple[np.ndarray, np.ndarray]:
    """A face that looks along the optical axis, where and as large as the landmarks are."""
    away = np.sqrt(camera[0, 0] * camera[1, 1]) * _spread(model) / max(_spread(points), 1e-9)
    ray = np.linalg.inv(camera) @ [*points.mean(axis=0), 1.0]
    return np.zeros((3, 1)), (away * ray - model.mean(axis=0)).reshape(3, 1)


def _spread(points: np.ndarray) -> float:
    """RMS distance of points from their mean."""
    return float(np.sqrt(np.square(points - points.mean(axis=0)).sum(axis=1).mean()))


def _misfit(pose: HeadPose, points, model, camera, lens) -> float:
    """RMS distance, px, between landmarks and the projected model."""
    seen = opencv().projectPoints(pose.points(model), np.zeros(3), np.zeros(3), camera, lens)[0].reshape(-1, 2)
    return float(np.sqrt(np.square(seen - points).sum(axis=1).mean()))


def _check_fit(pose: HeadPose, misfit: float, points: np.ndarray, model: np.ndarray) -> None:
    """ValueError if the pose is none of a face before the camera, or explains the landmarks badly."""
    placed, spread = pose.points(model), _spread(points)
    if (placed[:, 2] <= 0).any() or pose.rotation[:, 2] @ placed.mean(axis=0) <= 0:
        raise ValueError(
            "the landmarks fit only a head behind the camera, or one seen from behind; are left and right swapped?"
        )
    if not misfit <= MOST_MISFIT * spread:
        raise ValueError(
            f"no head pose fits the landmarks: the best leaves {misfit:.0f} px of a face of {spread:.0f} px; are they "
            "in one place, or in another order?"
        )


def read_face_model(path: Path) -> np.ndarray:
    """A face model [N, 3], mm, of a file: six points as MPII_MODEL, or 68.

    `.yml`: OpenCV's matrix `face_model`, 3 x N (MPIIFaceGaze's face_model.yml). Other files are text, x y z in a line
    (OpenFace.txt). ValueError, naming the file.
    """
    if path.suffix in (".yml", ".yaml"):
        matrices = read_matrices(path)
        if "face_model" not in matrices:
            raise ValueError(f"{path}: holds no matrix face_model, only {', '.join(matrices)[:80]}")
        model = matrices["face_model"].T
    else:
        model = _read_rows(path)
    if model.shape not in ((6, 3), (68, 3)) or not (np.abs(model) < MOST_MM).all():
        raise ValueError(f"{path}: a face model has 6 or 68 points x y z in mm, this one is of shape {model.shape}")
    return model


def _read_rows(path: Path) -> np.ndarray:
    with open_regular(path) as file:
        text = file.read(MOST_BYTES).decode(errors="replace")
    rows = [line.replace(",", " ").split() for line in text.splitlines() if line.strip()]
    try:
        return np.array([[float(word) for word in row] for row in rows]).reshape(len(rows), 3)
    except ValueError:
        raise ValueError(f"{path}: must be x y z in mm, three numbers in each line; give a face model") from None
