"""FFHQ's chain for one photo: align it by its landmarks, then crop it by five points as EG3D does; and for a folder.

A line of `manifest.jsonl` says of each photo what became of it. A photo whose line and crop are there is not looked at
again, so a run that was stopped goes on; one that was rejected is tried again.
"""

import functools
import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from multiprocessing import parent_process
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from dataset_preprocessing.ffhq import alignment, pos
from dataset_preprocessing.ffhq.cutting import SIDE as CROP_SIDE
from dataset_preprocessing.ffhq.cutting import cut_face
from dataset_preprocessing.ffhq.photo_landmarks import Landmarks, by_photo
from eg3d.faces.mtcnn import LONGEST, Faces, Mtcnn
from eg3d.metrics.dlib_points import DlibPoints
from groundwork.archive import Unreadable, is_inside, read_file, shown
from groundwork.files import atomic_write
from groundwork.images import read_picture, silence_pillow
from groundwork.matching import first_of
from groundwork.strict_json import JsonError, parse_json
from groundwork.workers import in_processes

MANIFEST = "manifest.jsonl"
KEPT, REJECTED = "kept", "rejected"
GRID = 48  # points along a side at which is asked whether a crop lies in its photo
MTCNN, OWN = "mtcnn", "landmarks"  # who places the five points of the crop
SURE = 0.9  # of MTCNN that it is a face, as EG3D asks
NEAR = 0.5  # eye distances that MTCNN's points of the face may lie from the landmarks'


@dataclass(frozen=True)
class Rules:
    """How crops are made, and what is no crop worth having.

    find: what looks for a face where there are no landmarks, MTCNN or a dlib predictor's .dat; "": nothing does.
    points: who places the crop, MTCNN or OWN. outside: share that the photo does not show; enlarged: pixels of the crop
    for one of the photo, along a line.
    """

    find: str = ""
    points: str = OWN
    outside: float = 0.5
    enlarged: float = 4.0


@dataclass(frozen=True)
class Photo:
    """What is known of one photo. stamp: text that changes with the file; five: points of the aligned picture for the
    crop, None: as the rules say."""

    name: str
    file: Path
    stamp: str
    landmarks: Landmarks | None
    five: np.ndarray | None = None

    @property
    def crop(self) -> str:
        return str(PurePosixPath(self.name).with_suffix(".png"))

    def key(self, rules: Rules) -> str:
        """Of all that the crop depends on."""
        points = [self.landmarks and self.landmarks.points, self.five]
        parts = [self.stamp, repr(rules), *(b"" if p is None else np.float64(p).tobytes() for p in points)]
        text = b"/".join(part if isinstance(part, bytes) else part.encode() for part in parts)
        return hashlib.blake2s(text, digest_size=8).hexdigest()


class Rejected(Exception):
    """This photo gives no crop; the text says why."""


def cropped(picture: Image.Image, face: Landmarks, five: np.ndarray | None, rules: Rules) -> tuple[Image.Image, dict]:
    """The crop of a photo, and its numbers for the manifest. Rejected if it is worth nothing.

    five: points of the aligned picture that place the crop; None: as the rules say.
    """
    if face.size and face.size != picture.size:
        sizes = ["x".join(map(str, size)) for size in (picture.size, face.size)]
        raise Rejected(f"is {sizes[0]} pixels, its landmarks are of one of {sizes[1]}; give the photo itself")
    if np.ptp(face.five, axis=0).max() < 1:
        raise Rejected("the landmarks lie in one place")
    quad = alignment.quad_of(alignment.eyes_of(face.points))
    own = alignment.to_aligned(face.five, quad)
    _checked(own if five is None else five, quad, picture.size, rules)  # before there is work
    try:
        aligned = alignment.align(picture, quad)
        if five is None:
            five = own if rules.points == OWN else _seen_near(aligned, own)
        numbers = _checked(five, quad, picture.size, rules)
        return cut_face(aligned, five + 0.5).picture, numbers
    except ValueError as error:
        raise Rejected(str(error)) from None


def _checked(five: np.ndarray, quad: np.ndarray, size: tuple[int, int], rules: Rules) -> dict:
    """The numbers of the crop that five points of the aligned picture place; Rejected by the rules."""
    at = pos.place(five, alignment.SIDE)
    if not at.scale > 1:
        raise Rejected("the five points lie in one place")
    box = kept_square(at)
    outside = share_outside(box, quad, size)
    enlarged = CROP_SIDE / (box[2] * alignment.side_of(quad) / alignment.SIDE)
    if outside > rules.outside:
        raise Rejected(f"the photo ends within the crop, {outside:.0%} of it are missing")
    if enlarged > rules.enlarged:
        raise Rejected(f"small: the crop would be enlarged {enlarged:.1f} times")
    return {"outside": round(outside, 4), "enlarged": round(enlarged, 3)}


def _check_finders(todo: list[Photo], rules: Rules) -> None:
    """ValueError, one line, if what is to find faces is not installed, or is none."""
    finds = rules.find and any(photo.landmarks is None for photo in todo)
    if finds and rules.find != MTCNN:
        _predictor(rules.find)
    if (finds and rules.find == MTCNN) or (rules.points == MTCNN and any(photo.five is None for photo in todo)):
        _detector()


@functools.cache
def _detector() -> Mtcnn:
    """One for each process."""
    if parent_process() is not None:
        torch.set_num_threads(1)  # the other processes have the other processors
    return Mtcnn()


def _seen(picture: Image.Image) -> Faces:
    """The faces that MTCNN is sure of."""
    faces = _detector()(picture)
    sure = faces.scores > SURE
    return Faces(faces.boxes[sure], faces.scores[sure], faces.points[sure])


@functools.cache
def _predictor(path: str) -> DlibPoints:
    return DlibPoints(Path(path))


def found_face(picture: Image.Image, find: str = MTCNN) -> Landmarks:
    """Five points of the largest face of a photo, as EG3D takes it; Rejected if there is none."""
    if find != MTCNN:
        return _found_by_dlib(picture, find)
    faces = _seen(picture)
    if not len(faces.boxes):
        raise Rejected("no face was found")
    size = (faces.boxes[:, 2:] - faces.boxes[:, :2]).sum(axis=1)
    return Landmarks(faces.points[size.argmax()] - 0.5)


def _found_by_dlib(picture: Image.Image, path: str) -> Landmarks:
    small = picture.copy()
    small.thumbnail((LONGEST, LONGEST), Image.Resampling.BOX)
    pixels = torch.from_numpy(np.array(small)).permute(2, 0, 1)[None].float() / 127.5 - 1
    points = _predictor(path)(pixels, torch.zeros(1, 25), [""])[0].double().numpy()
    if not np.isfinite(points).all():
        raise Rejected("no face was found")
    return Landmarks(points * picture.width / small.width - 0.5)


def _seen_near(aligned: Image.Image, own: np.ndarray) -> np.ndarray:
    """MTCNN's five points of the face whose landmarks `own` lies in the aligned picture."""
    points = _seen(aligned).points - 0.5
    distance = np.hypot(*(own[1] - own[0]))
    off = np.hypot(*np.moveaxis(points - own, -1, 0)).mean(axis=1) / distance
    if not len(off) or off.min() > NEAR:
        raise Rejected("MTCNN sees no face where the landmarks are")
    return points[off.argmin()]


def kept_square(at: pos.Placement) -> tuple[float, float, float]:
    """Of the aligned picture: left, top, side of what EG3D's crop keeps, in pixels from its edge, not rounded."""
    side = pos.EG3D_CROP * at.scale / pos.EG3D_RESCALE
    return at.x - side / 2, alignment.SIDE - at.y - side / 2, side


def share_outside(box: tuple[float, float, float], quad: np.ndarray, size: tuple[int, int]) -> float:
    """The share of a square of the aligned picture that lies outside the photo."""
    left, top, side = box
    steps = (np.arange(GRID) + 0.5) / GRID * side
    grid = np.stack(np.meshgrid(left + steps, top + steps), axis=-1).reshape(-1, 2) - 0.5
    x, y = (alignment.to_photo(grid, quad) + 0.5).T
    return float(1 - ((x >= 0) & (x <= size[0]) & (y >= 0) & (y <= size[1])).mean())


def made(photo: Photo, outdir: Path, rules: Rules) -> dict:
    """Writes the crop of a photo; the line of the manifest."""
    silence_pillow()
    line = {"photo": photo.name, "status": REJECTED, "key": photo.key(rules)}
    try:
        if photo.landmarks is None and not rules.find:
            raise Rejected("no landmarks")
        picture = read_picture(_content(photo.file), "the photo")
        crop, numbers = cropped(picture, photo.landmarks or found_face(picture, rules.find), photo.five, rules)
    except (Rejected, Unreadable) as error:
        return line | {"reason": str(error)}
    data = io.BytesIO()
    crop.save(data, "PNG", compress_level=1)
    atomic_write(outdir / photo.crop, data.getvalue())
    return line | {"status": KEPT, "crop": photo.crop, **numbers}


def _content(file: Path) -> bytes:
    try:
        return read_file(file)
    except OSError as error:
        raise Rejected(f"cannot be read ({error.strerror})") from None


def photos_of(folder: Path, files: dict[str, Path], landmarks: dict[str, Landmarks] | None, five=None) -> list[Photo]:
    """The photos of a folder, `files` by their names, each with what belongs to it.

    Args: landmarks: None, to find the faces; five: as of `read_crops`; a photo without an entry then gets no crop.
    ValueError if two photos would have one crop, or if none has landmarks.
    """
    names, crops = list(files), {}
    for name in names:
        crop = str(PurePosixPath(name).with_suffix(".png")).casefold()
        if (other := crops.setdefault(crop, name)) != name:
            raise ValueError(f"--indir={folder}: {shown(other)} and {shown(name)} would have one crop; rename one")
    entry_of, five_of = by_photo(names, landmarks or {}), by_photo(names, five or {})
    if not entry_of and landmarks is not None:
        listed = first_of(list(landmarks))
        raise ValueError(f"--indir={folder}: none of its {len(names)} photos has landmarks ({first_of(names)}; of the "
                         f"landmarks {listed}); give what belongs together")  # fmt: skip
    found = []
    for name in names:
        points = landmarks[entry_of[name]] if name in entry_of else None
        own = five[five_of[name]] if name in five_of else None
        if five is not None and own is None:
            points = None  # EG3D has no crop of it either
        found.append(Photo(name, files[name], _stamp(files[name]), points, own))
    return found


def _stamp(file: Path) -> str:
    try:
        found = os.stat(file)
    except OSError:  # `made` says what is wrong with it
        return ""
    return f"{found.st_size}/{found.st_mtime_ns}"


def make_crops(photos: list[Photo], outdir: Path, rules: Rules, workers: int) -> list[dict]:
    """Makes the crops that are missing, and the manifest: a line for each photo, which are returned."""
    if not (outdir / MANIFEST).exists() and (
        strange := next((p.crop for p in photos if (outdir / p.crop).exists()), "")
    ):
        raise ValueError(f"{outdir / strange}: exists and was not written by this script; give another --outdir")
    before = {line["photo"]: line for line in read_manifest(outdir)}
    done = {p.name: before[p.name] for p in photos if _is_done(p, before.get(p.name), outdir, rules)}
    todo = [photo for photo in photos if photo.name not in done]
    _check_finders(todo, rules)
    outdir.mkdir(parents=True, exist_ok=True)
    # What is made anew, of other landmarks, say, may be rejected now; and crops of photos that are gone have no camera.
    stale = {photo.crop for photo in todo} | {crop for crop in crops_in(before.values()) if is_inside(crop)}
    for crop in stale - {photo.crop for photo in photos if photo.name in done}:
        (outdir / crop).unlink(missing_ok=True)
    lines = dict(done)
    _write(outdir, lines.values())
    work = functools.partial(made, outdir=outdir, rules=rules)
    shared = workers > 1 and len(todo) > 1
    results: Iterator[dict] = in_processes(work, todo, workers, at_once=1) if shared else map(work, todo)
    with open(outdir / MANIFEST, "a", encoding="utf-8") as file:
        for line in tqdm(results, "aligning and cropping", len(todo), unit="img"):
            lines[line["photo"]] = line
            file.write(_text(line))
            file.flush()
    in_order = [lines[photo.name] for photo in photos]
    _write(outdir, in_order)
    return in_order


def crops_in(lines: Iterable[dict]) -> list[str]:
    """Names of the crops."""
    return [line["crop"] for line in lines if line["status"] == KEPT]


def rejections(lines: list[dict], most: int) -> list[str]:
    """Lines about the photos without a crop."""
    found = [f"no crop of {shown(line['photo'])}: {line['reason']}" for line in lines if line["status"] == REJECTED]
    more = [f"and {len(found) - most} more, which {MANIFEST} names"] if len(found) > most else []
    return found[:most] + more


def read_manifest(outdir: Path) -> list[dict]:
    """Its lines; a last one that was cut off is left out. ValueError if another one is damaged."""
    path, found = outdir / MANIFEST, []
    if not path.exists():
        return []
    *lines, cut = read_file(path).split(b"\n")
    for number, text in enumerate(lines, 1):
        try:
            line = parse_json(text)
        except JsonError:
            line = None
        texts = ("photo", "status", "key", *(["crop"] if isinstance(line, dict) and line.get("status") == KEPT else []))
        if not isinstance(line, dict) or not all(isinstance(line.get(k), str) for k in texts):
            raise ValueError(f"{path}: line {number} is damaged; remove that line, and start again")
        found.append(line)
    return found


def _is_done(photo: Photo, line: dict | None, outdir: Path, rules: Rules) -> bool:
    return (
        line is not None
        and line["status"] == KEPT
        and line["key"] == photo.key(rules)
        and line.get("crop") == photo.crop
        and os.path.isfile(outdir / photo.crop)
    )


def _write(outdir: Path, lines) -> None:
    atomic_write(outdir / MANIFEST, "".join(map(_text, lines)).encode())


def _text(line: dict) -> str:
    return json.dumps(line) + "\n"
