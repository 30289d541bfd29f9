"""The viewer's server: one page, and the pictures that it asks for. Every answer is a picture, a file or one line.

    GET  /?token=T     the page; /viewer.js and /viewer.css beside it
    POST /about        what networks there are
    POST /view         {"client", "view", "moving", "effort", "read"} -> pictures, side by side
    POST /save         {"client", "view", "kind", "path", "network", "resolution"} -> progress, then a file

A POST has the token in a header of its own, which no other site can send. No file of this machine is served but the
page's three, and none is written but temporary ones.
"""

import asyncio
import json
import os
import re
import socket
import warnings
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from eg3d.pictures.viewer import saving
from eg3d.pictures.viewer.effort import EFFORTS, FRAME_SECONDS
from eg3d.pictures.viewer.guard import TOKEN_HEADER, Guard, Refused, body_of
from eg3d.pictures.viewer.live_heads import LiveHead, packed, turned_gaze
from eg3d.pictures.viewer.turns import PREVIEW, REST, SAVE, Dropped, Turns, Work
from eg3d.pictures.viewer.wanted_view import COMMON_PITCH, COMMON_YAW, READ, View
from groundwork.early import DEBUG_VARIABLE, exhausted
from groundwork.strict_json import JsonError, parse_json

HERE = Path(__file__).parent
PAGE_FILES = {"viewer.js": "text/javascript", "viewer.css": "text/css"}
READ_SECONDS = 15  # for a request, and once more for its body
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
KINDS = {"png": "image/png", "film": "video/mp4", "cameras": "application/json", "glb": "model/gltf-binary"}


class Viewer:
    """The application: networks, the guard, and the thread that draws."""

    def __init__(self, heads: Sequence[LiveHead], guard: Guard, options: Sequence[str] = ()):
        self.heads, self.guard, self.options = heads, guard, options
        self.turns = Turns()
        routes = [Route("/", self._page, methods=["GET"])]
        routes += [Route(f"/{name}", self._file, methods=["GET"]) for name in PAGE_FILES]
        routes += [
            Route(path, self._posted(answer, set(names)), methods=["POST"])
            for path, answer, *names in (
                ("/about", self._about, "client"),
                ("/view", self._view, "client", "view", "moving", "effort", "read"),
                ("/save", self._save, "client", "view", "kind", "path", "network", "resolution"),
            )
        ]
        self.app = self._guarded(Starlette(routes=routes))

    def _guarded(self, app):
        """Refuses what comes from elsewhere, whatever it asks for, and gives every answer its headers."""

        async def guarded(scope, receive, send):
            if scope["type"] != "http":
                return

            async def send_with_headers(message):
                if message["type"] == "http.response.start":
                    own = [(k.lower().encode(), v.encode()) for k, v in HEADERS.items()]
                    message = {**message, "headers": [*message["headers"], *own]}
                await send(message)

            request = Request(scope, receive)
            try:
                self.guard.check_place(request.headers)
            except Refused as refused:
                return await _line(refused)(scope, receive, send_with_headers)
            await app(scope, receive, send_with_headers)

        return guarded

    async def _page(self, request: Request) -> Response:
        try:
            self.guard.check_token(request.query_params.get("token"))
        except Refused as refused:
            return _line(refused)
        return Response((HERE / "viewer.html").read_bytes(), media_type="text/html")

    async def _file(self, request: Request) -> Response:
        name = request.url.path.removeprefix("/")
        return Response((HERE / name).read_bytes(), media_type=PAGE_FILES[name])

    def _posted(self, answer: Callable[[Request, dict], Awaitable[Response]], names: set[str]):
        """What all POSTs share: token, rate, size, a JSON object with these names, and one line for what is wrong."""

        async def posted(request: Request) -> Response:
            try:
                self.guard.check_token(request.headers.get(TOKEN_HEADER))
                body = await asyncio.wait_for(body_of(request), READ_SECONDS)
                message = parse_json(body)
                if not isinstance(message, dict):
                    raise ValueError("a message is a JSON object")
                client = message.get("client")
                if not isinstance(client, str) or not re.fullmatch(r"[A-Za-z0-9-]{1,40}", client):
                    raise ValueError("client: a name of 1 to 40 letters and digits is missing")
                self.guard.check_rate(client)
                if unknown := sorted(message.keys() - names):
                    raise ValueError(f"{unknown[0][:40]!a}: no such thing is asked for; {', '.join(sorted(names))} are")
                return await answer(request, message)
            except Refused as refused:
                return _line(refused)
            except JsonError as error:
                return PlainTextResponse(f"the message is no JSON: {error}", 400)
            except ValueError as error:
                return PlainTextResponse(" ".join(str(error).split()), 400)
            except (RuntimeError, MemoryError) as error:  # of PyTorch: above all, too little memory
                return PlainTextResponse(exhausted(error) or "the network could not draw this", 500)
            except (ClientDisconnect, asyncio.TimeoutError, Dropped):
                return Response(status_code=204)  # nobody waits for it any more

        return posted

    # ------------------------------------------------------------------ answers

    async def _about(self, request: Request, message: dict) -> Response:
        facts = {
            "networks": [head.facts() for head in self.heads],
            "reads": [head.read_gaze is not None for head in self.heads],
            "common": [COMMON_YAW, COMMON_PITCH],
            "defaults": {name: getattr(View(), name) for name in READ},
            "efforts": list(EFFORTS),
            "shapes": saving.SHAPE_RESOLUTIONS,
            "fps": saving.FILM_FPS,
        }
        return Response(json.dumps(facts), media_type="application/json")

    async def _view(self, request: Request, message: dict) -> Response:
        view, moving = View.parse(_text(message, "view")), _switch(message, "moving")
        asked = _text({"effort": "auto"} | message, "effort")
        if asked not in ("auto", *EFFORTS):
            raise ValueError(f"effort: must be auto or one of {', '.join(EFFORTS)}")
        read = _switch(message, "read")

        def task(pause):
            if not moving:
                return self._pictures(view, [head.full(view, pause, read) for head in self.heads], moving)
            share = FRAME_SECONDS / len(self.heads)
            return self._pictures(view, [head.preview(view, asked, share, read) for head in self.heads], moving)

        content = await self._served(request, message["client"], PREVIEW if moving else REST, task)
        return Response(content, media_type="application/octet-stream")

    def _pictures(self, view: View, panels, moving: bool) -> bytes:
        label = view.label(self.heads[0].G.orbit)
        wanted = next((gaze for head in self.heads if (gaze := head.gaze(view, label)) is not None), None)
        facts = {
            "view": view.text(),
            "sides": [panel.image.shape[0] for panel in panels],
            "eyes": [panel.eyes for panel in panels],
            "face": turned_gaze(label.new_zeros(1, 2), label),
            "gaze": None if wanted is None else wanted[0].rad2deg().tolist(),
        }
        if not moving:
            facts["command"] = saving.command([head.name for head in self.heads], view, self.options)
        return saving.report(facts, *(panel.file or packed(panel.image, moving) for panel in panels))

    async def _save(self, request: Request, message: dict) -> Response:
        view, kind = View.parse(_text(message, "view")), _text(message, "kind")
        if kind not in KINDS:
            raise ValueError(f"kind: must be one of {', '.join(KINDS)}")
        path = saving.read_path(view, message.get("path")) if kind in ("film", "cameras") else []
        number, resolution = message.get("network", 0), message.get("resolution", 128)
        if type(number) is not int or not 0 <= number < len(self.heads):
            raise ValueError(f"network: must be a number from 0 to {len(self.heads) - 1}")
        if type(resolution) is not int or resolution not in saving.SHAPE_RESOLUTIONS:
            raise ValueError(f"resolution: must be one of {', '.join(map(str, saving.SHAPE_RESOLUTIONS))}")
        done, loop = asyncio.Queue(), asyncio.get_running_loop()

        def task(pause):
            if kind == "png":
                return saving.png(self.heads, view, pause)
            if kind == "cameras":
                return saving.cameras(view, path, self.heads[0].G.orbit)
            if kind == "glb":
                return saving.glb(self.heads[number], view, resolution, pause)
            told = lambda frames: loop.call_soon_threadsafe(done.put_nowait, frames)  # noqa: E731
            return saving.film(self.heads, view, path, pause, told)

        work = self.turns.submit(message["client"], SAVE, task)
        facts = {"film_command": saving.film_command(self.heads, view)} if path else {}

        async def answer():
            result = _awaited(work)
            try:
                while not result.done():
                    news = asyncio.ensure_future(done.get())
                    await asyncio.wait({result, news}, return_when=asyncio.FIRST_COMPLETED)
                    news.cancel()
                    if news.done() and not news.cancelled():
                        yield saving.report({"done": news.result(), "of": len(path)})
                yield saving.report(facts | {"type": KINDS[kind]}, result.result())
            except (Dropped, ValueError, OSError) as error:
                yield saving.report({"error": " ".join(str(error).split()) or "stopped"})
            finally:
                work.drop()

        return StreamingResponse(answer(), media_type="application/octet-stream")

    async def _served(self, request: Request, client: str, rank: int, task) -> bytes:
        """The result of a task. If the client goes away, nobody draws for it."""
        work = self.turns.submit(client, rank, task)
        result, gone = _awaited(work), asyncio.ensure_future(_gone(request))
        try:
            await asyncio.wait({result, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not result.done():
                raise Dropped
            return result.result()
        finally:
            gone.cancel()
            work.drop()


def _awaited(work: Work) -> asyncio.Future:
    """Its result, for this event loop; nobody complains if it is never looked at."""
    result = asyncio.wrap_future(work.result)
    result.add_done_callback(lambda done: done.cancelled() or done.exception())
    return result


async def _gone(request: Request) -> None:
    """Returns when the client has closed its connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _line(refused: Refused) -> Response:
    return PlainTextResponse(str(refused), refused.status)


def _text(message: dict, name: str) -> str:
    value = message.get(name)
    if not isinstance(value, str):
        raise ValueError(f"{name}: a text is missing")
    return value


def _switch(message: dict, name: str) -> bool:
    value = message.get(name, False)
    if not isinstance(value, bool):
        raise ValueError(f"{name}: must be true or false")
    return value


def listening(host: str, port: int) -> socket.socket:
    """A socket at this address; port 0: any that is free. ValueError, one line, if it cannot be had."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # The protocol is named because asyncio then sends small answers at once: else each waits 40 ms (Nagle).
        found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
        found.listen()  # so that whoever opens the address before the server runs waits for it
    except OSError as error:
        advice = "give another --port, or --port=0 for any that is free" if port else "give another --host"
        raise ValueError(f"--host={host} --port={port}: {error.strerror or error}; {advice}") from None
    return found


class Impatient(H11Protocol):
    """Closes connections on which nothing comes to an end: else 256 idle ones would keep everybody out."""

    def connection_made(self, transport):
        super().connection_made(transport)
        self._look_again(None)

    def _look_again(self, before) -> None:
        self._next_look = self.loop.call_later(READ_SECONDS, self._look, before)

    def _look(self, before) -> None:
        """before: the request and answer that were the last ones READ_SECONDS ago; None: there were none."""
        if self.cycle is before and (before is None or before.response_complete):
            self.transport.close()
        else:
            self._look_again(self.cycle)

    def connection_lost(self, exc):
        self._next_look.cancel()
        super().connection_lost(exc)


def serve(viewer: Viewer, door: socket.socket, ready: Callable[[uvicorn.Server], None] = lambda server: None) -> None:
    """Serves until Ctrl-C, which is raised again."""
    level = "error" if os.environ.get(DEBUG_VARIABLE) else "critical"  # tracebacks
    config = uvicorn.Config(
        viewer.app, log_level=level, access_log=False, lifespan="off", ws="none", http=Impatient, loop="asyncio",
        server_header=False, date_header=False, limit_concurrency=256, h11_max_incomplete_event_size=1 << 14,
        timeout_graceful_shutdown=2,
    )  # fmt: skip
    server = uvicorn.Server(config)
    ready(server)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # Ctrl-C before it runs: "never awaited"
            server.run(sockets=[door])
    finally:
        viewer.turns.close()
