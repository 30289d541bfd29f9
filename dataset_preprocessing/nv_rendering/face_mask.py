"""Which vertices of a mesh are the face: those inside its outline that lie nearer than the cheek.

They are chosen once, in the crop of the photo (Qin, Shimoyama & Sugano 2022). Each view then draws them alone, so the
mask turns with the head.
"""

import numpy as np

# Along the jaw from the subject's right ear to the left, back along the brows (numbers of iBUG's 68 landmarks).
OUTLINE = (*range(17), *range(26, 16, -1))
FARTHEST = 5  # the landmark of the jaw, below the right cheek, whose depth ends the face


def face_vertices(points, landmarks, outline=None) -> np.ndarray:
    """Indices of the face's vertices, increasing.

    Args:
        points, landmarks: [V, 3] and [68, 3] pixels of the crop, z larger = further.
        outline: [68, 2] pixels of the crop: landmarks detected in the photo, by `in_crop`. None: those of the mesh.
    Errors: ValueError if no vertex is chosen: outline and mesh are not of one crop.
    """
    points, landmarks = np.asarray(points, dtype=np.float64), np.asarray(landmarks, dtype=np.float64)
    outline = landmarks[:, :2] if outline is None else np.asarray(outline, dtype=np.float64)
    near = np.flatnonzero(points[:, 2] < landmarks[FARTHEST, 2])
    chosen = near[inside(points[near, :2], outline[list(OUTLINE)])]
    if not len(chosen):
        raise ValueError("no vertex of the mesh lies in the outline of the face; do mesh and landmarks fit the photo?")
    return chosen


def in_crop(points, crop) -> np.ndarray:
    """Pixels [N, 2] of the photo -> pixels of the crop, by its matrix [3, 3]."""
    points, crop = np.asarray(points, dtype=np.float64), np.asarray(crop, dtype=np.float64)
    return points @ crop[:2, :2].T + crop[:2, 2]


def inside(points: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    """Whether each point [N, 2] lies in a polygon [K, 2]: a ray from it crosses the sides an odd number of times."""
    x, y = points.T
    odd = np.zeros(len(points), dtype=bool)
    for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        if y0 != y1:
            odd ^= ((y0 > y) != (y1 > y)) & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return odd
