"""mirror_dataset.py: pictures, cameras and gaze of mirrored copies, in place and as a new set."""

import io
import json
import zipfile

import numpy as np
import pytest
import small_set
import torch
from click.testing import CliRunner
from PIL import Image
from scipy.spatial.transform import Rotation

from dataset_preprocessing import mirror_dataset, mirroring
from dataset_preprocessing.ffhq.fitted_cameras import fitted_labels
from eg3d.gaze.term import gaze_target
from eg3d.geometry.cameras import mirror_label
from l2cs.gaze_labels import read_labels

COUNT = 4


def run(*arguments):
    return CliRunner().invoke(mirror_dataset.main, [str(argument) for argument in arguments])


def done(*arguments) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def failed(*arguments) -> str:
    """The one line of an error."""
    result = run(*arguments)
    assert result.exit_code == 2 and not result.stdout, result.output
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    return line


@pytest.fixture
def faces(tmp_path):
    """A set in EG3D's layout."""
    return small_set.write_folder(tmp_path / "faces", small_set.members(COUNT))


def content(folder) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def rows(data: bytes) -> dict[str, list[float]]:
    return dict(json.loads(data)["labels"])


def pixels(data: bytes) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(data)).convert("RGB"))


def check_mirrored(before: dict[str, bytes], after: dict[str, bytes]) -> None:
    """Every picture is there as it was, and its copy; each copy's label stands behind its original's."""
    names = [name for name in before if name.endswith(".png")]
    assert len(after) == 2 * len(names) + 1
    labels = rows(after["dataset.json"])
    order = list(labels)
    for name in names:
        copy = name.replace(".png", "_mirror.png")
        assert after[name] == before[name]
        assert np.array_equal(pixels(after[copy]), pixels(before[name])[:, ::-1])
        assert order.index(copy) == order.index(name) + 1
        assert labels[name] == rows(before["dataset.json"])[name]
        one, other = torch.tensor([labels[name]], dtype=torch.float64), torch.tensor([labels[copy]])
        assert torch.allclose(mirror_label(one).float(), other, atol=1e-6)
        assert torch.allclose(gaze_target(one).yaw.float(), -gaze_target(other).yaw, atol=1e-5)
        assert torch.allclose(gaze_target(one).pitch.float(), gaze_target(other).pitch, atol=1e-5)


def test_copies_join_the_set_and_a_second_run_changes_nothing(faces):
    before = content(faces)
    assert f"{COUNT} mirrored pictures" in done(f"--source={faces}")
    after = content(faces)
    check_mirrored(before, after)
    (faces / "dataset.json").write_text(json.dumps(json.loads(after["dataset.json"]), indent=1))  # somebody's own way
    after = content(faces)
    assert "0 mirrored pictures" in done("--source", faces) and f"{COUNT} were there already" in done("--source", faces)
    assert content(faces) == after


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_a_new_set_holds_the_pictures_and_their_copies(kind, faces, tmp_path):
    before, dest = content(faces), tmp_path / ("new.zip" if kind == "zip" else "new")
    done(f"--source={faces}", f"--dest={dest}")
    if kind == "zip":
        with zipfile.ZipFile(dest) as archive:
            after = {name: archive.read(name) for name in archive.namelist()}
    else:
        after = content(dest)
    check_mirrored(before, after)
    assert content(faces) == before
    again = tmp_path / "again"
    done(f"--source={dest}", f"--dest={again}")  # a set that has its copies stays as it is
    check_mirrored(before, content(again))


def test_a_run_that_was_cut_off_goes_on(faces, monkeypatch):
    before = content(faces)
    with monkeypatch.context() as patch:
        patch.setattr(mirroring, "atomic_write", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert run(f"--source={faces}").exit_code == 130
    assert content(faces)["dataset.json"] == before["dataset.json"]  # copies are there, their labels are not
    done(f"--source={faces}")
    check_mirrored(before, content(faces))


def test_a_damaged_picture_changes_nothing_or_is_left_out(faces):
    name = "00000/img00000001.png"
    (faces / name).write_bytes((faces / name).read_bytes()[:60])
    before = content(faces)
    assert "img00000001.png" in failed(f"--source={faces}") and content(faces) == before
    done(f"--source={faces}", "--skip-damaged")
    labels = rows((faces / "dataset.json").read_bytes())
    assert len(labels) == 2 * COUNT - 1 and name in labels and name.replace(".png", "_mirror.png") not in labels


def test_pictures_without_labels_are_mirrored_and_copies_are_not(faces):
    (faces / "dataset.json").unlink()
    assert "labels: none" in done(f"--source={faces}")
    done(f"--source={faces}")
    names = {name.split("/")[1] for name in content(faces)}
    assert len(names) == 2 * COUNT and not any("mirror_mirror" in name for name in names)


def test_labels_that_do_not_match_are_an_error_and_none_is_lost(faces):
    (faces / "00000/img00000002.png").unlink()
    before = content(faces)
    assert "1 of 4" in failed(f"--source={faces}") and content(faces) == before
    done(f"--source={faces}", "--skip-unmatched")
    assert len(rows((faces / "dataset.json").read_bytes())) == COUNT + 3


def test_only_so_many(faces, tmp_path):
    done(f"--source={faces}", f"--dest={tmp_path / 'two'}", "--max-images=2")
    made = content(tmp_path / "two")
    assert len(made) == 5 and len(rows(made["dataset.json"])) == 4
    done(f"--source={faces}", "--max_images", "1")
    assert len(content(faces)) == COUNT + 2 and len(rows((faces / "dataset.json").read_bytes())) == COUNT + 1


def test_two_pictures_do_not_share_a_copy_and_a_jpeg_gets_a_lossless_one(tmp_path):
    image = small_set.members(1)[0][1]
    photos = small_set.write_folder(tmp_path / "photos", [("a.png", image), ("b.jpg", b"")])
    Image.open(io.BytesIO(image)).save(photos / "b.jpg", quality=50)
    done(f"--source={photos}")
    after = content(photos)
    assert np.array_equal(pixels(after["b_mirror.png"]), pixels(after["b.jpg"])[:, ::-1])
    (photos / "A.jpg").write_bytes(after["b.jpg"])
    assert "a_mirror.png; rename one" in failed(f"--source={photos}").lower()


def test_the_head_of_a_mirrored_photo_is_turned_the_other_way():
    angles, shift = torch.tensor([[0.1, 0.4, 0.05]]), torch.tensor([[0.3, 0.1, 0.2]])
    sign = torch.tensor([[1.0, -1.0, -1.0]])  # what a fit of the mirrored photo finds
    other = fitted_labels(angles * sign, shift * torch.tensor([[-1.0, 1.0, 1.0]]))
    assert torch.allclose(mirror_label(fitted_labels(angles, shift)), other, atol=1e-5)


@pytest.fixture
def gaze_set(tmp_path):
    """A set in the GazeHub layout, with pictures of eyes and a head pose."""
    files = [(f"Image/{part}/{i}.png", data) for part in ("Face", "Left", "Right")
             for i, (_, data) in enumerate(small_set.members(3)[:3])]  # fmt: skip
    folder = small_set.write_folder(tmp_path / "gaze", files)
    lines = ["Face Left Right Origin WhichEye 3DGaze 2DGaze 2DHead"]
    lines += [f"Face/{i}.png Left/{i}.png Right/{i}.png o/{i}.jpg left 0.{i + 1},-0.2,-0.9 -0.{i + 1},0.2 0.3,-0.1"
              for i in range(3)]  # fmt: skip
    (folder / "Label").mkdir()
    (folder / "Label" / "train.label").write_text("\n".join(lines) + "\n")
    return folder


def test_gaze_changes_the_sign_of_its_yaw_and_eyes_change_sides(gaze_set, tmp_path):
    before = (gaze_set / "Label" / "train.label").read_text().splitlines()
    assert "9 mirrored pictures" in done(f"--source={gaze_set}", f"--dest={tmp_path / 'new'}")
    lines = (tmp_path / "new" / "Label" / "train.label").read_text().splitlines()
    assert lines[:2] == before[:2] and lines[3] == before[2]
    assert lines[2] == ("Face/0_mirror.png Right/0_mirror.png Left/0_mirror.png o/0.jpg right -0.1,-0.2,-0.9 0.1,0.2 "
                        "-0.3,-0.1")  # fmt: skip
    gaze = read_labels(tmp_path / "new" / "Label" / "train.label", tmp_path / "new" / "Image", 90)
    assert torch.equal(gaze.angles[1::2], gaze.angles[::2] * torch.tensor([-1.0, 1.0]))
    for path, copy in zip(gaze.paths[::2], gaze.paths[1::2], strict=True):
        assert np.array_equal(pixels(copy.read_bytes()), pixels(path.read_bytes())[:, ::-1])
    done(f"--source={gaze_set}")
    assert content(gaze_set) == content(tmp_path / "new")
    (gaze_set / "Label" / "train.label").write_text("\n".join(lines).replace(" ", "  "))
    after = content(gaze_set)
    done(f"--source={gaze_set}")
    assert content(gaze_set) == after


def test_all_columns_of_mpiifacegaze_are_mirrored(gaze_set):
    """A rotation R becomes M R M, where M is the mirror."""
    rotation = Rotation.from_rotvec([0.3, -0.4, 1.1])
    row = {
        "3DGaze": "+0.1,-2e-1,-0.9", "3DHead": "0.3,-0.4,1.1", "2DGaze": "0.2,+0.3", "2DHead": "-0.1,0.4",
        "Rmat": ",".join(map(str, rotation.as_matrix().ravel())), "Smat": "1,1,0.75", "GazeOrigin": "-20.5,30,600",
    }  # fmt: skip
    lines = [" ".join(["Face Left Right Origin WhichEye", *row])]
    lines += [f"Face/{i}.png Left/{i}.png Right/{i}.png o/{i}.jpg left " + " ".join(row.values()) for i in range(3)]
    (gaze_set / "Label" / "train.label").write_text("\n".join(lines))
    done(f"--source={gaze_set}")
    header, _, copy, *_ = (gaze_set / "Label" / "train.label").read_text().splitlines()
    found = {k: [float(x) for x in v.split(",")] for k, v in zip(header.split()[5:], copy.split()[5:], strict=True)}
    mirror = np.diag([-1.0, 1, 1])
    expected = mirror @ rotation.as_matrix() @ mirror
    assert np.allclose(Rotation.from_rotvec(found.pop("3DHead")).as_matrix(), expected)
    assert np.allclose(np.reshape(found.pop("Rmat"), (3, 3)), expected)
    assert found == {"3DGaze": [-0.1, -0.2, -0.9], "2DGaze": [-0.2, 0.3], "2DHead": [0.1, 0.4], "Smat": [1, 1, 0.75],
                     "GazeOrigin": [20.5, 30, 600]}  # fmt: skip


def test_what_cannot_be_mirrored_is_one_line(gaze_set, faces, tmp_path):
    file = gaze_set / "Label" / "train.label"
    file.write_text(file.read_text().replace("2DHead", "Smile"))
    assert "the column Smile" in failed(f"--source={gaze_set}")
    assert "name a folder" in failed(f"--source={gaze_set}", f"--dest={tmp_path / 'x.zip'}")
    packed = small_set.write_zip(tmp_path / "faces.zip", small_set.members(COUNT))
    assert "give --dest" in failed(f"--source={packed}")
    assert "there is no such" in failed(f"--source={tmp_path / 'gone'}")
    assert "lies inside" in failed(f"--source={faces}", f"--dest={faces / 'x'}")


# ------------------------------------------------------------------ names on the disk, and what does not match


@pytest.mark.parametrize("spell", ["{}".format, lambda name: name.replace("/", "\\"), "cafe\u0301/{}".format])
def test_copies_join_files_whose_names_are_spelt_otherwise_on_the_disk(spell, tmp_path):
    faces = tmp_path / "faces"  # unpacked from a zip of Windows; copied from a Mac
    small_set.write_folder(faces, [(spell(name), data) for name, data in small_set.members(COUNT)])
    assert f"{COUNT} mirrored pictures" in done(f"--source={faces}")
    before = content(faces)
    assert len(before) == 2 * COUNT + 1 and not any("\u00e9" in name for name in before)
    assert len(rows(next(data for name, data in before.items() if name.endswith(".json")))) == 2 * COUNT
    assert f"{COUNT} were there already" in done(f"--source={faces}") and content(faces) == before


def test_copies_join_a_linked_folder_on_another_disk(faces, tmp_path, monkeypatch):
    (faces / "00001").rename(tmp_path / "store")
    (faces / "00001").symlink_to(tmp_path / "store")
    replace = mirroring.os.replace

    def other_disk(old, new):
        if new.parent.name == "00001":
            raise OSError(18, "Invalid cross-device link")
        replace(old, new)

    monkeypatch.setattr(mirroring, "os", type("os", (), {"replace": staticmethod(other_disk)}))
    assert f"{COUNT} mirrored pictures" in done(f"--source={faces}")
    assert sorted(content(tmp_path / "store")) == ["img00000003.png", "img00000003_mirror.png"]


def relabelled(gaze_set, change) -> None:
    file = gaze_set / "Label" / "train.label"
    file.write_text(change(file.read_text()))


GAZE_FAULTS = {
    "a face has no label": (lambda text: text[: text.rindex("Face/")], "1 of 3 images has no label, the first is "
                            "Face/2.png", 6),
    "a face is missing": (lambda text: text + text.splitlines()[1].replace("/0.png", "/9.png") + "\n",
                          "1 of 4 labelled images is missing, the first is Face/9.png", 7),
}  # fmt: skip


@pytest.mark.parametrize("name", GAZE_FAULTS)
def test_a_gaze_set_that_does_not_match_is_an_error(name, gaze_set, tmp_path):
    change, words, made = GAZE_FAULTS[name]
    relabelled(gaze_set, change)
    (gaze_set / "Image" / "Left" / "2.png").unlink(), (gaze_set / "Image" / "Right" / "2.png").unlink()
    before = content(gaze_set)
    assert words in failed(f"--source={gaze_set}") and content(gaze_set) == before
    result = run(f"--source={gaze_set}", f"--dest={tmp_path / 'new'}", "--skip-unmatched")
    assert words in result.stderr and f"{made} mirrored pictures" in result.stdout


def test_gaze_in_degrees_is_no_gaze(gaze_set):
    relabelled(gaze_set, lambda text: text.replace(",0.2 ", ",12.5 "))
    assert "3 of 3 gaze angles are beyond pi" in failed(f"--source={gaze_set}")


def test_gaze_labels_that_other_systems_wrote(gaze_set, tmp_path):
    (gaze_set / "Label" / "._train.label").write_bytes(b"\0\5\26\7\xff")
    (gaze_set / "Image" / "Face" / "note.txt").write_text("-")
    relabelled(gaze_set, lambda text: "\ufeff" + text.replace("Face/", "FACE/"))
    result = run(f"--source={gaze_set}", f"--dest={tmp_path / 'new'}")
    assert "9 mirrored pictures" in result.stdout and "1 other file was not read (.txt)" in result.stderr
    gaze = read_labels(tmp_path / "new" / "Label" / "train.label", tmp_path / "new" / "Image", 90)
    assert len(gaze) == 6  # no row is lost


def test_gaze_labels_one_folder_down_are_not_lost(gaze_set, tmp_path):
    assert f"{gaze_set.name}/Label/train.label; of a gaze set give the folder" in failed(
        f"--source={gaze_set.parent}", f"--dest={gaze_set.parent.parent / 'new'}"
    )


@pytest.mark.parametrize("copy", ["img00000000-mirror.png", "img00000000_mirror.jpg"])
def test_a_copy_of_another_name_is_not_made_again(copy, faces):
    done(f"--source={faces}")
    made = faces / "00000" / "img00000000_mirror.png"
    made.rename(made.with_name(copy))
    text = (faces / "dataset.json").read_text().replace("img00000000_mirror.png", copy)
    (faces / "dataset.json").write_text(text)
    before = content(faces)
    assert "0 mirrored pictures" in done(f"--source={faces}") and content(faces) == before
