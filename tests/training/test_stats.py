import json

import pytest
import torch

from eg3d.training.stats import Stats, append_line, drop_lines_after


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
    b'{"Progress/kimg": {"mean": null}}', b'{"images_seen": null}', b'{"images_seen": "many"}', b'{"images_seen": [1]}',
]  # fmt: skip


@pytest.mark.parametrize("line", DAMAGED, ids=range(len(DAMAGED)))
def test_a_damaged_line_is_named_and_its_file_stays(tmp_path, line):
    path = tmp_path / "metric-fid.jsonl"
    before = b'{"images_seen": 4}\n\n' + line + b'\n{"a": 1}\n'
    path.write_bytes(before)
    with pytest.raises(ValueError, match=r"metric-fid\.jsonl: line 3 is damaged; remove that line") as error:
        drop_lines_after(path, 2)
    assert "\n" not in str(error.value) and path.read_bytes() == before
