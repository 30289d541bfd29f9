"""What users did: pictures drawn over photos, scores written over labels, a run inside its data set, `--x=~/path`."""

import json
import os
import shutil
import unicodedata
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image
from tiny_run import write_images

from dataset_preprocessing.ffhq.preprocess_in_the_wild import main as preprocess
from eg3d.calc_id import main as calc_id
from eg3d.calc_metrics import main as calc_metrics
from eg3d.calc_pose import main as calc_pose
from eg3d.checkpoints.loading import GENERATORS
from eg3d.convert import main as convert
from eg3d.gen_samples import main as gen_samples
from eg3d.gen_samples_pose import main as gen_samples_pose
from eg3d.gen_videos import main as gen_videos
from eg3d.train import main as train
from l2cs.demo import main as gaze_demo
from l2cs.drawing import picture_names

FAULTS = Path(__file__).parent / "data" / "faults"
PHOTO = FAULTS / "b01_demo_overwrites_originals" / "photos" / "me.png"


def run(command, *arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def refused(command, *arguments) -> str:
    result = run(command, *arguments)
    assert result.exit_code == 2 and result.stdout == "" and result.stderr.count("\n") == 1, result.output
    return result.stderr


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture
def photos(tmp_path):
    shutil.copytree(PHOTO.parent, tmp_path / "photos", copy_function=shutil.copyfile)
    return tmp_path / "photos"


def stop_before(command, monkeypatch) -> list[dict]:
    """The body of a command only notes its arguments, in the list that this gives."""
    reached: list[dict] = []
    monkeypatch.setattr(command, "callback", lambda **arguments: reached.append(arguments))
    return reached


@pytest.mark.parametrize("source, output", [("", ""), ("me.png", ""), ("", "drawn"), ("me.png", "../photos")])
def test_the_demo_never_draws_over_photos_or_among_them(photos, source, output):  # public fault b01
    message = refused(gaze_demo, "--snapshot=embedded", f"--input={photos / source}", f"--output={photos / output}")
    assert "--input" in message and "--output" in message
    assert contents(photos) == {"me.png": PHOTO.read_bytes()}


def test_the_demo_sees_that_a_folder_above_holds_one_of_the_pictures(photos):
    shutil.copytree(photos, photos.parent / "photos" / "photos")
    before = contents(photos)
    # photos/photos/me.png would be drawn as OUT/photos/me.png, which is the other picture
    message = refused(gaze_demo, "--snapshot=embedded", f"--input={photos}", f"--output={photos.parent}")
    assert f"--output={photos.parent}: photos/me.png there is a picture of --input" in message
    assert contents(photos) == before


def test_a_link_in_the_folder_of_outputs_leads_into_no_input(photos, tmp_path):
    shutil.copytree(photos, photos / "of_me")
    data = write_images(tmp_path / "faces")
    out = tmp_path / "out"
    out.mkdir()
    before = contents(tmp_path)
    for name, folder in (("of_me", photos / "of_me"), ("arcface", data)):
        (out / name).symlink_to(folder)
    demo = ["--snapshot=embedded", f"--input={photos}", f"--output={out}"]
    assert "of_me/me.png there is a picture of --input" in refused(gaze_demo, *demo)
    os.rename(photos / "of_me" / "me.png", photos / "of_me" / "you.PNG")  # drawn as you.png, among the photos
    assert f"{out / 'of_me'} leads into --input" in refused(gaze_demo, *demo)
    os.rename(photos / "of_me" / "you.PNG", photos / "of_me" / "me.png")
    identity = ["--network=embedded", "--num-gen=1", f"--outdir={out}"]
    assert f"{out / 'arcface'}, which is written with --outdir" in refused(calc_id, *identity)
    os.unlink(data / "dataset.json")
    assert "--data" in refused(calc_id, *identity, f"--data={data}")
    assert {name: text for name, text in before.items() if "dataset.json" not in name} == contents(tmp_path)


def test_the_demo_draws_each_picture_under_a_name_of_its_own(tmp_path):
    (tmp_path / "faces").mkdir()
    for name, colour in (("a.png", "red"), ("a.jpg", "blue"), ("b.png", "green")):
        Image.new("RGB", (16, 16), colour).save(tmp_path / "faces" / name)
    odd = os.fsencode(tmp_path / "faces") + b'/caf\xe9 "1".png'  # no UTF-8, and a quote
    shutil.copyfile(PHOTO, odd)
    out = tmp_path / "out"
    for _ in range(2):  # the same command again writes the same
        result = run(gaze_demo, "--snapshot=embedded", f"--input={tmp_path / 'faces'}", f"--output={out}")
        assert result.exit_code == 0, result.output
        names = {file.name for file in out.iterdir()}
        assert names == {"a.png.png", "a.jpg.png", "b.png", os.fsdecode(b'caf\xe9 "1".png'), "gaze.csv"}
    assert Image.open(out / "a.png.png").getpixel((0, 0))[0] > 200 > Image.open(out / "a.jpg.png").getpixel((0, 0))[0]
    rows = (out / "gaze.csv").read_bytes().splitlines()
    assert len(rows) == 5 and any(row.startswith(b'"caf\xe9 ""1"".png",') for row in rows)


@pytest.mark.parametrize(
    "names, expected",
    [
        (["a.png", "b/a.png"], ["a.png", "b/a.png"]),
        (["A.png", "a.png"], ["A.png.png", "a.png_2.png"]),
        (["é.png", unicodedata.normalize("NFD", "é.png")], ["é.png.png", unicodedata.normalize("NFD", "é.png_2.png")]),
        (["a.jpg", "a.jpg.png", "a.png"], ["a.jpg_2.png", "a.jpg.png", "a.png.png"]),
        (["a.png/x.jpg", "a.jpg"], ["a.png/x.png", "a.jpg.png"]),  # a folder has the name
    ],
)
def test_names_of_pictures_differ_on_every_disk(names, expected):
    assert [str(name) for name in picture_names(list(map(Path, names)))] == expected


def test_scores_never_replace_a_label_file_or_what_lies_beside_it(tmp_path):  # public fault b01, same kind
    for name in ("a.json", "b.json", "pose_estimate.json"):
        (tmp_path / name).write_text("{}")
    for name in ("a.json", "b.json", "pose_estimate.json"):
        files = [f"--file1={tmp_path / 'a.json'}", f"--file2={tmp_path / 'b.json'}"]
        assert name in refused(calc_pose, *files, f"--json={tmp_path / name}")
    assert set(contents(tmp_path).values()) == {b"{}"}


def test_a_run_inside_its_data_set_is_refused_at_the_start(tmp_path):  # public fault b11
    data = write_images(tmp_path / "s" / "FACES")
    before = contents(tmp_path)
    (tmp_path / "link").symlink_to(data)
    common = ["--cfg=embedded", f"--data={data}"]
    for outdir in (data / "runs", data, tmp_path / "link" / "a" / "b"):
        for more in ([], ["--dry-run"]):
            message = refused(train, *common, f"--outdir={outdir}", *more)
            assert "--outdir=" in message and "inside a data set" in message
    assert "inside" in refused(train, *common, f"--outdir={tmp_path / 's'}", "--desc=FACES/runs")
    assert "without .." in refused(train, *common, f"--outdir={tmp_path / 's'}", "--desc=../s/FACES")
    for command in (gen_samples, gen_videos, gen_samples_pose):
        assert "inside a data set" in refused(command, "--network=embedded", "--seeds=0", f"--outdir={data / 'out'}")
    assert contents(tmp_path) == before


def test_a_run_starts_from_a_snapshot_in_its_own_folder_and_beside_its_data(tmp_path, monkeypatch):
    reached = stop_before(train, monkeypatch)
    write_images(tmp_path / "run" / "faces")
    (tmp_path / "run" / "network-snapshot-000000.safetensors").touch()
    resume = f"--resume={tmp_path / 'run' / 'network-snapshot-000000.safetensors'}"
    data = f"--data={tmp_path / 'run' / 'faces'}"
    for more in ([resume], ["--resume=latest"], []):
        assert run(train, f"--outdir={tmp_path / 'run'}", "--cfg=embedded", data, *more).exit_code == 0
    assert len(reached) == 3


def test_a_new_run_never_replaces_the_snapshot_that_it_starts_from(tmp_path):
    """As when the large training-state.pt of a finished run has been deleted."""
    out = tmp_path / "run"
    for name in ("network-snapshot-000000.safetensors", "network-snapshot-000500.safetensors"):
        out.mkdir(exist_ok=True)
        shutil.copyfile(GENERATORS["embedded-base"], out / name)
    data, before = write_images(tmp_path / "faces", side=64), contents(out)
    (tmp_path / "link").symlink_to(out)
    for name in before:
        for form in (out / name, f"file://{out / name}", tmp_path / "link" / name):
            message = refused(train, "--cfg=embedded", f"--data={data}", f"--outdir={out}", f"--resume={form}")
            assert "--resume=" in message and "lies in --outdir, where a new run would write over it" in message
    assert contents(out) == before


def test_a_film_never_replaces_the_path_of_its_camera(tmp_path, monkeypatch):
    reached = stop_before(gen_videos, monkeypatch)
    common = ["--network=embedded", f"--outdir={tmp_path}"]
    for name in ("interpolation_cameras.json", "3_cameras.json"):
        (tmp_path / name).write_text("{}")
    whole, single = (f"--camera-path={tmp_path / name}" for name in ("interpolation_cameras.json", "3_cameras.json"))
    assert "--camera-path" in refused(gen_videos, *common, "--seeds=0", whole)
    assert "--camera-path" in refused(gen_videos, *common, "--seeds=0-4", "--interpolate=False", single)
    assert not reached
    assert run(gen_videos, *common, "--seeds=0", single).exit_code == 0  # another film's, beside which this one goes
    assert run(gen_videos, *common, "--seeds=0-2", "--interpolate=False", single).exit_code == 0


def test_the_shape_of_a_head_never_replaces_a_network(tmp_path, monkeypatch):
    reached = stop_before(gen_samples, monkeypatch)
    common = [f"--network={tmp_path / 'seed0000.ply'}", "--seeds=0", f"--outdir={tmp_path}", "--shape-format=.ply"]
    (tmp_path / "seed0000.ply").touch()
    assert run(gen_samples, *common).exit_code == 0 and len(reached) == 1
    assert "--network" in refused(gen_samples, *common, "--shapes")


def test_cameras_of_other_pictures_are_never_lost(tmp_path):
    common = ["--network=embedded", f"--outdir={tmp_path}"]
    labels = json.loads((write_images(tmp_path / "data") / "dataset.json").read_text())["labels"]
    rows = [["seed0000.png", labels[0][1]], ["seed0007.png", labels[1][1]]]
    (tmp_path / "labels_generate.json").write_text(json.dumps({"labels": rows}))
    before = contents(tmp_path)
    assert "cameras of 1 other pictures, as seed0007.png" in refused(gen_samples_pose, *common, "--seeds=0-6")
    assert "its own dataset.json" in refused(gen_samples_pose, *common[:1], f"--outdir={tmp_path / 'data'}")
    (tmp_path / "labels_generate.json").write_text("mine")
    assert "is not {" in refused(gen_samples_pose, *common, "--seeds=0-7")
    assert contents(tmp_path) == before | {"labels_generate.json": b"mine"}


def test_scores_never_replace_what_belongs_to_the_run_of_a_network(tmp_path):
    data = write_images(tmp_path / "faces")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "training_options.json").write_text(json.dumps({"data": {"path": str(data)}}))
    for name in ("G.safetensors", "metric-fid50k_full.jsonl"):
        (tmp_path / "run" / name).touch()
    before = contents(tmp_path)
    lost = ["run/G.safetensors", "run/training_options.json", "run/metric-fid50k_full.jsonl", "run/metric-new.jsonl"]
    for name in (*lost, "faces/dataset.json", "faces/new.json"):
        message = refused(calc_metrics, f"--network={tmp_path / 'run' / 'G.safetensors'}", f"--json={tmp_path / name}")
        assert f"--json={tmp_path / name}" in message
    assert contents(tmp_path) == before


def test_pictures_of_identity_never_join_the_data_set_that_they_are_drawn_by(tmp_path):
    (tmp_path / "arcface").mkdir()
    flags = ["--network=embedded", f"--data={tmp_path / 'arcface'}", f"--outdir={tmp_path}"]
    assert "would write over --data=" in refused(calc_id, *flags)


@pytest.mark.parametrize("form", ["{path}", "file://{path}"])
def test_a_checkpoint_is_never_converted_onto_itself(tmp_path, form):
    (tmp_path / "G.safetensors").write_text("precious")
    source = form.format(path=tmp_path / "G.safetensors")
    for name in ("G.safetensors", "../" + tmp_path.name + "/G.safetensors"):
        assert "itself" in refused(convert, f"--source={source}", f"--dest={tmp_path / name}")


def test_labels_of_pictures_may_lie_among_them(tmp_path, monkeypatch):
    reached = stop_before(preprocess, monkeypatch)
    (tmp_path / "pictures").mkdir()
    shutil.copyfile(PHOTO, tmp_path / "pictures" / "me.png")
    indir = f"--indir={tmp_path / 'pictures'}"
    for more in ([], [f"--outdir={tmp_path / 'pictures'}"], [f"--outdir={tmp_path / 'new'}"]):
        assert run(preprocess, indir, *more).exit_code == 0
    (tmp_path / "pictures" / "dataset.json").write_text("{}")  # of an earlier call
    assert run(preprocess, indir).exit_code == 0 and len(reached) == 4
    assert "--landmarks" in refused(preprocess, indir, f"--landmarks={tmp_path / 'pictures' / 'dataset.json'}")
    assert "--indir" in refused(preprocess, indir, f"--json={tmp_path / 'pictures' / 'dataset.json'}")


def test_the_published_readme_finds_home_folders(tmp_path, monkeypatch):  # public fault b12
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    faces = write_images(tmp_path / "home" / "datasets" / "faces")
    reached = stop_before(train, monkeypatch)
    flags = ["--outdir=~/training-runs", "--cfg=ffhq", "--data=~/datasets/faces", "--resume=~/G.pkl", "--l2cs-path=~/w"]
    assert run(train, *flags).exit_code == 0
    assert reached[0]["outdir"] == tmp_path / "home" / "training-runs" and reached[0]["data"] == str(faces)
    assert (reached[0]["resume"], reached[0]["l2cs_path"]) == (f"{tmp_path}/home/G.pkl", f"{tmp_path}/home/w")
    assert f"{tmp_path}/home/no.pkl: there is no such file" in refused(
        gen_samples, "--network=~/no.pkl", "--seeds=0", "--outdir=~/samples"
    )
    assert not list(tmp_path.glob("~*"))
