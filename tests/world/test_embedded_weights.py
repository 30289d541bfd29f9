"""The shipped weights do what `assets/embedded/MODEL_CARD.md` says, and meet the bars they were made for."""

from importlib.util import find_spec

import pytest

from eg3d.checkpoints.loading import DISCRIMINATORS, GENERATORS, load_generator, open_checkpoint
from eg3d.world.training import model_card
from eg3d.world.worlds import NAMES, WORLDS
from groundwork.files import WORLD_WEIGHTS
from l2cs.estimator import GazeEstimator


@pytest.fixture(scope="module")
def gaze_networks():
    return {"judge": GazeEstimator.load("embedded-judge"), "loss_network": GazeEstimator.load("embedded")}


REDIRECTORS = (
    "interpgaze",
    "eye_references",
    "eye_reader",
    "gaze_reader",
    "patch_judge",
    "face_judge",
    "he2019",
    "deepwarp",
)


def test_embedded_weights_stay_small():
    people = set(WORLD_WEIGHTS.glob("people*.safetensors"))
    assert sum(f.stat().st_size for f in set(WORLD_WEIGHTS.glob("*.safetensors")) - people) <= 12e6
    gans = {*GENERATORS.values(), *DISCRIMINATORS.values()}
    eyes = {WORLD_WEIGHTS / f"people_{name}.safetensors" for name in REDIRECTORS}
    animator = {WORLD_WEIGHTS / "people_gaze_animation.safetensors"}
    parts = ((people - gans - eyes - animator, 8e6), (eyes, 6e6), (animator, 4e6), (people & gans, 13e6))
    assert all(sum(f.stat().st_size for f in files) <= most for files, most in parts)


@pytest.mark.parametrize("name", NAMES.values())
def test_embedded_headers_say_how_the_generators_were_made(name):
    base, corrected = (open_checkpoint(which).facts for which in (f"{name}-base", name))
    assert base["images_seen"] + base["images_seen_before"] >= 100_000
    assert base["gaze"]["weight"] == 0 and corrected["gaze"]["weight"] > 0
    assert corrected["gaze"]["network_sha256"] == GazeEstimator.load(name, check=False).sha256
    assert corrected["resumed_from"] == f"{name}-base"
    assert all(header["git_commit"] and header["dataset"]["digest"] for header in (base, corrected))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["judge", "loss_network"])
def test_gaze_networks_read_eyes_and_not_head_pose(gaze_networks, name):
    assert model_card.gaze_network_error(gaze_networks[name])["mean_angular_error_deg"] <= 4
    slopes = model_card.reads_eyes(gaze_networks[name])
    assert abs(slopes["camera_eyes_slope"]) <= 0.15
    assert slopes["face_eyes_slope"] >= 0.85


@pytest.mark.slow
@pytest.mark.parametrize("world", WORLDS)
def test_the_base_generators_eyes_follow_the_camera_and_the_corrected_ones_the_face(world):
    name = NAMES[world]
    judge = {"judge": GazeEstimator.load(f"{name}-judge")}
    base, corrected = (
        model_card.scores(load_generator(which), judge, range(128))["judge"] for which in (f"{name}-base", name)
    )
    assert base["slope"] <= 0.3 and corrected["slope"] >= 0.7
    assert corrected["gfas_mse_sum"] <= 0.2 * base["gfas_mse_sum"]


@pytest.mark.slow
@pytest.mark.parametrize("which", ["-base", ""])
@pytest.mark.parametrize("world", WORLDS)
def test_generated_heads_are_solid_and_varied(world, which):
    if world == "people" and find_spec("anny") is None:
        pytest.skip("the package anny is not installed: make people")
    real = model_card.rendered_solidity(world=world)
    made = model_card.generator_solidity(load_generator(NAMES[world] + which), world=world)
    assert made.nose_relief >= 0.5 * real.nose_relief
    assert made.warp_psnr_db >= 22
    assert made.spread >= 0.5 * real.spread
