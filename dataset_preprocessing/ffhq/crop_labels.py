"""Cameras and gaze of a folder of crops, kept from run to run: only crops without them, or newer than them, are read.

Numbers of two estimators never share a file, as they differ by degrees.
"""

import json
import math
from pathlib import Path

import numpy as np
import torch

from dataset_preprocessing.ffhq import labelling
from dataset_preprocessing.ffhq.photo_landmarks import by_photo
from eg3d.gaze.crop import CROPS, crop_for
from eg3d.geometry.label_rows import entries_of, label_fault
from eg3d.metrics.landmark_sources import without_ending
from eg3d.metrics.pose_files import read_facts, read_labels
from groundwork.archive import read_file
from groundwork.damage import Damage
from groundwork.files import atomic_write
from groundwork.images import read_picture
from groundwork.matching import LABEL_FILE
from groundwork.strict_json import JsonError, read_json

GAZE_FILE = "gaze.json"  # {"network": ..., "sha256": ..., "gaze": [[name, [yaw, pitch]], ...]}, radians
AT_ONCE = 2048  # crops between two saves


def estimate_cameras(folder: Path, crops: list[str], estimator, batch: int) -> dict[str, str]:
    """Completes `dataset.json` in the folder, and what lies beside it; {name: reason} of crops without a camera."""
    facts = {"estimator": estimator.name, "sha256": estimator.sha256, "landmarks": estimator.landmarks}
    known = _still_true(folder, LABEL_FILE, crops) if _made_as(read_facts(folder), facts) else {}
    missing = [name for name in crops if name not in known]
    failed: dict[str, str] = {}
    for first in range(0, len(missing), AT_ONCE):
        files = {name: folder / name for name in missing[first : first + AT_ONCE]}
        rows, without, *_ = labelling.estimate(files, estimator, batch, Damage(skip=True))
        known |= dict(rows)
        failed |= without
        _write_cameras(folder, crops, known, failed, facts)
    if not missing:
        _write_cameras(folder, crops, known, failed, facts)
    return failed


def read_cameras(path: Path) -> dict[str, list[float]]:
    """{name without its ending: 25 numbers} of a label file: NVIDIA's for FFHQ, say, which lists `00000.png`."""
    return {without_ending(name): label.tolist() for name, label in read_labels(path, "--labels").items()}


def cameras_from(path: Path, labels: dict[str, list[float]], folder: Path, crops: list[str]) -> dict[str, str]:
    """As `estimate_cameras`, from the content of a label file."""
    entry_of = by_photo(crops, labels)
    if not entry_of:
        raise ValueError(f"--labels={path}: lists none of the {len(crops)} crops; give the file of this data set")
    known = {name: [float(f"{x:.9g}") for x in labels[entry]] for name, entry in entry_of.items()}
    failed = {name: f"{path.name} has no camera of it" for name in crops if name not in known}
    _write_cameras(folder, crops, known, failed, {"estimator": f"file {path.name}", "landmarks": "none"})
    return failed


def estimate_gaze(folder: Path, crops: list[str], network, name: str, batch: int, device) -> dict[str, list[float]]:
    """Completes `gaze.json` in the folder, and returns where the eyes of each crop look: [yaw, pitch] in radians.

    A crop in which the network finds no face has no entry, and is tried again. A network that was trained on normalised
    faces sees only the face of each crop, by its camera; crops without a camera have no entry then.
    """
    facts = {"network": name, "sha256": network.sha256} | {k: v for k, v in network.facts.items() if k == "limits"}
    cameras, seen = None, crop_for(network, "none")
    if seen != "none":
        facts["crop"], cameras = seen, _still_true(folder, LABEL_FILE, crops)
    known = _still_true(folder, GAZE_FILE, crops) if _made_as(_facts_of(folder / GAZE_FILE), facts) else {}
    missing = [crop for crop in crops if crop not in known and (cameras is None or crop in cameras)]
    for first in range(0, len(missing), AT_ONCE):
        part = missing[first : first + AT_ONCE]
        for start in range(0, len(part), batch):
            names = part[start : start + batch]
            with torch.no_grad():
                images = torch.stack([_pixels(folder / crop) for crop in names]).to(device)
                if cameras is not None:
                    images = CROPS[seen](images, torch.tensor([cameras[crop] for crop in names]))
                found = network(images)
            for crop, *angles in zip(names, found.yaw.tolist(), found.pitch.tolist(), strict=True):
                if all(map(math.isfinite, angles)):
                    known[crop] = [round(angle, 6) for angle in angles]
        _write_gaze(folder, crops, known, facts)
    return known


def _write_cameras(folder: Path, crops: list[str], known: dict, failed: dict[str, str], facts: dict) -> None:
    rows = [[name, known[name]] for name in crops if name in known]
    labelling.write(folder, rows, facts | {"pictures": len(crops), "labelled": len(rows), "failed": failed})


def _write_gaze(folder: Path, crops: list[str], known: dict, facts: dict) -> None:
    rows = [[name, known[name]] for name in crops if name in known]
    atomic_write(folder / GAZE_FILE, (json.dumps(facts | {"gaze": rows}) + "\n").encode())


def _made_as(found: dict | None, facts: dict) -> bool:
    return found is not None and all(found.get(key) == value for key, value in facts.items())


def _facts_of(path: Path) -> dict | None:
    try:
        found = read_json(path)
    except (OSError, JsonError):
        return None
    return found if isinstance(found, dict) else None


def _still_true(folder: Path, file: str, crops: list[str]) -> dict[str, list[float]]:
    """What a label file says of these crops, apart from those that were made after it."""
    content = _facts_of(folder / file)
    if content is None:
        return {}
    key, numbers = ("labels", 25) if file == LABEL_FILE else ("gaze", 2)
    try:
        entries = entries_of({"labels": content.get(key)}, str(folder / file))
    except ValueError:
        return {}
    written, wanted = (folder / file).stat().st_mtime_ns, set(crops)
    return {
        name: label
        for name, label in entries.items()
        if name in wanted
        and (label_fault(label) is None if numbers == 25 else isinstance(label, list) and len(label) == 2)
        and (folder / name).stat().st_mtime_ns <= written
    }


def _pixels(file: Path) -> torch.Tensor:
    """A crop as [3, H, W] in [-1, 1]."""
    pixels = np.array(read_picture(read_file(file), str(file)))
    return torch.from_numpy(pixels).permute(2, 0, 1).float() / 127.5 - 1
