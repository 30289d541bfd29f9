"""Sheets of what a method that moves the gaze alone makes of people it was not trained on."""

import numpy as np
import torch

from redirection.patch_sets import PatchSet

ROWS, SWEEP_DEG = 10, (-15.0, -7.5, 0.0, 7.5, 15.0)


def gaze_sheet(redirect, patches: PatchSet) -> np.ndarray:
    """uint8 [H, W, 3]: a row for each of the first people: source, the same at a target, target; H from -15 to 15.

    Args:  redirect: uint8 [B, 3, S, S], shown [B, 3], wanted [B, 3] in degrees -> uint8 [B, 3, S, S]; patches: of its
    size
    """
    sources, targets = zip(
        *(_apart(patches, person) for person in patches.person.unique().tolist()[:ROWS]), strict=True
    )
    x, y = patches.images[list(sources)], patches.images[list(targets)]
    shown, wanted = patches.angles[list(sources)], patches.angles[list(targets)]
    columns = [x, redirect(x, shown, wanted), y]
    for h in SWEEP_DEG:
        turned = shown.clone()
        turned[:, 2] = h
        columns.append(redirect(x, shown, turned))
    return torch.stack(columns).permute(1, 3, 0, 4, 2).flatten(0, 1).flatten(1, 2).cpu().numpy()


def _apart(patches: PatchSet, person: int) -> tuple[int, int]:
    """Rows of a person's first picture, and of the one of the same eye and head yaw whose gaze is furthest from it."""
    rows = torch.nonzero(patches.person == person)[:, 0]
    best, far = (int(rows[0]), int(rows[0])), -1.0
    for row in rows[:ROWS].tolist():
        alike = rows[(patches.eye[rows] == patches.eye[row]) & (patches.angles[rows, 0] == patches.angles[row, 0])]
        away = (patches.angles[alike] - patches.angles[row]).norm(dim=1)
        if away.max() > far:
            best, far = (row, int(alike[away.argmax()])), float(away.max())
    return best
