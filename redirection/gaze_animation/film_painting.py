"""Eyes painted anew in films: faces are followed, so that boxes do not tremble, and the sound stays."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from dataset_preprocessing.ffhq import tracking
from eg3d.faces.mtcnn import Faces
from redirection.gaze_animation.portrait_making import eyes_of, openness
from redirection.gaze_animation.whole_faces import CLOSED, FaceEyes, Fates, Paint, faces_of, painted
from redirection.lid_points import Lids, LidSource, NoLids, lids_of

ROUND_EYES = 1.3  # half a side of the box that says which face it is, over the distance of the eyes
KEEPS = 0.7  # part of its last content code that a face of a film keeps in the next frame


@dataclass(frozen=True)
class Followed:
    """Faces of a film: for each frame that has some, the number of the face and its eyes."""

    frames: dict[int, list[tuple[int, FaceEyes]]]
    count: int  # frames of the film
    faces: int


def _box(lids: Lids) -> np.ndarray:
    left, right = eyes_of(lids)
    half = ROUND_EYES * max(1.0, float(np.linalg.norm(right - left)))
    middle = (left + right) / 2
    return np.concatenate([middle - half, middle + half])


def follow(film: Path, source: LidSource, several: bool = True, steady: bool = True) -> Followed:
    """Looks through a film once. steady: eyes lie on a line through those of the frames near; how far they are open is
    as in the frame itself, so that a blink stays one. `Unreadable` for a damaged film."""
    found: dict[int, Faces] = {}
    count = 0
    for number, picture in tracking.frames(film):
        count = number + 1
        try:
            faces = faces_of(source, np.asarray(picture), f"{film.stem}_{number:06d}.png", several)
        except NoLids:
            continue
        boxes = np.stack([_box(lids_of(points)) for points in faces])
        found[number] = Faces(boxes, np.ones(len(faces)), np.stack(faces))
    tracks = tracking.follow(found)
    frames: dict[int, list[tuple[int, FaceEyes]]] = {}
    for which, track in enumerate(tracks if several else tracks[:1]):
        smooth = track.steady_points() if steady else np.stack(track.points)
        for number, raw, points in zip(track.numbers, track.points, smooth, strict=True):
            face = replace(FaceEyes.of_points(points), opened=openness(lids_of(raw)))
            frames.setdefault(number, []).append((which, face))
    return Followed(frames, count, len(tracks))


def painted_frames(
    film: Path, followed: Followed, paint_of: Callable[[int], Paint], size: int, fates: Fates, device="cpu",
    closed: float = CLOSED,
) -> Iterator[np.ndarray]:  # fmt: skip
    """Frames uint8 [H, W, 3] of the film with new eyes; those without a face as they are.

    paint_of(face): its painter.
    """
    for number, picture in tracking.frames(film):
        frame, faces = np.asarray(picture), followed.frames.get(number, [])
        fates.pictures += 1
        fates.without_face += not faces
        paints = [paint_of(which) for which, _ in faces]
        yield painted(frame, [face for _, face in faces], paints, size, fates, device, closed)


class SteadyCorrection:
    """Correction of one face of a film: its content code changes slowly from frame to frame, so eyes do not flicker."""

    def __init__(self, animator, keeps: float = KEEPS):
        self._animator, self._keeps, self._content = animator, keeps, None

    def __call__(self, portraits: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
        content = self._animator.content(portraits, boxes)
        if self._content is not None:
            content = self._keeps * self._content + (1 - self._keeps) * content
        self._content = content
        return self._animator.correct(portraits, boxes, content)
