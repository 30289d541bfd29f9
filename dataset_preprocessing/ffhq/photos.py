"""Photos and films -> crops with cameras: which faces become pictures of a data set, and why others do not."""

import io
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from PIL import Image

from dataset_preprocessing.ffhq import tracking
from dataset_preprocessing.ffhq.cutting import Cut, Photo, sharpness
from dataset_preprocessing.ffhq.manifest import KEPT, UNREADABLE
from dataset_preprocessing.ffhq.pose_estimators import with_mirror_images
from eg3d.faces.mtcnn import Faces, Mtcnn
from eg3d.metrics.pose import angles_of_label
from groundwork.archive import Folder, Unreadable
from groundwork.files import atomic_write
from groundwork.images import silence_pillow

PNG_EFFORT = 1  # of 9: a crop is 8 % larger than with the default 6, and is written in a third of the time


@dataclass(frozen=True)
class Rules:
    """Which faces are kept. The defaults are those of --help; what they were measured on: docs/photos.md."""

    faces: str = "largest"  # of a photo: all, or the largest
    level: bool = False  # whether the eyes are made level
    min_confidence: float = 0.9  # as EG3D's chain has it
    min_side: int = 128  # px of the photo that a crop's side has
    max_border: float = 0.2  # part of a crop that lies outside the photo
    min_sharpness: float = 0.15
    max_yaw: float = 50.0  # degrees
    max_mirror: float = 6.0  # degrees between the cameras of a crop and of its mirror image
    every: int = 1  # which frames of films


class Source(NamedTuple):
    """A photo or film: its name in the folder, its file, what the names of its crops begin with, and a stamp, which
    changes if the file or that beginning does."""

    name: str
    file: Path
    stem: str
    stamp: str


@dataclass
class Candidate:
    """A face that has a crop: its line of the manifest, and the crop."""

    record: dict
    cut: Cut
    crop_name: str


def sources(folder: Folder, names: Sequence[str]) -> list[Source]:
    stems = crop_stems(names)
    return [Source(name, folder.file(name), stems[name], f"{folder.stamps[name]} {stems[name]}") for name in names]


def crop_stems(names: Sequence[str]) -> dict[str, str]:
    """What the names of the crops of each photo begin with: its own without the ending, if no other photo's crops
    could be called so; else its whole name."""
    plain = {name: str(PurePosixPath(name).with_suffix("")) for name in names}
    owners: dict[str, set[str]] = {}
    for name, stem in plain.items():
        for taken in (stem, name):
            owners.setdefault(taken.casefold(), set()).add(name)
    clear = {}
    for name, stem in plain.items():
        root = re.fullmatch(r"(.*?)(_\d{6})?(_face\d+)?", stem.casefold(), re.DOTALL)[1]
        clear[name] = owners[stem.casefold()] | owners.get(root, set()) == {name}
    return {name: stem if clear[name] else name for name, stem in plain.items()}


class Chain:
    """Finds, cuts, labels and writes; one in each process."""

    def __init__(self, estimator, rules: Rules, outdir: Path, device, batch: int):
        self.detector, self.estimator, self.rules = Mtcnn(device), estimator, rules
        self.outdir, self.batch = outdir, batch
        silence_pillow()

    def __call__(self, part: Sequence[Source]) -> list[dict]:
        """Lines of the manifest, one for each source."""
        rows, candidates = [], []
        for source in part:
            row = {"photo": source.name, "stamp": source.stamp, "fate": "", "faces": []}
            rows.append(row)
            try:
                if tracking.is_film(source.name):
                    self._film(source, row)
                else:
                    candidates += self._photo(source, row)
            except Unreadable as error:
                row |= {"fate": UNREADABLE, "reason": str(error).removeprefix(f"{source.file}: "), "faces": []}
        self._finish(candidates)
        for row in rows:
            if not row["fate"]:
                row["fate"] = KEPT if any(face["fate"] == KEPT for face in row["faces"]) else "rejected"
        return rows

    def _photo(self, source: Source, row: dict) -> list[Candidate]:
        photo = Photo.open(source.file, source.name)
        row["size"] = list(photo.size)
        found = self.detector(photo.picture)
        factor = photo.size[0] / photo.picture.width
        if not len(found.scores):
            row |= {"fate": "no face", "reason": "no face found" if max(photo.size) >= 40 else "too small for a face"}
        sure = found.scores >= self.rules.min_confidence
        extent = np.where(sure, (found.boxes[:, 2:] - found.boxes[:, :2]).sum(axis=1), 0)
        candidates = []
        for place, number in enumerate(np.argsort(-extent, kind="stable")):
            score = float(found.scores[number])
            record = {"score": round(score, 4), "box": _rounded(found.boxes[number] * factor),
                      "points": _rounded(found.points[number] * factor)}  # fmt: skip
            row["faces"].append(record)
            if not sure[number]:
                _reject(record, "unsure", f"it may be none: score {score:.2f}, least {self.rules.min_confidence:g}")
            elif place and self.rules.faces == "largest":
                _reject(record, "smaller", "another face of the photo is larger; --faces=all takes every one")
            else:
                name = f"{source.stem}.png" if place == 0 else f"{source.stem}_face{place + 1}.png"
                candidates += self._cut(photo, found.points[number], record, name)
        return candidates

    def _film(self, source: Source, row: dict) -> None:
        """Two rounds: faces of all frames first, for a face's place is smoothed by those before and after."""
        found = {}
        for number, frame in tracking.frames(source.file, self.rules.every):
            faces = self.detector(frame)
            sure = faces.scores >= self.rules.min_confidence
            found[number] = Faces(*(values[sure] for values in faces))
            row["size"] = list(frame.size)
        tracks = tracking.follow(found, self.rules.every)
        row |= {"frames": len(found), "frames_without_face": sum(not len(f.scores) for f in found.values())}
        if not tracks:
            row |= {"fate": "no face", "reason": "no frame has a face"}
            return
        by_frame: dict[int, list] = {}
        for place, track in enumerate(tracks):
            for number, points, box, score in zip(
                track.numbers, track.steady_points(), track.boxes, track.scores, strict=True
            ):
                by_frame.setdefault(number, []).append((place, points, box, score))
        candidates: list[Candidate] = []
        for number, frame in tracking.frames(source.file, self.rules.every):
            photo = Photo(frame)
            for nth, (place, points, box, score) in enumerate(sorted(by_frame.get(number, []), key=lambda f: f[0])):
                record = {"frame": number, "track": place + 1, "score": round(score, 4), "box": _rounded(box),
                          "points": _rounded(points)}  # fmt: skip
                row["faces"].append(record)
                if nth and self.rules.faces == "largest":
                    _reject(record, "smaller", "another face of the film is larger; --faces=all takes every one")
                    continue
                ending = "" if place == 0 else f"_face{place + 1}"
                candidates += self._cut(photo, points, record, f"{source.stem}_{number:06d}{ending}.png")
            if len(candidates) >= self.batch:
                self._finish(candidates)
                candidates = []
        self._finish(candidates)

    def _cut(self, photo: Photo, points: np.ndarray, record: dict, crop_name: str) -> list[Candidate]:
        """The crop, or nothing and the reason in the record."""
        rules = self.rules
        try:
            cut = photo.cut(points, rules.level)
        except ValueError as error:
            if isinstance(error, Unreadable):
                raise
            _reject(record, "small", str(error))
            return []
        sharp = sharpness(cut.picture)
        record |= {"side": round(cut.source_px, 1), "border": round(cut.outside, 4), "sharpness": round(sharp, 4),
                   "turned": round(cut.turned_deg, 2)}  # fmt: skip
        if cut.source_px < rules.min_side:
            _reject(record, "small", f"the crop has {int(cut.source_px)} px of the photo, least {rules.min_side}")
        elif cut.outside > rules.max_border:
            _reject(
                record, "border", f"{cut.outside:.0%} of the crop lie outside the photo, most {rules.max_border:.0%}"
            )
        elif sharp < rules.min_sharpness:
            _reject(record, "blurred", f"sharpness {sharp:.3f}, least {rules.min_sharpness:g}")
        else:
            return [Candidate(record, cut, crop_name)]
        return []

    def _finish(self, candidates: Sequence[Candidate]) -> None:
        """Cameras for the crops; those that pass are written."""
        for first in range(0, len(candidates), self.batch):
            self._label(candidates[first : first + self.batch])

    def _label(self, candidates: Sequence[Candidate]) -> None:
        pictures, names = zip(*((one.cut.picture, one.crop_name) for one in candidates), strict=True)
        for candidate, reading in zip(candidates, with_mirror_images(self.estimator, pictures, names), strict=True):
            record, rules = candidate.record, self.rules
            if isinstance(reading, str):
                _reject(record, "no camera", reading)
                continue
            pitch, yaw, roll = angles_of_label(reading.label[None])[0].rad2deg().tolist()
            record |= {"yaw": round(yaw, 2), "pitch": round(pitch, 2), "roll": round(roll, 2),
                       "mirror": round(reading.mirror_deg, 2)}  # fmt: skip
            if not reading.mirror_deg <= rules.max_mirror:
                _reject(record, "mirror", f"the cameras of the crop and its mirror image differ by "
                        f"{reading.mirror_deg:.1f} degrees, most {rules.max_mirror:g}")  # fmt: skip
            elif abs(yaw) > rules.max_yaw:
                _reject(record, "profile", f"yaw {yaw:.0f} degrees, most {rules.max_yaw:g}")
            else:
                atomic_write(self.outdir / candidate.crop_name, png(candidate.cut.picture))
                record |= {"fate": KEPT, "crop": candidate.crop_name, "crop_points": _rounded(candidate.cut.points),
                           "label": [float(f"{x:.9g}") for x in reading.label.tolist()]}  # fmt: skip


def _reject(record: dict, fate: str, reason: str) -> None:
    record |= {"fate": fate, "reason": reason}


def _rounded(values: np.ndarray) -> list:
    return np.round(values, 2).tolist()


def png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=PNG_EFFORT)
    return buffer.getvalue()


def rules_of(rules: Rules, estimator) -> dict:
    """What decides about crops and labels, for the manifest."""
    return asdict(rules) | {"pose": estimator.name, "pose_sha256": estimator.sha256}
