"""Three stages of `make embedded`: rendering people, training on them, measuring on others, writing the weights."""

import time
from dataclasses import asdict
from pathlib import Path

import torch

from eg3d.metrics.identity import KIND, WORLD_FILE, IdentityNetwork
from eg3d.metrics.landmark_sources import READER_KIND, READER_WEIGHTS, load_reader
from eg3d.metrics.network_file import save_network
from eg3d.world.heads import WORLD_VERSION
from eg3d.world.people import VIEWS, People, people_set
from eg3d.world.training import fit_face_reader, fit_identity
from eg3d.world.training.fit_five_points import make_five_points, measured_five_points

SPLIT, PEOPLE = "people", 3000  # whom the networks learn from; no generator and no gaze network saw them
TEST_SPLIT, TEST_PEOPLE, TEST_VIEWS = "test", 300, 4


def test_people() -> People:
    """Whom the networks are measured on."""
    return people_set(TEST_SPLIT, TEST_PEOPLE, TEST_VIEWS)


def make_identity(workdir: Path) -> None:
    """Trains the identity network in `workdir`/identity and writes its weights."""
    start = time.time()
    network = fit_identity.train(people_set(SPLIT, PEOPLE), workdir / "identity")
    facts = _facts(fit_identity.CONFIG, start) | fit_identity.verification(network, test_people())
    save_network(WORLD_FILE, KIND, network, facts)


def make_face_reader(workdir: Path) -> None:
    """Trains the pose and landmark network in `workdir`/face-reader and writes its weights."""
    start = time.time()
    reader = fit_face_reader.train(people_set(SPLIT, PEOPLE), workdir / "face-reader")
    facts = _facts(fit_face_reader.CONFIG, start) | fit_face_reader.errors(reader, test_people())
    save_network(READER_WEIGHTS, READER_KIND, reader, facts)


def make_points() -> None:
    """Trains the five-point predictor for dlib, on the same people, and writes it."""
    make_five_points(people_set(SPLIT, PEOPLE), test_people(), SPLIT)


def quality() -> dict[str, dict]:
    """What the shipped identity network, pose and landmark network, and points reach on people they never saw.

    The points are read from beside their file, since they need dlib.
    """
    people, judge, (reader, digest) = test_people(), IdentityNetwork.load("embedded"), load_reader(READER_WEIGHTS)
    return {
        "identity_network": {"sha256": judge.sha256} | fit_identity.verification(judge.network, people),
        "pose_network": {"sha256": digest} | fit_face_reader.errors(reader, people),
        "five_points": measured_five_points(),
    }


def _facts(config, start: float) -> dict:
    """How a network was made, for its file's header."""
    return {
        **asdict(config),
        "world": WORLD_VERSION,
        "split": SPLIT,
        "people": PEOPLE,
        "views": VIEWS,
        "threads": torch.get_num_threads(),
        "hours_since_start_or_resume": round((time.time() - start) / 3600, 3),
    }
