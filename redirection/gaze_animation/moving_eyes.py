"""The eyes of a picture moved along a way: which codes each frame has, painted and pasted back."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from redirection.gaze_animation.eye_paths import Aim, Calibration
from redirection.gaze_animation.whole_faces import CLOSED, FaceEyes, Fates, painted


class MovedGaze:
    """Paints a face that looks to yaw, pitch in degrees from the camera, or as far as alpha says.

    What is the same in all frames is worked out once for each face. aim: what this face needs.
    """

    def __init__(self, animator, calibration: Calibration | None = None, aim: Aim | None = None):
        self._animator, self._calibration, self._ends = animator, calibration, None
        self._aim = aim or Aim()
        self.angles: tuple[float, ...] | None = None
        self.alpha: float | None = None

    def __call__(self, portraits: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
        if self._ends is None:
            self._ends = self._animator.ends(portraits, boxes)
        if self.alpha is not None:
            return self._animator.frame(portraits, boxes, self.alpha, self._ends)
        there, camera = self._ends
        yaw, pitch, own = (*self.angles, 0.0)[:3]
        angles = torch.tensor([[yaw, pitch]], dtype=portraits.dtype, device=portraits.device)
        if own and self._aim.own is None:
            angles = angles + own * self._calibration.own_gaze(there.gaze, camera.gaze)
        elif own:
            angles = angles + own * angles.new_tensor([self._aim.own])
        if self._aim.bend is not None:
            angles = angles.new_tensor(self._aim.bend(angles.double().cpu().numpy()))
        return self._animator.paint(portraits, boxes, self._calibration.code(angles, camera.gaze), there.content)


def moved_frames(
    picture: np.ndarray,
    faces: Sequence[FaceEyes],
    animator,
    way: np.ndarray,
    calibration: Calibration | None,
    fates: Fates,
    device="cpu",
    closed: float = CLOSED,
    aimed: Sequence[Aim] | None = None,
) -> Iterator[np.ndarray]:
    """Frames uint8 [H, W, 3], one at a time, since those of large photos fill the memory. way: [T, 2] or [T, 3], places
    of `eye_paths.along`, with a calibration; [T], alpha, without. fates: known after the last frame. aimed: what each
    face needs."""
    paints = [MovedGaze(animator, calibration, own) for _, own in zip(faces, aimed or [None] * len(faces), strict=True)]
    for at in way:
        for paint in paints:
            paint.angles, paint.alpha = (None, float(at)) if calibration is None else (tuple(map(float, at)), None)
        counted = Fates()
        yield painted(picture, faces, paints, animator.config.size, counted, device, closed)
    fates.painted, fates.kept = fates.painted + counted.painted, counted.kept
