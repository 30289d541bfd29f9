"""download.py against a real server on loopback that lies and sends us elsewhere."""

import shutil
import threading
import time
from collections import namedtuple

import pytest
from file_server import ALL, CHANGED, CONTENT, DIGEST, OTHER, Handler, finished, ranges, refused

from eg3d.checkpoints import download
from eg3d.checkpoints.download import DownloadError, fetch, may_lead
from groundwork.files import cache_folder
from groundwork.places import is_address


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
