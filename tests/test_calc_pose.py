import json

import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from tiny_networks import tiny_generator

from dataset_preprocessing.ffhq import pose_estimators, preprocess_in_the_wild
from dataset_preprocessing.ffhq.pose_estimators import NoFace
from eg3d import calc_pose, gen_samples_pose
from eg3d.checkpoints.loading import save_snapshot
from eg3d.geometry.cameras import split_label
from eg3d.metrics.pose import angles_of_label


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    """What gen_samples_pose.py writes for four seeds."""
    folder = tmp_path_factory.mktemp("pose")
    save_snapshot(folder / "G.safetensors", {"G_ema": tiny_generator()}, {})
    arguments = [f"--network={folder / 'G.safetensors'}", "--seeds=0-3", f"--outdir={folder / 'pose'}"]
    for _ in range(2):  # a second run writes the same, and appends nothing
        result = CliRunner().invoke(gen_samples_pose.main, arguments)
        assert result.exit_code == 0, result.output
    return folder / "pose"


def rows_of(folder, name="labels_generate.json"):
    return dict(json.loads((folder / name).read_text())["labels"])


class Oracle:
    """In place of a network: knows the right labels, sees no face in some pictures and fails on others."""

    name, sha256, landmarks = "oracle", "0" * 64, "none"

    def __init__(self, rows, blind=(), lost=()):
        self.rows, self.blind, self.lost = rows, blind, lost

    def prepare(self, picture, name):
        if name in self.blind:
            raise NoFace("covered")
        return torch.tensor(self.rows[name])

    def labels(self, batch):
        lost = [self.rows[name][3] for name in self.lost]
        return ["lost" if any(abs(row[3].item() - x) < 1e-6 for x in lost) else row for row in batch]


@pytest.fixture
def estimate(rendered, tmp_path, monkeypatch):
    def estimate(oracle, *args):
        monkeypatch.setattr(pose_estimators, "WorldPose", lambda device: oracle)
        arguments = [f"--indir={rendered}", f"--outdir={tmp_path}", "--batch=3", *args]
        return CliRunner().invoke(preprocess_in_the_wild.main, arguments)

    return estimate


def compare(file1, file2, *args):
    return CliRunner().invoke(calc_pose.main, [f"--file1={file1}", f"--file2={file2}", *map(str, args)])


def test_pictures_and_cameras_are_as_published(rendered):
    rows = rows_of(rendered)
    assert list(rows) == ["seed0000.png", "seed0001.png", "seed0002.png", "seed0003.png"]
    labels = torch.tensor(list(rows.values()))
    assert labels.shape == (4, 25)
    assert torch.allclose(split_label(labels)[0][:, :3, 3].norm(dim=1), torch.full((4,), 2.7), atol=1e-4)
    angles = angles_of_label(labels)
    assert angles[:, 1].std() > 0.05 and angles[:, 1].abs().max() < 0.45  # +-0.4 of the parameter, drawn apart
    assert labels[0, 16].item() == pytest.approx(4.2634, abs=1e-4)  # not the published slip to 18 degrees


def test_right_labels_score_zero_and_names_are_matched_not_order(estimate, rendered, tmp_path):
    assert estimate(Oracle(rows_of(rendered))).exit_code == 0
    rows = json.loads((tmp_path / "dataset.json").read_text())
    rows["labels"].reverse()
    (tmp_path / "dataset.json").write_text(json.dumps(rows))
    result = compare(rendered / "labels_generate.json", tmp_path / "dataset.json", f"--json={tmp_path / 'score.json'}")
    assert result.exit_code == 0, result.output
    score = json.loads((tmp_path / "score.json").read_text())
    assert score["pose_mse"] < 1e-12 and score["pose_used"] == 4 and score["pose_failed"] == 0
    assert score["estimate"] == {"estimator": "oracle", "sha256": "0" * 64, "landmarks": "none"}
    assert "4 used, 0 failed" in result.stdout and "estimated by               oracle" in result.stdout


def test_pictures_without_a_face_are_counted_and_shift_no_other_pair(estimate, rendered, tmp_path):
    result = estimate(Oracle(rows_of(rendered), blind=["seed0001.png"], lost=["seed0003.png"]))
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "pose_estimate.json").read_text())["failed"] == {
        "seed0001.png": "covered",
        "seed0003.png": "lost",
    }
    result = compare(rendered / "labels_generate.json", tmp_path / "dataset.json", f"--json={tmp_path / 'score.json'}")
    score = json.loads((tmp_path / "score.json").read_text())
    assert score["pose_mse"] < 1e-12 and (score["pose_used"], score["pose_failed"]) == (2, 2)


def test_no_face_anywhere_writes_nothing(estimate, rendered, tmp_path):
    result = estimate(Oracle(rows_of(rendered), blind=list(rows_of(rendered))))
    assert result.exit_code == 2 and "seed0000.png: covered" in result.stderr
    assert not list(tmp_path.iterdir())


def test_labels_of_other_origin_are_never_overwritten(estimate, rendered, tmp_path):
    (tmp_path / "dataset.json").write_text("precious")
    result = estimate(Oracle(rows_of(rendered)))
    assert result.exit_code == 2 and "was not written by this script" in result.stderr
    assert (tmp_path / "dataset.json").read_text() == "precious"
    (tmp_path / "dataset.json").unlink()
    assert estimate(Oracle(rows_of(rendered))).exit_code == estimate(Oracle(rows_of(rendered))).exit_code == 0


@pytest.mark.parametrize("what", ["missing", "empty", "photo", "torn"])
def test_bad_folders_of_pictures_are_one_line(what, tmp_path, monkeypatch):
    folder = tmp_path / "in"
    if what != "missing":
        folder.mkdir()
    if what == "photo":
        Image.new("RGB", (40, 30)).save(folder / "a.jpg")
    if what == "torn":
        (folder / "a.png").write_bytes(b"\x89PNG but not really")
    monkeypatch.setattr(pose_estimators, "WorldPose", lambda device: Oracle({}))
    result = CliRunner().invoke(preprocess_in_the_wild.main, [f"--indir={folder}"])
    assert result.exit_code == 2
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and "in" in lines[0] and not (folder / "dataset.json").exists()


@pytest.mark.parametrize(
    "text, words",
    [
        ("hello", "is no label file"),
        ("{}", "is no label file"),
        ('{"labels": null}', "is no label file"),
        ('{"labels": []}', "holds no labels"),
        ('{"labels": [["a.png", [1, 2]]]}', "'a.png' must be 25 numbers"),
        ('{{"labels": [["a.png", [{}]]]}}'.format(", ".join("0" * 25)), "not a rotation"),
    ],
)
def test_bad_label_files_are_one_line(text, words, rendered, tmp_path):
    (tmp_path / "bad.json").write_text(text)
    good = rendered / "labels_generate.json"
    for pair in ((good, tmp_path / "bad.json"), (tmp_path / "bad.json", good)):
        result = compare(*pair)
        assert result.exit_code == 2 and result.stderr.count("\n") == 1, result.output
        assert words in result.stderr and "bad.json" in result.stderr


def test_files_of_two_runs_are_told_apart(rendered, tmp_path):
    rows = json.loads((rendered / "labels_generate.json").read_text())
    (tmp_path / "other.json").write_text(json.dumps({"labels": [["x" + n, row] for n, row in rows["labels"]]}))
    result = compare(rendered / "labels_generate.json", tmp_path / "other.json")
    assert result.exit_code == 2 and "nothing matches" in result.stderr
    twice = {"labels": rows["labels"] * 2}
    (tmp_path / "other.json").write_text(json.dumps(twice))
    assert "is there twice" in compare(rendered / "labels_generate.json", tmp_path / "other.json").stderr
