"""A file server for the tests of downloads."""

import threading
from http.server import ThreadingHTTPServer

import pytest
from file_server import Handler

from eg3d.checkpoints import download


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
