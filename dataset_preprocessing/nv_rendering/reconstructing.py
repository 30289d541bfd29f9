"""All photos of MPIIFaceGaze's layout -> reconstructed faces: in several processes, and only what is missing."""

import functools
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from tqdm import tqdm

from dataset_preprocessing.nv_rendering import mesh_files
from dataset_preprocessing.nv_rendering.mpii_layout import Camera, camera_of, people, read_person
from dataset_preprocessing.nv_rendering.regressors import (
    DdfaFiles,
    DdfaRegressor,
    DdfaWays,
    FaceMeshRegressor,
    FolderRegressor,
    MeshFinder,
    NoFace,
    Regressor,
    View,
)
from dataset_preprocessing.nv_rendering.true_meshes import TrueMeshes
from eg3d.world.photograph import read_shots
from groundwork.archive import Unreadable, read_file
from groundwork.files import atomic_write
from groundwork.images import read_picture, silence_pillow
from groundwork.strict_json import JsonError, read_json
from groundwork.workers import in_processes
from l2cs.normalization import undistorted, undistorted_points

FACTS_FILE = "reconstruction.json"  # in the output folder: how its meshes were made, and which photos have none
ENDINGS = (".png", ".jpg", ".JPG", ".PNG")  # of photos, as the published program looks for
FACEMESH, DDFA, WORLD = "facemesh", "3ddfa", "world"
MOST_FACTS = 1 << 26


@dataclass(frozen=True)
class Settings:
    """What decides about a mesh. regressor: a name of the above, or a folder; legacy: the photo stays distorted, and
    pixels are mixed as published; weights, configs, triangles: 3DDFA's files; truth: the world's;
    balls: facemesh's eyes are balls."""

    regressor: str
    legacy: bool = False
    twice: bool = False
    by_landmarks: bool = True
    weights: str = ""
    configs: str = ""
    triangles: str = ""
    truth: str = ""
    balls: bool = True


@dataclass(frozen=True)
class Photo:
    """A photo to reconstruct. name: "p00/day01/0005.jpg"; stem: where its files go; landmarks6: [6, 2] px, or None."""

    name: str
    path: Path
    stem: Path
    camera: Camera
    landmarks6: np.ndarray | None


@dataclass(frozen=True)
class Outcome:
    """fault: why a photo has no mesh; empty if it has one."""

    name: str
    fault: str = ""


def photos_of(root: Path, out: Path) -> list[Photo]:
    """The photos p*/day*/* in order, with what is known of them. ValueError if there is none, or two have one place."""
    found = []
    for person in people(root):
        camera = camera_of(root, person)
        marked = {}
        if (root / person / f"{person}.txt").is_file():
            marked = {row.name: row.landmarks6 for row in read_person(root, person)}
        for path in sorted(path for path in (root / person).glob("day*/*") if path.suffix in ENDINGS):
            name = path.relative_to(root).as_posix()
            stem = out / PurePosixPath(name).with_suffix("")
            found.append(Photo(name, path, stem, camera, marked.get(name)))
    if not found:
        raise ValueError(f"{root}: holds no photos p00/day01/0005.jpg; give the folder of MPIIFaceGaze")
    if twice := [stem for stem, count in Counter(photo.stem for photo in found).items() if count > 1]:
        raise ValueError(f"{root}: two photos are called {twice[0].relative_to(out)}; their meshes would have one name")
    return found


def reconstruct(
    photos: list[Photo], settings: Settings, endings: tuple[str, ...], device: str, processes: int
) -> Iterator[Outcome]:
    """Makes the files of each photo that lacks some of them, in order."""
    work = functools.partial(_reconstruct, settings=settings, endings=endings, device=device)
    if processes == 1 or len(photos) < 2:
        yield from map(work, photos)
    else:
        yield from in_processes(work, photos, min(processes, len(photos)), at_once=1)


def run(
    photos: list[Photo], settings: Settings, out: Path, endings: tuple[str, ...], device: str, processes: int
) -> tuple[int, dict[str, str]]:
    """(number of meshes made, {photo without one: why}); notes both in the folder's facts."""
    missing = [photo for photo in photos if not mesh_files.is_written(photo.stem, endings)]
    outcomes = reconstruct(missing, settings, endings, device, processes)
    faults = {
        outcome.name: outcome.fault
        for outcome in tqdm(outcomes, "reconstructing", len(missing), unit="photo", disable=None)
        if outcome.fault
    }
    facts = {"settings": asdict(settings), "photos": len(photos), "without a mesh": faults}
    atomic_write(out / FACTS_FILE, json_bytes(facts))
    return len(missing) - len(faults), faults


def check_settings(out: Path, settings: Settings) -> None:
    """Notes the settings in a folder without meshes. ValueError if the meshes there were made by others.

    A run that ended before its first mesh does not bind the next one.
    """
    path = out / FACTS_FILE
    if not any(not file.name.startswith(".") for file in out.glob("p*/day*/*")):
        atomic_write(path, json_bytes({"settings": asdict(settings)}))
        return
    try:
        found = read_json(path, MOST_FACTS)["settings"]
        # A set that was moved is still the same one.
        differing = [name for name, value in asdict(settings).items() if found[name] != value and name != "truth"]
    except (JsonError, KeyError, TypeError):
        raise ValueError(f"{path}: does not say how the meshes there were made; give another --output_dir") from None
    if differing:
        name = differing[0]
        raise ValueError(f"{out}: its meshes were made with {name}={found[name]!s:.60}, not {asdict(settings)[name]}; "
                         "give another --output_dir")  # fmt: skip


def json_bytes(value: dict) -> bytes:
    return (json.dumps(value, indent=1) + "\n").encode()


def _reconstruct(photo: Photo, settings: Settings, endings: tuple[str, ...], device: str) -> Outcome:
    try:
        mesh = regressor_of(settings, device)(view_of(photo, settings.legacy))
    except (NoFace, Unreadable) as fault:
        return Outcome(photo.name, str(fault))
    mesh_files.write_reconstruction(photo.stem, mesh, endings)
    return Outcome(photo.name)


def view_of(photo: Photo, distorted: bool = False) -> View:
    """The photo, by default as a camera without distortion would have taken it, and its landmarks likewise.

    `Unreadable` if it is damaged.
    """
    silence_pillow()
    pixels = np.array(read_picture(read_file(photo.path), str(photo.path)))
    matrix, lens, six = photo.camera.matrix, photo.camera.distortion, photo.landmarks6
    if distorted or not lens.any():
        return View(photo.name, pixels, matrix, six)
    six = None if six is None else undistorted_points(six, matrix, lens)
    return View(photo.name, undistorted(pixels, matrix, lens), matrix, six)


@functools.lru_cache(maxsize=1)
def regressor_of(settings: Settings, device: str) -> Regressor:
    """The regressor, once for each process. ValueError, one line, if a package or a file of it is missing."""
    torch.set_num_threads(1)  # the processes share the cores already
    if settings.regressor == FACEMESH:
        return FaceMeshRegressor(device, settings.balls)
    if settings.regressor == DDFA:
        files = DdfaFiles(Path(settings.weights), Path(settings.configs), Path(settings.triangles))
        finder = MeshFinder(device)
        ways = DdfaWays(settings.twice, settings.by_landmarks, settings.legacy)
        return DdfaRegressor(files, lambda view: finder(view).landmarks, ways, device)
    if settings.regressor == WORLD:
        return TrueMeshes(read_shots(Path(settings.truth)))
    if not Path(settings.regressor).is_dir():
        raise ValueError(f"--regressor={settings.regressor}: there is no such folder of meshes; give one, {FACEMESH}, "
                         f"{DDFA}, or {WORLD}")  # fmt: skip
    return FolderRegressor(Path(settings.regressor))
