"""Which landmarks belong to which photo of FFHQ, or of a set like it: by name, never by order.

Sources: FFHQ's own `ffhq-dataset-v2.json`; a JSON file {name: [[x, y] x 68 or x 5]}; a folder of `<stem>.txt` with one
point "x y" a line. Numbers count from the centre of the first pixel.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from eg3d.geometry.landmarks import STANDARD_DM, five_points
from eg3d.metrics.landmark_sources import LARGEST_POINTS, read_text_points, without_ending
from groundwork.strict_json import JsonError, read_json

WAYS = "write {name: [[x, y], ...]} with 5 or 68 points, or give ffhq-dataset-v2.json or a folder of .txt"


@dataclass(frozen=True)
class Landmarks:
    """Points [5 or 68, 2] of one face, and the size (width, height) of the photo that they are of, if it is known."""

    points: np.ndarray
    size: tuple[int, int] | None = None

    @property
    def five(self) -> np.ndarray:
        return five_points(self.points) if len(self.points) == 68 else self.points


def read_landmarks(path: Path) -> dict[str, Landmarks]:
    """{name without its ending: landmarks}; ValueError, one line, names the entry that is wrong."""
    if path.is_dir():
        entries = read_text_points(path)
    else:
        entries = read_named(path, WAYS)
    if not entries:
        raise ValueError(f"{path}: holds no landmarks; {WAYS}")
    found = {}
    for key, entry in entries.items():
        name, rows, size = _ffhq_entry(path, key, entry) if isinstance(entry, dict) else (key, entry, None)
        if (name := without_ending(str(name))) in found:
            raise ValueError(f"{path}: has two entries of {name[:80]}; write each name once")
        found[name] = Landmarks(_points(path, key, rows), size)
    return found


def read_crops(path: Path) -> dict[str, np.ndarray]:
    """EG3D's `cropping_params.json`: {name without its ending: five points [5, 2] of the aligned picture}.

    Each entry also says how the crop is made. ValueError if one says anything else than all of EG3D's: its labels
    hold for these crops only.
    """
    entries = read_named(path, "give EG3D's cropping_params.json")
    found = {}
    for name, entry in entries.items():
        entry = entry if isinstance(entry, dict) else {}
        try:
            points = np.array(entry["lm"], np.float64).reshape(-1, 2)
            face = np.array(entry["lm3d_std"], np.float64)
            scales = float(entry["rescale_factor"]), int(entry["center_crop_size"])
        except (KeyError, ValueError, TypeError, OverflowError):
            points = face = np.empty(0)
            scales = None
        if points.shape != (5, 2) or face.shape != (5, 3) or not np.isfinite(points).all():
            raise ValueError(f"{path}: '{name[:80]}' must have lm (5 points), lm3d_std, rescale_factor, and "
                             "center_crop_size")  # fmt: skip
        if scales != (300.0, 700) or np.abs(face - STANDARD_DM.numpy()).max() > 1e-3:
            raise ValueError(f"{path}: '{name[:80]}' asks for another crop than EG3D's (300, 700, its mean face), for "
                             "which its cameras would be wrong; leave the file out")  # fmt: skip
        found[without_ending(name)] = points
    return found


def read_named(path: Path, advice: str) -> dict:
    """The object in a JSON file; ValueError, one line, for anything else."""
    try:
        entries = read_json(path, LARGEST_POINTS, finite=False)
    except JsonError as error:
        raise ValueError(f"{path}: is not JSON ({error}); {advice}") from None
    if not isinstance(entries, dict):
        raise ValueError(f"{path}: holds no object with names; {advice}")
    return entries


def by_photo(photos: list[str], entries: dict) -> dict[str, str]:
    """Photo -> its entry. Whole names first (`00000/00000.png` also of `in-the-wild-images/00000/00000`), then stems
    that both sides have once."""
    found = {name: without_ending(name) for name in photos if without_ending(name) in entries}
    ends = Counter(end for entry in entries for end in _ends(entry))
    owner = {end: entry for entry in entries for end in _ends(entry) if ends[end] == 1}
    stems = Counter(PurePosixPath(without_ending(name)).name for name in photos)
    for name in photos:
        whole = without_ending(name)
        if name not in found and "/" in whole and whole in owner:
            found[name] = owner[whole]
        elif name not in found and stems[stem := PurePosixPath(whole).name] == 1 and stem in owner:
            found[name] = owner[stem]
    return found


def _ends(entry: str) -> list[str]:
    """`a/b/c` -> `b/c` and `c`; of `c` itself, `c`."""
    parts = entry.split("/")
    return ["/".join(parts[k:]) for k in range(1, len(parts))] or parts


def _ffhq_entry(path: Path, key: str, entry: dict) -> tuple[str, list, tuple[int, int] | None]:
    """(name of the photo, its landmarks, its size) of an entry of ffhq-dataset-v2.json."""
    photo = entry.get("in_the_wild")
    if not isinstance(photo, dict) or not isinstance(photo.get("file_path"), str) or "face_landmarks" not in photo:
        raise ValueError(f"{path}: '{key[:80]}' has no in_the_wild with file_path and face_landmarks; {WAYS}")
    size = photo.get("pixel_size")
    whole = isinstance(size, list) and len(size) == 2 and all(type(n) is int for n in size)
    return photo["file_path"], photo["face_landmarks"], tuple(size) if whole else None


def _points(path: Path, name: str, rows) -> np.ndarray:
    try:
        points = np.array(rows, np.float64)
    except (ValueError, TypeError, OverflowError):
        points = np.empty(0)
    if points.shape not in ((5, 2), (68, 2)) or not np.isfinite(points).all():
        raise ValueError(f"{path}: '{str(name)[:80]}' must have 5 or 68 points, each two finite numbers x y")
    return points
