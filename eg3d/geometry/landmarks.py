"""Five points of a face: the two eyes, the tip of the nose and the corners of the mouth.

Order everywhere: eye at the image's left, eye at its right, nose tip, mouth corner left, mouth corner right. In pixels,
x right and y down, the first pixel spans 0..1.
"""

import numpy as np
import torch

from eg3d.geometry.cameras import split_label

POINTS = 5
# Of 68 iBUG landmarks, 0-based: each eye is the mean of its corners.
OF_68 = ((36, 39), (42, 45), (30, 30), (48, 48), (54, 54))

# Deep3DFaceRecon's mean face, decimetres, x to image right, y up, z toward the camera.
STANDARD_DM = torch.tensor(
    [
        [-0.31148657, 0.29036078, 0.13377953],
        [0.30979887, 0.28972036, 0.13179526],
        [0.00325350, -0.04617932, 0.55244243],
        [-0.25216928, -0.38133916, 0.22405732],
        [0.24846619, -0.38128236, 0.22235769],
    ]
)
WORLD_PER_DM, WORLD_OFFSET = 0.27, (0.0, 0.006, 0.161)  # where EG3D's labels put that face
WORLD_MEANS = {  # of 1,000 cartoons and of 300 people, world units (tests/geometry/test_landmarks.py)
    "embedded": torch.tensor(
        [
            [-0.0847, 0.0290, 0.1657],
            [0.0847, 0.0290, 0.1657],
            [0.0, -0.0647, 0.2529],
            [-0.0626, -0.1164, 0.1631],
            [0.0626, -0.1164, 0.1631],
        ]
    ),
    "people": torch.tensor(
        [
            [-0.0822, 0.0855, 0.1903],
            [0.0822, 0.0855, 0.1903],
            [0.0, -0.0070, 0.2944],
            [-0.0662, -0.0978, 0.2359],
            [0.0662, -0.0978, 0.2359],
        ]
    ),
}


def five_points(landmarks: np.ndarray) -> np.ndarray:
    """68 landmarks [..., 68, D] -> the five points [..., 5, D]."""
    return np.stack([landmarks[..., pair, :].mean(axis=-2) for pair in OF_68], axis=-2)


def standard_face() -> torch.Tensor:
    """The mean face's five points [5, 3] in the world of FFHQ's labels."""
    return WORLD_PER_DM * STANDARD_DM + torch.tensor(WORLD_OFFSET)


def project(points: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """World points [K, 3] seen by cameras [N, 25] -> [N, K, 2] as a fraction of the image's side."""
    cam2world, intrinsics = split_label(labels)
    seen = (points.to(labels) - cam2world[:, None, :3, 3]) @ cam2world[:, :3, :3]  # R^T (p - c)
    seen = seen @ intrinsics.mT
    return seen[..., :2] / seen[..., 2:]
