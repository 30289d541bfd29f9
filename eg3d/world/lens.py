"""What a lens does to a picture: radial and tangential distortion (Brown 1966), as OpenCV numbers it."""

import numpy as np

ENOUGH = 1e-10  # of the plane at depth one; less than a millionth of a pixel
MOST_ROUNDS = 200


def distorted(points: np.ndarray, lens) -> np.ndarray:
    """Where a lens puts points [..., 2] of the plane at depth one; lens: k1, k2, p1, p2, k3."""
    k1, k2, p1, p2, k3 = np.asarray(lens, np.float64)
    x, y = points[..., 0], points[..., 1]
    square = x * x + y * y
    radial = 1 + square * (k1 + square * (k2 + square * k3))
    aside = 2 * p1 * x * y + p2 * (square + 2 * x * x)
    along = p1 * (square + 2 * y * y) + 2 * p2 * x * y
    return np.stack([x * radial + aside, y * radial + along], axis=-1)


def undistorted(points: np.ndarray, lens) -> np.ndarray:
    """Inverse of `distorted`; ValueError if the lens folds the plane over at one of the points."""
    seen = np.asarray(points, np.float64)
    straight = seen
    with np.errstate(all="ignore"):  # of what runs away
        for _ in range(MOST_ROUNDS):
            away = seen - distorted(straight, lens)
            straight = straight + away
            if np.abs(away).max(initial=0) < ENOUGH:
                return straight
    raise ValueError(f"the lens {tuple(map(float, lens))} has no inverse so far from the middle of the picture")
