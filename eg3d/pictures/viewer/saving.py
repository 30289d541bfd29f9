"""What can be taken home: a picture, a film along a recorded path, its cameras, a mesh, and the commands for them."""

import json
import shlex
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from eg3d.geometry.head_gaze import FACE
from eg3d.models.eye_field import is_aimed
from eg3d.pictures import video
from eg3d.pictures.aims import parse_aim
from eg3d.pictures.layout import enlarge, png_bytes, side_by_side
from eg3d.pictures.shapes import ShapeOptions, write_shape
from eg3d.pictures.viewer.live_heads import LiveHead
from eg3d.pictures.viewer.wanted_view import View
from eg3d.pictures.views import camera_labels

FILM_FPS = 30
MOST_FRAMES = 3600  # two minutes
SHAPE_RESOLUTIONS = (64, 128, 256, 512)
Pause = Callable[[], None]


def png(heads: Sequence[LiveHead], view: View, pause: Pause = lambda: None) -> bytes:
    """The picture of every network, whole, side by side; smaller ones are enlarged to the largest."""
    return png_bytes(_row([head.full(view, pause).image for head in heads]))


def _row(images: list[np.ndarray], side: int = 0) -> np.ndarray:
    side = max(side, *(image.shape[0] for image in images))
    return side_by_side([enlarge(image, side) for image in images])


def film(
    heads: Sequence[LiveHead], view: View, path: list[View], pause: Pause, progress: Callable[[int], None]
) -> bytes:
    """An mp4 of the view from every camera of a path, all networks side by side; progress(frames that are done)."""
    video.require_ffmpeg()

    def frames() -> Iterator[np.ndarray]:
        for number, at in enumerate(path):
            pause()
            yield _row([head.full(at, pause).image for head in heads], video.SMALLEST_SIDE)
            progress(number + 1)

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "film.mp4"
        video.write_video(file, frames(), fps=FILM_FPS)
        return file.read_bytes()


def cameras(view: View, path: list[View], orbit) -> bytes:
    """The cameras of a path as the JSON that gen_videos.py --camera-path reads."""
    labels = torch.cat([camera_labels(at.yaw, at.pitch, orbit, at.fov) for at in path])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "cameras.json"
        video.write_camera_path(file, labels, FILM_FPS)
        return file.read_bytes()


class _Watched:
    """A generator whose field can be asked for a little at a time; others draw in the pauses."""

    def __init__(self, G, pause: Pause):
        self._G, self._pause, self.options = G, pause, G.options

    def planes(self, ws, **how):
        return self._G.planes(ws, **how)

    def query(self, planes, points, draws):
        parts = []
        for part in points.split(1 << 16, dim=1):
            self._pause()
            parts.append(self._G.query(planes, part, draws))
        return {name: torch.cat([part[name] for part in parts], dim=1) for name in parts[0]}


def glb(head: LiveHead, view: View, resolution: int, pause: Pause) -> bytes:
    """The surface of the head of one network, with colours, as glTF; its eyes look as in the view."""
    if not head.facts()["solid"]:
        raise ValueError(f"{head.name}: has no shape to write")
    G, label = head.G, view.label(head.G.orbit)
    gaze = head.gaze(view, label.to(next(head.G.parameters()).device))
    planes = head.G.planes if gaze is None else None
    watched = _Watched(G, pause)
    if planes is None:
        watched.planes = lambda ws, **how: G.planes(ws, gaze=gaze, **how)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        stem = Path(folder) / "head"
        write_shape(stem, watched, head.ws(view), ShapeOptions(resolution, ".glb", largest_piece=True))
        return stem.with_suffix(".glb").read_bytes()


def command(names: Sequence[str], view: View, more: Sequence[str] = ()) -> str:
    """The command line that draws this picture again; more: options that decide how, such as --precision."""
    parts = ["python", "eg3d/viewer.py", *(f"--network={name}" for name in names), *more]
    return shlex.join([*parts, f"--draw={view.text() or f'seed={view.seed}'}", "--save=head.png"])


def film_command(heads: Sequence[LiveHead], view: View) -> str:
    """The command line of gen_videos.py that films the recorded cameras; without mixtures of heads, which it lacks."""
    parts = ["python", "eg3d/gen_videos.py", *(f"--network={head.name}" for head in heads)]
    parts += [
        f"--seeds={view.seed}",
        f"--trunc={view.psi:g}",
        "--interpolate=False",
        "--camera-path=cameras.json",
        "--sample_mult=1",
    ]
    if view.show in ("raw", "depth"):
        parts.append(f"--image_mode=image_{view.show}")
    if any(is_aimed(head.G) for head in heads) and not view.gaze.startswith("at:") and parse_aim(view.gaze) != FACE:
        parts.append(f"--gaze={view.gaze}")
    return shlex.join([*parts, "--outdir=out"])


def read_path(view: View, rows) -> list[View]:
    """[[yaw, pitch, fov], ...] that a page has recorded -> a view for each. ValueError, one line, for anything else."""
    if not isinstance(rows, list) or not 1 <= len(rows) <= MOST_FRAMES:
        raise ValueError(f"a path has 1 to {MOST_FRAMES} cameras; record one")
    path = []
    for row in rows:
        if not isinstance(row, list) or len(row) != 3 or not all(type(value) in (int, float) for value in row):
            raise ValueError("a camera of a path is [yaw, pitch, field of view]")
        given = dict(zip(("yaw", "pitch", "fov"), row, strict=True))
        path.append(View.parse(_with(view, given)))
    return path


def _with(view: View, given: dict[str, float]) -> str:
    text = "&".join(f"{name}={value:.6f}" for name, value in given.items())
    others = [part for part in view.text().split("&") if part and part.partition("=")[0] not in given]
    return "&".join([*others, text])


def report(facts: dict, *contents: bytes) -> bytes:
    """One message to a page: the length of the facts (4 bytes, the lowest first), the facts as JSON, the contents."""
    text = json.dumps(facts | {"bytes": [len(content) for content in contents]}, allow_nan=False).encode()
    return b"".join([len(text).to_bytes(4, "little"), text, *contents])
