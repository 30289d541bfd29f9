import csv
import json

import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from l2cs import demo, evaluate, train
from l2cs.drawing import arrow_offset
from l2cs.estimator import GazeEstimator
from l2cs.set_options import device_of
from l2cs.weights import load_weights, snapshots_in

pytestmark = pytest.mark.filterwarnings("ignore:.*mirrored faces")


def run(command, *arguments) -> str:
    result = CliRunner().invoke(command, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output + str(result.exception)
    return result.output


def arguments(disc_set, output, *more):
    images, labels = disc_set / "Image", disc_set / "Label"
    return [
        f"--gaze360image_dir={images}", f"--gaze360label_dir={labels / 'train.label'}", f"--output={output}",
        "--arch=small", "--input-size=32", "--batch_size=32", "--lr=2e-3", "--device=cpu", *more,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def trained(disc_set, tmp_path_factory):
    output = tmp_path_factory.mktemp("run")
    held_out = f"--heldout_label={disc_set / 'Label' / 'test.label'}"
    run(train.main, *arguments(disc_set, output, "--num_epochs=8", held_out, f"--json={output / 'r.json'}"))
    return output


def test_training_learns_a_gaze_that_the_data_show(trained):
    result = json.loads((trained / "r.json").read_text())[trained.name]
    assert result["held_out"]["mean_angular_error_deg"] < 8  # 0.6 rad uniform: guessing the mean errs by 26
    assert load_weights(trained / "weights.safetensors")[1]["held_out"] == result["held_out"]


def test_a_continued_run_equals_the_unbroken_one(disc_set, tmp_path, monkeypatch):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run(train.main, *arguments(disc_set, whole, "--num_epochs=2"))
    save = train.train_and_measure.__globals__["Trainer"]._save_state

    def stop(trainer):
        save(trainer)
        if trainer.epoch == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("l2cs.training.Trainer._save_state", stop)
        assert CliRunner().invoke(train.main, arguments(disc_set, broken, "--num_epochs=2")).exit_code != 0
    run(train.main, *arguments(disc_set, broken, "--num_epochs=2"))
    one, two = (load_weights(folder / "weights.safetensors")[0].state_dict() for folder in (whole, broken))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_folder_of_another_run_is_refused(disc_set, trained):
    result = CliRunner().invoke(train.main, arguments(disc_set, trained, "--num_epochs=13"))
    assert result.exit_code == 2 and "belongs to a run with other settings" in result.output


def test_published_recipe_keeps_the_stem_and_inner_batch_norms(disc_set, tmp_path):
    common = arguments(disc_set, tmp_path / "a", "--num_epochs=1")
    run(train.main, *common)
    start = tmp_path / "a" / "weights.safetensors"
    other = arguments(disc_set, tmp_path / "b", "--num_epochs=1", "--recipe=published", f"--snapshot={start}")
    run(train.main, *other)
    before, after = (load_weights(tmp_path / x / "weights.safetensors")[0].state_dict() for x in "ab")
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert "conv1.weight" not in changed and "layer2.0.bn1.running_mean" not in changed
    assert {"layer2.0.conv1.weight", "fc_yaw_gaze.weight", "layer2.0.downsample.1.running_mean"} <= changed


def test_leaving_one_person_out_trains_and_measures(disc_set, tmp_path):
    header = "Face Left Right Origin WhichEye 3DGaze 3DHead 2DGaze 2DHead Rmat Smat GazeOrigin"
    rows = [line.split() for line in (disc_set / "Label" / "train.label").read_text().splitlines()[1:]]
    (tmp_path / "Label").mkdir()
    for k in range(2):
        lines = [f"{r[0]} l r o left 0,0,-1 0,0,-1 {r[5]} 0,0 1 1 0" for r in rows[k * 100 : k * 100 + 100]]
        (tmp_path / "Label" / f"p{k:02d}.label").write_text("\n".join([header, *lines]))
    run(
        train.main, "--dataset=mpiigaze", f"--gazeMpiimage_dir={disc_set / 'Image'}", "--num_epochs=1", "--device=cpu",
        f"--gazeMpiilabel_dir={tmp_path / 'Label'}", f"--output={tmp_path / 'out'}", "--arch=small",
        "--input-size=32", "--skip-unmatched", f"--json={tmp_path / 'r.json'}",
    )  # fmt: skip
    result = json.loads((tmp_path / "r.json").read_text())
    assert set(result) == {"fold0", "fold1"} and result["fold1"]["held_out"]["images"] > 50
    assert load_weights(tmp_path / "out/fold1/weights.safetensors")[0].architecture.bins == 28


VIEWS = ["--dataset=views", "--arch=small", "--input-size=32", "--batch_size=32", "--lr=2e-3", "--device=cpu"]


def test_training_on_hdf5_files_learns_and_is_measured_by_head_pose(disc_views, tmp_path):
    files = disc_views / "full"
    run(
        train.main, *VIEWS, f"--views={files / 'p00.h5'}", f"--views={files / 'p01.h5'}", "--num_epochs=7",
        f"--heldout-views={files / 'p02.h5'}", f"--output={tmp_path}", f"--json={tmp_path / 'r.json'}",
    )  # fmt: skip
    weights = tmp_path / "weights.safetensors"
    held_out = json.loads((tmp_path / "r.json").read_text())[tmp_path.name]["held_out"]
    assert held_out["mean_angular_error_deg"] < 12 and held_out["images"] == 40  # guessing the mean errs by 26
    assert load_weights(weights)[1]["crop"] == "face"
    told = run(
        evaluate.main, "--dataset=views", f"--views={disc_views}", "--fold=2", f"--snapshot={weights}", "--device=cpu",
        "--head-bins=0,20,40", f"--json={tmp_path / 'e.json'}", f"--plot={tmp_path / 'p.png'}",
    )  # fmt: skip
    numbers = json.loads((tmp_path / "e.json").read_text())
    assert numbers["mean_angular_error_deg"] == pytest.approx(held_out["mean_angular_error_deg"], abs=1e-3)
    bins = numbers["by_head"]["yaw"]
    mean = sum(row["images"] * row["mean_angular_error_deg"] for row in bins) / sum(row["images"] for row in bins)
    assert mean == pytest.approx(numbers["mean_angular_error_deg"], abs=1e-3) and "head yaw 0 to 20: " in told
    assert Image.open(tmp_path / "p.png").width > 1800


def test_each_person_of_hdf5_files_is_left_out_in_turn_and_backgrounds_are_swapped(disc_views, tmp_path):
    common = [*VIEWS, f"--views={disc_views}", "--num_epochs=1"]
    run(train.main, *common, "--fold=all", f"--output={tmp_path / 'all'}", f"--json={tmp_path / 'r.json'}")
    results = json.loads((tmp_path / "r.json").read_text())
    assert [results[f"fold{k}"]["held_out"]["images"] for k in range(3)] == [160, 140, 40]
    run(train.main, *common, "--fold=0", "--swap-backgrounds=0.7", "--zoom=0.2", f"--output={tmp_path / 'swapped'}")
    (plain, facts), (swapped, swapped_facts) = (
        load_weights(tmp_path / name / "fold0" / "weights.safetensors")[:2] for name in ("all", "swapped")
    )
    assert not torch.equal(plain.conv1.weight, swapped.conv1.weight)
    assert swapped_facts["swap_backgrounds"] == 0.7 and "swap_backgrounds" not in facts
    assert swapped_facts["zoom"] == 0.2 and "zoom" not in facts
    for more, message in (
        (["--fold=3"], "--fold=3: there are 3 people"),
        (["--fold=0", f"--heldout-views={disc_views}"], "give one of the two"),
        ([f"--backgrounds={disc_views}"], "add --swap-backgrounds"),
        (["--swap-backgrounds=2"], "is a share of the images"),
        (["--zoom=0.6"], "is a fraction of the size"),
        (["--swap-backgrounds=1", f"--backgrounds={disc_views}"], "no images in this folder"),
        ([f"--views={disc_views / 'full/p00.h5'}"], "named twice"),
        (["--dataset=gaze360", "--swap-backgrounds=1"], "only --dataset=views has"),
    ):
        result = CliRunner().invoke(train.main, [*common, f"--output={tmp_path / 'no'}", *more])
        assert result.exit_code == 2 and message in result.stderr and result.stderr.count("error:") == 1, result.stderr
        assert not (tmp_path / "no" / "weights.safetensors").exists()
    result = CliRunner().invoke(train.main, ["--dataset=views", f"--output={tmp_path / 'no'}"])
    assert result.exit_code == 2 and "by --views=PATH" in result.stderr


def test_evaluate_prints_what_training_measured_and_draws_a_plot(disc_set, trained, tmp_path):
    run(
        evaluate.main, f"--snapshot={trained / 'weights.safetensors'}", f"--gaze360image_dir={disc_set / 'Image'}",
        f"--gaze360label_dir={disc_set / 'Label' / 'test.label'}", f"--plot={tmp_path / 'p.png'}",
        f"--json={tmp_path / 'e.json'}", "--device=cpu",
    )  # fmt: skip
    numbers = json.loads((tmp_path / "e.json").read_text())
    expected = json.loads((trained / "r.json").read_text())[trained.name]["held_out"]
    assert numbers["mean_angular_error_deg"] == pytest.approx(expected["mean_angular_error_deg"], abs=1e-3)
    assert Image.open(tmp_path / "p.png").width > 500


def test_demo_lists_the_gaze_of_a_folder_and_checks_the_mirror(disc_set, trained, tmp_path):
    weights = f"--snapshot={trained / 'weights.safetensors'}"
    faces = tmp_path / "faces"
    faces.mkdir()
    for path in sorted((disc_set / "Image").glob("test*"))[:16]:
        (faces / path.name).write_bytes(path.read_bytes())
    run(demo.main, weights, f"--input={faces}", f"--output={tmp_path / 'drawn'}", "--device=cpu")
    rows = list(csv.DictReader((tmp_path / "drawn" / "gaze.csv").open()))
    truth = [line.split()[5].split(",") for line in (disc_set / "Label" / "test.label").read_text().splitlines()[1:17]]
    for row, (yaw, _) in zip(rows, truth, strict=True):
        assert abs(float(row["yaw_deg"]) - float(yaw) * 57.2958) < 25
    assert Image.open(tmp_path / "drawn" / rows[0]["file"]).width == 256
    assert "mirror self-test passed" in run(demo.main, weights, f"--input={faces}", "--check", "--device=cpu")


def test_arrow_points_where_the_viewer_would():
    assert arrow_offset(0.5, 0.0, 100)[0] < -40  # + yaw: to the image's left
    assert arrow_offset(0.0, 0.5, 100)[1] < -40  # + pitch: up


def test_asking_too_much_is_one_line(disc_set, tmp_path):
    for more, message in (("--batch_size=512", "only 256 training images"), ("--lr=0", "lr above 0")):
        result = CliRunner().invoke(train.main, arguments(disc_set, tmp_path / "x", more))
        assert result.exit_code == 2 and message in result.output
        assert result.output.count("error:") == 1
    missing = CliRunner().invoke(evaluate.main, ["--snapshot=none.pkl", "--gaze360label_dir=none.label"])
    assert missing.exit_code == 2 and "none.label" in missing.output


def test_estimates_of_the_trained_network_have_the_right_sign(trained, draw_disc):
    estimator = GazeEstimator.load(trained / "weights.safetensors", check=False)
    images = [torch.from_numpy(draw_disc(y, p)).permute(2, 0, 1) for y, p in ((0.4, 0), (-0.4, 0), (0, 0.4), (0, -0.4))]
    yaw, pitch = estimator((torch.stack(images).float() - 128) / 127.5)
    assert yaw[0] > 0.15 and yaw[1] < -0.15 and pitch[2] > 0.15 and pitch[3] < -0.15


def test_every_snapshot_of_a_folder_is_measured_and_logged(disc_set, trained, tmp_path):
    snapshots, weights = tmp_path / "snapshots", (trained / "weights.safetensors").read_bytes()
    for place in (snapshots, snapshots / "fold1"):
        place.mkdir()
        for name in ("_epoch_10.pkl", "_epoch_2.pkl", "notes.txt", "._epoch_2.pkl"):
            (place / name).write_bytes(weights)
    labels = [f"--gaze360image_dir={disc_set / 'Image'}", f"--gaze360label_dir={disc_set / 'Label' / 'test.label'}"]
    common = ["--snapshot", snapshots, "--evalpath", tmp_path / "eval", "--batch-size=40", "--device=cpu"]
    printed = run(evaluate.main, *common, *labels, f"--json={tmp_path / 'e.json'}")
    numbers = json.loads((tmp_path / "e.json").read_text())
    assert list(numbers) == ["_epoch_2.pkl", "_epoch_10.pkl"] and printed.count("mean_angular_error_deg") == 2
    lines = (tmp_path / "eval" / "gaze360.log").read_text().splitlines()
    for name, line in zip(numbers, lines, strict=True):
        error = numbers[name]["mean_angular_error_deg"]
        assert line == f"[{name}] Total Num:48,MAE:{error}" and error < 8
    assert Image.open(tmp_path / "eval" / "gaze360.png").width > 300
    result = CliRunner().invoke(evaluate.main, [*map(str, common), *labels, f"--plot={tmp_path / 'p.png'}"])
    assert result.exit_code == 2 and "shows one network" in result.stderr
    assert [file.name for file in snapshots_in(snapshots, "fold1")] == list(numbers)
    assert snapshots_in(snapshots, "fold1")[0].parent.name == "fold1"
    with pytest.raises(ValueError, match="holds no weights"):
        snapshots_in(disc_set, "fold1")


@pytest.mark.parametrize(
    "given, there, expected",
    [
        (("cpu", None), 0, "cpu"),
        (("auto", "0"), 0, "cpu"),  # the published commands name GPU 0
        (("auto", "1"), 2, "cuda:1"),
        (("cuda", "0,1"), 2, "cuda:0"),
        (("auto", "2"), 2, "sees the GPUs 0 to 1"),
        (("cuda", "0"), 0, "sees no CUDA device"),
        (("cpu", "0"), 2, "contradict"),
        (("auto", "first"), 2, "is not the number of a GPU"),
    ],
)
def test_the_published_number_of_a_gpu(given, there, expected, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: there)
    try:
        said = str(device_of(*given))
    except ValueError as error:
        said = str(error)
    assert expected in said
    noted = capsys.readouterr().err
    assert noted.count("\n") == (given[1] is not None and (expected == "cpu" or "," in given[1])), noted


def test_a_wrong_arch_and_a_camera_are_one_line(disc_set, trained, tmp_path):
    picture = next((disc_set / "Image").glob("*.png"))
    weights = ["--snapshot", str(trained / "weights.safetensors"), "--device=cpu"]
    for command, needed in ((demo.main, ["--input", str(picture), f"--output={tmp_path}"]), (evaluate.main, [])):
        labels = [] if needed else [f"--gaze360image_dir={disc_set / 'Image'}"]
        labels += [] if needed else [f"--gaze360label_dir={disc_set / 'Label' / 'test.label'}"]
        result = CliRunner().invoke(command, [*weights, *needed, *labels, "--arch=ResNet50"])
        assert result.exit_code == 2 and "holds small-16-32-64-128; leave --arch out" in result.stderr
    camera = CliRunner().invoke(demo.main, [*weights, "--cam", "0"])
    assert camera.exit_code == 2
    assert "--cam=0 does nothing here" in camera.stderr and "give pictures of faces by --input" in camera.stderr
    assert "--cam=0 does nothing" in run(demo.main, *weights, "--cam=0", f"--input={picture}", f"--output={tmp_path}")
