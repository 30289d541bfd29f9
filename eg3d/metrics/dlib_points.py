"""Five points of a face by a dlib shape predictor: `--landmarks=FILE.dat` (extra `dlib`).

A predictor of 68 points looks into the box of dlib's own face detector. One of five points is of the kind that
`make embedded` trains (fit_five_points.py): its box is the whole picture, so it finds a face in every one.
The file is read by dlib's own code, which trusts it: give only files from where you would install software.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from eg3d.geometry.landmarks import POINTS, five_points

# dlib answers in whole pixels and finds faces of 80 pixels and more, so smaller pictures are enlarged to this side.
SIDE = 256


class DlibPoints:
    """Images [N, 3, H, W] in [-1, 1] -> points [N, 5, 2] in pixels; NaN where the detector finds no face."""

    def __init__(self, path: Path):
        self._dlib, self._predict = load_predictor(path)
        blank = points_in(self._predict, np.zeros((SIDE, SIDE, 3), np.uint8), whole_picture(self._dlib, SIDE, SIDE))
        if len(blank) not in (POINTS, 68):
            raise ValueError(f"{path}: gives {len(blank)} points; a predictor of 68, or one of ours, is needed")
        self._whole = len(blank) == POINTS
        if self._whole and not _is_a_face(blank):
            raise ValueError(
                f"{path}: its five points are not two eyes, nose and mouth corners (shape_predictor_5_face_landmarks "
                "of dlib has no mouth); give a predictor of 68 points"
            )
        self._detect = None if self._whole else self._dlib.get_frontal_face_detector()
        self.name = f"dlib {path.name} ({'whole picture' if self._whole else 'largest detected face'})"

    def __call__(self, images: torch.Tensor, labels: torch.Tensor, names: list[str]) -> torch.Tensor:
        found, scale = [], max(1.0, SIDE / min(images.shape[2:]))
        for picture in enlarged(images):
            box = self._box(picture)
            found.append(points_in(self._predict, picture, box) if box is not None else np.full((POINTS, 2), np.nan))
        points = np.stack([five_points(p) if len(p) == 68 else p for p in found])
        return torch.from_numpy((points + 0.5) / scale).to(images)  # dlib counts from the centre of the first pixel

    def _box(self, picture: np.ndarray):
        if self._whole:
            return whole_picture(self._dlib, *picture.shape[:2])
        return largest_face(self._detect, picture)


def load_predictor(path: Path) -> tuple:
    """(dlib, the shape predictor in a file); ValueError, one line, without dlib or for another file."""
    dlib = import_dlib(f"{path}: a .dat predictor")
    try:
        return dlib, dlib.shape_predictor(str(path))
    except (RuntimeError, MemoryError) as error:
        raise ValueError(f"{path}: not a shape predictor of dlib ({' '.join(str(error).split())})") from None


def largest_face(detect, picture: np.ndarray):
    """The box of the largest face that dlib's detector finds in uint8 [H, W, 3], or None."""
    return max(detect(picture, 1), key=lambda face: face.area(), default=None)


def points_in(predict, picture: np.ndarray, box) -> np.ndarray:
    """float64 [N, 2]: a predictor's points of the face in a box, whole px from the centre of the first one."""
    return np.array([[p.x, p.y] for p in predict(picture, box).parts()], dtype=np.float64)


def import_dlib(what: str, extra: str = "dlib"):
    """The module; ValueError with the extra that brings it."""
    try:
        import dlib
    except ImportError:
        raise ValueError(f"{what} needs dlib; pip install 'gaze-corrected-eg3d[{extra}]'") from None
    return dlib


def enlarged(images: torch.Tensor) -> np.ndarray:
    """Images [N, 3, H, W] in [-1, 1] -> uint8 [N, H', W', 3], the smaller side SIDE or more."""
    scale = max(1.0, SIDE / min(images.shape[2:]))
    if scale > 1:
        size = [round(scale * side) for side in images.shape[2:]]
        images = F.interpolate(images.float(), size, mode="bilinear", align_corners=False)
    pixels = (images.float() * 127.5 + 127.5).round().clamp(0, 255).byte()
    return np.ascontiguousarray(pixels.permute(0, 2, 3, 1).cpu().numpy())


def whole_picture(dlib, height: int, width: int):
    """The box of a five-point predictor."""
    return dlib.rectangle(0, 0, width - 1, height - 1)


def _is_a_face(points: np.ndarray) -> bool:
    """Whether points [5, 2] lie as eyes, nose and mouth corners of an upright face do, in our order."""
    (left, right, nose, mouth_left, mouth_right) = points
    eyes_above = max(left[1], right[1]) < nose[1] < min(mouth_left[1], mouth_right[1])
    return bool(eyes_above and left[0] < right[0] and mouth_left[0] < mouth_right[0])
