"""The true mesh of the head in a photo of an exported world, as a reconstruction: what a regressor should find."""

from dataclasses import dataclass, field

import numpy as np

from dataset_preprocessing.nv_rendering.crop_box import box_of_landmarks, crop_matrix
from dataset_preprocessing.nv_rendering.head_pose import six_of
from dataset_preprocessing.nv_rendering.mesh_files import Reconstruction
from dataset_preprocessing.nv_rendering.projective_matching import perimeter
from dataset_preprocessing.nv_rendering.regressors import NoFace, View
from eg3d.world.painted_mesh import true_mesh
from eg3d.world.photograph import Shot, pose_of

ROUNDS = 60  # each makes the error of the scale some ten times smaller


@dataclass(frozen=True)
class TrueMeshes:
    """A regressor that knows the answer. shots: by the photo's name; even_light: colours without the photo's lamps."""

    shots: dict[str, Shot]
    even_light: bool = False
    facts: dict = field(default_factory=lambda: {"regressor": "world"})

    def __call__(self, view: View) -> Reconstruction:
        if view.name not in self.shots:
            raise NoFace("the world's file of truths does not have it")
        shot = self.shots[view.name]
        mesh, (rotation, translation) = true_mesh(shot, self.even_light), pose_of(shot)

        def placed(points: np.ndarray) -> np.ndarray:
            return points @ rotation.T + translation

        return seen(placed(mesh.vertices), placed(mesh.landmarks), mesh.colours, mesh.faces, view.camera)


def seen(vertices: np.ndarray, landmarks: np.ndarray, colours, faces, camera: np.ndarray) -> Reconstruction:
    """A mesh in front of a camera [3, 3] -> the reconstruction from which `projective_matching.metric` gets it back.

    Args: vertices [V, 3] and landmarks [68, 3] in the camera's frame, mm, before the camera.
    The way back is exact if the head pose has the true distance, and its face model the size of this face; else the
    mesh comes back as much larger or smaller as that model is.
    """

    def in_photo(points: np.ndarray) -> np.ndarray:
        pixels = points @ camera.T
        return pixels[:, :2] / pixels[:, 2:]

    crop = crop_matrix(box_of_landmarks(in_photo(landmarks)))

    def in_crop(points: np.ndarray) -> np.ndarray:
        """Pixels of the crop, and the distance from the camera, mm."""
        return np.c_[in_photo(points) * np.diag(crop)[:2] + crop[:2, 2], np.linalg.norm(points, axis=1)]

    points = in_crop(landmarks)
    unit = 1, 1, _scale(six_of(points), perimeter(six_of(landmarks)))
    from_nose = 0, 0, points[30, 2]
    vertices = (in_crop(vertices) - from_nose) / unit
    return Reconstruction(vertices, colours, faces, (points - from_nose) / unit, crop)


def _scale(six: np.ndarray, size: float) -> float:
    """mm per pixel, such that six points (pixels, pixels, mm), all in pixels, are `size` mm large by that scale."""
    scale = size / perimeter(six * (1, 1, 0))
    for _ in range(ROUNDS):
        scale = size / perimeter(six / (1, 1, scale))
    return scale
