"""68 points of faces in photos, six of the lids of each eye among them, from three sources.

mesh: MTCNN finds faces, MediaPipe's FaceMesh the points (packages of `make photos`). A file or folder of points: 68
for each photo, as `preprocess_ffhq.py` reads them. A dlib predictor of 68 points. All give points in pixels, counted
from the outer edge of the first one, and in the usual order: outer corner or inner corner at the image's left first.
"""

from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from dataset_preprocessing.ffhq.photo_landmarks import by_photo, read_landmarks
from eg3d.faces.face_mesh import PRESENT, FaceMesh
from eg3d.faces.mesh_surface import OF_68
from eg3d.faces.mtcnn import Mtcnn
from eg3d.faces.squares import Squares
from eg3d.metrics.dlib_points import largest_face, load_predictor, points_in
from redirection.eye_patches import LIDS

MESH = "mesh"
LEAST_SCORE = 0.9  # of a face, as in preprocess_in_the_wild.py
ROUND_FACE = 1.5  # side of FaceMesh's first look over the longer side of MTCNN's box
Lids = dict[str, np.ndarray]


class NoLids(Exception):
    """This photo has none; the text says why."""


def lids_of(points: np.ndarray) -> Lids:
    """Of a face's 68 points [68, 2]."""
    return {eye: points[which] for eye, which in LIDS.items()}


class LidSource(ABC):
    """name: for reports. Called with an RGB picture and its name: the lids of its largest face, or NoLids."""

    name: str

    @abstractmethod
    def points(self, picture: np.ndarray, name: str) -> np.ndarray:
        """All 68 of the largest face, px [68, 2], or NoLids."""

    def every(self, picture: np.ndarray, name: str) -> list[np.ndarray]:
        """Of all faces, the largest first, as far as this source knows several."""
        return [self.points(picture, name)]

    def __call__(self, picture: np.ndarray, name: str) -> Lids:
        return lids_of(self.points(picture, name))


class MeshLids(LidSource):
    """By MTCNN and FaceMesh."""

    name = "MTCNN and FaceMesh"

    def __init__(self, device="cpu"):
        self._faces, self._mesh = Mtcnn(device), FaceMesh(device)
        self._device = device

    def points(self, picture: np.ndarray, name: str) -> np.ndarray:
        return self.every(picture, name)[0]

    @torch.no_grad()
    def every(self, picture: np.ndarray, name: str) -> list[np.ndarray]:
        found = self._faces(Image.fromarray(picture))
        sure = np.flatnonzero(found.scores >= LEAST_SCORE)
        if not len(sure):
            raise NoLids("no face found")
        boxes, eyes = found.boxes[sure], found.points[sure, :2]
        order = np.argsort(-(boxes[:, 2:] - boxes[:, :2]).sum(axis=1), kind="stable")
        boxes, along = boxes[order], (eyes[:, 1] - eyes[:, 0])[order]
        image = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float().to(self._device) / 127.5 - 1
        faces, presence = [], []
        for box, (x, y) in zip(boxes, along, strict=True):
            centre = torch.tensor((box[:2] + box[2:]) / 2, dtype=torch.float32, device=self._device)[None]
            side = torch.tensor([ROUND_FACE * (box[2:] - box[:2]).max()], dtype=torch.float32, device=self._device)
            reading = self._mesh.find(image, Squares(centre, side, torch.full_like(side, float(np.arctan2(y, x)))))
            presence.append(float(reading.presence[0]))
            if presence[-1] >= PRESENT:
                faces.append(reading.points[0, list(OF_68), :2].double().cpu().numpy())
        if not faces:
            raise NoLids(f"FaceMesh sees no face (presence {presence[0]:.2f})")
        return faces


class ListedLids(LidSource):
    """From a file or folder of points, found by name."""

    def __init__(self, path: Path, names: list[str]):
        self.name = f"points of {path.name}"
        self._entries = read_landmarks(path)
        self._of = by_photo(names, self._entries)

    def points(self, picture: np.ndarray, name: str) -> np.ndarray:
        if name not in self._of:
            raise NoLids("there are no points of it")
        entry = self._entries[self._of[name]]
        if len(entry.points) != 68:
            raise NoLids(f"has {len(entry.points)} points, lids need 68")
        if entry.size is not None and entry.size != (picture.shape[1], picture.shape[0]):
            raise NoLids(f"its points are of a photo of {entry.size[0]}x{entry.size[1]}")
        return entry.points + 0.5  # those count from centres


class DlibLids(LidSource):
    """By dlib's detector and a predictor of 68 points, a file that its code trusts."""

    def __init__(self, path: Path):
        dlib, self._predict = load_predictor(path)
        self.name, self._detect = f"dlib {path.name}", dlib.get_frontal_face_detector()

    def points(self, picture: np.ndarray, name: str) -> np.ndarray:
        box = largest_face(self._detect, picture)
        if box is None:
            raise NoLids("no face found")
        points = points_in(self._predict, picture, box)
        if len(points) != 68:
            raise NoLids(f"the predictor gives {len(points)} points, lids need 68")
        return points + 0.5


def load_lids(text: str, names: list[str], device="cpu") -> LidSource:
    """The source that --landmarks names: mesh, a .dat, or a file or folder of points of the photos `names`."""
    if text == MESH:
        return MeshLids(device)
    path = Path(text)
    if not path.exists():
        raise ValueError(f"--landmarks={text}: there is no such file or folder; give points, a .dat, or {MESH}")
    return DlibLids(path) if path.suffix == ".dat" else ListedLids(path, names)
