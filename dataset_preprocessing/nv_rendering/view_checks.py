"""Whether files of views are whole, and hold what their description says."""

from collections.abc import Iterator

import numpy as np

from l2cs.view_files import ViewFile

AT_ONCE, MOST_PIXELS = 256, 1 << 24  # rows and pixels that are read together
TURNS = ("rotation_matrix", "face_mat_norm")
SMALL = 1e-4  # of a rotation times its transpose, away from the identity


def faults(file: ViewFile) -> Iterator[str]:
    """One line for each thing that is wrong with a file; every number of it is read, some rows at a time."""
    seen: set[tuple[int, int]] = set()
    blank = doubled = 0
    at_once = min(AT_ONCE, MOST_PIXELS // file.side**2)
    for first in range(0, len(file), at_once):
        rows = range(first, min(first + at_once, len(file)))
        for name in file.keys:
            values = file.table(name, rows)
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                yield f"{name}: a number near row {first} is not finite"
            if name in TURNS and (worst := _worst_turn(values)):
                yield f"{name}: row {first + worst[0]} is no rotation ({worst[1]:.2g} from one)"
            if name == "face_patch":
                blank += int((values.reshape(len(values), -1).max(axis=1) == 0).sum())
        if {"source_row", "view"} <= set(file.keys):
            pairs = list(zip(file.table("source_row", rows).tolist(), file.table("view", rows).tolist(), strict=True))
            doubled += len(pairs) - len(set(pairs) - seen)
            seen.update(pairs)
    if blank:
        yield f"face_patch: {blank} of {len(file)} pictures are black"
    if doubled:
        yield f"{doubled} of {len(file)} rows are views that an earlier row has"
    views = file.facts.get("views_per_source")
    if views is not None and not (isinstance(views, np.integer) and views > 0):
        yield f"its attribute views_per_source is {views!r:.40}, which is no number of views"
    elif views is not None and len(file) % views:
        yield f"{len(file)} rows are no whole number of sources with {views} views each"
    file.head_pose()
    if "face_gaze" in file.keys:
        file.gaze()


def _worst_turn(matrices: np.ndarray) -> tuple[int, float] | None:
    """(row, how far from a rotation) of the worst, if it is far."""
    m = matrices.astype(np.float64)
    off = np.abs(m @ m.transpose(0, 2, 1) - np.eye(3)).max(axis=(1, 2))
    off = np.where(np.linalg.det(m) > 0, off, 2.0)
    row = int(np.nan_to_num(off, nan=np.inf).argmax())
    return (row, float(off[row])) if not off[row] < SMALL else None
