"""Sets of normalised faces: crops, labels in the GazeHub layout, and records that lead back to the photos.

    Image/p00/day01/0005.png   crops
    Label/p00.label            one line each, with MPIIFaceGaze's columns; l2cs/train.py and evaluate.py read it
    Record/p00.json            what the way back needs, and the frame of every number in the labels

Data normalisation as in `l2cs.normalization` (Zhang et al. 2018).
"""

import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from dataset_preprocessing.nv_rendering.face_table import LARGEST, FaceRow
from dataset_preprocessing.nv_rendering.head_pose import HeadPose, face_centre, head_pose, six_of
from dataset_preprocessing.nv_rendering.mpii_layout import checked_camera
from groundwork.archive import Archive, Unreadable, is_inside, read_file, shown
from groundwork.damage import FLAG, Damage
from groundwork.images import read_picture
from groundwork.strict_json import JsonError, read_json
from groundwork.workers import in_threads
from l2cs.gaze_labels import lines_of
from l2cs.normalization import (
    Normalization,
    distorted_points,
    gaze_angles,
    head_angles,
    normalization,
    rotation_of,
    rotation_vector,
    undistorted_points,
    vectors_of,
    virtual_camera,
)

IMAGE, LABEL, RECORD = "Image", "Label", "Record"
HEADER = "Face Left Right Origin WhichEye 3DGaze 3DHead 2DGaze 2DHead Rmat Smat GazeOrigin"
FRAMES = {
    "2DGaze": "yaw,pitch rad of the negated gaze, normalised frame: positive toward the image's left, and up",
    "2DHead": "yaw,pitch rad of the head's third axis, normalised frame, with the same signs; the head has no roll",
    "3DGaze": "unit vector from the face to what it looks at, normalised frame: x right, y down, z forward",
    "3DHead": "rotation vector rad, head to normalised frame",
    "Rmat": "rotation vector rad of R, camera frame of the photo to normalised frame; labels are turned by R alone",
    "Smat": "diagonal of S, which scales the picture and no label",
    "GazeOrigin": "mm, centre of the face, camera frame of the photo",
    "face_centre": "mm, camera frame of the photo",
    "target_distance": "mm from face_centre to the gaze target; null if only a direction was given",
    "rotation": "R, camera frame of the photo to normalised frame",
    "landmarks_norm": "px of the crop, from the centre of the first pixel",
    "camera, distortion, photo_size": "of the photo as its lens took it, px",
}
GIVEN, LANDMARKS = "given", "landmarks"  # where the head pose comes from


@dataclass(frozen=True)
class VirtualCamera:
    """focal px; distance mm; size px of the square crops."""

    focal: float
    distance: float
    size: int


@dataclass(frozen=True)
class Face:
    """One row, normalised. crop: name below Image; centre [3] mm, camera frame; head [3, 3] and gaze [3] in the
    normalised frame; target_distance mm; landmarks [N, 2] px of the crop, or None."""

    row: FaceRow
    crop: str
    normalization: Normalization
    centre: np.ndarray
    head: np.ndarray
    gaze: np.ndarray
    target_distance: float | None
    landmarks: np.ndarray | None

    def label(self) -> str:
        """The line of the label file."""
        gaze, head = gaze_angles(self.gaze)[::-1], head_angles(self.head)[::-1]
        vectors = (self.gaze, rotation_vector(self.head), gaze, head, rotation_vector(self.normalization.rotation),
                   (1, 1, self.normalization.scale), self.centre)  # fmt: skip
        names = (self.crop,) * 3 + (_one_word(self.row.file), "face")
        return " ".join([*names, *(",".join(f"{x:.8f}" for x in vector) for vector in vectors)]) + "\n"

    def record(self, photo_size: tuple[int, int]) -> dict:
        """What leads back to the photo, as JSON."""
        camera, n = self.row.camera, self.normalization
        points = None if self.landmarks is None else self.landmarks.round(6).tolist()
        return {
            "crop": self.crop, "file": self.row.file, "camera": camera.matrix.tolist(),
            "distortion": camera.distortion.tolist(), "photo_size": list(photo_size),
            "rotation": n.rotation.tolist(), "scale": n.scale, "face_centre": self.centre.tolist(),
            "target_distance": self.target_distance, "landmarks_norm": points,
        }  # fmt: skip


def normalized_face(row: FaceRow, crop: str, camera: VirtualCamera, pose_from: str, model: np.ndarray) -> Face:
    """The face of a row. ValueError, beginning with table and row.

    pose_from: GIVEN, the table's head pose if it has one, else by landmarks; or LANDMARKS. model: [6, 3] or [68, 3].
    """
    try:
        pose, centre = _pose(row, pose_from, model)
        n = normalization(row.camera.matrix, pose, centre, camera.focal, camera.distance, camera.size)
    except ValueError as error:
        raise ValueError(f"{row.where}: {error}") from None
    gaze = row.gaze if row.gaze_target is None else row.gaze_target - centre
    if not np.linalg.norm(gaze) > 0:
        raise ValueError(f"{row.where}: the gaze has no direction; check gaze_target or gaze")
    away = None if row.gaze_target is None else float(np.linalg.norm(gaze))
    return Face(row, crop, n, centre, n.head(pose), n.direction(gaze / np.linalg.norm(gaze)), away, _in_crop(row, n))


def _in_crop(row: FaceRow, n: Normalization) -> np.ndarray | None:
    """The landmarks [N, 2] of a row, px of the crop. ValueError if its lens takes them nowhere."""
    if row.landmarks is None:
        return None
    points = n.points(undistorted_points(row.landmarks, row.camera.matrix, row.camera.distortion))
    if not np.isfinite(points).all():
        raise ValueError(f"{row.where}: no ray of the camera leads to a landmark; check landmarks and lens")
    return points


def _pose(row: FaceRow, pose_from: str, model: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(rotation [3, 3], centre of the face [3])."""
    if row.rotation is not None and pose_from == GIVEN:
        centre = row.centre
        return row.rotation, face_centre(HeadPose(row.rotation, row.translation), model) if centre is None else centre
    if row.landmarks is None:
        raise ValueError("has no landmarks; give them, or --pose=given")
    points = undistorted_points(row.landmarks, row.camera.matrix, row.camera.distortion)
    if len(points) != len(model):
        points, model = six_of(points), six_of(model)
    pose = head_pose(points, model, row.camera.matrix)
    return pose.rotation, face_centre(pose, model)


def faces_of(
    rows: list[FaceRow], camera: VirtualCamera, pose_from: str, model: np.ndarray, skip: bool
) -> tuple[list[Face], list[str]]:
    """(faces of the rows, a line for each row that has none). ValueError for such a row, unless they are skipped."""
    faces, faults = [], []
    for row, crop in zip(rows, crop_names(rows), strict=True):
        try:
            faces.append(normalized_face(row, crop, camera, pose_from, model))
        except ValueError as error:
            faults.append(str(error))
    if faults and not (skip and faces):
        raise ValueError(f"{faults[0]} ({len(faults)} of {len(rows)} rows are so; mend them, or go on by {FLAG})")
    return faces, faults


def crop_names(rows: list[FaceRow]) -> Iterator[str]:
    """A name for the crop of each row: that of its photo as .png, numbered if a photo has several faces."""
    taken: set[str] = set()
    for row in rows:
        stem = _one_word(re.sub(r"\.[^./]*\Z", "", row.file))
        name, number = f"{stem}.png", 1
        while name in taken:
            number += 1
            name = f"{stem}_{number}.png"
        taken.add(name)
        yield name


def write_set(faces: list[Face], photos: Archive, names: dict[str, str], write: Callable, damage: Damage,
              workers: int) -> int:  # fmt: skip
    """Writes crops, labels and records; returns how many faces they have.

    Args: names: file of a row -> its name in `photos`. write(name, data): as of `packing.new_data_set`.
    """

    def work(face: Face) -> tuple[bytes, tuple[int, int]] | Unreadable:
        name = names[face.row.file]
        try:
            photo = read_picture(photos.read(name), f"{photos.path}: {shown(name)}")
        except Unreadable as error:
            return error
        if damage.stops:
            return b"", photo.size
        camera = face.row.camera
        crop = face.normalization.image(np.asarray(photo), camera.matrix, camera.distortion)
        return _png(crop), photo.size

    labels: dict[str, list[str]] = {}
    records: dict[str, list[dict]] = {}
    bar = tqdm(in_threads(work, faces, workers), "normalising", len(faces), unit="img")
    for face, made in zip(faces, bar, strict=True):
        if isinstance(made, Unreadable):
            damage.add(face.row.file, made)
        elif not damage.stops:
            data, size = made
            write(f"{IMAGE}/{face.crop}", data)
            labels.setdefault(face.row.person, []).append(face.label())
            records.setdefault(face.row.person, []).append(face.record(size))
    for person, lines in labels.items():
        n = faces[0].normalization
        facts = {"frames": FRAMES, "focal": n.focal, "distance": n.distance, "size": n.size, "rows": records[person]}
        write(f"{LABEL}/{person}.label", (HEADER + "\n" + "".join(lines)).encode())
        write(f"{RECORD}/{person}.json", (json.dumps(facts, allow_nan=False) + "\n").encode())
    return sum(map(len, labels.values()))


# ------------------------------------------------------------------ back to the photos


@dataclass(frozen=True)
class Back:
    """A crop on its way back: the row of a table (`face_table.COLUMNS`), and what its picture needs."""

    row: dict
    crop: str
    path: Path
    normalization: Normalization
    camera: np.ndarray
    distortion: np.ndarray
    photo_size: tuple[int, int]

    def picture(self) -> bytes:
        """The crop where it lies in the photo, black elsewhere, as a PNG file."""
        picture = read_picture(read_file(self.path), str(self.path))
        if picture.size != self.normalization.size:
            raise Unreadable(f"{self.path}: is {picture.size}, the record says {self.normalization.size}; replace it")
        return _png(self.normalization.image_back(np.asarray(picture), self.photo_size, self.camera, self.distortion))


def way_back(folder: Path) -> Iterator[Back]:
    """Each face of a set that `write_set` wrote, back in the camera frame of its photo.

    Gaze and head are those of the label files, so that estimates that stand there come back too. A label file must
    have a line for each row of its record, and no other.
    """
    records = sorted((folder / RECORD).glob("*.json"))
    if not records:
        raise ValueError(f"{folder}: holds no {RECORD}/*.json; give a folder that normalize.py wrote")
    for path in records:
        try:
            facts = read_json(path)
            size = tuple(int(side) for side in facts["size"])
            common = float(facts["focal"]), float(facts["distance"]), size
            rows = {row["crop"]: row for row in facts["rows"]}
            if not all(isinstance(crop, str) for crop in rows):
                raise ValueError("a crop has no name")
        except (JsonError, KeyError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(
                f"{path}: is no record of normalised faces ({str(error)[:80]}); make the set anew"
            ) from None
        label_file = folder / LABEL / f"{path.stem}.label"
        labels = dict(_angles(label_file))
        if labels.keys() != rows.keys():
            odd = min(labels.keys() ^ rows.keys())
            raise ValueError(f"{label_file}: does not have the faces of {path.name}, as {odd[:80]}; mend it")
        for crop, row in rows.items():
            try:
                yield _back(folder, path.stem, row, common, *labels[crop])
            except (KeyError, TypeError, ValueError, OverflowError) as error:
                raise ValueError(f"{path}: the record of {crop[:80]!r} is damaged ({str(error)[:120]})") from None


def _back(folder: Path, person: str, row: dict, common: tuple, gaze, head) -> Back:
    camera, lens, turn = (np.array(row[name], np.float64) for name in ("camera", "distortion", "rotation"))
    checked = checked_camera(camera, lens, "camera", "lens")
    camera, lens, scale = checked.matrix, checked.distortion, float(row["scale"])
    centre, away = np.array(row["face_centre"], np.float64).reshape(3), row["target_distance"]
    lengths = np.array([*common[:2], scale, 1.0 if away is None else away])
    if not ((lengths > 0) & (lengths <= LARGEST)).all() or not (np.abs([*centre, *lens]) <= LARGEST).all():  # also NaN
        raise ValueError("a length, or a number of the lens, is beyond what can be")
    n = virtual_camera(camera, turn, scale, *common)
    width, height = (int(side) for side in row["photo_size"])
    if not (min(width, height) > 0 and width * height <= 1 << 26 and is_inside(row["file"]) and is_inside(row["crop"])):
        raise ValueError("its photo has no size, or a name that leaves the folder")
    gaze = n.direction_back(-vectors_of(gaze))
    cells = {"file": row["file"], "person": person, "gaze": gaze, "face_centre": centre,
             "head_rotation": rotation_vector(n.head_back(rotation_of(head)))}  # fmt: skip
    cells |= dict(zip(("fx", "fy", "cx", "cy"), camera[[0, 1, 0, 1], [0, 1, 2, 2]], strict=True))
    if camera[0, 1]:
        cells["skew"] = camera[0, 1]
    cells |= dict(zip(("k1", "k2", "p1", "p2", "k3"), lens, strict=True))
    if away is not None:
        cells["gaze_target"] = centre + float(away) * gaze
    if row["landmarks_norm"] is not None:
        points = np.array(row["landmarks_norm"], np.float64)
        if points.shape not in ((6, 2), (68, 2)) or not (np.abs(points) <= LARGEST).all():
            raise ValueError("landmarks_norm must be 6 or 68 finite points")
        points = n.points_back(points)
        cells["landmarks"] = distorted_points(points, camera, lens)
    return Back(cells, row["crop"], folder / IMAGE / row["crop"], n, camera, lens, (width, height))


def _angles(label_file: Path) -> Iterator[tuple[str, tuple[np.ndarray, np.ndarray]]]:
    """(crop, ((pitch, yaw) of the gaze, (pitch, yaw) of the head)) of each line."""
    header, lines = lines_of(label_file)
    try:
        places = [header.index(name) for name in ("Face", "2DGaze", "2DHead")]
    except ValueError:
        raise ValueError(
            f"{label_file}: the first line must name Face, 2DGaze and 2DHead; it is no such file"
        ) from None
    for number, words in lines:
        try:
            face, *angles = (words[place] for place in places)
            gaze, head = (np.array([float(x) for x in text.split(",")][::-1]) for text in angles)
        except (IndexError, ValueError):
            gaze = head = np.empty(0)
        if gaze.shape != (2,) or head.shape != (2,) or not np.isfinite([gaze, head]).all():
            raise ValueError(f"{label_file}: line {number} has no 'yaw,pitch' of gaze and head (2DGaze, 2DHead)")
        yield face, (gaze, head)


def _one_word(name: str) -> str:
    """A name without spaces, at which label files are split."""
    return re.sub(r"\s", "_", name)


def _png(picture: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "PNG", compress_level=1)
    return out.getvalue()
