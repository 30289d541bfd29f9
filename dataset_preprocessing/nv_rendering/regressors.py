"""Who reconstructs the face of a photo: one small class for each, all called in the same way.

A regressor takes a `View` and gives a `Reconstruction`, or raises `NoFace` if this photo has none for it. Its `facts`
say which networks and files it is made of.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
import torch

from dataset_preprocessing.nv_rendering import mesh_files
from dataset_preprocessing.nv_rendering.crop_box import (
    blended_colours,
    box_of_face,
    box_of_landmarks,
    crop_matrix,
    cut,
    nearest_colours,
    to_photo,
)
from dataset_preprocessing.nv_rendering.head_pose import LANDMARKS_6
from dataset_preprocessing.nv_rendering.mesh_eyes import head_axes, with_balls
from dataset_preprocessing.nv_rendering.mesh_files import Reconstruction
from dataset_preprocessing.nv_rendering.mobilenet import load_mobilenet
from dataset_preprocessing.nv_rendering.morphable_model import load_model, read_triangles
from eg3d.faces.face_mesh import PRESENT, FaceMesh
from eg3d.faces.mesh_surface import OF_68, fine_surface
from eg3d.faces.short_range import FOUND, ShortRange
from eg3d.faces.squares import Squares

# Of FaceMesh's first square round a face: from the six landmarks, in distances between the outer corners of the eyes
# and between eyes and mouth; whichever is larger holds of a turned face.
BY_WIDTH, BY_HEIGHT = 2.5, 3.4
FARTHEST = 0.5  # of a mesh's six landmarks from those annotated, in distances from eyes to mouth: else another face
# FaceMesh's depth over its x and y. On 16 heads of the world people the mesh fits the true one best at 1.0 in the place
# where it is seen, and at 0.8 if it may be turned; the tip of the nose at 0.8. (Rotations alone fit best at 1.2, which
# is `mesh_pose.DEPTH`.)
DEPTH = 0.9
AROUND = 1.5  # how much of the photo the networks get, in sides of the first square


class NoFace(ValueError):
    """A photo in which there is no face, or not the one that is meant; the reason, without the photo's name."""


@dataclass(frozen=True)
class View:
    """A photo.

    name: "p00/day01/0005.jpg"; photo: uint8 [H, W, 3], RGB, without the lens's distortion; camera: [3, 3] of it, or
    None if it is not known; landmarks6: [6, 2] px of the face that is meant, in the order of MPIIFaceGaze, or None.
    """

    name: str
    photo: np.ndarray
    camera: np.ndarray | None = None
    landmarks6: np.ndarray | None = None


Regressor = Callable[[View], Reconstruction]


# ------------------------------------------------------------------ FaceMesh, for everybody


@dataclass(frozen=True)
class MeshFound:
    """points: [468, 3] px of the photo, the first pixel's centre at 0, z in the same unit, larger = further; axes:
    [3, 3], columns right, down and into the head."""

    points: np.ndarray
    axes: np.ndarray

    @property
    def landmarks(self) -> np.ndarray:
        """[68, 3], likewise."""
        return self.points[list(OF_68)]


class MeshFinder:
    """Finds the face that is meant, or else the clearest, and FaceMesh's points of it."""

    def __init__(self, device="cpu"):
        """ValueError, one line, if the package is not installed."""
        self.device, self._mesh, self._faces = device, FaceMesh(device), ShortRange(device)
        self.facts = {"face mesh": self._mesh.sha256, "faces": self._faces.sha256}

    @torch.no_grad()
    def __call__(self, view: View) -> MeshFound:
        square = self._clearest(view.photo) if view.landmarks6 is None else square_of_six(view.landmarks6)
        part, corner = around(view.photo, square)
        reading = self._mesh.find(self._images(part), square._replace(centre=square.centre - torch.tensor(corner)))
        if not (presence := reading.presence.item()) >= PRESENT:
            raise NoFace(f"FaceMesh sees no face (presence {presence:.2f}, least {PRESENT})")
        points = reading.points[0].double().cpu().numpy()
        placed = points * (1, 1, DEPTH) + (*(corner - 0.5), 0)  # the network's first pixel spans 0..1
        found = MeshFound(placed, head_axes(points))
        if view.landmarks6 is not None and (off := _distance(found.landmarks, view.landmarks6)) > FARTHEST:
            raise NoFace(f"FaceMesh finds another face, {off:.1f} times the distance from eyes to mouth away")
        return found

    def _clearest(self, photo: np.ndarray) -> Squares:
        found = self._faces.find(self._images(photo))
        if not found.score.item() >= FOUND:
            raise NoFace(f"no face is found (score {found.score.item():.2f}, least {FOUND})")
        return Squares(*(numbers.cpu() for numbers in found.squares))

    def _images(self, photo: np.ndarray) -> torch.Tensor:
        pixels = torch.from_numpy(np.ascontiguousarray(photo)).to(self.device)
        return pixels.permute(2, 0, 1)[None].float() / 127.5 - 1


def square_of_six(six: np.ndarray) -> Squares:
    """Where FaceMesh looks first for the face of six landmarks [6, 2] px."""
    eye, other, mouth = six.reshape(3, 2, 2).mean(axis=1)
    along, eyes = other - eye, (eye + other) / 2
    side = max(BY_WIDTH * np.linalg.norm(six[3] - six[0]), BY_HEIGHT * np.linalg.norm(mouth - eyes))
    numbers = (eyes + mouth) / 2 + 0.5, side, np.arctan2(along[1], along[0])
    return Squares(*(torch.tensor(np.array([number]), dtype=torch.float32) for number in numbers))


def around(photo: np.ndarray, square: Squares) -> tuple[np.ndarray, np.ndarray]:
    """The part of a photo round a square, and its corner (x, y) px: networks need not be shown all of it."""
    half, centre = AROUND * square.side.item() / 2, square.centre[0].numpy()
    size = np.array(photo.shape[1::-1])
    low, high = (np.clip(np.rint(edge).astype(int), 0, size) for edge in (centre - half, centre + half))
    if (high - low).min() < 2:
        raise NoFace("its annotated face lies outside the photo")
    return photo[low[1] : high[1], low[0] : high[0]], low.astype(np.float32)


def _distance(landmarks: np.ndarray, six: np.ndarray) -> float:
    """Mean distance of a mesh's six landmarks from others, in distances from eyes to mouth."""
    eyes, mouth = six[:4].mean(axis=0), six[4:].mean(axis=0)
    off = np.linalg.norm(landmarks[list(LANDMARKS_6), :2] - six, axis=1).mean()
    return float(off / max(np.linalg.norm(eyes - mouth), 1e-9))


class FaceMeshRegressor:
    """FaceMesh's 468 points, made finer. A mouth is closed by a surface with the photo's colours on it; so are eyes if
    they are not `balls`."""

    def __init__(self, device="cpu", balls: bool = True):
        self._find, self._balls = MeshFinder(device), balls
        self.facts = {"regressor": "facemesh", **self._find.facts}

    def __call__(self, view: View) -> Reconstruction:
        found, surface = self._find(view), fine_surface()
        crop = crop_matrix(box_of_landmarks(found.landmarks[:, :2]))
        vertices = surface.vertices(found.points)
        if self._balls:
            vertices = with_balls(vertices, found.points, found.axes)
        return Reconstruction(
            vertices=into_crop(vertices, crop),
            colours=blended_colours(view.photo, vertices[:, :2]),
            faces=surface.faces,
            landmarks=into_crop(found.landmarks, crop),
            crop=crop,
        )


def into_crop(points: np.ndarray, crop: np.ndarray) -> np.ndarray:
    """Points [N, 3], x and y in pixels of the photo, z in the same unit -> the same in pixels of a square crop."""
    scale = np.array([crop[0, 0], crop[1, 1], (crop[0, 0] + crop[1, 1]) / 2])
    return points * scale + (crop[0, 2], crop[1, 2], 0)


# ------------------------------------------------------------------ 3DDFA, from users' files


@dataclass(frozen=True)
class DdfaFiles:
    """What users bring. weights: phase1_wpdc_vdc.pth.tar; configs: the folder train.configs; triangles: tri.mat."""

    weights: Path
    configs: Path
    triangles: Path


@dataclass(frozen=True)
class DdfaWays:
    """How 3DDFA looks.

    twice: again, at a box round the landmarks that it has found itself (`--bbox_init=two`); by_landmarks: the first box
    is that round 68 landmarks, else one round the face as a whole; legacy: the published mix of pixel conventions.
    """

    twice: bool = False
    by_landmarks: bool = True
    legacy: bool = False


class DdfaRegressor:
    """3DDFA's MobileNet and morphable model. find: View -> [68, 2 or more] px, where the face is."""

    def __init__(self, files: DdfaFiles, find: Callable[[View], np.ndarray], ways: DdfaWays, device="cpu"):
        self._network, sha256 = load_mobilenet(files.weights, device)
        self._model = load_model(files.configs)
        self._faces = read_triangles(files.triangles, len(self._model.mean) // 3)
        self._find, self._ways, self._device = find, ways, device
        self.facts = {"regressor": "3ddfa", "weights": sha256}

    def __call__(self, view: View) -> Reconstruction:
        first = self._find(view)[:, :2]
        legacy = self._ways.legacy
        if self._ways.by_landmarks:
            box = box_of_landmarks(first)
        else:
            box = box_of_face(np.concatenate([first.min(axis=0), first.max(axis=0)]))
        face, crop = self._look(view.photo, box)
        if self._ways.twice:
            face, crop = self._look(view.photo, box_of_landmarks(to_photo(face.landmarks, crop)))
        places = to_photo(face.vertices, crop)
        colours = (nearest_colours if legacy else blended_colours)(view.photo, places)
        return Reconstruction(face.vertices, colours, self._faces, face.landmarks, crop)

    @torch.no_grad()
    def _look(self, photo: np.ndarray, box: np.ndarray):
        legacy = self._ways.legacy
        try:
            picture = cut(photo, box, legacy)
        except ValueError as error:
            raise NoFace(str(error)) from None
        picture = torch.from_numpy(picture[:, :, ::-1].copy()).to(self._device).permute(2, 0, 1)[None]
        numbers = self._network((picture.float() - 127.5) / 128)[0].cpu().numpy()
        return self._model.face(numbers, legacy), crop_matrix(box, legacy)


# ------------------------------------------------------------------ meshes of others, by file


@dataclass(frozen=True)
class FolderRegressor:
    """Meshes that another program made, by the photo's name: `p00/day01/0005.obj` and `0005_lm.txt`.

    Without `0005_crop_params.txt` they are in pixels of the photo; without colours they get those of the photo.
    """

    folder: Path
    facts: dict = field(default_factory=lambda: {"regressor": "folder"})

    def __call__(self, view: View) -> Reconstruction:
        stem = self.folder / PurePosixPath(view.name).with_suffix("")
        landmarks, crop, obj = mesh_files.files_of(stem)
        if not obj.is_file():
            raise NoFace(f"there is no mesh {obj}")
        vertices, colours, faces = mesh_files.read_obj(obj)
        matrix = mesh_files.read_crop(crop) if crop.is_file() else np.eye(3)
        if colours is None:
            colours = blended_colours(view.photo, to_photo(vertices, matrix))
        return Reconstruction(vertices, colours, faces, mesh_files.read_landmarks(landmarks), matrix)
