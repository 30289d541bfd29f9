"""Where five points of a face come from: mean points at a known camera, a network, the user's file, or dlib.

Every source is called with (images [N, 3, H, W] in [-1, 1], labels [N, 25], names [N]) and gives points [N, 5, 2] in
pixels; NaN where it finds no face. Its `name` belongs in every report.
"""

import os
from collections import Counter
from pathlib import Path

import numpy as np
import torch

from eg3d.geometry.landmarks import POINTS, WORLD_MEANS, five_points, project, standard_face
from eg3d.metrics.dlib_points import DlibPoints
from eg3d.metrics.face_reader import FaceReader, read_twice
from eg3d.metrics.iresnet import Architecture
from eg3d.metrics.network_file import VERSION, filled, load_network
from groundwork.archive import Folder, normalised
from groundwork.files import WORLD_WEIGHTS
from groundwork.plain import from_plain
from groundwork.strict_json import JsonError, read_json

READER_KIND = "pose and landmark"
READERS = {
    "embedded": WORLD_WEIGHTS / "face_reader.safetensors",
    "people": WORLD_WEIGHTS / "people_face_reader.safetensors",
}
# Of the side, RMS, between the points of a picture and those of its mirror image. Of 300 rendered and 768 generated
# cartoons and of 120 rendered people none exceeds it. What does: smooth colours, all; of pure noise 99 % read as
# cartoons, 72 % as people; of heads upside down 85 % of people, but few cartoons.
MOST_DISAGREEMENT = 0.02
LARGEST_POINTS = 1 << 28  # bytes of a file of points; 70,000 photos with 68 points each have 0.2 GB


class Template:
    """A mean face projected by the rendering camera. Knows nothing of the picture, so it never fails."""

    def __init__(self, face: torch.Tensor, name: str):
        self.face, self.name = face, name

    def __call__(self, images: torch.Tensor, labels: torch.Tensor, names: list[str]) -> torch.Tensor:
        return project(self.face, labels) * images.shape[-1]


class WorldReader:
    """The network of an embedded world. No face: it reads the mirrored picture otherwise."""

    def __init__(self, world: str = "embedded", device="cpu"):
        self.reader, self.sha256 = load_reader(READERS[world], device)
        self.name = f"{world} v{VERSION} ({self.sha256[:12]})"

    @torch.no_grad()
    def __call__(self, images: torch.Tensor, labels: torch.Tensor, names: list[str]) -> torch.Tensor:
        reading, off = read_twice(self.reader, images)
        return reading.points.masked_fill(off[:, None, None] > MOST_DISAGREEMENT, torch.nan) * images.shape[-1]


class FromFile:
    """Points the user found: JSON {name: [[x, y] x 5 or x 68]}, or a folder of `<stem>.txt` with five lines "x y".

    Numbers count from the centre of the first pixel, as detectors write them. Names are matched without their endings,
    not by order. A picture without an entry has no face.
    """

    def __init__(self, path: Path):
        self.name, self.points = f"file {path.name}", read_points(path)
        stems = Counter(Path(name).name for name in self.points)
        self._by_stem = {stem: name for name in self.points if stems[stem := Path(name).name] == 1}

    def __call__(self, images: torch.Tensor, labels: torch.Tensor, names: list[str]) -> torch.Tensor:
        nothing = torch.full((POINTS, 2), torch.nan)
        found = [self.points.get(self._entry(without_ending(name)), nothing) for name in names]
        return torch.stack(found).to(images) + 0.5

    def _entry(self, name: str) -> str | None:
        """Of a picture in a folder only points of its own; of others those whose name ends so, if they are the only."""
        return name if name in self.points or "/" in name else self._by_stem.get(name)


def load_source(text: str, world: str = "", device="cpu"):
    """The source that --landmarks names: template, a world, a .dat, or a file or folder of points.

    world: whose heads the pictures show, which decides on the mean face; empty: photos.
    """
    if text == "template":
        return (
            Template(WORLD_MEANS[world], f"template {world}") if world else Template(standard_face(), "template FFHQ")
        )
    if text in READERS:
        return WorldReader(text, device)
    path = Path(text)
    if not path.exists():
        raise ValueError(f"--landmarks={text}: there is no such file; give a file, template, embedded or people")
    return DlibPoints(path) if path.suffix == ".dat" else FromFile(path)


def load_reader(path: Path, device="cpu") -> tuple[FaceReader, str]:
    """(embedded pose and landmark network, SHA-256 of the file)."""
    stored = load_network(path, READER_KIND)
    architecture = from_plain(Architecture, stored.architecture)
    reader = filled(lambda: FaceReader(architecture), stored.state, path, f"a {READER_KIND} network")
    return reader.to(device), stored.sha256


def read_text_points(path: Path) -> dict[str, list[list[str]]]:
    """{name: lines, each as its words} of the .txt files of a folder and its subfolders."""
    folder = Folder(path)
    files = sorted(name for name in folder.bytes if name.endswith(".txt"))
    texts = {name: folder.read(name).decode(errors="replace") for name in files}
    return {name: [line.split() for line in text.splitlines() if line.strip()] for name, text in texts.items()}


def read_points(path: Path) -> dict[str, torch.Tensor]:
    """{stem: points [5, 2]} of a JSON file, or of a folder of text files; ValueError names the entry that is wrong."""
    if path.is_dir():
        entries = read_text_points(path)
    else:
        try:
            entries = read_json(path, LARGEST_POINTS, finite=False)
        except JsonError as error:
            advice = "write {name: [[x, y], ...]} or give a folder of .txt"
            raise ValueError(f"{path}: is not JSON ({error}); {advice}") from None
    if not isinstance(entries, dict) or not entries:
        raise ValueError(f"{path}: holds no points; write {{name: [[x, y], ...]}} with 5 or 68 points")
    points = {without_ending(str(name)): _points(path, name, rows) for name, rows in entries.items()}
    if len(points) < len(entries):
        raise ValueError(f"{path}: has two entries of one name, apart from the ending; write each name once")
    return points


def without_ending(name: str) -> str:
    return os.path.splitext(normalised(name))[0]


def _points(path: Path, name: str, rows) -> torch.Tensor:
    try:
        points = np.array(rows, dtype=np.float64)
    except (ValueError, TypeError, OverflowError):
        points = np.empty(0)
    if points.shape not in ((POINTS, 2), (68, 2)) or not np.isfinite(points).all():
        raise ValueError(f"{path}: '{str(name)[:80]}' must have 5 or 68 points, each two finite numbers x y")
    return torch.from_numpy(five_points(points) if len(points) == 68 else points).float()
