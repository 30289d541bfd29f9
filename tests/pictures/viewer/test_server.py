"""The viewer's server over real sockets: answers, refusals, malformed requests, clients that go away."""

import http.client
import io
import json
import random
import shlex
import socket
import struct
import threading
import time

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from tiny_networks import tiny_generator

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from eg3d import gen_videos
from eg3d.checkpoints.loading import load_generator
from eg3d.pictures import video
from eg3d.pictures.layout import to_uint8
from eg3d.pictures.video import read_camera_path
from eg3d.pictures.viewer import guard as guard_module
from eg3d.pictures.viewer import saving, server
from eg3d.pictures.viewer.live_heads import LiveHead
from eg3d.pictures.viewer.wanted_view import View
from eg3d.pictures.views import render_batch

TOKEN = "token-of-the-tests"


class Running:
    """A viewer of two networks at a free port."""

    def __init__(self):
        self.heads = [
            LiveHead("tiny", tiny_generator()),
            LiveHead("embedded-control", load_generator("embedded-control")),
        ]
        self.viewer = server.Viewer(self.heads, server.Guard(TOKEN), ["--ops=torch"])
        door = server.listening("127.0.0.1", 0)
        self.port = door.getsockname()[1]
        self.handle = None
        self.thread = threading.Thread(target=self._serve, args=(door,), daemon=True)
        self.thread.start()
        while self.handle is None or not self.handle.started:
            time.sleep(0.01)

    def _serve(self, door):
        server.serve(self.viewer, door, lambda handle: setattr(self, "handle", handle))

    def close(self):
        self.handle.should_exit = True
        self.thread.join(20)
        assert not self.thread.is_alive()

    def ask(self, method: str, path: str, body=b"", headers=(), token=TOKEN) -> tuple[int, bytes, dict]:
        """Status, content and headers of one request, on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            given = {"X-Viewer-Token": token} | dict(headers)
            connection.request(method, path, body, {k: v for k, v in given.items() if v is not None})
            answer = connection.getresponse()
            return answer.status, answer.read(), {k.lower(): v for k, v in answer.getheaders()}
        finally:
            connection.close()

    def post(self, where: str, **message):
        return self.ask("POST", where, json.dumps({"client": "test"} | message).encode())


@pytest.fixture(scope="module")
def running():
    made = Running()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def fresh_rates(running):
    running.viewer.guard._buckets.clear()
    running.viewer.guard.clock = time.monotonic


def messages(content: bytes) -> list[tuple[dict, list[bytes]]]:
    found = []
    while content:
        (size,) = struct.unpack_from("<I", content)
        facts, content, parts = json.loads(content[4 : 4 + size]), content[4 + size :], []
        for length in facts["bytes"]:
            parts.append(content[:length])
            content = content[length:]
        found.append((facts, parts))
    return found


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


# ------------------------------------------------------------------ what the page asks for


def test_a_view_at_rest_is_the_networks_own_picture_of_it(running):
    status, content, _ = running.post("/view", view="seed=3&yaw=0.4&pitch=-0.2", moving=False)
    ((facts, images),) = messages(content)
    assert status == 200 and facts["sides"] == [32, 64] and facts["view"] == "seed=3&yaw=0.4&pitch=-0.2"
    for head, image in zip(running.heads, images, strict=True):
        expected = to_uint8(render_batch(head.G, [3], [(0.4, -0.2)]).images)[0]
        assert np.array_equal(pixels(image), expected)
    assert facts["command"] == (
        "python eg3d/viewer.py --network=tiny --network=embedded-control --ops=torch "
        "'--draw=seed=3&yaw=0.4&pitch=-0.2' --save=head.png"
    )


def test_the_page_and_its_files_are_served_and_nothing_else_of_this_machine(running):
    status, page, headers = running.ask("GET", f"/?token={TOKEN}")
    assert status == 200 and b"<main>" in page and headers["content-type"].startswith("text/html")
    assert (
        "default-src 'none'" in headers["content-security-policy"]
        and "unsafe" not in headers["content-security-policy"]
    )
    assert "frame-ancestors 'none'" in headers["content-security-policy"]  # nobody lays it under a page of his own
    for name in ("/viewer.js", "/viewer.css"):
        assert running.ask("GET", name)[0] == 200
    for path in ("/server.py", "/../guard.py", "/%2e%2e/guard.py", "/viewer.js/../server.py", "//etc/passwd",
                 "/viewer.html", "/?token=", "/favicon.ico"):  # fmt: skip
        status, content, headers = running.ask("GET", path)
        assert status in (403, 404) and b"import" not in content and b"root:" not in content
        assert headers["x-content-type-options"] == "nosniff"


def test_about_says_what_there_is(running):
    status, content, _ = running.post("/about")
    about = json.loads(content)
    assert status == 200 and [one["name"] for one in about["networks"]] == ["tiny", "embedded-control"]
    assert [one["aimed"] for one in about["networks"]] == [False, True] and about["defaults"]["psi"] == 0.7


def test_the_gaze_of_the_pad_reaches_the_eyes(running):
    def control(gaze):
        ((facts, images),) = messages(running.post("/view", view=f"seed=1&gaze={gaze}", moving=False)[1])
        return facts["gaze"], pixels(images[1]).astype(int)

    (left, first), (right, second) = control("25,0"), control("-25,0")
    assert left == pytest.approx([25, 0], abs=1e-3) and right == pytest.approx([-25, 0], abs=1e-3)
    assert np.abs(first - second).max() > 60


def test_a_picture_a_path_and_a_mesh_can_be_saved(running):
    png = messages(running.post("/save", view="seed=2", kind="png")[1])[-1]
    assert png[0]["type"] == "image/png" and pixels(png[1][0]).shape == (64, 128, 3)
    facts, (cameras,) = messages(
        running.post("/save", view="seed=2", kind="cameras", path=[[0.1, 0, 18.8], [0.2, 0, 18.8]])[1]
    )[-1]
    assert len(json.loads(cameras)["labels"]) == 2 and "gen_videos.py" in facts["film_command"]
    facts, (mesh,) = messages(running.post("/save", view="seed=2", kind="glb", network=1, resolution=64)[1])[-1]
    assert facts["type"] == "model/gltf-binary" and mesh[:4] == b"glTF"


def test_saved_cameras_are_what_gen_videos_reads(running, tmp_path):
    path = [[0.1, -0.05, 18.837], [0.3, 0.1, 25.0]]
    _, (cameras,) = messages(running.post("/save", view="", kind="cameras", path=path)[1])[-1]
    (tmp_path / "cameras.json").write_bytes(cameras)
    labels = read_camera_path(tmp_path / "cameras.json")["labels"]
    for label, (yaw, pitch, fov) in zip(labels, path, strict=True):
        expected = View(yaw=yaw, pitch=pitch, fov=fov).label(running.heads[0].G.orbit)[0].tolist()
        assert label == pytest.approx(expected, abs=1e-6)


def test_a_film_tells_how_far_it_is_and_comes_whole(running):
    pytest.importorskip("imageio_ffmpeg")
    parts = messages(running.post("/save", view="seed=2", kind="film", path=[[0.02 * i, 0, 18.8] for i in range(4)])[1])
    assert [facts["done"] for facts, _ in parts[:-1]] == [1, 2, 3, 4] and all(
        facts["of"] == 4 for facts, _ in parts[:-1]
    )
    assert parts[-1][0]["type"] == "video/mp4" and parts[-1][1][0][4:8] == b"ftyp"


def test_the_command_for_a_path_makes_the_film_that_the_viewer_has_made(tmp_path, monkeypatch):
    """Compared by what reaches the encoder, frame by frame, and how many of them make a second."""
    pytest.importorskip("imageio_ffmpeg")
    heads = [LiveHead("embedded-control", load_generator("embedded-control"))]
    view, shot = View.parse("seed=3&psi=0.65&gaze=camera"), []
    path = saving.read_path(view, [[0.1 * i, -0.05 * i, 18.0 + i] for i in range(3)])

    def write_video(file, frames, fps=video.FPS, progress=None):
        shot.append((fps, [*frames]))
        file.parent.mkdir(exist_ok=True)
        file.touch()

    monkeypatch.setattr(video, "write_video", write_video)
    saving.film(heads, view, path, lambda: None, lambda count: None)
    (tmp_path / "cameras.json").write_bytes(saving.cameras(view, path, heads[0].G.orbit))
    monkeypatch.chdir(tmp_path)
    _, script, *arguments = shlex.split(saving.film_command(heads, view))
    assert script == "eg3d/gen_videos.py" and len(set(arguments)) == len(arguments)
    result = CliRunner().invoke(gen_videos.main, arguments)
    assert result.exit_code == 0, result.output
    (fps, mine), (their_fps, theirs) = shot
    assert fps == their_fps == 30 and len(mine) == len(theirs) == 3
    for one, other in zip(mine, theirs, strict=True):  # stored cameras are rounded, and eyes are drawn three at once
        off = np.abs(one.astype(int) - other)
        assert off.max() <= 3 and off.mean() < 0.01


# ------------------------------------------------------------------ who is refused


@pytest.mark.parametrize("headers", [
    {"X-Viewer-Token": None}, {"X-Viewer-Token": ""}, {"X-Viewer-Token": TOKEN[:-1]}, {"X-Viewer-Token": TOKEN + "x"},
    {"Host": "evil.example"}, {"Host": "127.0.0.1.evil.example"}, {"Host": ""}, {"Host": "localhost@evil.example"},
    {"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": "http://127.0.0.1:1"},
    {"Origin": "https://localhost.evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"},
])  # fmt: skip
def test_a_hostile_page_is_refused(running, headers):
    """No token, another host (DNS rebinding), another origin: each by itself is enough."""
    body = json.dumps({"client": "evil", "view": "", "moving": True}).encode()
    status, content, _ = running.ask("POST", "/view", body, headers)
    assert status == 403 and len(content) < 200 and content.count(b"\n") == 0


def test_the_pages_own_requests_pass_through_a_tunnel_too(running):
    body = json.dumps({"client": "own"}).encode()
    for host in (f"127.0.0.1:{running.port}", "localhost:9000", "[::1]:9000"):
        own = {"Host": host, "Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}
        assert running.ask("POST", "/about", body, own)[0] == 200


def test_no_answer_lets_another_origin_read_it(running):
    for method in ("OPTIONS", "GET", "POST"):
        _, _, headers = running.ask(method, "/view", headers={"Origin": "http://evil.example"})
        assert not any(name.startswith("access-control-") for name in headers)
        assert headers["cross-origin-resource-policy"] == headers["cross-origin-opener-policy"] == "same-origin"


def test_a_server_for_the_whole_network_knows_numbers_but_no_names():
    from starlette.datastructures import Headers

    opened = guard_module.Guard(TOKEN, "0.0.0.0")
    opened.check_place(Headers({"host": "192.168.1.7:8420"}))
    with pytest.raises(guard_module.Refused):
        opened.check_place(Headers({"host": "evil.example"}))
    with pytest.raises(guard_module.Refused):
        guard_module.Guard(TOKEN).check_place(Headers({"host": "192.168.1.7:8420"}))


def test_large_messages_and_too_many_are_refused(running):
    status, content, _ = running.ask("POST", "/view", b" " * (guard_module.MOST_BYTES + 1))
    assert status == 413 and b"larger" in content
    running.viewer.guard.clock = lambda: 0.0  # a moment that does not pass
    most = guard_module.AT_ONCE
    assert [running.post("/about")[0] for _ in range(most + 3)] == [200] * most + [429] * 3
    assert running.ask("POST", "/about", b'{"client": "another"}')[0] == 200  # who is patient does not suffer
    running.viewer.guard.clock = lambda: 1.0
    assert running.post("/about")[0] == 200


def test_a_page_may_ask_as_often_as_a_fast_display_shows_pictures():
    now, watched = [0.0], guard_module.Guard(TOKEN)
    watched.clock = lambda: now[0]
    for _ in range(240 * 5):
        watched.check_rate("page")
        now[0] += 1 / 240


def test_pages_are_limited_and_an_old_one_makes_room():
    now, watched = [1000.0], guard_module.Guard(TOKEN)
    watched.clock = lambda: now[0]
    for number in range(guard_module.MOST_CLIENTS):
        watched.check_rate(f"c{number}")
    with pytest.raises(guard_module.Refused, match="open already"):
        watched.check_rate("one more")
    watched.check_rate("c5")  # those that are there go on
    now[0] += 61
    watched.check_rate("one more")


# ------------------------------------------------------------------ nonsense

NONSENSE = [b"", b"{", b"[]", b"null", b"1e999", b'{"client": 1}', b'{"client": ""}', b'{"client": "a b"}',
            b'{"client": "x", "client": "y"}', b"\xff\xfe", b"[" * 5000, b'{"client": "' + b"x" * 9999 + b'"}',
            b'{"client": "x", "view": NaN}', b'{"client": "x", "view": "\\ud800"}']  # fmt: skip
VALUES = [None, True, -1, 1e308, "", "x", "seed=-1", "yaw=nan", "a" * 999, [], {}, [[]], [[1, 2]], [[1e99, 0, 18]],
          [["a", 0, 0]], "../../etc/passwd", "seed=1;ls", "<script>", "\0", "seed=1&seed=2", 2**70]  # fmt: skip


@pytest.mark.parametrize("name", ["moving", "read"])
@pytest.mark.parametrize("value", ["yes", "true", 1, 0, None, [], {}])
def test_what_is_neither_true_nor_false_is_refused(running, name, value):
    status, content, _ = running.post("/view", **{"view": "", name: value})
    assert (status, content) == (400, f"{name}: must be true or false".encode())


@pytest.mark.parametrize("where, message", [
    ("/view", {"view": "", "Moving": True}), ("/view", {"view": "", "kind": "png"}), ("/about", {"view": ""}),
    ("/save", {"view": "", "kind": "cameras", "path": [[0, 0, 18.8]], "resolutoin": 64}),
])  # fmt: skip
def test_a_name_that_no_message_has_is_refused(running, where, message):
    status, content, _ = running.post(where, **message)
    assert status == 400 and content.startswith(f"'{[*message][-1]}': ".encode()) and b"client" in content


def test_networks_share_the_time_of_a_preview_and_pack_it_in_theirs(running, monkeypatch):
    given, preview = [], LiveHead.preview
    monkeypatch.setattr(LiveHead, "preview", lambda *args: (given.append(args[3]), preview(*args))[1])
    monkeypatch.setattr(server, "packed", None)
    assert running.post("/view", view="seed=3", moving=True)[0] == 200
    assert given == [server.FRAME_SECONDS / 2] * 2


def test_effort_and_arrows_are_as_the_page_asks_and_only_a_whole_picture_has_a_command(running, monkeypatch):
    reads = lambda images, labels: (images.shape[-1],) * 2  # noqa: E731
    monkeypatch.setattr(running.heads[0], "read_gaze", reads)
    for moving, effort, read, side, eyes in (
        (True, "full", True, 32, [32, 32]), (True, "full", False, 32, None), (True, "raw", True, 8, None),
        (False, "raw", True, 32, [32, 32]), (False, "full", False, 32, None),
    ):  # fmt: skip
        running.heads[0].pace.owed = 0.0
        answer = running.post("/view", view="seed=3", moving=moving, effort=effort, read=read)[1]
        ((facts, images),) = messages(answer)
        assert facts["sides"][0] == pixels(images[0]).shape[0] == side and facts["eyes"] == [eyes, None]
        assert ("command" in facts) is not moving


def malformed(rng: random.Random) -> tuple[str, str, bytes]:
    """A request (method, path, body) in which something is wrong."""
    kind = rng.randrange(4)
    path = rng.choice(["/view", "/save"])
    if kind == 0:
        return "POST", path, rng.choice(NONSENSE)
    if kind == 1:
        return "POST", path, bytes(rng.randrange(256) for _ in range(rng.randrange(200)))
    if kind == 2:
        return (
            rng.choice(["GET", "PUT", "DELETE", "PATCH", "TRACE"]),
            rng.choice([path, "/about", "/x", "/" + "y" * 300]),
            b"",
        )
    right = {"/view": {"effort": "auto", "moving": True, "read": True},
             "/save": {"kind": "cameras", "path": [[0, 0, 18.8]], "network": 0, "resolution": 64}}[path]  # fmt: skip
    message = {"client": "m"} | right | {name: rng.choice(VALUES) for name in rng.sample([*right], 2)}
    message |= {"view": rng.choice(VALUES)}
    if path == "/view" and message["view"] == "":
        message["view"] = "no"  # an empty text is a view
    return "POST", path, json.dumps(message).encode()


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.robust)])
def test_malformed_requests_are_one_line_each(running, capfd, count):
    rng, statuses, answered = random.Random(0), [], 0
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=20)
    for number in range(count):
        method, path, body = malformed(rng)
        connection.request(method, path, body, {"X-Viewer-Token": TOKEN})
        answer = connection.getresponse()
        content = answer.read()
        statuses.append(answer.status)
        wrong = answer.status == 200 and b'"error"' not in content and b'"type"' not in content
        assert answer.status in (200, 400, 404, 405, 413, 429) and not wrong, (number, method, path, body, content)
        assert answer.status == 200 or (b"Traceback" not in content and b"\n" not in content and len(content) < 400)
        running.viewer.guard._buckets.clear()
        answered += answer.status == 200
    connection.close()
    assert statuses.count(400) > 0.4 * count and answered < 0.06 * count
    assert running.post("/view", view="seed=3", moving=False)[0] == 200
    assert capfd.readouterr().err == ""


def test_what_is_no_http_closes_its_connection_and_nothing_else(running, capfd):
    rng = random.Random(1)
    beginnings = [b"", b"GET", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET / HTTP/9.9\r\n\r\n",
                  b"POST /view HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n",
                  b"POST /view HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
                  b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * 40000 + b"\r\n\r\n",
                  b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
                  b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"]  # fmt: skip
    for _ in range(60):
        start = rng.choice(beginnings) if rng.random() < 0.7 else bytes(rng.randrange(256) for _ in range(50))
        with socket.create_connection(("127.0.0.1", running.port), 5) as sock:
            sock.sendall(start)
    assert running.post("/view", view="seed=3", moving=False)[0] == 200
    assert capfd.readouterr().err == ""


# ------------------------------------------------------------------ clients that go away


def test_connections_that_ask_nothing_or_never_to_the_end_do_not_keep_others_out(running, monkeypatch):
    monkeypatch.setattr(server, "READ_SECONDS", 0.2)
    beginnings = (b"", b"POST /view HTTP/1.1\r\nHost: localhost\r\n", b"POST /about HTTP/1.1\r\nHost: localhost\r\n"
                  b"X-Viewer-Token: " + TOKEN.encode() + b"\r\nContent-Length: 30\r\n\r\n{")  # fmt: skip
    held = [socket.create_connection(("127.0.0.1", running.port), 5) for _ in range(300)]
    for number, sock in enumerate(held):
        sock.sendall(beginnings[number % 3])
    end = time.monotonic() + 10
    while running.post("/about")[0] != 200:
        assert time.monotonic() < end
        time.sleep(0.05)
    for sock in held[:3]:
        sock.settimeout(5)
        while sock.recv(4096):
            pass  # an answer, or none, then the end
    for sock in held:
        sock.close()


def test_a_long_answer_outlasts_the_patience_with_idle_connections(running, monkeypatch):
    monkeypatch.setattr(server, "READ_SECONDS", 0.2)
    full = LiveHead.full
    monkeypatch.setattr(LiveHead, "full", lambda *args: time.sleep(1) or full(*args))
    assert running.post("/view", view="seed=3", moving=False)[0] == 200


def test_who_goes_away_costs_nothing(running, monkeypatch):
    """A film of an hour stops at its next frame once its client has closed the connection."""
    pytest.importorskip("imageio_ffmpeg")
    drawn = []
    full = LiveHead.full
    monkeypatch.setattr(LiveHead, "full", lambda self, *args: (drawn.append(1), full(self, *args))[1])
    body = json.dumps({"client": "gone", "view": "seed=2", "kind": "film", "path": [[0, 0, 18.8]] * 3600}).encode()
    head = f"POST /save HTTP/1.1\r\nHost: localhost\r\nX-Viewer-Token: {TOKEN}\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", running.port), 5) as sock:
        sock.sendall(head.encode() + body)
        end = time.monotonic() + 10
        while not drawn and time.monotonic() < end:
            time.sleep(0.02)
    while running.viewer.turns._running and time.monotonic() < end:
        time.sleep(0.02)
    assert drawn and not running.viewer.turns._running and len(drawn) < 2000
    count = len(drawn)
    time.sleep(0.1)
    assert len(drawn) == count


def test_views_that_nobody_waits_for_are_not_drawn(running, monkeypatch):
    begun, go_on = threading.Event(), threading.Event()
    running.viewer.turns.submit("gate", 0, lambda pause: (begun.set(), go_on.wait(10)))
    assert begun.wait(5)
    drawn = []
    monkeypatch.setattr(LiveHead, "full", lambda self, view, *args: drawn.append(view.seed))
    body = json.dumps({"client": "gone", "view": "seed=77"}).encode()
    head = f"POST /view HTTP/1.1\r\nHost: localhost\r\nX-Viewer-Token: {TOKEN}\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", running.port), 5) as sock:
        sock.sendall(head.encode() + body)
        while not running.viewer.turns._waiting:
            time.sleep(0.01)
    while not all(work.dropped for work in running.viewer.turns._waiting.values()):
        time.sleep(0.01)
    go_on.set()
    running.viewer.turns.submit("z", 2, lambda pause: None).result.result(10)
    assert drawn == []


def test_a_port_that_is_taken_is_one_line(running):
    with pytest.raises(ValueError, match=f"--port={running.port}: .*; give another --port"):
        server.listening("127.0.0.1", running.port)
