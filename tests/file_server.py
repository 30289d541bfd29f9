"""A file server on loopback that answers as a test has written down, and what is asked about its files."""

import hashlib
import re
from http.server import BaseHTTPRequestHandler

import numpy as np
import pytest

from eg3d.checkpoints.download import DownloadError, fetch

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
