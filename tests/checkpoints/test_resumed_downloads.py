"""download.py against a real server on loopback that drops, or changes the file in between."""

import json
import os
import signal
import threading
import time

import pytest
from file_server import CHANGED, CONTENT, finished, ranges, refused

from eg3d.checkpoints import download
from eg3d.checkpoints.download import fetch


def test_a_dropped_connection_is_resumed_within_the_call(server, tmp_path):
    server.script = [{"drop_after": 100_000}, {"drop_after": 50_000}]
    assert fetch(server.url, tmp_path).read_bytes() == CONTENT
    assert ranges(server) == [None, "bytes=100000-", "bytes=150000-"]
    assert server.requests[1]["If-Range"] == '"1"'


def test_breaks_that_bring_new_bytes_do_not_use_up_the_tries(server, tmp_path):
    server.script = [{"drop_after": 10_000} for _ in range(3 * download.TRIES)]
    assert fetch(server.url, tmp_path).read_bytes() == CONTENT


def test_a_later_call_goes_on_where_a_failed_one_stopped(server, tmp_path):
    server.script = [{"drop_after": 100_000}] + [{"status": 503, "drop_after": 0}] * download.TRIES
    refused(server.url, tmp_path, "HTTP 503", "100000 bytes are kept")
    assert not finished(tmp_path) and len(server.requests) == 1 + download.TRIES
    assert fetch(server.url, tmp_path).read_bytes() == CONTENT
    assert ranges(server)[-1] == "bytes=100000-"


def test_after_ctrl_c_the_next_call_goes_on(server, tmp_path):
    stop, received = threading.Event(), lambda: sum(file.stat().st_size for file in tmp_path.glob("*.part"))

    def press():
        while received() < 100_000:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)
        stop.wait(5)

    server.script = [{"drop_after": 100_000, "during": press}]
    with pytest.raises(KeyboardInterrupt):
        fetch(server.url, tmp_path)
    stop.set()
    assert not finished(tmp_path) and fetch(server.url, tmp_path).read_bytes() == CONTENT
    assert ranges(server) == [None, "bytes=100000-"]


def test_a_silent_server_is_left_after_the_time_out_and_asked_again(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT_S", 0.1)
    stop, waited = threading.Event(), []
    server.script = [{"drop_after": 100_000, "during": lambda: waited.append(stop.wait(5))}]
    try:
        assert fetch(server.url, tmp_path).read_bytes() == CONTENT and not waited
    finally:
        stop.set()
    assert ranges(server) == [None, "bytes=100000-"]


def test_a_download_interrupted_before_its_last_rename_needs_no_request(server, tmp_path, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(download.os, "fsync", lambda handle: signal.raise_signal(signal.SIGINT))
        fetch(server.url, tmp_path)
    assert not finished(tmp_path)
    assert fetch(server.url, tmp_path).read_bytes() == CONTENT and len(server.requests) == 1


def test_a_server_that_ignores_ranges_is_read_from_the_start(server, tmp_path):
    server.script = [{"drop_after": 100_000}, {"ranges": False}]
    assert fetch(server.url, tmp_path).read_bytes() == CONTENT


def test_a_server_that_always_starts_again_is_given_up(server, tmp_path):
    server.script = [{"drop_after": 5000, "ranges": False} for _ in range(50)]
    refused(server.url, tmp_path, "5000 of 300000 bytes")
    assert len(server.requests) == 1 + download.TRIES


@pytest.mark.parametrize("change", [{"etag": '"2"'}, {"etag": None, "date": "Tue, 02 Jan 2024 00:00:00 GMT"}])
def test_a_file_that_changed_in_between_is_never_mixed(server, tmp_path, change):
    before = {"etag": change["etag"] and '"1"', "date": change.get("date") and "Mon, 01 Jan 2024 00:00:00 GMT"}
    server.script = [{"drop_after": 100_000, **before}, {"content": CHANGED, **change}]
    assert fetch(server.url, tmp_path).read_bytes() == CHANGED


def test_a_changed_file_is_never_mixed_though_the_server_ignores_if_range(server, tmp_path):
    new = {"content": CHANGED, "etag": '"2"', "if_range": False}
    server.script = [{"drop_after": 100_000}, new, new]
    assert fetch(server.url, tmp_path).read_bytes() == CHANGED
    assert ranges(server) == [None, "bytes=100000-", None]


def test_a_changed_size_starts_again(server, tmp_path):
    longer = {"content": CONTENT + b"more", "if_range": False}
    server.script = [{"content": CHANGED, "drop_after": 100_000}, longer, longer]
    assert fetch(server.url, tmp_path).read_bytes() == CONTENT + b"more"


@pytest.mark.parametrize("etag", [None, 'W/"1"'])
def test_without_a_promise_of_equal_bytes_nothing_is_resumed(server, tmp_path, etag):
    server.script = [{"drop_after": 100_000, "etag": etag}, {"content": CHANGED, "etag": etag, "if_range": False}]
    assert fetch(server.url, tmp_path).read_bytes() == CHANGED
    assert ranges(server) == [None, None]


def test_a_file_that_became_shorter_starts_again(server, tmp_path):
    server.script = [{"drop_after": 100_000}] + [{"content": b"short", "if_range": False}] * 2
    assert fetch(server.url, tmp_path).read_bytes() == b"short"
    assert ranges(server) == [None, "bytes=100000-", None]  # the second answer is HTTP 416


@pytest.mark.parametrize(
    "span", ["bytes 0-299999/300000", "bytes 100001-299999/300000", "bytes x-y/z", "bytes 100000-"]
)
def test_a_wrong_content_range_is_refused_and_not_met_again(server, tmp_path, span):
    server.script = [{"drop_after": 100_000}, {"span": span}, {"span": span}]
    refused(server.url, tmp_path, "from 100000 on")
    assert not finished(tmp_path)
    assert fetch(server.url, tmp_path).read_bytes() == CONTENT


def test_a_damaged_side_file_means_starting_again(server, tmp_path):
    server.script = [{"drop_after": 100_000}] + [{"status": 503}] * download.TRIES
    refused(server.url, tmp_path)
    note = {"validator": '"1"', "size": len(CONTENT)}
    other = [{"validator": wrong} for wrong in (5, 0, [], {}, True, "", "a\r\nHost: b", " ", "x" * 2000, "\x85")]
    other += [{"size": wrong} for wrong in ("300000", [300000], -1, 1.5, True)]
    damages = [
        "",
        '{"etag": "',
        "[1]",
        "7",
        "null",
        "[" * 9999,
        '{"unknown": 1}',
        '{"size": NaN}',
        "\ufeff",
        "9" * 5000,
    ]
    for damage in damages + [json.dumps(note | wrong) for wrong in other]:
        [file] = tmp_path.glob("*.json")
        assert json.loads(file.read_text())["size"] == len(CONTENT)
        file.write_text(damage, encoding="utf-8")
        before = len(server.requests)
        server.script = [{"drop_after": 100_000}] + [{"status": 503}] * download.TRIES
        refused(server.url, tmp_path)
        assert ranges(server)[before] is None
    assert fetch(server.url, tmp_path).read_bytes() == CONTENT
