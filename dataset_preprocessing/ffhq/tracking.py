"""Films: their frames, and faces that are followed from frame to frame, so that the crop does not tremble."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from eg3d.faces.mtcnn import Faces
from eg3d.pictures.video import require_ffmpeg
from groundwork.archive import Unreadable
from groundwork.strict_pickle import one_line

FILMS = {".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm"}
SAME_FACE = 0.3  # overlap of two boxes, as a part of what both cover, from which they are one face
LONGEST_GAP = 10  # frames in which a face may be missed
STEADY = 2.0  # frames: standard deviation of the bell curve that weighs frames near one


def is_film(name: str) -> bool:
    return Path(name).suffix.lower() in FILMS


def frames(file: Path, every: int = 1) -> Iterator[tuple[int, Image.Image]]:
    """(number, picture) of every `every`-th frame of a film, upright. `Unreadable` if it is damaged or no film."""
    try:
        ffmpeg = require_ffmpeg()
    except ValueError as error:
        raise Unreadable(str(error)) from None
    reader = ffmpeg.read_frames(str(file), pix_fmt="rgb24")
    try:
        size = next(reader)["size"]
        for number, data in enumerate(reader):
            if number % every == 0:
                yield number, Image.frombytes("RGB", size, data)
    except (OSError, RuntimeError, KeyError, StopIteration) as error:
        raise Unreadable(f"{file.name} cannot be read as a film ({one_line(str(error), 120)}); replace it") from None
    finally:
        reader.close()


@dataclass
class Track:
    """One face in the frames in which it was found.

    Attributes:
        numbers: of the frames, increasing.
        boxes, scores, points: of the face in each, [4], number, [5, 2].
    """

    numbers: list[int] = field(default_factory=list)
    boxes: list[np.ndarray] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    points: list[np.ndarray] = field(default_factory=list)

    def add(self, number: int, faces: Faces, which: int) -> None:
        self.numbers.append(number)
        self.boxes.append(faces.boxes[which])
        self.scores.append(float(faces.scores[which]))
        self.points.append(faces.points[which])

    def size(self) -> float:
        """Width and height of its boxes, all added up."""
        return float(sum(box[2] - box[0] + box[3] - box[1] for box in self.boxes))

    def steady_points(self) -> np.ndarray:
        """[T, 5, 2]: the points of each frame, from a straight line through those of the frames near it.

        A mean would lag behind a face that moves, at the first and the last frame.
        """
        times = np.array(self.numbers, dtype=np.float64)
        steps = np.diff(times)
        away = (times - times[:, None]) / (steps.min() if len(steps) else 1)  # [T, T], frames from each frame
        weight = np.exp(-(away**2) / (2 * STEADY**2))
        if len(times) > 1:  # weighted least squares, read off where `away` is 0
            one, two = (np.sum(weight * away**power, axis=1, keepdims=True) for power in (1, 2))
            weight = weight * (two - one * away)
        return np.einsum("st,tpc->spc", weight / weight.sum(axis=1, keepdims=True), np.stack(self.points))


def follow(found: dict[int, Faces], every: int = 1) -> list[Track]:
    """Faces of frames by number -> tracks, that of the largest and longest seen face first.

    A face goes on a track if its box overlaps the last one there; pairs that overlap most are taken first.
    """
    done: list[Track] = []
    open_tracks: list[Track] = []
    for number, faces in sorted(found.items()):
        done += [track for track in open_tracks if number - track.numbers[-1] > LONGEST_GAP * every]
        open_tracks = [track for track in open_tracks if number - track.numbers[-1] <= LONGEST_GAP * every]
        pairs = [(overlap(track.boxes[-1], box), i, k) for i, track in enumerate(open_tracks)
                 for k, box in enumerate(faces.boxes)]  # fmt: skip
        left, free = set(range(len(faces.boxes))), set(range(len(open_tracks)))
        for shared, i, k in sorted(pairs, key=lambda pair: (-pair[0], pair[1:])):
            if shared >= SAME_FACE and i in free and k in left:
                open_tracks[i].add(number, faces, k)
                free.remove(i)
                left.remove(k)
        for k in sorted(left):
            open_tracks.append(Track())
            open_tracks[-1].add(number, faces, k)
    return sorted(done + open_tracks, key=lambda track: (-track.size(), track.numbers))


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """What two boxes [4] share, as a part of what both cover."""
    shared = np.prod(np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None))
    both = np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared
    return float(shared / both) if both > 0 else 0.0
