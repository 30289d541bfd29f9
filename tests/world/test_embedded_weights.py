"""The shipped weights do what `assets/embedded/MODEL_CARD.md` says, and meet the bars they were made for."""

import pytest

from eg3d.checkpoints.loading import DISCRIMINATORS, GENERATORS, load_generator, open_checkpoint
from eg3d.world.training import model_card
from groundwork.files import WORLD_WEIGHTS
from l2cs.estimator import GazeEstimator


@pytest.fixture(scope="module")
def gaze_networks():
    return {"judge": GazeEstimator.load("embedded-judge"), "loss_network": GazeEstimator.load("embedded")}


@pytest.fixture(scope="module")
def scores(gaze_networks):
    names = ("embedded-base", "embedded")
    return {name: model_card.scores(load_generator(name), gaze_networks, range(128)) for name in names}


REDIRECTORS = ("interpgaze", "eye_references", "eye_reader", "patch_judge", "he2019", "deepwarp")


def test_embedded_weights_stay_small():
    people = set(WORLD_WEIGHTS.glob("people*.safetensors"))
    assert sum(f.stat().st_size for f in set(WORLD_WEIGHTS.glob("*.safetensors")) - people) <= 12e6
    gans = {*GENERATORS.values(), *DISCRIMINATORS.values()}
    eyes = {WORLD_WEIGHTS / f"people_{name}.safetensors" for name in REDIRECTORS}
    animator = {WORLD_WEIGHTS / "people_gaze_animation.safetensors"}
    parts = ((people - gans - eyes - animator, 8e6), (eyes, 6e6), (animator, 4e6), (people & gans, 12e6))
    assert all(sum(f.stat().st_size for f in files) <= most for files, most in parts)


def test_embedded_headers_say_how_the_generators_were_made():
    base, corrected = (open_checkpoint(name).facts for name in ("embedded-base", "embedded"))
    assert base["images_seen"] + base["images_seen_before"] >= 100_000
    assert base["gaze"]["weight"] == 0 and corrected["gaze"]["weight"] > 0
    assert corrected["gaze"]["network_sha256"] == GazeEstimator.load("embedded", check=False).sha256
    assert corrected["resumed_from"] == "embedded-base"
    assert all(header["git_commit"] and header["dataset"]["digest"] for header in (base, corrected))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["judge", "loss_network"])
def test_gaze_networks_read_eyes_and_not_head_pose(gaze_networks, name):
    assert model_card.gaze_network_error(gaze_networks[name])["mean_angular_error_deg"] <= 4
    slopes = model_card.reads_eyes(gaze_networks[name])
    assert abs(slopes["camera_eyes_slope"]) <= 0.15
    assert slopes["face_eyes_slope"] >= 0.85


@pytest.mark.slow
def test_the_base_generators_eyes_follow_the_camera(scores):
    assert scores["embedded-base"]["judge"]["slope"] <= 0.3


@pytest.mark.slow
def test_the_corrected_generators_eyes_follow_the_face(scores):
    before, after = scores["embedded-base"]["judge"], scores["embedded"]["judge"]
    assert after["gfas_mse_sum"] <= 0.25 * before["gfas_mse_sum"]
    assert after["slope"] >= 0.7


@pytest.mark.slow
@pytest.mark.parametrize("name", ["embedded-base", "embedded"])
def test_generated_heads_are_solid_and_varied(name):
    real, made = model_card.rendered_solidity(), model_card.generator_solidity(load_generator(name))
    assert made.nose_relief >= 0.5 * real.nose_relief
    assert made.warp_psnr_db >= 22
    assert made.spread >= 0.5 * real.spread
