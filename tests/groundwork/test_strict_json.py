"""JSON that nobody vouches for: what is refused, in which words, and that every door refuses it."""

import json
import math
import os
from pathlib import Path

import pytest

from eg3d.data.labels import read_entries
from eg3d.metrics.landmark_sources import read_points
from eg3d.metrics.pose_files import estimate_facts, read_labels
from eg3d.pictures.report import read_scores
from eg3d.pictures.video import read_camera_path
from eg3d.scores.origin import trained_on
from eg3d.training.stats import read_lines
from groundwork.archive import Folder
from groundwork.strict_json import MOST_DEPTH, JsonError, parse_json, read_json
from l2cs.estimator import measured_facts

BAD = {  # name: a text, and what is said of it
    "cut off": (b'{"labels": [', "Expecting value"),
    "empty": (b"", "Expecting value"),
    "too deep for Python": (b"[" * 100_000, "nested too deep"),
    "deep": (b'{"labels":' * (MOST_DEPTH + 1) + b"1" + b"}" * (MOST_DEPTH + 1), "nested too deep"),
    "integer that Python refuses": (b'{"labels": ' + b"9" * 5000 + b"}", "integer of 5000 digits"),
    "integer beyond float": (b'{"labels": ' + b"9" * 400 + b"}", "integer of 400 digits"),
    "number beyond float": (b'{"labels": 1e999}', "1e999, which is no finite number"),
    "NaN": (b'{"labels": NaN}', "NaN"),
    "infinity": (b'{"labels": -Infinity}', "-Infinity"),
    "name twice": (b'{"labels": [], "labels": []}', "'labels' stands there twice"),
    "half a character": (b'{"labels": "\\ud800"}', "half of a character"),
    "half a character as a name": (b'{"\\uDC00": []}', "half of a character"),
    "half a character in bytes": (b'{"labels": "\xed\xa0\x80"}', "no text"),
    "no text": (b'{"labels": "\xff"}', "no text"),
}

NAMING = {"dataset.json", "--landmarks", "--camera-path"}  # where the entry with the bad number is named
NUMBERS = {"integer that Python refuses", "integer beyond float", "number beyond float", "NaN", "infinity"}


def labels_of_a_folder(path: Path):
    os.replace(path, path.parent / "dataset.json")
    return read_entries(Folder(path.parent))


def data_of_a_run(path: Path):
    os.replace(path, path.parent / "training_options.json")
    (path.parent / "network.pkl").write_bytes(b"")
    return trained_on(str(path.parent / "network.pkl"))


def lines(path: Path):
    path.write_bytes(path.read_bytes() + b"\n")
    return read_lines(path)


REFUSING = {
    "dataset.json": labels_of_a_folder,
    "--labels": lambda path: read_labels(path, "--file1"),
    "--landmarks": read_points,
    "--scores": read_scores,
    "--camera-path": read_camera_path,
    "training_options.json": data_of_a_run,
    "stats.jsonl": lines,
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_plain_json_gives_one_reason(name, tmp_path):
    text, said = BAD[name]
    with pytest.raises(JsonError, match=said):
        parse_json(text)
    (tmp_path / "file.json").write_bytes(text)
    with pytest.raises(JsonError, match=said):
        read_json(tmp_path / "file.json")


@pytest.mark.parametrize("door", REFUSING)
def test_every_door_says_it_in_one_line_with_the_files_name(door, tmp_path):
    for name, (text, _) in BAD.items():
        if (door == "stats.jsonl" and not text) or (door in NAMING and name in NUMBERS):
            continue  # an empty line is none
        path = tmp_path / name / "file.json"
        path.parent.mkdir()
        path.write_bytes(text)
        with pytest.raises(ValueError) as error:
            REFUSING[door](path)
        said = str(error.value)
        assert str(path.parent) in said and "\n" not in said and len(said) < 500, (name, said)


@pytest.mark.parametrize("text", [b"[]", b"7", b"null", b'"text"', b"{}", b'{"labels": 7}', b'{"labels": [null]}',
                                  b'{"metrics": 7}', b'{"metrics": [[]]}', b'{"data": []}', b'{"data": {"path": 7}}',
                                  b'{"cameras": {"a": 1}}', b'{"cameras": [["a", "b"]]}'])  # fmt: skip
@pytest.mark.parametrize("door", [door for door in REFUSING if door != "stats.jsonl"])
def test_values_of_other_types_are_refused_in_one_line(door, text, tmp_path):
    path = tmp_path / "here" / "file.json"
    path.parent.mkdir()
    path.write_bytes(text)
    with pytest.raises(ValueError) as error:
        REFUSING[door](path)
    assert str(path.parent) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("text", [text for text, _ in BAD.values()] + [b"[]", b'{"gaze_networks": [1]}', b"null"])
def test_notes_beside_a_file_that_are_damaged_count_as_none(text, tmp_path):
    for name in ("measured.json", "pose_estimate.json"):
        (tmp_path / name).write_bytes(text)
    assert measured_facts(tmp_path, "0" * 64) == {}
    assert estimate_facts(tmp_path / "labels.json") == {}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
def test_a_text_is_read_in_whatever_encoding_an_editor_saved_it(encoding):
    value = {"labels": [["Ünï.png", [1, -2.5, 1e3, True, None]]], "seed": 2**63}
    assert parse_json(json.dumps(value, ensure_ascii=False).encode(encoding)) == value
    assert parse_json(json.dumps({"name": "\U0001f600"})) == {"name": "\U0001f600"}  # as two halves, which fit
    assert parse_json("[" * MOST_DEPTH + "]" * MOST_DEPTH)


def test_numbers_that_are_not_finite_pass_where_the_caller_looks_at_each():
    found = parse_json(f"[NaN, -Infinity, 1e999, -{'9' * 5000}, 7]", finite=False)
    assert found[0] != found[0] and found[1:] == [-math.inf, math.inf, -math.inf, 7] and type(found[4]) is int


def test_neither_size_nor_kind_of_a_file_costs_memory_or_time(tmp_path):
    with open(tmp_path / "large.json", "wb") as file:
        file.truncate(1 << 30)  # a hole: no disk is used
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(JsonError, match="1073741824 bytes"):
        read_json(tmp_path / "large.json")
    for path in (tmp_path / "pipe.json", Path("/dev/zero")):
        with pytest.raises(OSError, match="regular"):
            read_json(path)
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "gone.json")
    with pytest.raises(IsADirectoryError):
        read_json(tmp_path)
