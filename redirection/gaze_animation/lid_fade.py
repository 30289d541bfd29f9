"""Where painted eyes are seen: within the lids and a little round them, so that skin and brows keep their detail."""

import numpy as np

WHOLLY, NOT = 0.12, 0.32  # distances from the lids over the width of the eye: seen up to the first, from the second not


def fade_round_lids(places: np.ndarray, lids: np.ndarray) -> np.ndarray:
    """Weights [...] of places [..., 2] for the six points [6, 2] of one eye's lids: 1 within them, 0 far from them."""
    width = max(float(np.linalg.norm(lids[3] - lids[0])), 1e-6)
    t = np.clip((NOT - outside(places, lids) / width) / (NOT - WHOLLY), 0, 1)
    return t * t * (3 - 2 * t)


def outside(places: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Distance [...] of places [..., 2] from a polygon [K, 2]; 0 inside it (even-odd rule)."""
    nearest, inside = np.full(places.shape[:-1], np.inf), np.zeros(places.shape[:-1], bool)
    for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        along, there = b - a, places - a
        part = np.clip(there @ along / max(float(along @ along), 1e-12), 0, 1)
        nearest = np.minimum(nearest, np.linalg.norm(there - part[..., None] * along, axis=-1))
        crosses = (a[1] > places[..., 1]) != (b[1] > places[..., 1])
        rise = along[1] if along[1] else 1e-12
        inside ^= crosses & (places[..., 0] < a[0] + there[..., 1] / rise * along[0])
    return np.where(inside, 0.0, nearest)
