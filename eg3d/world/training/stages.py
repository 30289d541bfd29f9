"""Three stages of `make embedded`: rendering people, training on them, measuring on others, writing the weights."""

import time
from dataclasses import asdict, replace
from pathlib import Path

import torch

from eg3d.metrics.identity import KIND, WORLD_FILES, IdentityNetwork
from eg3d.metrics.landmark_sources import READER_KIND, READERS, load_reader
from eg3d.metrics.network_file import save_network
from eg3d.world.training import fit_face_reader, fit_identity
from eg3d.world.training.fit_five_points import make_five_points, measured_five_points
from eg3d.world.views_of_persons import VIEWS, People, people_set
from eg3d.world.worlds import NAMES, world_of

SPLIT, PEOPLE = "people", 3000  # whom the networks learn from; no generator and no gaze network saw them
TEST_SPLIT, TEST_PEOPLE, TEST_VIEWS = "test", 300, 4
INPUT_SIZES = {"cartoons": (56, 64), "people": (96, 64)}  # px, of the identity and of the pose network


def test_people(world: str = "cartoons") -> People:
    """Whom the networks are measured on."""
    return people_set(TEST_SPLIT, TEST_PEOPLE, TEST_VIEWS, world)


def make_identity(workdir: Path, world: str = "cartoons") -> None:
    """Trains the identity network in `workdir`/identity and writes its weights."""
    start, people = time.time(), people_set(SPLIT, PEOPLE, world=world)
    architecture = replace(fit_identity.ARCHITECTURE, input_size=INPUT_SIZES[world][0])
    network = fit_identity.train(people, workdir / "identity", architecture)
    facts = _facts(fit_identity.CONFIG, start, world) | fit_identity.verification(network, test_people(world))
    save_network(WORLD_FILES[NAMES[world]], KIND, network, facts)


def make_face_reader(workdir: Path, world: str = "cartoons") -> None:
    """Trains the pose and landmark network in `workdir`/face-reader and writes its weights."""
    start, people = time.time(), people_set(SPLIT, PEOPLE, world=world)
    architecture = replace(fit_face_reader.ARCHITECTURE, input_size=INPUT_SIZES[world][1])
    reader = fit_face_reader.train(people, workdir / "face-reader", architecture)
    facts = _facts(fit_face_reader.CONFIG, start, world) | fit_face_reader.errors(reader, test_people(world))
    save_network(READERS[NAMES[world]], READER_KIND, reader, facts)


def make_points() -> None:
    """Trains the five-point predictor for dlib, on the same people, and writes it."""
    make_five_points(people_set(SPLIT, PEOPLE), test_people(), SPLIT)


def quality(world: str = "cartoons") -> dict[str, dict]:
    """What the shipped identity network, pose and landmark network, and points reach on people they never saw.

    A network that is not there yet is left out. The points, which the cartoons alone have, are read from beside their
    file, since they need dlib.
    """
    name, found = NAMES[world], {}
    if WORLD_FILES[name].is_file():
        judge = IdentityNetwork.load(name)
        found["identity_network"] = {"sha256": judge.sha256}
        found["identity_network"] |= fit_identity.verification(judge.network, test_people(world))
    if READERS[name].is_file():
        reader, digest = load_reader(READERS[name])
        found["pose_network"] = {"sha256": digest} | fit_face_reader.errors(reader, test_people(world))
    return found | ({"five_points": measured_five_points()} if world == "cartoons" else {})


def _facts(config, start: float, world: str) -> dict:
    """How a network was made, for its file's header."""
    return {
        **asdict(config),
        "world": world_of(world).version,
        "split": SPLIT,
        "people": PEOPLE,
        "views": VIEWS,
        "threads": torch.get_num_threads(),
        "hours_since_start_or_resume": round((time.time() - start) / 3600, 3),
    }
