"""Training of the embedded world's five-point predictor, a file for dlib: regression trees (Kazemi & Sullivan 2014).

It shows that `--landmarks=FILE.dat` works from end to end; the embedded network (`--landmarks=embedded`) needs no extra
package and notices pictures without a face. A .dat has no room for facts, so they stand in a JSON beside it.
"""

import hashlib
import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from eg3d.metrics.dlib_points import SIDE, DlibPoints, enlarged, import_dlib, whole_picture
from eg3d.metrics.network_file import VERSION
from eg3d.world.cartoon.heads import WORLD_VERSION
from eg3d.world.views_of_persons import People
from groundwork.files import WORLD_WEIGHTS, atomic_write
from groundwork.strict_json import read_json

POINTS_FILE = WORLD_WEIGHTS / "five_points.dat"


@dataclass(frozen=True)
class Recipe:
    """dlib's names; `pictures`: how many, spread over all people (each takes 200 KB while it is trained on)."""

    pictures: int = 6000
    cascade_depth: int = 7
    num_trees_per_cascade_level: int = 100
    tree_depth: int = 4
    oversampling_amount: int = 3
    num_test_splits: int = 50
    nu: float = 0.1


RECIPE = Recipe()


def make_five_points(
    people: People, unseen: People, split: str, path: Path = POINTS_FILE, recipe: Recipe = RECIPE
) -> dict:
    """Trains the predictor, writes it and its facts (`path` with .json), prints its error on unseen people."""
    dlib, chosen = import_dlib("training the five-point predictor"), np.arange(len(people))
    chosen = chosen[np.linspace(0, len(people) - 1, min(recipe.pictures, len(people))).astype(int)]
    options = dlib.shape_predictor_training_options()
    for name, value in asdict(recipe).items():
        if name != "pictures":
            setattr(options, name, value)
    options.oversampling_translation_jitter, options.num_threads = 0, os.cpu_count() or 1  # the box is always the whole
    box, truth = whole_picture(dlib, SIDE, SIDE), []
    for points in np.rint(people.points[chosen] * SIDE - 0.5).astype(int).tolist():
        truth.append([dlib.full_object_detection(box, [dlib.point(x, y) for x, y in points])])
    print(f"training {path.name} on {len(chosen)} pictures ...", flush=True)
    trained = dlib.train_shape_predictor(list(enlarged(_images(people, chosen))), truth, options)
    with tempfile.TemporaryDirectory() as folder:
        trained.save(str(file := Path(folder) / "trained.dat"))
        atomic_write(path, file.read_bytes())
    facts = {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "version": VERSION, "world": WORLD_VERSION,
             "split": split, "dlib": dlib.__version__, **asdict(recipe), **errors(path, unseen)}  # fmt: skip
    atomic_write(path.with_suffix(".json"), (json.dumps(facts, indent=2) + "\n").encode())
    share = facts["point_error_share_of_side"]
    print(f"{path.name}: {path.stat().st_size} bytes; off by {64 * share:.2f} pixels of 64 on {len(unseen)} pictures "
          "of unseen people")  # fmt: skip
    return facts


def errors(path: Path, people: People) -> dict[str, float]:
    """Mean distance from the true points, and that of the mean points of these people, as shares of the side."""
    source, found = DlibPoints(path), []
    for part in np.array_split(np.arange(len(people)), max(1, len(people) // 64)):
        images = _images(people, part)
        found.append(source(images, torch.zeros(len(part), 25), [""] * len(part)).numpy() / images.shape[-1])
    distance = np.linalg.norm(np.concatenate(found) - people.points, axis=-1)
    still = np.linalg.norm(people.points.mean(axis=0) - people.points, axis=-1)
    return {
        "point_error_share_of_side": float(distance.mean()),
        "mean_points_error_share_of_side": float(still.mean()),
    }


def measured_five_points() -> dict:
    """What the shipped predictor reached on people it had not seen, for the model card; needs no dlib."""
    facts = read_json(POINTS_FILE.with_suffix(".json"))
    return {key: facts[key] for key in ("sha256", "point_error_share_of_side", "mean_points_error_share_of_side")}


def _images(people: People, chosen: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(people.images[chosen]).permute(0, 3, 1, 2).float() / 127.5 - 1
