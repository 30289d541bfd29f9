"""Films of a generator: a camera path, latents that move along it, several networks in one picture, and the mp4 file.

A film turns through one camera path while each cell of its grid goes once round its keyframes' latents. With one
keyframe a cell stays the same head: then the film is an orbit.
"""

import json
import math
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from tqdm import tqdm

from eg3d.geometry.cameras import FFHQ_FOCAL, check_labels
from eg3d.models.eye_field import is_aimed
from eg3d.pictures.layout import enlarge, side_by_side, stack, tiles, to_uint8
from eg3d.pictures.shapes import ShapeOptions, write_shape
from eg3d.pictures.text import text_strip
from eg3d.pictures.views import ViewOptions, camera_labels, check_finite, render_ws, ws_of_seeds
from groundwork.files import atomic_write
from groundwork.strict_json import JsonError, read_json

FOCAL = {"FFHQ": FFHQ_FOCAL, "AFHQ": FFHQ_FOCAL, "Shapenet": 1.7074}
IMAGE_MODES = ("image", "image_depth", "image_raw")
FPS, BITRATE = 60, "10M"  # as published
MOST_FPS = 240
MOST_TURNS = 3  # round a head in one film
SMALLEST_SIDE = 256  # pictures of small models are enlarged to this, so that a film of them can be watched
GAP = 8  # pixels between the panels of two networks
CAPTION_HEIGHT = 32
# Colours as players expect them of films: converted by the matrix of BT.709, and tagged so. If there is no tag, each
# player guesses by the picture's size and shows other colours than the PNG.
COLOURS = [
    "-vf", "scale=out_color_matrix=bt709:out_range=tv:flags=accurate_rnd+full_chroma_int+bicubic,"
    "setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709:range=tv",
]  # fmt: skip


def orbit(frames: int) -> tuple[np.ndarray, np.ndarray]:
    """(yaw, pitch) parameters [frames] in radians of the published path: one ellipse that looks at the face's front."""
    turn = 2 * math.pi * np.arange(frames) / frames
    return 0.35 * np.sin(turn), -0.05 + 0.25 * np.cos(turn)


def read_camera_path(path: Path) -> dict:
    """A camera path: {"labels": [25 numbers each]} or {"cameras": [[yaw, pitch] each]}, one entry to a frame.

    And "fps", frames per second; what was published has none, and is shown with 60.
    Errors: ValueError, one line that names the file.
    """
    reason, fps = "", FPS
    try:
        content = read_json(Path(path), finite=False)
        fps = content.get("fps", FPS)
        kinds = [kind for kind in ("labels", "cameras") if kind in content]
        rows = torch.tensor(content[kinds[0]], dtype=torch.float64)
    except (AttributeError, IndexError, TypeError, ValueError, OverflowError) as error:
        rows, kinds = torch.zeros(0), ["?"]
        reason = f" ({error})" if isinstance(error, JsonError) else ""
    if rows.ndim != 2 or not len(rows) or rows.shape[1] != {"labels": 25, "cameras": 2}.get(kinds[0]):
        raise ValueError(f'{path}: is no camera path{reason}; it needs {{"labels": [[25 numbers], ...]}} or '
                         '{"cameras": [[yaw, pitch], ...]} (radians), one for each frame')  # fmt: skip
    if not rows.isfinite().all():
        raise ValueError(
            f"{path}: the camera of frame {int((~rows.isfinite()).any(dim=1).nonzero()[0, 0])} is not finite"
        )
    if kinds[0] == "labels":
        check_labels(rows, str(path), [f"frame {i}" for i in range(len(rows))])
    else:
        _check_radians(path, rows)
    if type(fps) not in (int, float) or not 1 <= fps <= MOST_FPS:
        raise ValueError(f"{path}: fps is {str(fps)[:40]!a}; frames per second are a number from 1 to {MOST_FPS}")
    return {kinds[0]: rows.tolist(), "fps": fps}


def _check_radians(path: Path, rows: torch.Tensor) -> None:
    """ValueError if [yaw, pitch] [N, 2] can only be degrees."""
    beyond = (rows.abs() > torch.tensor([MOST_TURNS * 2 * math.pi, math.pi])).any(dim=1)
    if beyond.any():
        frame = int(beyond.nonzero()[0, 0])
        yaw, pitch = rows[frame].tolist()
        raise ValueError(
            f"{path}: frame {frame} has yaw {yaw:g} and pitch {pitch:g}, as {int(beyond.sum())} of {len(rows)} frames "
            f"are beyond {MOST_TURNS} turns and pi; are they degrees? They must be radians: multiply all by pi/180"
        )


def angle_doubts(cameras: list[list[float]]) -> list[str]:
    """A line if [yaw, pitch] of a camera path, which `read_camera_path` took for radians, may well be degrees."""
    rows = torch.tensor(cameras, dtype=torch.float64).reshape(-1, 2)
    beyond = (rows.abs() > torch.tensor([2 * math.pi, math.pi / 2]) + 1e-3).any(dim=1)
    if not beyond.any():
        return []
    frame = int(beyond.nonzero()[0, 0])
    yaw, pitch = rows[frame].tolist()
    return [
        f"{int(beyond.sum())} of {len(rows)} frames are beyond one turn or the pole, the first is frame {frame} with "
        f"yaw {yaw:g} and pitch {pitch:g}; radians are expected: multiply degrees by pi/180"
    ]


def path_labels(path: dict | None, frames: int, G, fov_deg: float) -> torch.Tensor:
    """Labels [n, 25]: of a path that was read, n cameras as they are, or the orbit, n = frames, round G's pivot."""
    if path and "labels" in path:
        return torch.tensor(path["labels"])
    yaws, pitches = zip(*path["cameras"], strict=True) if path else orbit(frames)
    return camera_labels(torch.as_tensor(yaws), torch.as_tensor(pitches), G.orbit, fov_deg)


def write_camera_path(path: Path, labels: torch.Tensor, fps: float = FPS) -> None:
    """The cameras of a film as JSON, which `read_camera_path` takes; written atomically."""
    rows = [[round(x, 7) for x in row] for row in labels.tolist()]
    text = ",\n    ".join(json.dumps(row) for row in rows)
    atomic_write(path, f'{{\n  "fps": {fps:g},\n  "labels": [\n    {text}\n  ]\n}}\n'.encode())


@dataclass(frozen=True)
class Plan:
    """What a film shows: cells [H*W], row by row, of K keyframe seeds each."""

    name: str
    cells: list[list[int]]
    columns: int = 1

    @property
    def keyframes(self) -> int:
        return len(self.cells[0])

    def shape_stem(self, frame: int) -> str:
        """Where the shape of a frame goes; an orbit has one, named as gen_samples.py names it."""
        seeds = self.cells[0]
        return f"seed{seeds[0]:04d}" if len(seeds) == 1 else f"{self.name}_{seeds[0]}_{seeds[1]}/{frame:04d}_shape"


def plan_films(
    seeds: Sequence[int], grid: tuple[int, int] = (1, 1), num_keyframes: int | None = None, interpolate: bool = True
) -> list[Plan]:
    """One film of a grid (width, height), or an orbit of each seed; ValueError where the seeds do not fit."""
    width, height = grid
    if not interpolate:
        if grid != (1, 1) or num_keyframes not in (None, 1):
            raise ValueError("--interpolate=False makes one film of each seed; leave --grid and --num-keyframes out")
        return [Plan(str(seed), [[seed]]) for seed in seeds]
    if num_keyframes is None:
        if len(seeds) % (width * height):
            raise ValueError(
                f"--grid={width}x{height}: {len(seeds)} seeds cannot be shared out evenly to {width * height} cells; "
                f"give a multiple of {width * height} seeds, or --num-keyframes"
            )
        num_keyframes = len(seeds) // (width * height)
    numbers = np.arange(width * height * num_keyframes).reshape(-1, num_keyframes) % len(seeds)
    return [Plan("interpolation", [[seeds[i] for i in row] for row in numbers], width)]


def closed_curve(points: torch.Tensor) -> Callable[[float], torch.Tensor]:
    """The smooth closed curve through points [C, K, ...] at whole times: t -> [C, ...], period K.

    A periodic cubic spline; the published code came close to one by laying five rounds end to end.
    """
    k = points.shape[1]
    values = points.double().cpu().numpy()
    if k == 1:
        return lambda t: points[:, 0]
    spline = CubicSpline(np.arange(k + 1), np.concatenate([values, values[:, :1]], axis=1), axis=1, bc_type="periodic")
    return lambda t: torch.from_numpy(spline(t)).to(points)


def film(
    G, plan: Plan, labels: torch.Tensor, view: ViewOptions, image_mode: str = "image", side: int = SMALLEST_SIDE,
    at_once: int = 8, gaze: torch.Tensor | None = None,
) -> Iterator[np.ndarray]:  # fmt: skip
    """Frames uint8 [H, W, 3], one for each camera of labels [n, 25]; the latents go round once in that time.

    Args:
        side: each picture is enlarged to this.
        at_once: frames rendered together where the latents stand still, so that planes are computed once for them.
        gaze: [n, 2], rad in the head frame, of a generator whose gaze can be set; None: as it is aimed.
    """
    curve = latent_curve(G, plan, view)
    n, step = len(labels), at_once if plan.keyframes == 1 else 1
    for start in range(0, n, step):
        cameras = labels[start : start + step]
        asked = None if gaze is None or not is_aimed(G) else gaze[start : start + step]
        drawn = render_ws(G, curve(start / n * plan.keyframes), cameras, asked)
        if image_mode not in drawn:
            raise ValueError(f"--image_mode={image_mode}: a {type(G).__name__} draws none; use {', '.join(drawn)}")
        out = drawn[image_mode]
        check_finite(out, [f"frame {start}"] * len(out))
        pictures = to_uint8(grey(out) if image_mode == "image_depth" else out)
        pictures = pictures.reshape(len(plan.cells), len(cameras), *pictures.shape[1:])
        for frame in range(len(cameras)):
            yield tiles([enlarge(picture, side) for picture in pictures[:, frame]], plan.columns)


def latent_curve(G, plan: Plan, view: ViewOptions) -> Callable[[float], torch.Tensor]:
    """t in [0, K) -> ws [cells, num_ws, w_dim] of a film at that time, in keyframes."""
    seeds = [seed for cell in plan.cells for seed in cell]
    ws = ws_of_seeds(G, seeds, view)
    return closed_curve(ws.reshape(len(plan.cells), plan.keyframes, *ws.shape[1:]))


def write_shapes(folder: Path, G, plan: Plan, frames: int, view: ViewOptions, options: ShapeOptions) -> None:
    """The mesh or volume of each frame of a film; of an orbit, in which the head never changes, just one."""
    curve = latent_curve(G, plan, view)
    for i in range(frames if plan.keyframes > 1 else 1):
        ws = curve(i / frames * plan.keyframes)
        write_shape(folder / plan.shape_stem(i), G, ws, options, f"shape {i}")


def grey(depth: torch.Tensor) -> torch.Tensor:
    """Depth [N, 1, R, R] -> [N, 3, R, R] in [-1, 1], near is light; each picture spans the whole range."""
    near = -depth.float()
    low, high = near.amin(dim=(1, 2, 3), keepdim=True), near.amax(dim=(1, 2, 3), keepdim=True)
    return ((near - low) / (high - low).clamp_min(1e-8) * 2 - 1).expand(-1, 3, -1, -1)


def abreast(
    films: Sequence[Iterable[np.ndarray]], captions: Sequence[str], beside: bool = True
) -> Iterator[np.ndarray]:
    """The films of several networks in one, each under its caption, side by side or one below the other."""
    for frames in zip(*films, strict=True):
        panels = [stack([text_strip(frame.shape[1], CAPTION_HEIGHT, caption, 18, centred=True), frame])
                  for frame, caption in zip(frames, captions, strict=True)]  # fmt: skip
        if not beside:
            yield stack(panels)
            continue
        gap = np.full((panels[0].shape[0], GAP, 3), 255, dtype=np.uint8)
        yield side_by_side([part for panel in panels for part in (gap, panel)][1:])


def set_quality(G, sample_mult: float = 1, rendering_resolution: int | None = None):
    """G with more samples along each ray and more rays if asked for, and if it has rays; changes and returns G."""
    if hasattr(G, "options"):
        names = ("depth_resolution", "depth_resolution_importance")
        samples = {name: max(1, int(getattr(G.options, name) * sample_mult)) for name in names}
        drawing = getattr(G, "base", G)  # an eye field is rendered as its base says
        drawing.config = replace(drawing.config, rendering=replace(G.options, **samples))
    if rendering_resolution is not None:
        if not hasattr(G, "neural_rendering_resolution"):
            raise ValueError(f"--nrr={rendering_resolution}: a {type(G).__name__} has no rays; leave it out")
        G.neural_rendering_resolution = rendering_resolution
    return G


def require_ffmpeg():
    """The imageio_ffmpeg module; ValueError, one line that names the extra, where it or its program is missing."""
    try:
        import imageio_ffmpeg

        imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError):
        raise ValueError("films need ffmpeg; pip install 'gaze-corrected-eg3d[ffmpeg]'") from None
    return imageio_ffmpeg


def write_video(path: Path, frames: Iterable[np.ndarray], fps: float = FPS, progress: int | None = None) -> int:
    """uint8 [H, W, 3] each -> H.264 in mp4, -> how many. The file has its name only when it is whole.

    Args:
        progress: the number of frames, for a progress bar on stderr; None shows none.
    """
    ffmpeg, path = require_ffmpeg(), Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        unfinished, writer, count = Path(folder) / path.name, None, 0
        try:
            for frame in tqdm(frames, path.name, progress, unit="frame", disable=progress is None):
                height, width = (size + size % 2 for size in frame.shape[:2])  # H.264 wants even sizes
                frame = np.pad(frame, ((0, height - frame.shape[0]), (0, width - frame.shape[1]), (0, 0)), "edge")
                if writer is None:
                    writer = ffmpeg.write_frames(
                        str(unfinished), (width, height), fps=fps, codec="libx264", bitrate=BITRATE,
                        macro_block_size=2, ffmpeg_log_level="error", output_params=COLOURS,
                    )  # fmt: skip
                    writer.send(None)
                _send(writer, np.ascontiguousarray(frame), path)
                count += 1
        finally:
            if writer is not None:
                writer.close()
        if not unfinished.is_file():
            raise ValueError(f"{path}: there was no frame to write")
        os.replace(unfinished, path)
    return count


def _send(writer, frame: np.ndarray, path: Path) -> None:
    try:
        writer.send(frame)
    except OSError as error:  # its text is ffmpeg's whole log
        reason = next((line for line in reversed(str(error).splitlines()) if line.strip()), "it ended early")
        raise ValueError(f"{path}: ffmpeg could not write it: {reason.strip()}") from None
