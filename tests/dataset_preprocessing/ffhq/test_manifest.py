import json

import pytest

from dataset_preprocessing.ffhq.manifest import Manifest

RULES, ABOUT = {"level": False, "max_yaw": 50.0}, {"detector": []}
CUT_OUT = {"fate": "kept", "crop": "a.png", "label": [0.0] * 25, "crop_points": [[1.0, 2.0]] * 5}


def row(name, *faces, stamp="1"):
    return {
        "photo": name,
        "stamp": stamp,
        "fate": "kept" if faces else "no face",
        "reason": "none",
        "faces": list(faces),
    }


@pytest.fixture
def path(tmp_path):
    return tmp_path / "set.manifest.jsonl"


def opened(path, rules=RULES):
    manifest = Manifest(path, rules, ABOUT)
    manifest.begin()
    return manifest


def test_a_stopped_run_goes_on_and_a_half_written_line_is_forgotten(path, tmp_path):
    manifest = opened(path)
    manifest.append(row("a.jpg", CUT_OUT))
    manifest.append(row("b.jpg"))
    with open(path, "ab") as file:
        file.write(b'{"photo": "c.jpg", "sta')
    again = opened(path)
    assert set(again.rows) == {"a.jpg", "b.jpg"}
    assert not again.done("a.jpg", "1", tmp_path)  # its crop is missing
    (tmp_path / "a.png").touch()
    assert again.done("a.jpg", "1", tmp_path) and again.done("b.jpg", "1", tmp_path)
    assert not again.done("a.jpg", "2", tmp_path) and not again.done("c.jpg", "1", tmp_path)
    again.append(row("c.jpg"))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line.get("photo") for line in lines] == [None, "a.jpg", "b.jpg", "c.jpg"] and lines[0]["rules"] == RULES


@pytest.mark.parametrize("rules", [RULES | {"level": True}, {"level": False}, RULES | {"faces": "all"}])
def test_crops_by_other_rules_are_never_mixed(path, rules):
    opened(path)
    with pytest.raises(ValueError, match="these crops were made with .*; give another --outdir, or remove this file"):
        Manifest(path, rules, ABOUT)


@pytest.mark.parametrize("text", ["", "hello\n", "[]\n", '{"rules": 3}\n', '{"labels": []}\n'])
def test_another_file_of_that_name_is_left_alone(path, text):
    path.write_text(text)
    with pytest.raises(ValueError, match="is no manifest of this script"):
        Manifest(path, RULES, ABOUT)
    assert path.read_text() == text


def test_what_nobody_wrote_here_is_not_believed(path):
    opened(path)
    bad = [CUT_OUT | {"crop": "../a.png"}, CUT_OUT | {"label": [0.0] * 24}, CUT_OUT | {"label": ["x"] * 25},
           CUT_OUT | {"crop_points": [[1.0]] * 5}, {"crop": "a.png"}, CUT_OUT | {"crop": 3}]  # fmt: skip
    rows = [*(row(f"{number}.jpg", face) for number, face in enumerate(bad)), {"photo": "x", "faces": []}]
    with open(path, "a") as file:
        file.writelines(json.dumps(one) + "\n" for one in rows)
    assert opened(path).rows == {}


def test_what_could_not_be_read_is_tried_again(path, tmp_path):
    manifest = opened(path)
    manifest.append(row("a.heic") | {"fate": "unreadable"})
    manifest.append(row("b.jpg"))
    assert not manifest.done("a.heic", "1", tmp_path) and manifest.done("b.jpg", "1", tmp_path)


def test_crops_of_photos_that_are_gone_are_removed_and_others_stay(path, tmp_path):
    manifest = opened(path)
    manifest.append(row("a.jpg", CUT_OUT))
    manifest.append(row("b.jpg", CUT_OUT | {"crop": "b.png"}))
    for name in ("a.png", "b.png", "own.png"):
        (tmp_path / name).touch()
    manifest.keep_only(["b.jpg"], tmp_path)
    assert sorted(file.name for file in tmp_path.glob("*.png")) == ["b.png", "own.png"]
    assert [face["crop"] for face in manifest.kept()] == ["b.png"] and manifest.fates() == {"kept": 1}


def test_crops_that_a_changed_photo_no_longer_has_are_removed(path, tmp_path):
    manifest = opened(path)
    manifest.append(row("a.jpg", CUT_OUT, CUT_OUT | {"crop": "a_face2.png"}))
    for name in ("a.png", "a_face2.png"):
        (tmp_path / name).touch()
    manifest.append(row("a.jpg", CUT_OUT, stamp="2"))  # and the run is killed
    manifest = opened(path)
    manifest.keep_only(["a.jpg"], tmp_path)
    assert [file.name for file in tmp_path.glob("*.png")] == ["a.png"]
    assert set(opened(path).rows) == {"a.jpg"} and opened(path).rows["a.jpg"]["stamp"] == "2"
