"""Finer triangles: some edges of a mesh are halved, in every triangle that they belong to, so that no gap opens."""

import numpy as np

SIDES = ((0, 1), (1, 2), (2, 0))  # of a triangle, by its corners
# What becomes of a triangle, by which of its sides are halved (1: between corners 0 and 1, 2: 1 and 2, 4: 2 and 0).
# 0, 1, 2 are its corners; 3, 4, 5 the middles of these sides.
PIECES = {
    1: ((0, 3, 2), (3, 1, 2)),
    2: ((0, 1, 4), (0, 4, 2)),
    4: ((0, 1, 5), (5, 1, 2)),
    3: ((3, 1, 4), (0, 3, 4), (0, 4, 2)),
    6: ((4, 2, 5), (1, 4, 5), (1, 5, 0)),
    5: ((5, 0, 3), (2, 5, 3), (2, 3, 1)),
    7: ((0, 3, 5), (3, 1, 4), (5, 4, 2), (3, 4, 5)),
}


def edges_of(faces: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Faces int [F, 3] -> (edges [E, 2], sorted, the smaller vertex first; [F, 3]: which of them is a face's side 0, 1,
    2; [E]: 3 times a face that has the edge, plus the number of its side)."""
    ends = np.sort(faces[:, SIDES], axis=2).reshape(-1, 2).astype(np.int64)
    count = int(ends.max(initial=0)) + 1
    keys, first, edge_of_side = np.unique(ends[:, 0] * count + ends[:, 1], return_index=True, return_inverse=True)
    return np.stack([keys // count, keys % count], axis=1), edge_of_side.reshape(-1, 3), first


def pieces_of(halved: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What triangles are cut into: halved, bool [F, 3], says which of their sides are.

    Returns (numbers [W] of the triangles that stay whole; numbers [G] of that in which a new one lies; [G, 3]: its
    corners, 0 to 5 as in PIECES).
    """
    kind = halved @ [1, 2, 4]
    within, corners = [], []
    for number, pieces in PIECES.items():
        rows = np.flatnonzero(kind == number)
        for piece in pieces:
            within.append(rows)
            corners.append(np.tile(piece, (len(rows), 1)))
    return np.flatnonzero(kind == 0), np.concatenate(within), np.concatenate(corners)
