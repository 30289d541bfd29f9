"""download.py against a real server on loopback that drops, lies, changes the file and sends us elsewhere."""

import hashlib
import json
import os
import re
import shutil
import signal
import socket
import threading
import time
from collections import namedtuple
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from eg3d.checkpoints import download
from eg3d.checkpoints.download import DownloadError, fetch, may_lead
from groundwork.files import cache_folder
from groundwork.places import is_address

CONTENT = np.random.default_rng(0).bytes(300_000)
CHANGED = np.random.default_rng(1).bytes(300_000)
DIGEST, OTHER = hashlib.sha256(CONTENT).hexdigest(), "0" * 64
ALL = {}  # an answer without faults


class Handler(BaseHTTPRequestHandler):
    """Answers each request as the next entry of `server.script` says; without one, as a good file server."""

    def do_GET(self):
        self.server.requests.append(self.headers)
        self.answer(**(self.server.script.pop(0) if self.server.script else ALL))

    def answer(
        self, content=CONTENT, etag='"1"', date=None, status=None, drop_after=None, announce=None, ranges=True,
        if_range=True, span=None, chunked=False, headers=(), during=lambda: None,
    ):  # fmt: skip
        """drop_after: bytes until the connection ends; announce: a false Content-Length; ranges, if_range: whether
        these requests are understood; span: a false Content-Range; during: called after the body."""
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(wanted[1]) if wanted and ranges else 0
        if if_range and self.headers.get("If-Range") not in (etag, date):
            start = 0
        if start >= len(content):
            status, content = 416, b""
        body = content[start:]
        self.send_response(status or (206 if start else 200))
        if start:
            self.send_header("Content-Range", span or f"bytes {start}-{len(content) - 1}/{len(content)}")
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
            body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        elif announce != "nothing":
            self.send_header("Content-Length", announce or len(body))
        for name, value in (("ETag", etag), ("Last-Modified", date), *headers):
            if value:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[:drop_after])
        self.wfile.flush()
        during()

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    """A running server: .url, .requests (the headers of each), .script (answers to come)."""
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(download, "WAIT_S", 0)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.requests, server.script, server.url = [], [], f"http://127.0.0.1:{server.server_port}/nets/ffhq.pkl"
    server.handle_error = lambda *args: None  # we hang up on some answers
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def refused(address, cache, *patterns, **options) -> str:
    """The one-line message that fetch() ends with; all patterns are in it."""
    with pytest.raises(DownloadError) as error:
        fetch(address, cache, **options)
    message = str(error.value)
    assert message.isprintable() and message.startswith(address.partition("#")[0])
    for pattern in patterns:
        assert re.search(pattern, message), message
    return message


def finished(cache):
    """The files that a later call would take for whole ones."""
    return [file for file in cache.glob("*") if file.suffix not in (".part", ".json", ".lock")]


def ranges(server):
    return [headers.get("Range") for headers in server.requests]


def test_only_addresses_are_addresses():
    assert all(map(is_address, ("https://a/b.pkl", "HTTP://a", "file:///b.pkl")))
    assert not any(map(is_address, ("b.pkl", "/a/b.pkl", "ftp://a/b.pkl", "https", "embedded")))


def test_a_file_arrives_whole_and_keeps_its_suffix(server, tmp_path):
    path = fetch(server.url + "?download=1", tmp_path)
    assert path.read_bytes() == CONTENT and path.suffix == ".pkl" and "ffhq" in path.name
    assert finished(tmp_path) == [path] and not list(tmp_path.glob("*.part"))


def test_a_second_call_makes_no_request(server, tmp_path):
    first = fetch(server.url, tmp_path)
    assert fetch(server.url, tmp_path) == fetch(f"{server.url}#sha256={DIGEST}", tmp_path) == first
    assert len(server.requests) == 1


def test_two_addresses_with_one_base_name_are_two_files(server, tmp_path):
    server.script = [ALL, {"content": CHANGED}]
    assert fetch(server.url, tmp_path).read_bytes() == CONTENT
    assert fetch(server.url + "?other", tmp_path).read_bytes() == CHANGED


@pytest.mark.parametrize("path", ["/..%2F..%2Fevil.pkl", "/a/..", "/%2e%2e", "/", "/a%00%0Ab.pkl", "/" + "n" * 300])
def test_no_address_puts_a_file_outside_the_cache(server, tmp_path, path):
    cache = tmp_path / "outer" / "cache"
    path = fetch(server.url.replace("/nets/ffhq.pkl", path), cache)
    assert path.parent == cache and path.read_bytes() == CONTENT
    assert sorted(tmp_path.rglob("*")) == sorted([cache.parent, cache, *cache.iterdir()])


def test_the_cache_is_the_users_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "gaze-corrected-eg3d"
    monkeypatch.setenv("HOME", str(tmp_path))
    for unset in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", unset)
        assert cache_folder() == tmp_path / ".cache" / "gaze-corrected-eg3d"


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


def test_a_body_shorter_than_announced_is_never_accepted(server, tmp_path):
    server.script = [{"announce": 300_001, "if_range": False, "etag": None}] * 20
    refused(server.url, tmp_path, "300000 of 300001 bytes")
    assert not finished(tmp_path)


def test_a_body_in_chunks_is_accepted_when_it_ends_cleanly(server, tmp_path, monkeypatch):
    monkeypatch.setattr(Handler, "protocol_version", "HTTP/1.1")
    server.script = [{"chunked": True, "drop_after": 100_000}, {"chunked": True, "ranges": False}]
    assert fetch(server.url, tmp_path).read_bytes() == CONTENT
    server.script = [{"chunked": True, "drop_after": 100_000, "ranges": False}] * 20
    refused(server.url + "?cut", tmp_path, "connection broke")


def test_a_body_whose_end_nobody_announces_needs_a_digest(server, tmp_path):
    server.script = [{"announce": "nothing"}, {"announce": "nothing", "drop_after": 10}, {"announce": "nothing"}]
    refused(server.url, tmp_path, "where the file ends", "#sha256=")
    refused(f"{server.url}#sha256={DIGEST}", tmp_path, "SHA-256")
    assert fetch(f"{server.url}#sha256={DIGEST}", tmp_path).read_bytes() == CONTENT


def test_an_endless_body_stops_at_the_limit(server, tmp_path, monkeypatch):
    monkeypatch.setattr(Handler, "protocol_version", "HTTP/1.1")
    monkeypatch.setattr(download, "TIMEOUT_S", 1)  # of a fetch() without the limit, after the last byte

    def forever(handler):
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for _ in range(100):  # endless enough, and a fetch() without the limit does not fill the disk
            handler.wfile.write(b"10000\r\n" + bytes(65536) + b"\r\n")

    monkeypatch.setattr(Handler, "answer", forever)
    refused(server.url, tmp_path, "1000000 bytes allowed", limit=1_000_000)
    assert not finished(tmp_path) and not list(tmp_path.glob("*.part")) and len(server.requests) == 1


def test_an_announced_size_beyond_the_limit_is_refused_before_the_first_byte(server, tmp_path):
    refused(server.url, tmp_path, "300000 bytes, more than the 299999", limit=299_999)
    assert not finished(tmp_path) and not list(tmp_path.glob("*.part"))
    assert fetch(server.url, tmp_path, limit=300_000).read_bytes() == CONTENT


def test_a_full_disk_is_noticed_before_the_first_byte(server, tmp_path, monkeypatch):
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(299_999))
    refused(server.url, tmp_path, "needs 300000 bytes", "299999 free", "XDG_CACHE_HOME")
    assert sum(file.stat().st_size for file in tmp_path.glob("*.part")) == 0
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(300_000))
    assert fetch(server.url, tmp_path).read_bytes() == CONTENT


def test_a_cache_that_cannot_be_written_is_one_line(server, tmp_path):
    (tmp_path / "file").write_text("")
    refused(server.url, tmp_path / "file" / "cache", "cannot be read or stored", "XDG_CACHE_HOME")


@pytest.mark.parametrize(
    "status, says, requests",
    [(404, "no such file", 1), (410, "no such file", 1), (403, "no access", 1), (401, "login", 1), (400, "refuses", 1),
     (204, "no file", 1), (500, "try again later", download.TRIES), (429, "try again later", download.TRIES)],
)  # fmt: skip
def test_an_http_failure_is_one_line_and_asked_again_only_if_it_may_pass(server, tmp_path, status, says, requests):
    server.script = [{"status": status, "announce": "0", "drop_after": 0}] * 20
    refused(server.url, tmp_path, f"HTTP {status}", says)
    assert len(server.requests) == requests and not finished(tmp_path)


def test_a_web_page_is_not_taken_for_a_file(server, tmp_path):
    server.script = [{"headers": [("Content-Type", "text/html; charset=utf-8")]}]
    refused(server.url, tmp_path, "web page")
    assert not finished(tmp_path)


def test_no_server_is_one_line(server, tmp_path):
    server.server_close()  # nobody listens there from now on
    refused(server.url, tmp_path, "cannot be reached", "network")


def test_a_redirect_to_the_file_is_followed_also_when_resuming(server, tmp_path):
    away = {"status": 302, "announce": "0", "drop_after": 0, "headers": [("Location", "/else.pkl")]}
    permanent = {**away, "status": 308}
    server.script = [away, {"drop_after": 100_000}, permanent, ALL]
    assert fetch(server.url, tmp_path).read_bytes() == CONTENT
    assert ranges(server) == [None, None, "bytes=100000-", "bytes=100000-"]


@pytest.mark.parametrize(
    "place", ["file:///etc/hostname", "ftp://127.0.0.1/a", "data:,a", "http://example.com/a\tb", "/nets/ffhq.pkl"]
)
def test_a_redirect_to_elsewhere_is_refused(server, tmp_path, place):
    server.script = [{"status": 302, "announce": "0", "drop_after": 0, "headers": [("Location", place)]}] * 20
    refused(server.url, tmp_path, "leads to '" + place.split(":")[0], "not followed")
    assert not finished(tmp_path)


def test_https_never_leads_to_http():
    assert may_lead("https://a.org/b", "https://c.org/d", pinned=False)
    assert may_lead("http://a.org/b", "http://c.org/d", pinned=True)
    for start, end, pinned in [
        ("https://a.org/b", "http://a.org/b", True), ("https://a.org/b", "http://127.0.0.1/b", False),
        ("http://127.0.0.1/b", "http://a.org/b", False), ("https://a.org/b", "ftp://a.org/b", True),
    ]:  # fmt: skip
        assert not may_lead(start, end, pinned), (start, end)


@pytest.mark.parametrize("host", ["example.com", "127.0.0.1.example.com", "127.1", "8.8.8.8", "[2001:db8::1]"])
def test_plain_http_to_elsewhere_is_refused_without_a_digest(host, tmp_path):
    refused(f"http://{host}/a.pkl", tmp_path, "use https", "#sha256=")


def test_plain_http_to_elsewhere_is_allowed_with_a_digest(server, tmp_path):
    elsewhere = server.url.replace("127.0.0.1", "127.1")  # the same machine, by a name that is not known as loopback
    assert fetch(f"{elsewhere}#sha256={DIGEST}", tmp_path).read_bytes() == CONTENT


def test_content_with_another_digest_is_refused_and_not_kept(server, tmp_path):
    refused(f"{server.url}#sha256={OTHER}", tmp_path, DIGEST, OTHER)
    assert not finished(tmp_path) and not list(tmp_path.glob("*.part"))
    assert fetch(f"{server.url}#sha256={DIGEST.upper()}", tmp_path).read_bytes() == CONTENT


def test_a_cached_file_with_another_digest_is_downloaded_again_once(server, tmp_path):
    path = fetch(server.url, tmp_path)
    path.write_bytes(b"damaged")
    assert fetch(f"{server.url}#sha256={DIGEST}", tmp_path).read_bytes() == CONTENT
    refused(f"{server.url}#sha256={OTHER}", tmp_path, DIGEST, OTHER)
    assert not finished(tmp_path) and len(server.requests) == 3


@pytest.mark.parametrize(
    "fragment", ["", "sha256=", "sha256=12", f"sha256={OTHER}0", f"sha1={OTHER}", "sha256=" + "g" * 64]
)
def test_a_malformed_digest_is_refused_before_any_request(server, tmp_path, fragment):
    refused(f"{server.url}#{fragment}", tmp_path, "64 hex digits")
    refused(f"file:///a#{fragment}", tmp_path, "64 hex digits")
    assert not server.requests


@pytest.mark.parametrize(
    "address",
    ["https://", "https:///a.pkl", "https://[::1", "https://a:b/c", "ftp://a/b", "a.pkl", "http://[::1]:1/a b"],
)
def test_an_address_that_cannot_be_read_is_one_line(tmp_path, address):
    refused(address, tmp_path, "not a valid address")


def test_a_password_is_not_repeated(tmp_path):
    with pytest.raises(DownloadError, match="^https://a.org/b: .*not supported") as error:
        fetch("https://me:secret@a.org/b", tmp_path)
    assert "secret" not in str(error.value)


def test_two_calls_at_once_download_once(server, tmp_path):
    started, results = threading.Event(), []
    server.script = [{"drop_after": 100_000, "during": lambda: (started.set(), time.sleep(0.2))}]
    first = threading.Thread(target=lambda: results.append(fetch(server.url, tmp_path)))
    first.start()
    assert started.wait(5)
    results.append(fetch(server.url, tmp_path))
    first.join()
    assert results[0] == results[1] and results[0].read_bytes() == CONTENT
    assert ranges(server) == [None, "bytes=100000-"]


def test_a_file_address_names_the_file_itself(tmp_path):
    file = tmp_path / "my net.pkl"
    file.write_bytes(CONTENT)
    quoted = str(file).replace(" ", "%20")
    for address in (f"file://{quoted}", f"file://localhost{quoted}", f"file://{quoted}#sha256={DIGEST}"):
        assert fetch(address, tmp_path / "cache") == file
    assert not (tmp_path / "cache").exists()
    refused(f"file://{quoted}#sha256={OTHER}", tmp_path, DIGEST, OTHER)
    assert file.read_bytes() == CONTENT


def test_a_file_address_elsewhere_or_of_nothing_is_one_line(tmp_path):
    refused(f"file://{tmp_path}/none.pkl", tmp_path, "no file", "none.pkl")
    refused(f"file://{tmp_path}", tmp_path, "no file")
    refused("file://other.org/a.pkl", tmp_path, "another machine")
    refused("file:///a%00%0A%1B[31m.pkl", tmp_path, "no file")


# ------------------------------------------------------------------ servers that do harm


@pytest.fixture
def raw(monkeypatch):
    """raw(*pieces, every=seconds, tail=bytes) -> address of a server that sends these bytes as they are, then goes on
    with `tail` until it is hung up on.
    """
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(download, "WAIT_S", 0)
    for name in ("TIMEOUT_S", "HEAD_S", "PATIENCE_S"):
        monkeypatch.setattr(download, name, 0.4)
    listeners = []

    def start(*pieces, every=0.0, tail=b""):
        def answer(client):
            with suppress(OSError), client:
                client.recv(9999)
                for piece in pieces:
                    client.sendall(piece)
                    time.sleep(every)
                for _ in range(200 if tail else 0):
                    client.sendall(tail)
                    time.sleep(every)

        def serve(listener):
            with suppress(OSError):
                while True:
                    threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()

        listeners.append(socket.create_server(("127.0.0.1", 0)))
        threading.Thread(target=serve, args=listeners[-1:], daemon=True).start()
        return f"http://127.0.0.1:{listeners[-1].getsockname()[1]}/a.pkl"

    yield start
    for listener in listeners:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()


OK = b'HTTP/1.1 200 OK\r\nETag: "1"\r\n'
HARMFUL = {  # what a server sends: pieces, seconds from one to the next, what it sends on and on
    "nothing": ([b""], 9, b""),
    "the end of the connection": ([], 0, b""),
    "no HTTP": ([b"SSH-2.0-OpenSSH_9.6\r\n"], 0, b""),
    "noise": ([bytes(range(256)) * 8], 0, b""),
    "a head that comes byte by byte": ([], 0.05, b"H"),
    "a line of the head without end": ([b"HTTP/1.1 200 OK\r\nX: "], 0, b"x" * 65536),
    "a head without end": ([b"HTTP/1.1 200 OK\r\n"], 0, b"X-Y: z\r\n" * 200),
    "a status that is no number": ([b"HTTP/1.1 OK OK\r\n\r\n"], 0, b""),
    "a negative length": ([OK + b"Content-Length: -5\r\n\r\nabc"], 0, b""),
    "a length in words": ([OK + b"Content-Length: many\r\n\r\nabc"], 0, b""),
    "a huge length": ([OK + b"Content-Length: " + b"9" * 30 + b"\r\n\r\nabc"], 0, b""),
    "an endless length": ([OK + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\nabc"], 0, b""),
    "two lengths": ([OK + b"Content-Length: 3\r\nContent-Length: 7\r\n\r\nabc"], 0, b""),
    "two lengths in one": ([OK + b"Content-Length: 3, 7\r\n\r\nabc"], 0, b""),
    "a longer length": ([OK + b"Content-Length: 7\r\n\r\nabc"], 0, b""),
    "a body of a byte now and then": ([OK + b"Content-Length: 99999\r\n\r\n"], 0.05, b"x"),
    "a byte each time": ([OK + b"Content-Length: 99999\r\n\r\nx"], 0, b""),
    "chunks of no size": ([OK + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\nabc\r\n"], 0, b""),
    "a chunk of a negative size": ([OK + b"Transfer-Encoding: chunked\r\n\r\n-3\r\nabc\r\n"], 0, b""),
    "a chunk of a huge size": ([OK + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nabc"], 0, b""),
    "an unknown coding": ([OK + b"Transfer-Encoding: gzip\r\n\r\nabc"], 0, b""),
    "a bomb": ([OK + b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"], 0, b""),
    "a redirect to a file": ([b"HTTP/1.1 302 F\r\nLocation: file:///etc/passwd\r\n\r\n"], 0, b""),
    "a redirect to no address": ([b"HTTP/1.1 302 F\r\nLocation: http://[\r\n\r\n"], 0, b""),
    "a redirect to no port": ([b"HTTP/1.1 302 F\r\nLocation: http://127.0.0.1:99999/\r\n\r\n"], 0, b""),
    "a redirect to port 0": ([b"HTTP/1.1 302 F\r\nLocation: http://127.0.0.1:0/\r\n\r\n"], 0, b""),
    "a redirect with a password": ([b"HTTP/1.1 302 F\r\nLocation: https://a:b@127.0.0.1/\r\n\r\n"], 0, b""),
    "a redirect to nobody": ([b"HTTP/1.1 302 F\r\nLocation: https:///a\r\n\r\n"], 0, b""),
    "a redirect in letters": ([b"HTTP/1.1 302 F\r\nLocation: https://\xff\xfe/\r\n\r\n"], 0, b""),
    "a redirect to a label too long": ([b"HTTP/1.1 302 F\r\nLocation: https://" + b"a" * 70 + b".b/\r\n\r\n"], 0, b""),
    "a redirect in a circle": ([b"HTTP/1.1 302 F\r\nLocation: /a.pkl\r\n\r\n"], 0, b""),
    "a redirect without a place": ([b"HTTP/1.1 302 F\r\n\r\n"], 0, b""),
    "a cookie of noise": ([b"HTTP/1.1 404 N\r\nSet-Cookie: \xff=;;=; expires=never; domain=\xff\r\n\r\n"], 0, b""),
}  # fmt: skip


@pytest.mark.parametrize("name", HARMFUL)
def test_a_harmful_server_is_one_line_soon_and_nothing_is_kept_for_whole(raw, tmp_path, name):
    pieces, every, tail = HARMFUL[name]
    start = time.monotonic()
    refused(raw(*pieces, every=every, tail=tail), tmp_path, limit=200_000)
    assert not finished(tmp_path) and time.monotonic() - start < 15


def test_an_etag_that_cannot_be_sent_back_is_not_kept(raw, tmp_path):
    head = b"HTTP/1.1 200 OK\r\nETag: \xff\x85\r\nContent-Length: 3\r\n\r\n"
    assert fetch(raw(head + b"abc"), tmp_path).read_bytes() == b"abc"


@pytest.mark.parametrize(
    "address",
    [
        "HTTPS://", "https://:80/a", "https://a:0/b", "https://a:99999/b", "https://a:-1/b", "https://[::1/a",
        "https://[v9.z]:x/", "https://a b/c", "https://\u00fc.org/a", "https://a@/b", "https:///", "https://?a",
        "https://" + "a" * 70 + ".invalid/b", "https://./a", "https://.a/b", "https://a..b/c", "https://*/a", "https://[]/a",
        "https://%00/a", "https://xn--/a", "https://[::1%25lo]:1/a", "https://127.0.0.1:1/a", "file://", "file:///", "file:///\0",
        "file:///%", "file:////", "file:///%ff", "file://localhost", "FILE:///nowhere", "file:///dev/zero", "http://[",
    ],
)  # fmt: skip
def test_an_odd_address_is_one_line(address, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "HEAD_S", 0.5)
    monkeypatch.setattr(download, "WAIT_S", 0)
    with pytest.raises(DownloadError) as error:
        fetch(address, tmp_path)
    assert str(error.value).isprintable() and len(str(error.value)) < 1000 and not finished(tmp_path)
