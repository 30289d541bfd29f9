"""Images and labels that do not match: the same words, the same flag and the same exit code at every door.

The doors run in this process and as far as it takes to see which images they use; what would come after (networks,
training, drawing) is replaced. `used` is what a door reports or hands on.
"""

import json
import os
import re
import shutil
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
import small_set
from click.testing import CliRunner

import eg3d.calc_all
import eg3d.calc_id
import eg3d.calc_metrics
import eg3d.demo
import eg3d.invert
import eg3d.train
from dataset_preprocessing.check_dataset import main as check_dataset
from dataset_preprocessing.dataset_tool import main as dataset_tool
from dataset_preprocessing.ffhq.preprocess_in_the_wild import main as preprocess_in_the_wild
from dataset_preprocessing.filter_by_gaze import main as filter_by_gaze
from dataset_preprocessing.mirror_dataset import main as mirror_dataset
from eg3d.data.dataset import ImageDataset
from groundwork.matching import match_names

FAULTS = Path(__file__).resolve().parent / "data" / "faults"
FILES = small_set.members(side=64)  # the smallest that a preset can be trained on
NAMES, ROWS = [name for name, _ in FILES[:-1]], json.loads(FILES[-1][1])["labels"]
FLAG = "--skip-unmatched"


# ------------------------------------------------------------------ the cases


def labelled(rows, files=None) -> small_set.Members:
    return [*(FILES[:-1] if files is None else files), ("dataset.json", json.dumps({"labels": rows}).encode())]


def renamed(change) -> small_set.Members:
    """The same set; change(name) are the names that the label file has."""
    return labelled([[change(name), label] for name, label in ROWS])


def in_folder(folder: str, files=FILES) -> small_set.Members:
    return [(f"{folder}/{name}", data) for name, data in files]


def accented(form: str) -> str:
    return unicodedata.normalize(form, "00000/\u00e9.png")


@dataclass(frozen=True)
class Case:
    """`used` images with the flag; `words` of the error without it, or of the note of a set that needs no flag."""

    files: small_set.Members
    used: int
    words: str
    faulty: bool = True
    zipped: bool = True


MISSING, UNLABELLED = "of 4 labelled images", "of 4 images"
FACES = json.dumps({"failed": {NAMES[1]: "covered"}}).encode()
CASES = {
    "an image is missing": Case([*FILES[:1], *FILES[2:]], 3, f"1 {MISSING} is missing, the first is {NAMES[1]}"),
    "images are missing": Case([*FILES[:1], *FILES[3:]], 2, f"2 {MISSING} are missing, the first is {NAMES[1]} (then"),
    "an image has no label": Case(labelled([*ROWS[:1], *ROWS[2:]]), 3, f"1 {UNLABELLED} has no label, the first is "
                                  f"{NAMES[1]}"),
    "a label is null": Case(labelled([*ROWS[:3], [NAMES[3], None]]), 3, f"1 {UNLABELLED} has no label"),
    "both": Case([*FILES[1:-1], ("x.png", FILES[0][1]), FILES[-1]], 3, f"1 {MISSING} is missing, the first is "
                 f"{NAMES[0]}; 1 {UNLABELLED} has no label, the first is x.png"),
    "an image in the folder above": Case([*in_folder("FACES"), ("x.png", FILES[0][1])], 4, "1 of 5 images has no "
                                         "label, the first is x.png"),
    "a folder and letters of two cases": Case(
        [*FILES[1:-1], ("A.png", FILES[0][1]), ("a.png", FILES[1][1]),
         ("dataset.json", json.dumps({"labels": [*ROWS[1:], ["a.PNG", ROWS[0][1]]]}).encode())],
        3, f"1 {MISSING} is missing, the first is a.PNG; 2 of 5 images have no label"),
    "no face": Case([*labelled([*ROWS[:1], *ROWS[2:]]), ("pose_estimate.json", FACES)], 3, "1 of 4 images is left out, "
                    f"as no face was found (pose_estimate.json), the first is {NAMES[1]}", faulty=False),
    "one folder down": Case(in_folder("FACES"), 4, "FACES/dataset.json is read", faulty=False),
    "two folders down": Case(in_folder("a/b"), 4, "a/b/dataset.json is read", faulty=False),
    "no face, one folder down": Case(
        in_folder("F", [*labelled([*ROWS[:1], *ROWS[2:]]), ("pose_estimate.json", FACES)]), 3, "1 of 4 images is left "
        f"out, as no face was found (pose_estimate.json), the first is F/{NAMES[1]}", faulty=False),
    "names that count from the root": Case([*FILES[:-1], ("meta/dataset.json", FILES[-1][1])], 4, "meta/dataset.json "
                                           "is read", faulty=False),
    "copies above the set": Case([*FILES[:-1], *in_folder("FACES")], 4, "4 of 8 images have no label, the first is "
                                 f"{NAMES[0]}"),
    "a label with other capitals is null": Case(
        labelled([*ROWS[:3], [NAMES[3].upper(), None]]), 3, f"1 {UNLABELLED} has no label, the first is {NAMES[3]}"),
    "a missing image whose label is null": Case([*FILES[:3], labelled([*ROWS[:3], [NAMES[3], None]])[-1]], 3, f"1 "
                                                f"{MISSING} is missing, the first is {NAMES[3]}"),
    "a second label file below": Case([*FILES, ("old/dataset.json", FILES[-1][1])], 4, "old/dataset.json is not read",
                                      faulty=False),
    "labels with other capitals": Case(renamed(str.upper), 4, "4 of 4 labels spell their image with other capitals",
                                       faulty=False),
    "a label file with capitals": Case([*FILES[:-1], ("Dataset.JSON", FILES[-1][1])], 4, "Dataset.JSON is read",
                                       faulty=False),
    "labels with ./": Case(renamed("./{}".format), 4, "", faulty=False),
    "labels with backslashes": Case(renamed(lambda name: name.replace("/", "\\")), 4, "", faulty=False),
    "labels in another Unicode form": Case(
        labelled([*ROWS[1:], [accented("NFD"), ROWS[0][1]]], [*FILES[1:-1], (accented("NFC"), FILES[0][1])]), 4, "",
        faulty=False),
    "images in another Unicode form": Case(
        labelled([*ROWS[1:], [accented("NFC"), ROWS[0][1]]], [*FILES[1:-1], (accented("NFD"), FILES[0][1])]), 4, "",
        faulty=False),
    "other files": Case([*FILES, ("note.txt", b"-")], 4, "1 other file was not read (.txt)", faulty=False),
}  # fmt: skip


def written(case: Case, root: Path, kind: str) -> Path:
    if kind == "zip":
        return small_set.write_zip(root / "faces.zip", case.files)
    return small_set.write_folder(root / "faces", case.files)


# ------------------------------------------------------------------ the doors


@dataclass(frozen=True)
class Ran:
    code: int
    stderr: str
    used: int | None  # None: it stopped before

    def said(self) -> str:
        """What the user reads of the match, without progress bars."""
        lines = re.split("[\r\n]", self.stderr)
        return "\n".join(line for line in lines if line.startswith(("note: ", "error: ", "warning: ")))


def given(value):
    return lambda *_, **__: value


def invoke(command, *args) -> tuple[int, str, str]:
    result = CliRunner().invoke(command, [str(arg) for arg in args])
    assert isinstance(result.exception, SystemExit | None), repr(result.exception)
    return result.exit_code, result.stderr, result.stdout


def check(path, root, patch, *flags) -> Ran:
    code, stderr, stdout = invoke(check_dataset, "--data", path, *flags)
    used = re.search(r"^sizes: 64x64 \((\d+)\)$", stdout, re.MULTILINE)
    said = [line.removeprefix("warning: ") for line in stdout.splitlines()
            if str(path) in line or line.startswith("warning: ") or "not read" in line]  # fmt: skip
    return Ran(code, "\n".join([stderr, *(f"note: {line}" for line in said[1:])]), None if code else int(used[1]))


def tool(path, root, patch, *flags) -> Ran:
    code, stderr, stdout = invoke(dataset_tool, "--source", path, "--dest", root / "new.zip", *flags)
    assert (root / "new.zip").exists() == (code == 0)
    used = None if code else len(ImageDataset(root / "new.zip"))
    assert code or stdout.startswith(f"{used} images -> ")
    return Ran(code, stderr, used)


def mirror(path, root, patch, *flags) -> Ran:
    code, stderr, stdout = invoke(mirror_dataset, "--source", path, "--dest", root / "new", *flags)
    assert (root / "new").exists() == (code == 0)
    used = None if code else len(ImageDataset(root / "new")) // 2
    assert code or stdout.startswith(f"{used} mirrored pictures -> ")
    return Ran(code, stderr, used)


def gaze_filter(path, root, patch, *flags) -> Ran:
    patch.setattr("dataset_preprocessing.selection.draw_histogram", given(None))  # slow
    code, stderr, stdout = invoke(filter_by_gaze, "--data", path, "--dest", root / "kept", "--min-abs-yaw=0", *flags)
    assert (root / "kept").exists() == (code == 0)
    used = None if code else len(ImageDataset(root / "kept"))
    assert code or stdout.startswith(f"kept {used} of {used} images")
    return Ran(code, stderr, used)


def until(module, name: str, *args, **stubs):
    """A door up to `name`, which comes after the data set has been opened."""

    def door(path, root, patch, *flags) -> Ran:
        seen = []

        class Recorded(ImageDataset):
            def __init__(self, *about, **more):
                super().__init__(*about, **more)
                seen.append(self)

        def reached(*_, **__):
            raise SystemExit(0)

        patch.chdir(root)
        patch.setattr("eg3d.data.opening.ImageDataset", Recorded)
        for stub, value in (stubs | {name: reached}).items():
            patch.setattr(module, stub, value)
        code, stderr, _ = invoke(module.main, *args, "--data", path, "--device=cpu", *flags)
        return Ran(code, stderr, len(seen[0]) if seen else None)

    return door


def inverter(path, root, patch, *flags):
    """Up to the photos that would be inverted."""
    used = []

    def shared_out(todo, *_):
        used.append(len(todo))
        return [[]]

    patch.chdir(root)
    for stub, value in {
        "load_generator": given(SimpleNamespace(resolution=64)), "drawn_world": given(""), "load_distance": given(None),
        "network_facts": given({}), "open_checkpoint": given(SimpleNamespace(facts={})), "report": given(None),
        "Inversion": given(SimpleNamespace(is_done=given(False), origin={}, settings=given({}))),
        "ray_ranges": given([(2.25, 3.3)]),
    }.items():  # fmt: skip
        patch.setattr(eg3d.invert, stub, value)
    patch.setattr(eg3d.invert.processes, "batches", shared_out)
    code, stderr, _ = invoke(
        eg3d.invert.main, "--network=n", "--data", path, f"--outdir={root}", "--device=cpu", *flags
    )
    return Ran(code, stderr, used[0] if used else None)


def gaze_network(name, device):
    return SimpleNamespace(sha256=name)


NETWORK = SimpleNamespace(img_resolution=64, options=None)
ONE, NO_DETECTORS = {"load_generator": given(NETWORK)}, {"load_detectors": given({"embedded": None})}
DOORS = {
    "check_dataset": check,
    "dataset_tool": tool,
    "mirror_dataset": mirror,
    "filter_by_gaze": gaze_filter,
    "train": until(eg3d.train, "train", "--cfg=embedded", "--gaze-weight=0", "--outdir=r"),
    "calc_metrics": until(eg3d.calc_metrics, "Distances", "--network=n", "--detector=embedded", **ONE, **NO_DETECTORS),
    "calc_id": until(eg3d.calc_id, "IdentityTally", "--network=n", drawn_world=given(None),
                     load_identity_judge=given((1, 2)), check_left_out=given(None), **ONE),
    "calc_all": until(eg3d.calc_all, "Distances", "--network=n", drawn_world=given(None),
                      load_generators=given([NETWORK]), check_left_out=given(None), load_judges=given(None),
                      **NO_DETECTORS),
    "invert": inverter,
    "demo": until(eg3d.demo, "resolve", "--outdir=r", load_gaze_network=gaze_network, check_differentiable=given(None),
                  **ONE),
}  # fmt: skip


# ------------------------------------------------------------------ what must hold


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("door", DOORS)
def test_nothing_is_left_out_silently(door, name, tmp_path, monkeypatch):
    case = CASES[name]
    path = written(case, tmp_path, "zip" if len(name) % 2 else "folder")
    (tmp_path / "with").mkdir(), (tmp_path / "without").mkdir()
    with monkeypatch.context() as patch:
        plain = DOORS[door](path, tmp_path / "without", patch)
    with monkeypatch.context() as patch:
        skipping = DOORS[door](path, tmp_path / "with", patch, FLAG)
    assert skipping.code == 0 and skipping.used == case.used, skipping.stderr
    if case.faulty:
        assert plain.code == 2 and plain.used is None and not list((tmp_path / "without").iterdir())
        assert plain.said().count("error: ") == 1 and case.words in plain.said() and FLAG in plain.said()
        assert case.words in skipping.said() and "left out by --skip-unmatched" in skipping.said()
    else:
        assert plain.code == 0 and plain.used == case.used, plain.stderr
        assert case.words in plain.said() and plain.said() == skipping.said()
        assert bool(plain.said()) == bool(case.words), plain.said()


OWN_SETS = {"calc_gaze_control"}  # these open the embedded worlds' sets alone, in which all labels match


def test_the_table_has_every_script_that_opens_a_data_set():
    openers = re.compile(
        r"import .*(open_dataset|open_labelled|look_into|of_data_set|selection|examine)|conversion import"
    )
    root = Path(__file__).resolve().parent.parent
    for file in [*root.glob("eg3d/*.py"), *root.glob("dataset_preprocessing/**/*.py")]:
        text = file.read_text()
        if "click.command(" in text and openers.search(text):
            assert file.stem in DOORS.keys() | OWN_SETS, f"{file.name} opens a data set; add it to DOORS"


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("flags", [(), (FLAG,)])
def test_two_label_files_below_are_an_error_that_names_both(door, flags, tmp_path, monkeypatch):
    small_set.write_folder(tmp_path / "faces", [*in_folder("a"), *in_folder("b")])
    ran = DOORS[door](tmp_path / "faces", tmp_path, monkeypatch, *flags)
    assert ran.code == 2 and "there are 2 below (a/dataset.json, b/dataset.json)" in ran.stderr


@pytest.mark.parametrize("door", DOORS)
def test_labels_of_another_set_are_an_error_even_with_the_flag(door, tmp_path, monkeypatch):
    small_set.write_folder(tmp_path / "faces", renamed("other/{}".format))
    ran = DOORS[door](tmp_path / "faces", tmp_path, monkeypatch, FLAG)
    assert ran.code == 2 and "nothing matches (4 of 4 labelled images are missing" in ran.stderr
    assert f"other/{NAMES[0]} may be {NAMES[0]}: give the folder that labels count from" in ran.stderr


@pytest.mark.parametrize("door", DOORS)
def test_links_to_shards_are_followed_and_broken_links_count_as_missing(door, tmp_path, monkeypatch):
    shard = FILES[3:4]  # 00001
    faces = small_set.write_folder(tmp_path / "faces", [*FILES[:3], FILES[4]])
    small_set.write_folder(tmp_path / "store", shard)
    (faces / "00001").symlink_to(tmp_path / "store" / "00001")
    (tmp_path / "out").mkdir()
    with monkeypatch.context() as patch:
        assert DOORS[door](faces, tmp_path / "out", patch).used == 4
    (faces / "00001").unlink()
    (faces / "00001").mkdir()
    (faces / NAMES[3]).symlink_to(tmp_path / "gone.png")
    for flags, used in (((), None), ((FLAG,), 3)):
        (tmp_path / f"out{len(flags)}").mkdir()
        with monkeypatch.context() as patch:
            ran = DOORS[door](faces, tmp_path / f"out{len(flags)}", patch, *flags)
        assert ran.used == used and f"1 {MISSING} is missing, the first is {NAMES[3]}" in ran.said()


# ------------------------------------------------------------------ public reports


@pytest.mark.parametrize("name", ["enclosed", "dot"])
@pytest.mark.parametrize("door", DOORS)
def test_a_zip_of_the_folder_keeps_its_cameras(door, name, tmp_path, monkeypatch):  # b08
    ran = DOORS[door](FAULTS / "b08_folder_inside_the_zip" / f"{name}.zip", tmp_path, monkeypatch)
    assert (ran.code, ran.used) == (0, 4)
    assert ("FACES/dataset.json is read" in ran.said()) == (name == "enclosed")


@pytest.mark.parametrize("door", DOORS)
def test_half_of_the_images_is_told(door, tmp_path, monkeypatch):  # b09
    ran = DOORS[door](FAULTS / "b09_half_of_the_images" / "half.zip", tmp_path, monkeypatch)
    assert ran.code == 2 and f"4 of 8 labelled images are missing, the first is {NAMES[0][:-5]}4.png" in ran.said()


@pytest.mark.parametrize("door", DOORS)
def test_cameras_in_millimetres_are_warned_of(door, tmp_path, monkeypatch):  # b22
    ran = DOORS[door](FAULTS / "b22_cameras_in_millimetres" / "mm.zip", tmp_path, monkeypatch)
    # An inversion with such a camera finds no head.
    assert (ran.code, ran.used) == ((2, None) if door == "invert" else (0, 4))
    assert "4 of 4 cameras stand 2700 from the origin" in ran.stderr


def test_a_faceless_picture_does_not_end_the_pipeline(tmp_path, monkeypatch):  # b10
    pictures = shutil.copytree(FAULTS / "b10_faceless_picture_ends_the_pipeline" / "pictures", tmp_path / "p")
    code, stderr, stdout = invoke(preprocess_in_the_wild, f"--indir={pictures}", "--device=cpu")
    assert code == 0 and "3 of 4 cameras" in stdout and "no camera for noise.png: " in stderr
    for door, run in DOORS.items():
        (tmp_path / door).mkdir()
        with monkeypatch.context() as patch:
            ran = run(pictures, tmp_path / door, patch)
        words = "1 of 4 images is left out, as no face was found (pose_estimate.json), the first is noise.png"
        assert (ran.code, ran.used) == (0, 3) and words in ran.said(), door


def test_no_label_is_written_that_nobody_can_read(tmp_path):
    pictures = shutil.copytree(FAULTS / "b10_faceless_picture_ends_the_pipeline" / "pictures", tmp_path / "p")
    (pictures / "face1.png").rename(os.fsdecode(os.fsencode(pictures) + b"/caf\xe9.png"))
    code, stderr, _ = invoke(preprocess_in_the_wild, f"--indir={pictures}", "--device=cpu")
    assert code == 2 and r"1 of 4 pictures have names that are no UTF-8" in stderr and r"caf\udce9.png" in stderr
    assert not (pictures / "dataset.json").exists()


def test_large_sets_are_matched_fast():
    names = [f"{i // 1000:05d}/img{i:08d}.png" for i in range(60_000)]
    matched = match_names([*names[10:], *(name.upper() for name in names[:10])], names)
    assert len(matched.pictures) == 60_000 and len(matched.respelt) == 10 and not matched.faults()
