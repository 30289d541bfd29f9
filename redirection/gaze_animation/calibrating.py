"""Codes of faces whose gaze is known, for the map from degrees to codes."""

import numpy as np
import torch

from redirection.gaze_animation.eye_boxes import boxes_around
from redirection.gaze_animation.eye_paths import Calibration
from redirection.gaze_animation.portrait_lists import Portraits
from redirection.gaze_animation.portrait_truth import Truth

BATCH = 32


def scaled(images: torch.Tensor, eyes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What `Portraits.batch` gives -> faces in [-1, 1], boxes [B, 2, 4], as networks see them."""
    return images.float() / 127.5 - 1, boxes_around(eyes, size=images.shape[-1])


@torch.no_grad()
def fitted(
    animator, portraits: Portraits, truth: dict[tuple[str, str], Truth], count: int, seed: int, device="cpu"
) -> Calibration:
    """On up to `count` of the portraits, drawn by the seed. ValueError, one line."""
    rows = [row for row, name in enumerate(portraits.names) if (portraits.domain, name) in truth]
    rows = np.random.default_rng([seed, 17]).permutation(rows)[:count]
    codes, angles = [], []
    for first in range(0, len(rows), BATCH):
        part = rows[first : first + BATCH]
        faces, boxes = (one.to(device) for one in scaled(*portraits.batch(part, animator.config.size)))
        there, camera = animator.ends(faces, boxes)
        codes.append((there.gaze - camera.gaze).double().cpu().numpy())
        of = [truth[portraits.domain, portraits.names[row]] for row in part]
        angles += [np.subtract(one.gaze, one.lens) for one in of]
    return Calibration.fit(np.concatenate(codes) if codes else np.empty((0, 2)), np.array(angles))
