"""Eyes painted anew in whole pictures: each face is levelled, painted, and pasted back.

A face whose eyes are closed, too small or outside the picture keeps every bit; so does all that lies outside the boxes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from redirection.gaze_animation.box_tones import sharpened, toned
from redirection.gaze_animation.eye_boxes import boxes_around
from redirection.gaze_animation.iris_tint import tinted
from redirection.gaze_animation.level_faces import SIDE, Placed, boxes_of
from redirection.gaze_animation.portrait_making import eyes_of, openness
from redirection.lid_points import Lids, LidSource, lids_of

CLOSED, FADES_TO = 0.12, 1.5  # height over width of a closed eye; above FADES_TO times this it changes wholly
MOST_OUTSIDE = 0.25  # of the boxes outside the picture
# Portraits [B, 3, S, S] in [-1, 1] and boxes [B, 2, 4] of their eyes -> portraits with other eyes.
Paint = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class FaceEyes:
    """Eyes [2, 2] of a face in a picture, px, that at the image's left first, how far they are open, their lids
    [2, 6, 2] and all points [68, 2] of the face, if they are known."""

    eyes: np.ndarray
    opened: float
    lids: np.ndarray | None = None
    points: np.ndarray | None = None

    @classmethod
    def of_lids(cls, lids: Lids, points: np.ndarray | None = None) -> "FaceEyes":
        both = np.stack([np.asarray(lids[eye], np.float64) for eye in "RL"])
        return cls(eyes_of(lids), openness(lids), both, points)

    @classmethod
    def of_points(cls, points: np.ndarray) -> "FaceEyes":
        return cls.of_lids(lids_of(points), points)


@dataclass
class Fates:
    """What became of faces and pictures; `kept` counts faces that stayed as they are, by the reason."""

    painted: int = 0
    pictures: int = 0
    without_face: int = 0
    kept: dict[str, int] | None = None

    def keep(self, reason: str) -> None:
        self.kept = (self.kept or {}) | {reason: (self.kept or {}).get(reason, 0) + 1}

    def lines(self, unit: str = "picture") -> list[str]:
        """What the user should know beside how many were painted."""
        notes = [f"{number} face(s) stayed as they are: {reason}" for reason, number in (self.kept or {}).items()]
        if self.without_face:
            notes.append(f"{self.without_face} of {self.pictures} {unit}s have no face that is found; they are kept")
        return notes


def faces_of(source: LidSource, picture: np.ndarray, name: str, several: bool) -> list[np.ndarray]:
    """Points [68, 2] of the faces, the largest first; NoLids if there is none."""
    return source.every(picture, name) if several else [source.points(picture, name)]


def why_kept(face: FaceEyes, picture: np.ndarray, closed: float = CLOSED) -> str | None:
    """Why this face must stay as it is, or None."""
    if face.opened < closed:
        return "the eyes are closed"
    try:
        place = Placed.of_eyes(face.eyes)
    except ValueError as reason:
        return str(reason)
    boxes = boxes_of(place.to_portrait(face.eyes, SIDE))
    outside = place.share_outside(boxes, SIDE, picture)
    return "the boxes round the eyes lie outside the picture" if outside > MOST_OUTSIDE else None


@torch.no_grad()
def painted(
    picture: np.ndarray,
    faces: Sequence[FaceEyes],
    paints: Sequence[Paint],
    size: int,
    fates: Fates,
    device="cpu",
    closed: float = CLOSED,
) -> np.ndarray:
    """The picture uint8 [H, W, 3] with new eyes in its faces. size: px of the networks' portraits.

    An eye that is nearly closed changes by a part, so that a blink of a film has no jump.
    """
    out = picture
    for face, paint in zip(faces, paints, strict=True):
        if reason := why_kept(face, picture, closed):
            fates.keep(reason)
            continue
        place = Placed.of_eyes(face.eyes)
        before = place.cut(picture, size)
        boxes = boxes_around(torch.from_numpy(place.to_portrait(face.eyes, size))[None], size=size)
        x = torch.from_numpy(before.copy()).permute(2, 0, 1)[None].float().to(device) / 127.5 - 1
        lids = None if face.lids is None else place.to_portrait(face.lids, size)
        after = sharpened(x, toned(x, paint(x, boxes.to(device)), boxes), boxes)
        after = after if lids is None else tinted(x, after, lids)
        part = 1.0 if closed == 0 else min(1.0, (face.opened / closed - 1) / (FADES_TO - 1))
        after = x + part * (after - x)
        rgb = ((after[0].clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).cpu().numpy()
        out = place.paste(out, before, rgb, boxes[0].numpy(), lids)
        fates.painted += 1
    return out
