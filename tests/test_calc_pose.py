import json
import shutil

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
        monkeypatch.setattr(pose_estimators, "WorldPose", lambda *of: oracle)
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


WORLDS = {"embedded": "embedded", "people": "people", "": "mesh", None: "embedded"}  # drawn: who looks


@pytest.mark.parametrize("world", WORLDS)
def test_the_pose_network_follows_what_the_generator_draws(world, tmp_path, monkeypatch):
    facts = {"": {"published": {"training_set_kwargs": {"path": "FFHQ_512.zip"}}}, None: {}}
    save_snapshot(
        tmp_path / "G.safetensors", {"G_ema": tiny_generator()}, facts.get(world, {"dataset": {"name": world}})
    )
    network, pose = f"--network={tmp_path / 'G.safetensors'}", tmp_path / "pose"
    assert CliRunner().invoke(gen_samples_pose.main, [network, "--seeds=0-1", f"--outdir={pose}"]).exit_code == 0
    assert json.loads((pose / "labels_generate.json").read_text())["world"] == world
    asked = []

    def who(kind):
        return lambda device, *of: asked.append(kind or of[0]) or Oracle(rows_of(pose))

    monkeypatch.setattr(pose_estimators, "WorldPose", who(""))
    monkeypatch.setattr(pose_estimators, "MeshCameras", who("mesh"))
    for options in ([], [f"--outdir={tmp_path / 'elsewhere'}"], ["--recon-weights=embedded"], ["--pose=mesh"]):
        result = CliRunner().invoke(preprocess_in_the_wild.main, [f"--indir={pose}", *options])
        assert result.exit_code == 0, result.output
        assert ("nothing tells whose heads these crops show" in result.stderr) == (world is None and len(asked) <= 2)
    assert asked == [WORLDS[world], WORLDS[world], "embedded", "mesh"]  # what the user asks for comes first
    if world == "people":
        older = {"labels": list(rows_of(pose).items())}
        (pose / "labels_generate.json").write_text(json.dumps(older))
        assert CliRunner().invoke(preprocess_in_the_wild.main, [f"--indir={pose}"]).exit_code == 0
        assert asked.pop() == "embedded"
        (pose / "labels_generate.json").write_text(json.dumps(older | {"world": "cats"}))
        result = CliRunner().invoke(preprocess_in_the_wild.main, [f"--indir={pose}"])
        assert result.exit_code == 2 and "show a world 'cats', which is not known here; name a pose" in result.stderr


@pytest.mark.parametrize(
    ("world", "estimator", "warned"),
    [("people", "embedded pose network v1", True), ("people", "people pose network v1", False),
     ("", "embedded pose network v1", True), ("people", "FaceMesh and a mean face", False),
     (None, "embedded pose network v1", False)],
)  # fmt: skip
def test_cameras_by_the_pose_network_of_another_world_are_warned_of(world, estimator, warned, rendered, tmp_path):
    labels = json.loads((rendered / "labels_generate.json").read_text())["labels"]
    for name, content in {
        "a.json": {"world": world, "labels": labels}, "dataset.json": {"labels": labels},
        "pose_estimate.json": {"estimator": estimator, "failed": {}},
    }.items():  # fmt: skip
        (tmp_path / name).write_text(json.dumps(content))
    result = compare(tmp_path / "a.json", tmp_path / "dataset.json")
    assert result.exit_code == 0, result.output
    assert ("warning: the pose network embedded has estimated the cameras" in result.stderr) == warned


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


def test_every_picture_without_a_face_is_printed_with_its_reason(estimate, rendered):
    result = estimate(Oracle(rows_of(rendered), blind=["seed0001.png"], lost=["seed0003.png"]))
    assert "3 of 4" not in result.stdout and "2 of 4 cameras" in result.stdout
    assert "note: no camera for seed0001.png: covered\nnote: no camera for seed0003.png: lost\n" in result.stderr


def test_a_run_that_was_stopped_shows(rendered, tmp_path, monkeypatch):
    folder, drawn = tmp_path / "pose", []

    def stop(path, data):
        drawn.append(path.name)
        if len(drawn) == 4:  # the labels, and two pictures
            raise KeyboardInterrupt
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)

    folder.mkdir()
    (folder / "seed0003.png").write_bytes((rendered / "seed0003.png").read_bytes())  # of an earlier run
    arguments = [f"--network={rendered.parent / 'G.safetensors'}", "--seeds=0-3", f"--outdir={folder}", "--seed=7"]
    with monkeypatch.context() as patch:
        patch.setattr(gen_samples_pose, "atomic_write", stop)
        assert CliRunner().invoke(gen_samples_pose.main, arguments).exit_code == 130
    assert sorted(file.name for file in folder.iterdir()) == ["labels_generate.json", "seed0000.png", "seed0001.png"]
    monkeypatch.setattr(pose_estimators, "WorldPose", lambda *of: Oracle(rows_of(folder)))
    result = CliRunner().invoke(preprocess_in_the_wild.main, [f"--indir={folder}"])
    assert result.exit_code == 2 and not (folder / "dataset.json").exists()
    words = "2 of 4 pictures that it lists are missing, the first is seed0002.png (then seed0003.png)"
    assert words in result.stderr and "--skip-unmatched" in result.stderr
    result = CliRunner().invoke(preprocess_in_the_wild.main, [f"--indir={folder}", "--skip-unmatched"])
    assert result.exit_code == 0 and f"{words}; left out" in result.stderr and "2 of 2 cameras" in result.stdout


def test_pictures_of_another_run_are_no_part_of_this_one(estimate, rendered, tmp_path):
    folder = tmp_path / "mixed"
    shutil.copytree(rendered, folder)
    shutil.copy(folder / "seed0000.png", folder / "seed0099.png")
    oracle = Oracle(rows_of(rendered))
    result = estimate(oracle, f"--indir={folder}")
    assert result.exit_code == 2 and "1 of 5 pictures is not in its list, the first is seed0099.png" in result.stderr
    result = estimate(oracle, f"--indir={folder}", "--skip-unmatched")
    assert result.exit_code == 0 and list(rows_of(tmp_path, "dataset.json")) == list(rows_of(rendered))


def write_labels(path, rows):
    path.write_text(json.dumps({"labels": [[name, row] for name, row in rows.items()]}))
    return path


def test_estimates_and_pictures_without_a_counterpart_are_errors_unless_skipped(estimate, rendered, tmp_path):
    estimate(Oracle(rows_of(rendered), blind=["seed0001.png"]))
    rows = rows_of(tmp_path, "dataset.json")
    file1, file2 = rendered / "labels_generate.json", tmp_path / "dataset.json"
    two = write_labels(
        file2, {name: row for name, row in rows.items() if name != "seed0002.png"} | {"x.png": rows["seed0000.png"]}
    )
    result = compare(file1, two)
    assert result.exit_code == 2
    assert f"1 of 3 estimates is of pictures that {file1} does not list, the first is x.png" in result.stderr
    assert f"1 of 3 pictures of {file1} has no estimate, the first is seed0002.png" in result.stderr
    result = compare(file1, two, "--skip-unmatched")
    assert result.exit_code == 0 and "2 used, 1 failed" in result.stdout and "left out by" in result.stderr


def test_of_estimates_by_another_program_all_pictures_without_one_count_as_failed(rendered, tmp_path):
    rows = {name: row for name, row in rows_of(rendered).items() if name != "seed0002.png"}
    mirrored = write_labels(tmp_path / "theirs.json", rows | {"seed0000_mirror.png": rows["seed0000.png"]})
    result = compare(rendered / "labels_generate.json", mirrored)
    assert result.exit_code == 0 and "3 used, 1 failed" in result.stdout
    assert "1 estimates of mirrored copies are left aside, the first is seed0000_mirror.png" in result.stderr
    assert "no pose_estimate.json lies beside it, so pictures without an estimate count as failed" in result.stderr
    assert "1 of 4, the first is seed0002.png" in result.stderr


def test_names_may_be_spelt_otherwise_and_units_must_agree(rendered, tmp_path):
    rows = {f".\\{name.upper()}": row[:3] + [1000 * row[3]] + row[4:7] + [1000 * row[7]] + row[8:11]
            + [1000 * row[11]] + row[12:] for name, row in rows_of(rendered).items()}  # fmt: skip
    result = compare(rendered / "labels_generate.json", write_labels(tmp_path / "mm.json", rows))
    assert result.exit_code == 0 and "4 used, 0 failed" in result.stdout
    assert "mm.json: 4 of 4 cameras stand 2700 from the origin" in result.stderr and "in millimetres?" in result.stderr


@pytest.mark.parametrize("what", ["missing", "empty", "photo", "torn"])
def test_bad_folders_of_pictures_are_one_line(what, tmp_path, monkeypatch):
    folder = tmp_path / "in"
    if what != "missing":
        folder.mkdir()
    if what == "photo":
        Image.new("RGB", (40, 30)).save(folder / "a.jpg")
    if what == "torn":
        (folder / "a.png").write_bytes(b"\x89PNG but not really")
    monkeypatch.setattr(pose_estimators, "WorldPose", lambda *of: Oracle({}))
    result = CliRunner().invoke(preprocess_in_the_wild.main, [f"--indir={folder}"])
    assert result.exit_code == 2
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and "in" in lines[0] and not (folder / "dataset.json").exists()


@pytest.mark.parametrize(
    "text, words",
    [
        ("hello", 'is not {"labels": [[name'),
        ("{}", 'is not {"labels": [[name'),
        ('{"labels": null}', "holds no labels"),
        ('{"labels": []}', "holds no labels"),
        ('{"labels": [["a.png", null]]}', "holds no labels"),
        ('{"labels": [["a.png", [1, 2]]]}', "the label of a.png is 2 numbers"),
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
    assert "lists seed0000.png twice" in compare(rendered / "labels_generate.json", tmp_path / "other.json").stderr
