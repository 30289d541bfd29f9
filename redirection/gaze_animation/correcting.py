"""Photos and films corrected one after the other: where results go, what became of faces, the sheet."""

import io
import tempfile
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from dataset_preprocessing.ffhq.tracking import is_film
from eg3d.pictures.film_sound import add_sound, film_facts
from eg3d.pictures.layout import side_by_side, stack, write_png
from eg3d.pictures.text import text_strip
from eg3d.pictures.video import write_video
from groundwork.archive import Folder, read_file
from groundwork.files import atomic_write
from groundwork.images import read_picture
from redirection.gaze_animation.aimed_eyes import to_camera
from redirection.gaze_animation.eye_paths import Calibration
from redirection.gaze_animation.film_painting import SteadyCorrection, follow, painted_frames
from redirection.gaze_animation.whole_faces import FaceEyes, Fates, faces_of, painted
from redirection.lid_points import LidSource, NoLids

QUALITY = 95  # of JPEG
PICTURES, FILM = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}, ".mp4"
MOST_PAIRS, SIDE = 16, 256  # of the sheet: photos, px of a face


def check_out(source: Path, out: Path) -> None:
    """ValueError, one line, for an --out that does not fit --source."""
    if source.is_dir():
        if out.is_file() or (out.is_dir() and any(out.iterdir())):
            raise ValueError(f"--out={out}: --source is a folder; name a new or empty folder")
        return
    wanted = [FILM] if is_film(source.name) else list(PICTURES)
    if out.suffix.lower() not in wanted or out.is_dir():
        raise ValueError(f"--out={out}: cannot be written; end the name in {' or '.join(wanted)}")


def names_in(folder: Folder) -> list[str]:
    """Photos and films of a folder, sorted. ValueError if there is none, or two would get one name."""
    names = sorted({*folder.pictures, *(name for name in folder.bytes if is_film(name))})
    if not names:
        raise ValueError(f"--source={folder.path}: holds no photos or films{folder.why_empty()}; give others")
    targets: dict[Path, str] = {}
    for name in names:
        if (other := targets.setdefault(target_of(name, Path()), name)) != name:
            raise ValueError(f"--source={folder.path}: {other} and {name} would get one name; rename one of them")
    return names


def target_of(name: str, out: Path) -> Path:
    """Of a file of a folder: a photo becomes a PNG, which loses nothing, a film an MP4."""
    return out / PurePosixPath(name).with_suffix(FILM if is_film(name) else ".png")


def write_picture(path: Path, picture: np.ndarray) -> None:
    """uint8 [H, W, 3] -> PNG or JPEG, by the ending, written atomically."""
    buffer, kind = io.BytesIO(), PICTURES[path.suffix.lower()]
    more = {"quality": QUALITY, "subsampling": 0} if kind == "JPEG" else {}
    Image.fromarray(picture).save(buffer, kind, **more)
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, buffer.getvalue())


@dataclass
class Correction:
    """Corrects what it is given. calibration: with it photos are aimed (`aimed_eyes.to_camera`), films never.

    pairs: photos before and after, for the sheet.
    """

    animator: object
    lids: LidSource
    several: bool
    closed: float
    steady: bool
    device: object = "cpu"
    calibration: Calibration | None = None
    photos: Fates = field(default_factory=Fates)
    films: Fates = field(default_factory=Fates)
    pairs: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    more: list[str] = field(default_factory=list)

    def photo(self, file: Path, target: Path, name: str) -> None:
        """One photo, for whose points is asked by its name in the folder; `Unreadable` if it is damaged."""
        picture = np.asarray(read_picture(read_file(file), str(file)))
        self.photos.pictures += 1
        try:
            faces = [FaceEyes.of_points(one) for one in faces_of(self.lids, picture, name, self.several)]
        except NoLids:
            self.photos.without_face += 1
            faces = []
        paints = to_camera(picture, faces, self.animator, self.calibration, self.device)
        size = self.animator.config.size
        corrected = painted(picture, faces, paints, size, self.photos, self.device, self.closed)
        write_picture(target, corrected)
        if faces and len(self.pairs) < MOST_PAIRS:
            self.pairs.append((picture, corrected))

    def film(self, file: Path, target: Path) -> None:
        """One film, with its sound; `Unreadable` if it is damaged."""
        facts, size = film_facts(file), self.animator.config.size
        followed = follow(file, self.lids, self.several, self.steady)
        paint = SteadyCorrection if self.steady else lambda animator: animator.correct
        painters = defaultdict(lambda: paint(self.animator))
        frames = painted_frames(file, followed, painters.__getitem__, size, self.films, self.device, self.closed)
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.resolve().parent) as folder:
            silent = Path(folder) / target.name
            write_video(silent, frames, facts.fps, followed.count)
            if facts.sound:
                how = add_sound(silent, file)
                if how != "copied":
                    what = "was encoded again" if how else "could not be kept"
                    self.more.append(f"{file.name}: its sound ({facts.sound}) {what}, an .mp4 cannot hold it")
            silent.replace(target)

    def facts(self) -> dict:
        both = (self.photos, self.films)
        totals = {name: sum(getattr(one, name) for one in both) for name in ("painted", "pictures", "without_face")}
        return totals | {"photos": asdict(self.photos), "films": asdict(self.films)}

    def notes(self) -> list[str]:
        return [*self.photos.lines("photo"), *self.films.lines("frame"), *self.more]


def write_sheet(path: Path, pairs: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """A PNG: photos as they were above what they became, each as high as a face of the sheet."""

    def small(picture: np.ndarray) -> np.ndarray:
        width = max(1, round(picture.shape[1] * SIDE / picture.shape[0]))
        return np.asarray(Image.fromarray(picture).resize((width, SIDE), Image.Resampling.LANCZOS))

    before, after = (side_by_side([small(pair[which]) for pair in pairs]) for which in (0, 1))
    width = before.shape[1]
    write_png(path, stack([text_strip(width, 26, "Before"), before, text_strip(width, 26, "After"), after]))
