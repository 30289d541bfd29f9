"""download.py against servers that do harm, and addresses that lead nowhere."""

import socket
import threading
import time
from contextlib import suppress

import pytest
from file_server import finished, refused

from eg3d.checkpoints import download
from eg3d.checkpoints.download import DownloadError, fetch


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
