"""Networks that draw the view that is asked for, side by side; planes of heads are kept while the camera moves."""

import io
import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from eg3d.geometry.head_gaze import gaze_direction
from eg3d.models.eye_field import is_aimed
from eg3d.pictures.layout import to_uint8
from eg3d.pictures.video import grey
from eg3d.pictures.viewer.effort import EFFORTS, FRAME_SECONDS, FULL, Effort, Pace, fewer_samples, one_thread_less
from eg3d.pictures.viewer.kept_heads import Kept
from eg3d.pictures.viewer.surface_normals import normals
from eg3d.pictures.viewer.wanted_view import ROWS, View
from eg3d.pictures.views import ViewOptions, check_finite, ws_of_seeds
from groundwork.draws import Midpoints

SURFACE_RAYS = 2  # times the network's own, per side, for depth and normals at rest: nothing sharpens them afterwards
EYES_Y, EYES_Z = 0.07, 0.25  # about where the eyes are if a network does not say: of a face in the FFHQ crop
LOSSLESS_SIDE = 160  # pictures up to this are sent as they are; larger ones while they move as JPEG


class Pauses:
    """Lets others draw, and has a clock that stands still meanwhile. Without `pause` there are no others."""

    def __init__(self, pause: Callable[[], None] | None = None):
        self._pause, self._others, self._inside = pause, 0.0, False

    def clock(self) -> float:
        """In seconds."""
        return time.perf_counter() - self._others

    def __call__(self, *_) -> None:
        if self._pause is None or self._inside:  # what is drawn in a pause passes the same blocks
            return
        self._inside, begun = True, time.perf_counter()
        try:
            self._pause()
        finally:
            self._inside = False
            self._others += time.perf_counter() - begun

    @contextmanager
    def between_blocks(self, G) -> Iterator[None]:
        """Inside there is one before each convolutional block: at 512 px all of them take a second or more."""
        blocks = [module for module in G.modules() if hasattr(module, "use_fp16")] if self._pause else []
        hooks = [block.register_forward_pre_hook(self) for block in blocks]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


class Scene(NamedTuple):
    """A view, its camera [1, 25] and ws, and planes with the eyes that it asks for; None if one call draws it all."""

    view: View
    label: torch.Tensor
    ws: torch.Tensor
    planes: tuple | torch.Tensor | None


@dataclass(frozen=True)
class Panel:
    """What one network draws: image uint8 [H, W, 3]; yaw and pitch that the gaze network reads, camera frame, rad.

    file: of a preview, the image as it is sent.
    """

    image: np.ndarray
    eyes: tuple[float, float] | None = None
    file: bytes | None = None


class LiveHead:
    """One network. Only one thread may draw with it at a time.

    Args:
        read_gaze: images [N, 3, H, W] in [-1, 1], cameras [N, 25] -> yaw, pitch [N] in the camera frame; None: no one.
        roughly: a context in which planes of `G` are made faster, and less exactly: for previews of new heads, if the
            exact ones take longer than a frame. None: there is none.
    """

    def __init__(
        self, name: str, G, read_gaze: Callable | None = None,
        roughly: Callable[[], AbstractContextManager] | None = None,
    ):  # fmt: skip
        self.name, self.G, self.read_gaze, self.roughly = name, G, read_gaze, roughly
        self.in_steps = hasattr(G, "rendered") and hasattr(G, "picture")  # else one call draws it all
        self.rays = getattr(G, "neural_rendering_resolution", None)
        self.pace, self.kept = Pace(), Kept()
        self.plane_seconds = 0.0  # that exact planes have taken last

    @property
    def aimed(self) -> bool:
        return is_aimed(self.G)

    def facts(self) -> dict:
        """For the page."""
        return {"name": self.name, "resolution": self.G.resolution, "rays": self.rays, "aimed": self.aimed,
                "solid": hasattr(self.G, "query") and hasattr(self.G, "options")}  # fmt: skip

    def ws(self, view: View) -> torch.Tensor:
        """ws [1, rows, w_dim] of a head, or of a mixture of two."""
        seeds = [view.seed, view.other] if view.blend else [view.seed]
        ws = ws_of_seeds(self.G, seeds, ViewOptions(psi=view.psi))
        if not view.blend:
            return ws
        first, second = ws[:1], ws[1:]
        if ws.ndim == 3:  # only a latent of rows can be mixed by rows
            start, stop = (round(share * ws.shape[1]) for share in ROWS[view.rows])
            mixed = first.clone()
            mixed[:, start:stop] = torch.lerp(first[:, start:stop], second[:, start:stop], view.blend)
            return mixed
        return torch.lerp(first, second, view.blend)

    def gaze(self, view: View, label: torch.Tensor) -> torch.Tensor | None:
        """The wanted gaze [1, 2], head frame, rad; None if it cannot be set."""
        if not self.aimed:
            return None
        return view.gaze_in(label.cpu(), (0.0, self.G.config.eye_y, EYES_Z)).to(label)

    def efforts(self, show: str, asked: str) -> list[Effort]:
        """What a picture may be, from most to least; asked: a name of EFFORTS, or auto."""
        if not self.in_steps:
            return [FULL]
        named = [EFFORTS[asked]] if asked != "auto" else [e for e in EFFORTS.values() if (e.rays or 0) < self.rays]
        if show == "final":
            return named
        most = Effort(self.rays * SURFACE_RAYS if show in ("depth", "normals") else None, final=False)
        return [most if effort.final else effort for effort in named]

    @torch.no_grad()
    def _scene(self, view: View, pause: Pauses, moving: bool = False) -> Scene:
        """moving: whether planes may be made roughly."""
        label = view.label(self.G.orbit).to(next(self.G.parameters()).device)
        gaze = self.gaze(view, label)
        ws = self.kept.get(("ws", view.head), lambda: self.ws(view))
        return Scene(view, label, ws, self._planes(view, ws, gaze, pause, moving) if self.in_steps else None)

    @torch.no_grad()
    def _draw(self, scene: Scene, effort: Effort, pause: Pauses) -> dict[str, torch.Tensor]:
        """As `synthesis` gives it; `image` only if the effort has it."""
        _, label, ws, planes = scene
        draws = Midpoints()
        if not self.in_steps:
            return self.G.synthesis(ws, label, draws=draws, noise_mode="const")
        pause()
        rays = effort.rays or self.rays
        with fewer_samples(self.G, effort.samples):
            features, depth = self.G.rendered(planes, label, rays, draws)
        if effort.final:
            pause()
            with pause.between_blocks(self.G):
                return self.G.picture(features, depth, ws, rays, draws)
        raw, depth = features[:, :3].unflatten(2, (rays, rays)), depth.reshape(1, 1, rays, rays)
        return {"image_raw": raw, "image_depth": depth}

    def _planes(self, view: View, ws, gaze, pause: Pauses, moving: bool):
        """Those that are kept, or new ones: exact ones, unless the picture moves and they take too long."""
        exact = not (moving and self.roughly and self.plane_seconds > FRAME_SECONDS)
        exact = exact or ("planes", view.head, True) in self.kept
        key, aim = ("planes", view.head, exact), {} if gaze is None else {"gaze": gaze}

        def made():
            begun = pause.clock()
            planes = self.G.planes(ws, noise_mode="const", draws=Midpoints(), **aim)
            if exact:
                self.plane_seconds = pause.clock() - begun
            return planes

        with nullcontext() if exact else self.roughly(), pause.between_blocks(self.G):
            own = []  # not those that another has made in a pause of this: their eyes look elsewhere
            planes = self.kept.get(key, lambda: own.append(made()) or own[0])
            if gaze is None:
                return planes
            # These keep the eyes that they were made with; those of every gaze are kept by themselves.
            key = "eyes", view.head, exact, tuple(round(angle, 4) for angle in gaze[0].tolist())
            fresh = bool(own) and planes is own[0]
            eyes = self.kept.get(key, lambda: planes.eyes if fresh else self.G.with_gaze(planes, ws, gaze).eyes)
            return planes._replace(eyes=eyes)

    def _panel(self, scene: Scene, effort: Effort, pause: Pauses, read: bool, moving: bool = False) -> Panel:
        """What the view shows; read: whether the gaze network looks at it, at the raw picture if there is no other."""
        view, begun = scene.view, pause.clock()
        drawn = self._draw(scene, effort, pause)
        picture = drawn.get("image", drawn.get("image_raw"))
        shown = {
            "final": lambda: picture,
            "raw": lambda: drawn.get("image_raw", picture),
            "depth": lambda: grey(drawn["image_depth"]),
            "normals": lambda: normals(drawn["image_depth"], scene.label),
        }[view.show]
        if view.show in ("depth", "normals") and "image_depth" not in drawn:
            raise ValueError(f"{self.name}: draws no depth; show its final picture")
        check_finite(image := shown(), [f"seed {view.seed}"])
        image = to_uint8(image)[0]
        file = packed(image, moving) if moving else None
        self.pace.note(effort, pause.clock() - begun)
        return Panel(image, self._eyes(picture, scene.label) if read and self.read_gaze else None, file)

    def _eyes(self, picture, label) -> tuple[float, float] | None:
        begun = time.perf_counter()
        yaw, pitch = (float(angle) for angle in self.read_gaze(picture, label))
        self.pace.reading = time.perf_counter() - begun
        return (yaw, pitch) if math.isfinite(yaw) and math.isfinite(pitch) else None

    def preview(self, view: View, asked: str, seconds: float, read: bool = False) -> Panel:
        """A panel that takes about so many seconds, packed; asked: a name of EFFORTS, or auto; read: if time allows."""
        begun, alone = time.perf_counter(), Pauses()
        with one_thread_less():
            scene = self._scene(view, alone, moving=True)
            effort = self.pace.choose(self.efforts(view.show, asked), seconds, time.perf_counter() - begun)
            panel = self._panel(scene, effort, alone, read and self.pace.may_read(effort), moving=True)
        self.pace.settle(time.perf_counter() - begun - seconds)
        return panel

    def full(self, view: View, pause: Callable[[], None], read: bool = False) -> Panel:
        """The whole picture; others may draw in the pauses."""
        pauses = Pauses(pause)
        return self._panel(self._scene(view, pauses), *self.efforts(view.show, "full"), pauses, read)


def packed(image: np.ndarray, moving: bool) -> bytes:
    """A picture uint8 [H, W, 3] as PNG, or a large one that is soon followed by another as JPEG."""
    buffer = io.BytesIO()
    if moving and image.shape[0] > LOSSLESS_SIDE:
        Image.fromarray(image).save(buffer, "JPEG", quality=90, subsampling=0)
    else:
        Image.fromarray(image).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def turned_gaze(gaze: torch.Tensor, label: torch.Tensor) -> tuple[float, float]:
    """A gaze [1, 2] in the head frame as the camera [1, 25] sees it: yaw and pitch, (0, 0) into the lens."""
    rotation = label[0, :16].reshape(4, 4)[:3, :3]
    x, y, z = (rotation.mT @ gaze_direction(gaze.to(label))[0]).tolist()
    return math.atan2(-x, -z), math.asin(max(-1.0, min(1.0, -y)))
