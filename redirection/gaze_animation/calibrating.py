"""Codes of faces whose gaze is known, for the map from degrees to codes; what painted eyes show of what is asked."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from redirection.gaze_animation.eye_boxes import boxes_around
from redirection.gaze_animation.eye_paths import LEAST_FACES, Calibration
from redirection.gaze_animation.moving_eyes import moved_frames
from redirection.gaze_animation.portrait_lists import Portraits
from redirection.gaze_animation.portrait_truth import Truth
from redirection.gaze_animation.whole_faces import FaceEyes, Fates

BATCH = 32
PROBES = np.array([(10.0, 0.0), (-10.0, 0.0), (0.0, 8.0), (0.0, -8.0)])  # yaw, pitch that are asked for, degrees
LEAST_SHOWN = 0.1  # of a degree asked for; an axis that shows less is left as it is fitted
# Picture uint8 [H, W, 3], eyes [2, 2] in it -> yaw, pitch in degrees.
Reader = Callable[[np.ndarray, np.ndarray], tuple[float, float]]


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
    codes, cameras, angles = [], [], []
    for first in range(0, len(rows), BATCH):
        part = rows[first : first + BATCH]
        faces, boxes = (one.to(device) for one in scaled(*portraits.batch(part, animator.config.size)))
        there, camera = animator.ends(faces, boxes)
        codes.append(there.gaze.double().cpu().numpy())
        cameras.append(camera.gaze.double().cpu().numpy())
        of = [truth[portraits.domain, portraits.names[row]] for row in part]
        angles += [np.subtract(one.gaze, one.lens) for one in of]
    none = [np.empty((0, 2))]
    return Calibration.fit(np.concatenate(codes or none), np.concatenate(cameras or none), np.array(angles))


def as_shown(
    animator,
    calibration: Calibration,
    portraits: Portraits,
    truth: dict,
    reader: Reader,
    count: int,
    seed: int,
    device="cpu",
) -> tuple[Calibration, np.ndarray]:
    """(the same map, enlarged so that painted eyes show as many degrees as are asked for; what they showed of a degree
    of yaw and of pitch before, [2]).

    reader: must not be the network by which the result is measured. Its own slope is taken out by faces of known gaze.
    Errors: ValueError, one line, if the eyes do not follow.
    """
    rows = [row for row, name in enumerate(portraits.names) if (portraits.domain, name) in truth]
    rows = np.random.default_rng([seed, 18]).permutation(rows)[:count]
    true, seen, shown = [], [], []
    for row in rows:
        images, eyes = portraits.batch([row], animator.config.size)
        picture, eyes = images[0].permute(1, 2, 0).numpy(), eyes[0].double().numpy()
        frames = moved_frames(picture, [FaceEyes(eyes, 1.0)], animator, PROBES, calibration, Fates(), device, closed=0)
        read = np.array([reader(one, eyes) for one in (picture, *frames)])
        if np.isfinite(read).all():
            true.append(truth[portraits.domain, portraits.names[row]].gaze)
            seen.append(read[0])
            shown.append([(read[1] - read[2]) / 20, (read[3] - read[4]) / 16])
    if len(true) < LEAST_FACES:
        raise ValueError(f"the gaze network reads {len(true)} of {len(rows)} faces, and {LEAST_FACES} are needed")
    known = np.column_stack([true, np.ones(len(true))])
    own = np.linalg.lstsq(known, np.array(seen), rcond=None)[0][:2]  # what it reads of one true degree
    follows = np.mean(shown, axis=0) @ np.linalg.pinv(own)  # angles asked for @ this = angles shown
    slopes = np.diag(follows)
    if not slopes[0] > LEAST_SHOWN:
        raise ValueError(f"painted eyes follow the gaze code by {slopes[0]:.2f} of the yaw asked for; train longer")
    gains = np.where(slopes > LEAST_SHOWN, 1 / np.maximum(slopes, LEAST_SHOWN), 1.0)
    wanted = np.array(calibration.code_per_degree).reshape(2, 2) * gains
    return replace(calibration, code_per_degree=tuple(wanted.ravel().tolist())), slopes
