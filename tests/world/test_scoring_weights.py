"""The shipped identity network and the shipped pose and landmark network meet their bars; the README's steps run."""

import json
import sys

import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner

from dataset_preprocessing.ffhq import preprocess_in_the_wild
from eg3d import calc_id, calc_pose, gen_samples_pose, make_embedded
from eg3d.metrics.face_reader import read_twice
from eg3d.metrics.identity import KIND, WORLD_FILES, IdentityNetwork
from eg3d.metrics.landmark_sources import MOST_DISAGREEMENT, READER_KIND, READERS, load_reader
from eg3d.metrics.network_file import load_network
from eg3d.metrics.world_features import FEATURES_FILE
from eg3d.world.training import fit_identity, stages
from eg3d.world.training.fit_five_points import POINTS_FILE, measured_five_points
from eg3d.world.views_of_persons import render_people
from groundwork.files import WORLD_WEIGHTS, sha256


def run(script, *args):
    result = CliRunner().invoke(script.main, [str(arg) for arg in args])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_files_are_small_and_say_how_they_were_made():
    identity, reader = WORLD_FILES["embedded"], READERS["embedded"]
    files = (identity, reader, FEATURES_FILE, POINTS_FILE)
    assert sum(file.stat().st_size for file in files) <= 6e6 and POINTS_FILE.stat().st_size < 1e6
    for path, kind in ((identity, KIND), (reader, READER_KIND)):
        facts = load_network(path, kind).facts
        assert facts["split"] == stages.SPLIT != "faces" and facts["people"] == stages.PEOPLE and facts["epochs"] > 0


def test_identity_network_tells_a_few_unseen_people_apart():
    found = fit_identity.verification(IdentityNetwork.load("embedded").network, render_people("test", 8, views=3))
    assert found["verification_auc"] >= 0.95
    assert found["similarity_same_person"] > found["similarity_other_person"] + 0.3


def test_mirror_images_of_heads_are_read_alike_and_those_of_colours_are_not():
    reader, _ = load_reader(READERS["embedded"])
    heads = torch.from_numpy(render_people("test", 8, views=3).images).permute(0, 3, 1, 2).float() / 127.5 - 1
    coarse = torch.randn(100, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    colours = F.interpolate(coarse, size=64, mode="bicubic").clamp(-1, 1)
    with torch.no_grad():
        assert read_twice(reader, heads)[1].max() < MOST_DISAGREEMENT
        assert (read_twice(reader, colours)[1] > MOST_DISAGREEMENT).float().mean() > 0.95


def test_the_readmes_steps_run_on_the_embedded_model_without_any_file(tmp_path):
    pose = tmp_path / "pose"
    run(gen_samples_pose, "--network=embedded", "--seeds=0-7", f"--outdir={pose}")
    run(preprocess_in_the_wild, f"--indir={pose}")
    run(calc_pose, f"--file1={pose / 'labels_generate.json'}", f"--file2={pose / 'dataset.json'}",
        f"--json={tmp_path / 'pose.json'}")  # fmt: skip
    score = json.loads((tmp_path / "pose.json").read_text())
    assert score["pose_used"] == 8 and score["pose_failed"] == 0
    assert score["rotation_error_deg"] < 5
    run(calc_id, "--network=embedded", "--num-gen=6", f"--json={tmp_path / 'id.json'}")
    score = json.loads((tmp_path / "id.json").read_text())
    assert score["id_pairs"] == 6 and 0.3 < score["id_similarity_mean"] < 1


def test_the_five_point_file_is_the_one_whose_facts_stand_beside_it_and_in_the_card():
    facts = json.loads(POINTS_FILE.with_suffix(".json").read_text())
    assert facts["sha256"] == sha256(POINTS_FILE) and facts["split"] == stages.SPLIT
    assert facts["point_error_share_of_side"] < 0.008
    written = json.loads((WORLD_WEIGHTS / "measured.json").read_text())["five_points"]
    assert written == measured_five_points() and written["sha256"] == facts["sha256"]
    assert f"{100 * facts['point_error_share_of_side']:.2f} %" in (WORLD_WEIGHTS / "MODEL_CARD.md").read_text()


def test_the_stage_that_needs_dlib_says_so_before_the_others_begin(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "dlib", None)
    result = CliRunner().invoke(make_embedded.main, [f"--workdir={tmp_path / 'work'}"])
    assert result.exit_code == 2 and "the stage points needs dlib; pip install" in result.output
    assert not (tmp_path / "work").exists()


@pytest.mark.slow
def test_quality_on_unseen_people_meets_the_bars_and_is_what_is_written_down():
    measured, written = stages.quality(), json.loads((WORLD_WEIGHTS / "measured.json").read_text())
    assert measured["identity_network"]["verification_auc"] >= 0.98
    assert measured["pose_network"]["rotation_error_deg"] <= 3
    for name, numbers in measured.items():
        digest, known = numbers.pop("sha256"), written[name]
        assert digest == known.pop("sha256") and numbers == pytest.approx(known, rel=1e-3)
