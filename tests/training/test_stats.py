import json

import pytest
import torch

from eg3d.training.stats import Stats, append_line, drop_lines_after, read_lines, read_means


def test_a_line_holds_number_mean_and_deviation_since_the_last_one():
    stats = Stats()
    stats.add("a", torch.tensor([[1.0], [3.0]]))
    stats.add("a", 2)
    line = stats.line()
    assert line["a"]["num"] == 3 and line["a"]["mean"] == 2
    assert abs(line["a"]["std"] - (2 / 3) ** 0.5) < 1e-12
    assert stats.line() == {}


def test_pending_values_survive_a_stop():
    stats = Stats()
    stats.add("a", 1.0)
    continued = Stats(stats.pending())
    for s in (stats, continued):
        s.add("a", 4.0)
    assert continued.line() == stats.line()


def test_nan_becomes_null(tmp_path):
    stats = Stats()
    stats.add("a", torch.tensor(float("nan")))
    append_line(tmp_path / "s.jsonl", stats.line())
    assert json.loads((tmp_path / "s.jsonl").read_text())["a"]["mean"] is None


def test_lines_after_the_saved_state_are_dropped(tmp_path):
    for kimg in (0.016, 1.008, 2.0):
        append_line(tmp_path / "s.jsonl", {"Progress/kimg": {"mean": kimg}})
    drop_lines_after(tmp_path / "s.jsonl", 1008)
    assert len((tmp_path / "s.jsonl").read_text().splitlines()) == 2


DAMAGED = [
    b"garbage", b"[1]", b"1", b'{"a": ', b"[" * 100_000, b"\0\0", b"\xff\xfe", b'{"Progress/kimg": 1}',
    b'{"Progress/kimg": {"mean": null}}', b'{"Progress/kimg": {"mean": "0.1"}}',
    b'{"images_seen": 1e999}', b'{"images_seen": true}',
    b'{"images_seen": null}', b'{"images_seen": "many"}', b'{"images_seen": [1]}',
]  # fmt: skip


@pytest.mark.parametrize("line", DAMAGED, ids=range(len(DAMAGED)))
def test_a_damaged_line_is_named_and_its_file_stays(tmp_path, line):
    path = tmp_path / "metric-fid.jsonl"
    before = b'{"images_seen": 4}\n\n' + line + b'\n{"a": 1}\n'
    path.write_bytes(before)
    with pytest.raises(ValueError, match=r"metric-fid\.jsonl: line 3 is damaged; remove that line") as error:
        drop_lines_after(path, 2)
    assert "\n" not in str(error.value) and path.read_bytes() == before


@pytest.mark.parametrize("last", [b"[[[[", b"garbage", b"1"])
def test_a_last_line_that_begins_as_none_does_was_not_cut_off(tmp_path, last):
    path = tmp_path / "stats.jsonl"
    path.write_bytes(b'{"images_seen": 4}\n' + last)
    with pytest.raises(ValueError, match=r"stats\.jsonl: line 2 is damaged; remove that line"):
        read_lines(path)
    path.write_bytes(b'{"images_seen": 4}\n' + b'{"images_se')
    assert read_lines(path) == [{"images_seen": 4}]


SCORE = b'"GFAS/mse_sum": {"num": 1, "mean": %s, "std": 0.0}'


@pytest.mark.parametrize("score", [b'"0.3"', b"[0.3]", b"1e999", b"NaN", b"9" * 400, b"true", b"{}"])
def test_a_score_that_is_no_number_is_named_before_snapshots_are_compared_by_it(tmp_path, score):
    kimg = b'"Progress/kimg": {"num": 1, "mean": 0.004, "std": 0.0}, "timestamp": 1.5'
    lines = [b"{" + kimg + b", " + SCORE % value + b"}\n" for value in (b"0.5", b"null", score)]
    (tmp_path / "stats.jsonl").write_bytes(b"".join(lines[:2]))
    assert [line["GFAS/mse_sum"]["mean"] for line in read_means(tmp_path / "stats.jsonl")] == [0.5, None]
    (tmp_path / "stats.jsonl").write_bytes(b"".join(lines))
    with pytest.raises(ValueError, match=r"stats\.jsonl: line 3 is damaged"):
        read_means(tmp_path / "stats.jsonl")


@pytest.mark.parametrize(
    "line", [b'{"a": 1}', b'{"a": {"mean": 1}}', b'{"a": {"num": 1}}', b'{"timestamp": "now"}', b"{}"]
)
def test_lines_of_other_shapes_are_no_statistics(tmp_path, line):
    (tmp_path / "stats.jsonl").write_bytes(line + b"\n")
    with pytest.raises(ValueError, match=r"stats\.jsonl: line 1 is damaged"):
        read_means(tmp_path / "stats.jsonl")
