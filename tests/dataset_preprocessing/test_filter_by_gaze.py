"""dataset_preprocessing: which images stay, and that they are copied untouched."""

import io
import json
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from dataset_preprocessing import filter_by_gaze, selection
from dataset_preprocessing.packing import check_destination
from eg3d.gaze.networks import check_size
from eg3d.geometry.cameras import FFHQ_FOCAL, intrinsics_matrix, lookat_pose, make_label, mirror_label
from groundwork.damage import Damage
from l2cs.estimator import GazeAngles

# yaw of the camera about the world origin; the label's yaw* is a little larger, as the camera looks at the pivot
YAWS = {"b/x.png": 0.6, "b/x_mirror.png": -0.6, "a/y.png": 0.1, "a/y_mirror.png": -0.1, "c/z-mirror.jpg": -0.9}


def label_of(name: str) -> list[float]:
    yaw = abs(YAWS[name])
    label = make_label(lookat_pose(yaw, -0.1), intrinsics_matrix(FFHQ_FOCAL))
    return (mirror_label(label) if YAWS[name] < 0 else label)[0].tolist()


def image_bytes(seed: int, name: str, size: int = 16) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (size, size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "JPEG" if name.endswith("jpg") else "PNG")
    return buffer.getvalue()


def write_set(folder, change=lambda labels: labels):
    for seed, name in enumerate(YAWS):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(image_bytes(seed, name))
    labels = change([[name, label_of(name)] for name in YAWS])
    (folder / "dataset.json").write_text(json.dumps({"labels": labels}))
    return folder


@pytest.fixture
def folder(tmp_path):
    return write_set(tmp_path / "faces")


def zipped(folder):
    path = folder.with_name(folder.name + ".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder).as_posix())
    return path


@pytest.mark.parametrize("source_kind", ["folder", "zip"])
@pytest.mark.parametrize("dest_kind", ["folder", "zip"])
def test_images_keep_their_bytes_their_labels_and_their_order(folder, tmp_path, source_kind, dest_kind):
    faces = selection.FaceSet(folder if source_kind == "folder" else zipped(folder))
    yaws = selection.label_yaws(faces)
    kept = selection.choose(faces.names, yaws, 0.4, None)
    dest = tmp_path / ("new.zip" if dest_kind == "zip" else "new")
    selection.copy_rows(faces, kept, dest)
    copy = selection.FaceSet(dest)
    assert copy.names == ["b/x.png", "b/x_mirror.png", "c/z-mirror.jpg"]
    assert all(copy.read(name) == (folder / name).read_bytes() for name in copy.names)
    original = dict(json.loads((folder / "dataset.json").read_text())["labels"])
    assert json.loads(copy.read("dataset.json"))["labels"] == [[name, original[name]] for name in copy.names]
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith(".")) == []  # no temporary is left


def test_label_yaw_is_that_of_the_face_in_the_picture(folder):
    yaws = dict(zip(YAWS, selection.label_yaws(selection.FaceSet(folder)), strict=True))
    assert yaws["b/x.png"] == pytest.approx(-yaws["b/x_mirror.png"], abs=1e-6)
    for name, camera_yaw in YAWS.items():
        # by hand: the camera stands at elevation asin(0.2 / pi) and looks at (0, 0, 0.2); the face's axis is -sin(a)
        # along the image's x and cos(a) cos(e) toward the camera, a and e being its angles round that point
        height = 2.7 * 0.2 / np.pi
        ground = np.sqrt(2.7**2 - height**2)
        x, z = ground * np.sin(camera_yaw), ground * np.cos(camera_yaw) - 0.2
        cos_e = np.hypot(x, z) / np.sqrt(x**2 + z**2 + height**2)
        assert yaws[name] == pytest.approx(np.arctan2(x, z * cos_e), abs=1e-5)


def test_a_mirrored_pair_stays_or_goes_together():
    names = ["p.png", "p_mirror.png", "q.png", "q-mirror.png", "f/p.png"]
    # the estimator reads one of a pair above the threshold and one below; the mean decides
    assert selection.choose(names, [0.45, -0.37, 0.42, -0.3, 0.39], 0.4, None) == [0, 1]


def test_thresholds_are_above_the_least_and_up_to_the_most():
    names = [f"{i}.png" for i in range(4)]
    assert selection.choose(names, [0.4, -0.41, 0.9, 1.0], 0.4, 0.9) == [1, 2]


def test_nothing_left_is_an_error_that_tells_the_range():
    with pytest.raises(ValueError, match=r"0\.100 to 0\.300.*--min-abs-yaw"):
        selection.choose(["a.png", "b.png"], [0.1, -0.3], 0.4, None)


def test_minimum_above_maximum_is_an_error():
    with pytest.raises(ValueError, match="--max-abs-yaw"):
        selection.choose(["a.png"], [0.5], 0.4, 0.2)


def test_estimated_yaw_is_the_networks_and_each_image_reaches_it_once(folder):
    def brightness(images):  # stands in for the gaze network: yaw = mean of the image
        assert images.shape[1:] == (3, 16, 16) and images.abs().max() <= 1
        return GazeAngles(images.mean(dim=(1, 2, 3)), torch.zeros(len(images)))

    faces = selection.FaceSet(folder)
    yaws = selection.estimated_yaws(faces, brightness, batch=2, device="cpu", damage=Damage(False))
    expected = [float(np.asarray(Image.open(folder / name), np.float64).mean() / 127.5 - 1) for name in faces.names]
    assert yaws == pytest.approx(expected, abs=1e-5)


def drop_row(labels):
    return labels[1:]


def shorten_label(labels):
    return [[labels[0][0], labels[0][1][:24]], *labels[1:]]


def scale_rotation(labels):
    return [[labels[0][0], [2 * x for x in labels[0][1]]], *labels[1:]]


def add_row(labels):
    return [*labels, ["missing.png", labels[0][1]]]


def no_labels(labels):
    return None


@pytest.mark.parametrize(
    "change, message",
    [
        (drop_row, "1 of 5 images has no label, the first is b/x.png"),
        (shorten_label, "b/x.png is 24 numbers"),
        (scale_rotation, "b/x.png is not a rotation"),
        (add_row, "1 of 6 labelled images is missing, the first is missing.png"),
        (no_labels, "5 of 5 images have no label"),
    ],
)
def test_a_broken_data_set_is_refused_by_name(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        selection.FaceSet(write_set(tmp_path / "faces", change))


def test_a_damaged_or_empty_zip_is_refused(folder, tmp_path):
    (tmp_path / "empty.zip").touch()
    with pytest.raises(ValueError, match="empty.zip"):
        selection.FaceSet(tmp_path / "empty.zip")
    with pytest.raises(ValueError, match="missing.zip: there is no such file"):
        selection.FaceSet(tmp_path / "missing.zip")


def test_a_destination_in_use_is_refused(folder, tmp_path):
    with pytest.raises(ValueError, match="not empty"):
        check_destination(folder)
    (tmp_path / "used.zip").write_bytes(b"x")
    with pytest.raises(ValueError, match="exists"):
        check_destination(tmp_path / "used.zip")
    (tmp_path / "free").mkdir()
    check_destination(tmp_path / "free")


@pytest.mark.parametrize("name", ["new", "new.zip"])
def test_a_failure_while_copying_leaves_nothing(folder, tmp_path, name):
    faces = selection.FaceSet(folder)
    (folder / faces.names[1]).unlink()
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ValueError, match="cannot be read"):
        selection.copy_rows(faces, [0, 1], tmp_path / name)
    assert sorted(tmp_path.iterdir()) == before


def test_two_runs_write_the_same_zip(folder, tmp_path):
    faces = selection.FaceSet(folder)
    for name in ("one.zip", "two.zip"):
        selection.copy_rows(faces, [0, 2], tmp_path / name)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()


def run(capsys, *args):
    """The script in this process (a second import of torch takes seconds; tests/test_scripts.py runs it for real)."""
    from dataset_preprocessing.filter_by_gaze import main

    with pytest.raises(SystemExit) as stop:
        main.main([str(arg) for arg in args])
    return stop.value.code, *capsys.readouterr()


def test_the_script_writes_data_manifest_and_histogram(folder, tmp_path, capsys):
    args = ("--data", zipped(folder), "--dest", tmp_path / "turned.zip", "--json", tmp_path / "counts.json")
    code, out, err = run(capsys, *args)
    assert code == 0, err
    assert "kept 3 of 5" in out
    manifest = json.loads((tmp_path / "turned.manifest.json").read_text())
    assert [name for name, _ in manifest["kept"]] == selection.FaceSet(tmp_path / "turned.zip").names
    assert all(abs(yaw) > 0.4 for _, yaw in manifest["kept"])
    assert json.loads((tmp_path / "counts.json").read_text())["kept_images"] == 3
    assert Image.open(tmp_path / "turned.histogram.png").size[0] > 400
    code, out, err = run(capsys, *args)
    assert code == 2 and err.count("\n") == 1 and "turned.zip" in err  # it exists now


def test_the_script_needs_a_gaze_network_to_filter_by_gaze(folder, tmp_path, capsys):
    code, _, err = run(capsys, "--data", folder, "--dest", tmp_path / "new", "--by=gaze")
    assert code == 2 and err.startswith("error: --by=gaze needs --l2cs-path") and not (tmp_path / "new").exists()


def test_degrees_are_named_as_such(folder):
    with pytest.raises(ValueError, match="--min-abs-yaw=23: is in radians, and 23 degrees are 0.401"):
        selection.choose(["a"], [0.5], 23, None)


def test_pictures_that_are_too_small_for_a_judge_are_not_rendered_for_it(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(filter_by_gaze, "dataset_path", lambda *of: pytest.fail("is rendered"))
    code, _, err = run(capsys, "--data=embedded", f"--dest={tmp_path / 'new.zip'}", "--by=gaze", "--l2cs-path=iris")
    assert code == 2 and err.count("\n") == 1 and not list(tmp_path.iterdir())
    assert "iris: reads pictures of 96 px or more, and those of --data=embedded have 64" in err
    with pytest.raises(ValueError, match="iris"):
        check_size("iris", 95, "x")
    check_size("iris", 96, "x")
    check_size("embedded", 64, "x")


class SeesOne:
    """Finds a face in the first picture of a batch alone, and reads 0.7 rad there."""

    sha256, facts, differentiable = "0" * 64, {"limits": "yaw near the lens"}, False

    def __call__(self, images):
        yaw = torch.full((len(images),), torch.nan)
        yaw[0] = 0.7
        return GazeAngles(yaw, 0 * yaw)


def test_images_without_a_face_are_left_out_and_counted(folder, tmp_path, capsys, monkeypatch):
    from eg3d.gaze import networks

    monkeypatch.setitem(networks.LOADERS, "seesone", lambda name, device: SeesOne())
    code, out, _ = run(capsys, f"--data={folder}", f"--dest={tmp_path / 'new.zip'}", "--by=gaze", "--l2cs-path=seesone",
                       "--batch=4")  # fmt: skip
    assert code == 0 and "kept 2 of 2 images" in out and "[yaw near the lens]" in out
    assert "left out, for no face is found: 3 images, the first is a/y.png" in out
    manifest = json.loads((tmp_path / "new.manifest.json").read_text())
    assert manifest["without_face"] == 3 and manifest["limits"] == "yaw near the lens" and manifest["images"] == 2
    assert [name for name, _ in manifest["kept"]] == [list(YAWS)[0], list(YAWS)[4]]


def test_a_set_in_which_no_face_is_found_is_refused(folder):
    with pytest.raises(ValueError, match="finds a face in none of 5 images"):
        selection.with_face(selection.FaceSet(folder), [float("nan")] * 5)
