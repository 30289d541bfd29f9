"""Scores of corrected faces: where they look, how near they are to the true corrected picture, seams, animation.

Pictures are uint8 [H, W, 3]; boxes [K, 4]: left, top, right, bottom, in whole pixels. Angles are in degrees.
"""

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import gaussian_filter

WITHIN = (5.0, 7.0, 10.0)
BESIDE = 4  # px beside a box's border at which a picture is compared with what happens on the border
SSIM_SIGMA, SSIM_K = 1.5, (0.01, 0.03)  # Wang et al. 2004


def directions(angles: np.ndarray) -> np.ndarray:
    """Yaw, pitch [N, 2] -> unit vectors [N, 3]."""
    yaw, pitch = np.deg2rad(np.asarray(angles, np.float64)).T
    return np.stack([np.cos(pitch) * np.sin(yaw), np.sin(pitch), np.cos(pitch) * np.cos(yaw)], axis=1)


def off(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Degrees [N] between gazes a and b, yaw and pitch [N, 2]."""
    x, y = directions(a), directions(b)
    return np.rad2deg(np.arctan2(np.linalg.norm(np.cross(x, y), axis=1), (x * y).sum(axis=1)))


def at_camera(read: np.ndarray, lens: np.ndarray) -> dict[str, float]:
    """How far gazes [N, 2] are from the direction to the lens [N, 2]: mean, and the share within some degrees."""
    degrees = off(read, lens)
    shares = {f"within_{limit:g}": float((degrees <= limit).mean()) for limit in WITHIN}
    return {"off_mean": float(degrees.mean()), "off_median": float(np.median(degrees)), **shares}


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """dB; 99 for equal pictures."""
    error = float(((a.astype(np.float64) - b) ** 2).mean())
    return 99.0 if error == 0 else min(99.0, 10 * np.log10(255**2 / error))


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Structural similarity of the grey pictures, mean over all places (Wang et al. 2004)."""
    x, y = (one.astype(np.float64).mean(axis=2) for one in (a, b))
    c1, c2 = ((255 * k) ** 2 for k in SSIM_K)

    def smooth(values: np.ndarray) -> np.ndarray:
        return gaussian_filter(values, SSIM_SIGMA, truncate=3.5)

    mx, my = smooth(x), smooth(y)
    vx, vy, cov = smooth(x * x) - mx**2, smooth(y * y) - my**2, smooth(x * y) - mx * my
    return float((((2 * mx * my + c1) * (2 * cov + c2)) / ((mx**2 + my**2 + c1) * (vx + vy + c2))).mean())


def inside(picture: np.ndarray, boxes: np.ndarray) -> list[np.ndarray]:
    """What lies in the boxes, as far as it is in the picture; empty ones are left out."""
    height, width = picture.shape[:2]
    cut = [picture[max(0, t) : min(height, b), max(0, x) : min(width, r)] for x, t, r, b in np.asarray(boxes, int)]
    return [part for part in cut if part.size]


def likeness(picture: np.ndarray, true: np.ndarray, boxes: np.ndarray) -> tuple[float, float]:
    """PSNR and SSIM inside the boxes, mean over them. Outside a corrected picture is the input."""
    pairs = list(zip(inside(picture, boxes), inside(true, boxes), strict=True))
    return float(np.mean([psnr(*pair) for pair in pairs])), float(np.mean([ssim(*pair) for pair in pairs]))


def seam(picture: np.ndarray, boxes: np.ndarray) -> float:
    """The step across the border of the boxes over the step a few pixels beside it: 1 if no border is seen."""
    grey = picture.astype(np.float64).mean(axis=2)
    on, beside = [], []
    for left, top, right, bottom in np.asarray(boxes, int):
        upright, lying = (grey, top, bottom), (grey.T, left, right)
        for at, (image, low, high) in ((left, upright), (right, upright), (top, lying), (bottom, lying)):
            steps = np.abs(np.diff(image[max(0, low) : max(0, high)], axis=1))  # [rows, columns - 1]
            for place, into in ((at, on), (at - BESIDE, beside), (at + BESIDE, beside)):
                if 0 <= place - 1 < steps.shape[1] and steps.size:
                    into.append(steps[:, place - 1].mean())
    return float(np.mean(on) / max(np.mean(beside), 1e-9)) if on and beside else 1.0


def animation(asked: Sequence[float], read: np.ndarray) -> dict[str, float]:
    """Degrees asked for [T] against those read [N, T] of each face: slope, R^2 and the largest bend of the mean line,
    and the share of faces whose reading goes one way."""
    x, y = np.asarray(asked, np.float64), np.asarray(read, np.float64)
    flat_x, flat_y = np.broadcast_to(x, y.shape).ravel(), y.ravel()
    slope, start = np.polyfit(flat_x, flat_y, 1)
    left = flat_y - slope * flat_x - start
    mean = y.mean(axis=0)
    line = np.polyval(np.polyfit(x, mean, 1), x)
    return {
        "slope": float(slope),
        "r2": float(1 - (left**2).sum() / max(((flat_y - flat_y.mean()) ** 2).sum(), 1e-12)),
        "bend": float(np.abs(mean - line).max()),
        "monotone": float((np.diff(y, axis=1) * np.sign(x[-1] - x[0]) > 0).all(axis=1).mean()),
    }


def falls(off_camera: np.ndarray, slack: float = 0.0) -> float:
    """Share of faces [N, T] whose angle to the camera falls from frame to frame, apart from `slack` degrees."""
    return float((np.diff(off_camera, axis=1) <= slack).all(axis=1).mean())
