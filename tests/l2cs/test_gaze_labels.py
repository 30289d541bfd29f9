import math
import os
from types import SimpleNamespace

import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from groundwork.matching import FLAG
from l2cs import evaluate, train
from l2cs.augmented_crops import Augmentation, augment
from l2cs.estimator import GazeEstimator
from l2cs.gaze_labels import read_labels, read_people, without_person
from l2cs.gaze_sets import FaceImages, read_image, to_float

GAZE360 = "Face Left Right Origin 3DGaze 2DGaze\n"
MPII = "Face Left Right Origin WhichEye 3DGaze 3DHead 2DGaze 2DHead Rmat Smat GazeOrigin\n"


def faces(folder, *names):
    """Files that are images by their names; their content is not read here."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


def test_gaze360_rows_give_path_yaw_and_pitch_and_the_limit_drops_rows(tmp_path):
    label = tmp_path / "train.label"
    label.write_text(GAZE360 + "a/1.jpg l r n 0,0,-1 0.5,-0.25\na\\2.jpg l r n 0,0,-1 1.7,0\n")
    faces(tmp_path / "Image", "a/1.jpg", "a/2.jpg")
    near, every = read_labels(label, tmp_path / "Image", 90), read_labels(label, tmp_path / "Image", 180)
    assert near.paths == [tmp_path / "Image/a/1.jpg"]
    assert torch.equal(near.angles, torch.tensor([[0.5, -0.25]]))
    assert near.notes == (f"{label}: 1 of 2 rows lie beyond 90 degrees and are left out, as published",)
    assert every.notes == ()
    assert every.paths[1] == tmp_path / "Image/a/2.jpg" and len(every) == 2


def test_mpii_leaves_one_person_out_and_reads_the_2d_gaze_column(tmp_path):
    for k in range(3):
        row = f"p{k:02d}/1.jpg l r n left 9,9,9 8,8,8 0.{k + 1},-0.{k + 1} 0.7,0.7 1 1 0\n"
        far = f"p{k:02d}/2.jpg l r n left 9,9,9 8,8,8 0.9,0 0.7,0.7 1 1 0\n"  # beyond 42 degrees
        (tmp_path / f"p{k:02d}.label").write_text(MPII + row + far)
        faces(tmp_path, f"p{k:02d}/1.jpg", f"p{k:02d}/2.jpg")
    (tmp_path / "._p00.label").write_bytes(b"\0\5\x16\7")  # macOS leaves these beside files; they are no people
    people = read_people(tmp_path, tmp_path)
    rest, person = without_person(people, 1)
    assert people[0].notes[0] == f"{tmp_path}: 3 of 6 rows lie beyond 42 degrees and are left out, as published"
    assert torch.allclose(person.angles, torch.tensor([[0.2, -0.2]]))
    assert torch.allclose(rest.angles[:, 0], torch.tensor([0.1, 0.3]))
    with pytest.raises(ValueError, match="--fold=3: there are 3 people"):
        without_person(people, 3)


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "first line must name the columns"),
        ("a b c\n", "first line must name the columns"),
        (GAZE360 + "a l r n 0,0,-1\n", "line 2 has no 'yaw,pitch'"),
        (GAZE360 + "a l r n 0,0,-1 0.1\n", "line 2 has no 'yaw,pitch'"),
        (GAZE360 + "a l r n 0,0,-1 nan,0\n", "line 2 has no 'yaw,pitch'"),
        (GAZE360, "no row lies within"),
        ("2DGaze Face\n0.1,0.2\n", r"line 2 has no image in column 2 \(Face\)"),
    ],
)
def test_bad_label_files_name_file_and_line(text, message, tmp_path):
    (tmp_path / "x.label").write_text(text)
    with pytest.raises(ValueError, match=f"x.label: .*{message}"):
        read_labels(tmp_path / "x.label", tmp_path, 90)


def test_images_come_from_memory_and_from_disk_alike(disc_set):
    paths = sorted((disc_set / "Image").glob("test*"))[:5]
    memory, disk = FaceImages(paths, 64, progress=False), FaceImages(paths, 64, memory_limit=0, progress=False)
    index = torch.tensor([3, 0])
    assert memory.size == 32 and torch.equal(memory[index], disk[index])


def test_oblong_images_are_cut_to_their_middle_square_and_junk_is_named(tmp_path):
    Image.new("RGB", (30, 20)).save(tmp_path / "oblong.png")
    assert read_image(tmp_path / "oblong.png", 16).shape == (16, 16, 3)
    (tmp_path / "junk.png").write_bytes(b"junk")
    with pytest.raises(ValueError, match="junk.png: cannot be read as an image"):
        read_image(tmp_path / "junk.png")


def test_bytes_survive_the_round_trip_to_float():
    every = torch.arange(256, dtype=torch.uint8)
    assert torch.equal((to_float(every) * 127.5 + 128).round().to(torch.uint8), every)


def test_mirroring_turns_yaw_and_nothing_else():
    plain = Augmentation(True, shift_px=0, zoom=0, blur_sigma_px=0, noise=0, brightness=0, contrast=0, tint=0)
    images = torch.rand(16, 3, 8, 8) * 2 - 1
    angles = torch.rand(16, 2) + 0.1
    changed, new = augment(images, angles, plain, torch.Generator().manual_seed(0))
    flipped = new[:, 0] < 0
    assert 0 < flipped.sum() < 16
    assert torch.allclose(new.abs(), angles)
    assert torch.allclose(changed[flipped], images[flipped].flip(3), atol=1e-5)
    assert torch.allclose(changed[~flipped], images[~flipped], atol=1e-5)


def test_blur_keeps_the_mean_and_is_different_for_every_image():
    soft = Augmentation(False, shift_px=0, zoom=0, blur_sigma_px=1.2, noise=0, brightness=0, contrast=0, tint=0)
    images = torch.zeros(6, 3, 17, 17)
    images[:, :, 8, 8] = 1
    changed, _ = augment(images, torch.zeros(6, 2), soft, torch.Generator().manual_seed(0))
    assert torch.allclose(changed.sum(dim=(2, 3)), torch.ones(6, 3), atol=1e-4)
    assert len({round(v, 5) for v in changed[:, 0, 8, 8].tolist()}) == 6


def test_a_pipe_beside_the_label_file_is_not_waited_for(tmp_path):
    faces(tmp_path / "Image", "a/1.png", "a/2.png")
    (tmp_path / "x.label").write_text(rows_of(["a/1.png"]))
    os.mkfifo(tmp_path / "y.label")
    with pytest.raises(ValueError, match="1 of 2 images has no label"):
        read_labels(tmp_path / "x.label", tmp_path / "Image", 90)
    with pytest.raises(ValueError, match=r"y\.label: is no plain file"):
        read_people(tmp_path, tmp_path / "Image")


def test_a_binary_label_file_is_named(tmp_path):
    (tmp_path / "bad.label").write_bytes(b"\x89PNG\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"bad\.label: is not a text file"):
        read_labels(tmp_path / "bad.label", tmp_path, 90)


# ------------------------------------------------------------------ images and labels that do not match


def rows_of(names, angle=0.2) -> str:
    return GAZE360 + "".join(f"{name} L/{name} {name} n 0,0,-1 {angle},-0.1\n" for name in names)


FOUR = ["a/1.png", "a/2.png", "a/3.png", "a/4.png"]
# name: (images, names in train.label, rows used with the flag, words)
UNMATCHED = {
    "an image is missing": (FOUR[1:], FOUR, 3, "1 of 4 labelled images is missing, the first is a/1.png"),
    "an image has no label": (FOUR, FOUR[:3], 3, "1 of 4 images has no label, the first is a/4.png"),
    "both": (FOUR[1:], FOUR[:3], 2, "1 of 3 labelled images is missing, the first is a/1.png; 1 of 3 images has no"),
}
MATCHED = {
    "backslashes": (FOUR, [name.replace("/", "\\") for name in FOUR], ""),
    "decomposed letters": ([*FOUR[:3], "e\u0301.png"], [*FOUR[:3], "\u00e9.png"], ""),  # as a Mac writes them
    "capitals": (FOUR, [name.upper() for name in FOUR], "4 of 4 labels spell their image with other capitals"),
    "eyes": ([*FOUR, *(f"L/{name}" for name in FOUR)], FOUR, ""),
    "other files": ([*FOUR, "note.txt"], FOUR, "1 other file was not read (.txt)"),
    "another folder": ([*FOUR, "val/9.png"], FOUR, "1 images lie in folders of which no label file names one, the "
                       "first is val/9.png"),
}  # fmt: skip


@pytest.fixture(params=["train", "evaluate"])
def door(request, tmp_path, monkeypatch):
    """door(images, text of the label file, flags) -> (exit code, stderr, images that are used)."""
    used = []

    def run(images, text, *flags, other=None):
        faces(tmp_path / "Image", *images)
        (tmp_path / "Label").mkdir()
        (tmp_path / "Label" / "these.label").write_text(text)
        if other:
            (tmp_path / "Label" / "other.label").write_text(other)
        places = [f"--gaze360image_dir={tmp_path / 'Image'}", f"--gaze360label_dir={tmp_path / 'Label/these.label'}"]
        if request.param == "train":
            monkeypatch.setattr(train, "train_and_measure", lambda *about: used.extend(about[2].paths) or {})
            done = CliRunner().invoke(train.main, [*places, f"--output={tmp_path / 'run'}", "--arch=small", *flags])
        else:
            estimator = SimpleNamespace(input_size=32, sha256="", architecture=SimpleNamespace(name="none"))
            monkeypatch.setattr(GazeEstimator, "load", lambda *_: estimator)
            monkeypatch.setattr("l2cs.gaze_labels.FaceImages", lambda paths, _: used.extend(paths))
            monkeypatch.setattr(evaluate, "measure", lambda *_: {})
            done = CliRunner().invoke(evaluate.main, [*places, "--snapshot=embedded", *flags])
        assert isinstance(done.exception, SystemExit | None), repr(done.exception)
        return done.exit_code, done.stderr, used

    return run


@pytest.mark.parametrize("name", UNMATCHED)
@pytest.mark.parametrize("flags", [[], [FLAG]])
def test_images_and_labels_that_do_not_match_are_told(door, name, flags):
    images, listed, used, words = UNMATCHED[name]
    code, stderr, paths = door(images, rows_of(listed), *flags)
    assert words in stderr and FLAG in stderr and stderr.count("\n") == 1
    assert (code, len(paths)) == ((0, used) if flags else (2, 0)), stderr


@pytest.mark.parametrize("name", MATCHED)
def test_other_spellings_match_and_other_folders_are_counted(door, name):
    images, listed, words = MATCHED[name]
    code, stderr, paths = door(images, rows_of(listed))
    assert code == 0 and len(paths) == 4 and all(path.exists() for path in paths), stderr
    assert words in stderr and bool(stderr) == bool(words)


def test_images_that_another_label_file_names_are_no_fault(door):
    code, stderr, paths = door(FOUR, rows_of(FOUR[:2]), other=rows_of(FOUR[2:]))
    assert (code, stderr, len(paths)) == (0, "", 2)


def test_a_list_of_another_folder_is_an_error_with_the_flag_too(door):
    code, stderr, _ = door(FOUR, rows_of(["x.png", "y.png"]), FLAG)
    assert code == 2 and "nothing matches (2 of 2 labelled images are missing" in stderr


def test_a_folder_above_or_below_that_of_the_images_is_named(door):
    code, stderr, _ = door(FOUR, rows_of([name[2:] for name in FOUR]), FLAG)
    assert code == 2 and "1.png may be a/1.png: give the folder that labels count from" in stderr


def test_degrees_are_an_error_that_says_so(door):
    code, stderr, _ = door(FOUR, rows_of(FOUR, 43.5))
    assert code == 2 and "4 of 4 gaze angles are beyond pi, the first is 43.5,-0.1 in line 2 (then" in stderr
    assert "are they degrees? Column 6 (2DGaze) must be radians" in stderr


def test_an_angle_of_pi_is_one_in_radians(tmp_path):
    faces(tmp_path, *FOUR)
    (tmp_path / "x.label").write_text(rows_of(FOUR, f"{math.pi:.4f}"))  # rounded up
    assert len(read_labels(tmp_path / "x.label", tmp_path, 181)) == 4


def test_people_are_matched_together(tmp_path):
    for person in ("p00", "p01"):
        names = [f"{person}/{i}.png" for i in range(3)]
        (tmp_path / f"{person}.label").write_text(rows_of(names), encoding="utf-8-sig")
        (tmp_path / f"._{person}.label").write_bytes(b"\0\5\26\7")  # macOS
        faces(tmp_path / "Image", *names[:2])
    with pytest.raises(ValueError, match="2 of 6 labelled images are missing, the first is p00/2.png"):
        read_people(tmp_path, tmp_path / "Image")
    people = read_people(tmp_path, tmp_path / "Image", skip_unmatched=True)
    assert [len(person) for person in people] == [2, 2] and "left out by --skip-unmatched, 4 match" in people[0].notes[
        0
    ]


def test_people_without_images_are_left_out_if_asked(tmp_path):
    for person in ("p00", "p01", "p02"):
        (tmp_path / f"{person}.label").write_text(rows_of([f"{person}/1.png"]))
    faces(tmp_path / "Image", "p00/1.png", "p02/1.png")
    with pytest.raises(ValueError, match="1 of 3 labelled images is missing, the first is p01/1.png"):
        read_people(tmp_path, tmp_path / "Image")
    people = read_people(tmp_path, tmp_path / "Image", skip_unmatched=True)
    assert [person.paths[0].parent.name for person in people] == ["p00", "p02"]
    note = people[0].notes[1]
    assert "p01.label: all of its 1 images are missing" in note and "folds are numbered without this person" in note
    (tmp_path / "Image" / "p02" / "1.png").unlink()
    with pytest.raises(ValueError, match="only one person has images"):
        read_people(tmp_path, tmp_path / "Image", skip_unmatched=True)


def test_a_pipe_or_a_huge_file_among_label_files_does_not_hang(tmp_path):
    faces(tmp_path, "a.png", "b.png")  # b is unlabelled, so other label files beside are looked at
    label, huge = tmp_path / "train.label", tmp_path / "huge.label"
    label.write_text(GAZE360 + "a.png l r n 0,0,-1 0.5,-0.25\n")
    os.mkfifo(tmp_path / "pipe.label")
    with open(huge, "wb") as file:
        file.truncate(1 << 36)
    assert len(read_labels(label, tmp_path, 90, skip_unmatched=True)) == 1
    with pytest.raises(ValueError, match=r"huge\.label: has 6\.554e\+04 MiB"):
        read_labels(huge, tmp_path, 90)
    with pytest.raises(ValueError, match=r"huge\.label: has|pipe\.label: is no plain file"):
        read_people(tmp_path, tmp_path)
