"""Photos that a webcam takes of an embedded world's heads, written in MPIIFaceGaze's layout with all that is true."""

import io
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.spatial.transform import Rotation
from tqdm import tqdm

from dataset_preprocessing.nv_rendering import mpii_layout
from dataset_preprocessing.nv_rendering.mpii_layout import Camera, PhotoRow, SourceRow
from eg3d.world.photograph import (
    EYE_CORNERS_AND_MOUTH,
    FLIP,
    TRUTH_FILE,
    Shot,
    in_photo,
    millimetres,
    photograph,
    posed,
    truth_of,
)
from eg3d.world.rendered_sets import IDENTITIES_PER_SEED, head_angles_to_vector, vector_to_head_angles
from eg3d.world.worlds import world_of
from groundwork.draw_keys import draw_key
from groundwork.files import atomic_write
from groundwork.strict_json import JsonError, read_json
from groundwork.workers import in_processes

SOURCES = Path("supplementary", "mpii", "source_supply")  # below the folder of the photos, as the published files lie
FOCAL = (0.70, 0.95)  # of a camera, in widths of the picture
LENS = ((-0.15, 0.10), (-0.04, 0.06), (-0.002, 0.002), (-0.002, 0.002), (-0.01, 0.01))  # k1, k2, p1, p2, k3
DISTANCE = (450.0, 750.0)  # mm from the camera to the face centre
OFF_MIDDLE = (0.22, 0.14)  # of width and height: how far from the middle of the picture the face centre is, at most
SCREEN = (345.0, 194.0, 12.0)  # mm: width and height of the screen, and how far its upper edge is below the camera
SCREEN_PIXELS = (1920, 1080)
MOST_TURN = (0.6, 0.4)  # rad, eye in head, yaw and pitch: what people's lids permit
FREE_DISTANCE = (350.0, 800.0)  # mm from the face centre to a free gaze target
PHOTOS_PER_DAY, SETTINGS_PER_PERSON = 25, 100_000
MOST_ATTEMPTS = 2000
QUALITY = 95  # of the JPEG files


@dataclass(frozen=True)
class Webcam:
    """Settings of a set. size: (width, height) px; yaw, pitch, roll: largest head angles, degrees: seen from the camera
    along the line to the face; gaze: "free" or "screen"."""

    world: str = "cartoons"
    split: str = "gaze-loss"
    seed: int = 0
    people: int = 15
    photos: int = 100
    size: tuple[int, int] = (640, 480)
    yaw: float = 15.0
    pitch: float = 15.0
    roll: float = 5.0
    gaze: str = "free"


def write_photos(folder: Path, webcam: Webcam, workers: int = 1, progress: bool = False) -> int:
    """Writes the set, or what is missing of it; gives the number of new photos.

    A photo depends on the settings, the person and its place alone, so the number of workers changes nothing. A file
    appears when it is whole. ValueError if the folder holds a set of other settings.
    """
    folder, people = Path(folder), {}
    _begin(folder, webcam)
    total, new = webcam.people * webcam.photos, 0
    with tqdm(total=total, desc=f"photos of {webcam.world}", unit="photo", disable=not progress) as bar:
        done = _all_photos(folder, webcam, workers)
        for index in range(webcam.people):
            facts = []
            for _ in range(webcam.photos):
                facts.append(next(done))
                new += facts[-1].new
                bar.update()
            name = f"p{index:02}"
            camera = camera_of_person(webcam, index)
            mpii_layout.write_person(folder, name, [fact.photo for fact in facts], camera)
            mpii_layout.write_sources(folder / SOURCES, name, [fact.source for fact in facts])
            people[name] = _plain(facts)
    _write_truth(folder, webcam, people)
    return new


def _begin(folder: Path, webcam: Webcam) -> None:
    path = folder / TRUTH_FILE
    if not path.exists():
        if folder.is_dir() and any(not path.name.startswith(".") for path in folder.iterdir()):
            raise ValueError(f"{folder}: holds other files; give a new or empty folder")
        _write_truth(folder, webcam, {})
        return
    try:
        found = read_json(path)
    except JsonError as error:
        raise ValueError(f"{path}: is not JSON ({error}); give a new folder") from None
    before, asked = found.get("settings") if isinstance(found, dict) else None, _settings(webcam)
    if not isinstance(before, dict):
        raise ValueError(f"{path}: is not of a set of photos; give a new folder")
    unlike = [name for name in asked if before.get(name) != asked[name]]
    if unlike:
        what = ", ".join(f"{name} {before.get(name)!r:.40} and not {asked[name]!r}" for name in unlike)
        raise ValueError(f"{folder}: holds photos of {what}; give a new folder, or the same settings to go on")


def _settings(webcam: Webcam) -> dict:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(webcam).items()} | {
        "version": world_of(webcam.world).version
    }


def _write_truth(folder: Path, webcam: Webcam, people: dict) -> None:
    text = json.dumps({"settings": _settings(webcam), "people": people}, separators=(",", ":"), allow_nan=False)
    lines = text.replace('"p', '\n"p')  # each person and each photo on a line of its own, for who looks at it
    atomic_write(folder / TRUTH_FILE, lines.encode() + b"\n")


SHARED = ("world", "split", "person", "matrix", "lens", "width", "height")  # of all shots of a person


def _plain(facts: list["Facts"]) -> dict:
    """What `read_shots` reads of one person."""
    rows = {fact.photo.name: asdict(fact.shot) for fact in facts}
    first = next(iter(rows.values()))
    own = {name: {key: value for key, value in row.items() if key not in SHARED} for name, row in rows.items()}
    return {name: first[name] for name in SHARED} | {"photos": own}


# ---------------------------------------------------------------- one photo


@dataclass(frozen=True)
class Facts:
    """What is written about a photo; new: whether the photo itself was made now."""

    shot: Shot
    photo: PhotoRow
    source: SourceRow
    new: bool


def _all_photos(folder: Path, webcam: Webcam, workers: int) -> Iterator[Facts]:
    places = [(index, photo) for index in range(webcam.people) for photo in range(webcam.photos)]
    make = partial(_make, folder=folder, webcam=webcam)
    if workers == 1:
        return map(make, places)
    return in_processes(make, places, workers, at_once=8)


def _make(place: tuple[int, int], folder: Path, webcam: Webcam) -> Facts:
    """Writes a photo unless it is there; its facts."""
    index, photo = place
    shot, screen = draw_shot(webcam, index, photo)
    row, source = rows_of(webcam, index, photo, shot, screen)
    path = folder / row.name
    new = not path.exists()
    if new:
        out = io.BytesIO()
        Image.fromarray(photograph(shot)).save(out, format="jpeg", quality=QUALITY, subsampling=0)
        atomic_write(path, out.getvalue())
    return Facts(shot, row, source, new)


def rows_of(
    webcam: Webcam, index: int, photo: int, shot: Shot, screen: np.ndarray | None
) -> tuple[PhotoRow, SourceRow]:
    """The annotation line and the source row of a photo. screen [3] mm: the drawn gaze target, if it is on a screen.

    The gaze target is the face centre plus the gaze times a distance, so that target minus centre is the gaze exactly.
    """
    truth, rng = truth_of(shot), _rng(webcam, "target", index, photo)
    distance = rng.uniform(*FREE_DISTANCE) if screen is None else np.linalg.norm(screen - truth.centre)
    target = truth.centre + distance * truth.gaze
    turn = Rotation.from_matrix(truth.rotation).as_rotvec()
    person = f"p{index:02}"
    name = f"{person}/day{1 + photo // PHOTOS_PER_DAY:02}/{1 + photo % PHOTOS_PER_DAY:04}.jpg"
    row = PhotoRow(
        name=name,
        person=person,
        landmarks6=truth.landmarks[list(EYE_CORNERS_AND_MOUTH)],
        gaze_target=target,
        rotation=turn,
        translation=truth.translation,
        centre=truth.centre,
        eye=str(rng.choice(mpii_layout.EYES)),
        screen=np.zeros(2) if screen is None else _screen_pixels(screen),
    )
    camera = Camera(np.reshape(shot.matrix, (3, 3)), np.array(shot.lens))
    pose = np.concatenate([turn, truth.translation])
    return row, SourceRow(name, target, camera, pose, truth.landmarks)


def _screen_pixels(target: np.ndarray) -> np.ndarray:
    """A point of the screen [3] mm -> pixels from its upper left corner, as whoever looks at it counts."""
    width, height, below = SCREEN
    place = np.array([0.5 - target[0] / width, (target[1] - below) / height])
    return place * SCREEN_PIXELS


# ---------------------------------------------------------------- draws


def _rng(webcam: Webcam, what: str, index: int, photo: int) -> np.random.Generator:
    key = draw_key(webcam.seed, f"webcam-{what}-{webcam.split}-{index}", photo, world_of(webcam.world).version)
    return np.random.default_rng([key, index, photo])


def camera_of_person(webcam: Webcam, index: int) -> Camera:
    """The camera of a person: no two have the same."""
    rng, (width, height) = _rng(webcam, "camera", index, 0), webcam.size
    focal = width * rng.uniform(*FOCAL)
    middle = np.array([width, height]) / 2 - 0.5 + rng.normal(0, 0.012, 2) * [width, height]
    matrix = np.array([[focal, 0, middle[0]], [0, focal * rng.uniform(0.995, 1.005), middle[1]], [0, 0, 1]])
    return Camera(matrix, np.array([rng.uniform(*ends) for ends in LENS]))


def draw_shot(webcam: Webcam, index: int, photo: int) -> tuple[Shot, np.ndarray | None]:
    """A person's photo, and the gaze target [3] mm on the screen, or None.

    Where the face is, how the head is turned and where the eyes look are drawn together, until the face is in the
    picture and the eyes can look there. ValueError if that never happens.
    """
    rng, camera = _rng(webcam, "photo", index, photo), camera_of_person(webcam, index)
    number = webcam.seed * IDENTITIES_PER_SEED + index
    more = dict(
        world=webcam.world,
        split=webcam.split,
        person=number,
        setting=number * SETTINGS_PER_PERSON + photo,
        matrix=camera.matrix,
        lens=camera.distortion,
        width=webcam.size[0],
        height=webcam.size[1],
    )
    points = _usual_landmarks(webcam.world, webcam.split, number)
    middle = points[list(EYE_CORNERS_AND_MOUTH)].mean(axis=0)
    for _ in range(MOST_ATTEMPTS):
        centre = _face_centre(rng, webcam, camera)
        rotation = _head_rotation(rng, webcam, centre)
        translation = centre - rotation @ middle
        gaze, screen = _gaze(rng, webcam, centre, rotation)
        if gaze is None:
            continue
        shot = posed(rotation, translation, gaze=gaze, **more)
        seen = in_photo(shot, points @ rotation.T + translation)
        if (seen > 0.02 * shot.width).all() and (seen < np.array(webcam.size) - 0.02 * shot.width).all():
            return shot, screen
    raise ValueError(
        f"no photo of p{index:02} was found in {MOST_ATTEMPTS} tries in which the face is in the picture and the eyes "
        "can look there; give smaller head angles, or --gaze=free"
    )


@lru_cache(maxsize=64)
def _usual_landmarks(world: str, split: str, person: int) -> np.ndarray:
    """Landmarks [68, 3] mm in the head frame, with some expression, of eyes that look ahead."""
    its = world_of(world)
    points = its.landmarks(its.draw(split, person), np.zeros(25), np.array([0.0, 0.0, 1.0]))
    return millimetres(world, split, person) * np.asarray(points, np.float64) @ FLIP


def _face_centre(rng: np.random.Generator, webcam: Webcam, camera: Camera) -> np.ndarray:
    off = rng.uniform(-1, 1, 2) * OFF_MIDDLE
    pixel = camera.matrix[:2, 2] + off * webcam.size
    ray = np.append((pixel - camera.matrix[:2, 2]) / np.diag(camera.matrix)[:2], 1.0)
    return rng.uniform(*DISTANCE) * ray / np.linalg.norm(ray)


def _head_rotation(rng: np.random.Generator, webcam: Webcam, centre: np.ndarray) -> np.ndarray:
    """Head -> camera: uniform yaw and pitch as seen along the line to the face, and a little roll about that line."""
    pitch, yaw, roll = np.radians(rng.uniform(-1, 1, 3) * [webcam.pitch, webcam.yaw, webcam.roll])
    forward = centre / np.linalg.norm(centre)
    right = np.cross([0.0, 1.0, 0.0], forward)
    right /= np.linalg.norm(right)
    seen = np.stack([right, np.cross(forward, right), forward])  # camera -> a camera that looks at the face
    turn = Rotation.from_euler("ZYX", [roll, yaw, -pitch]).as_matrix()
    return seen.T @ turn


def _gaze(rng: np.random.Generator, webcam: Webcam, centre: np.ndarray, rotation: np.ndarray):
    """Gaze [3] in the world, or None if the eyes cannot turn so far; and the gaze target [3] mm on the screen or None.

    Free: uniform eye in head. Screen: uniform on a screen below the camera, parallel to its picture.
    """
    most = np.minimum(world_of(webcam.world).eye_range, MOST_TURN)
    if webcam.gaze == "free":
        return head_angles_to_vector(*(rng.uniform(-1, 1, 2) * most)), None
    width, height, below = SCREEN
    target = np.array([rng.uniform(-0.5, 0.5) * width, below + rng.uniform() * height, 0.0])
    gaze = FLIP @ rotation.T @ (target - centre)
    gaze /= np.linalg.norm(gaze)
    can = (np.abs(vector_to_head_angles(gaze)) <= most).all()
    return (gaze if can else None), target
