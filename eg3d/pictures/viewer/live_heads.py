"""Networks that draw the view that is asked for, side by side; planes of heads are kept while the camera moves."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch

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


def nobody_else() -> None:
    """A pause in which nothing happens."""


@dataclass(frozen=True)
class Panel:
    """What one network draws: image uint8 [H, W, 3]; yaw and pitch that the gaze network reads, camera frame, rad."""

    image: np.ndarray
    eyes: tuple[float, float] | None = None


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
        self.pace, self.kept = Pace(self.rays if self.in_steps else None), Kept()
        self.plane_seconds = 0.0  # that exact planes have taken last
        self.round_seconds = 0.0  # of the last preview, but for drawing and reading: new eyes or planes, conversion
        self.read_seconds = self.owed = 0.0  # that reading took last; that it took more than previews had left over

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

    @torch.no_grad()
    def draw(
        self, view: View, effort: Effort, pause: Callable[[], None] = nobody_else, moving: bool = False
    ) -> dict[str, torch.Tensor]:
        """As `synthesis` gives it, `image` only if the effort has it; `seconds` without those of planes and pauses.

        moving: whether planes may be made roughly.
        """
        device = next(self.G.parameters()).device
        label = view.label(self.G.orbit).to(device)
        gaze = self.gaze(view, label)
        ws = self.kept.get(("ws", view.head), lambda: self.ws(view))
        draws = Midpoints()
        if not self.in_steps:
            begun = time.perf_counter()
            drawn = self.G.synthesis(ws, label, draws=draws, noise_mode="const")
            return drawn | {"seconds": time.perf_counter() - begun, "label": label}
        planes = self._planes(view, ws, gaze, pause, moving)
        pause()
        rays, begun = effort.rays or self.rays, time.perf_counter()
        with fewer_samples(self.G, effort.samples):
            features, depth = self.G.rendered(planes, label, rays, draws)
        seconds = time.perf_counter() - begun
        if effort.final:
            pause()
            begun = time.perf_counter()
            with pauses_between_blocks(self.G, pause) as others:
                drawn = self.G.picture(features, depth, ws, rays, draws)
            seconds += time.perf_counter() - begun - sum(others)
        else:
            drawn = {
                "image_raw": features[:, :3].unflatten(2, (rays, rays)),
                "image_depth": depth.reshape(1, 1, rays, rays),
            }
        return drawn | {"seconds": seconds, "label": label}

    def _planes(self, view: View, ws, gaze, pause, moving: bool):
        """Those that are kept, or new ones: exact ones, unless the picture moves and they take too long."""
        exact = not (moving and self.roughly and self.plane_seconds > FRAME_SECONDS)
        exact = exact or ("planes", view.head, True) in self.kept
        key, aim = ("planes", view.head, exact), {} if gaze is None else {"gaze": gaze}

        def made():
            begun = time.perf_counter()
            planes = self.G.planes(ws, noise_mode="const", draws=Midpoints(), **aim)
            if exact:
                self.plane_seconds = time.perf_counter() - begun - sum(others)
            return planes

        with nullcontext() if exact else self.roughly(), pauses_between_blocks(self.G, pause) as others:
            own = []  # not those that another has made in a pause of this: their eyes look elsewhere
            planes = self.kept.get(key, lambda: own.append(made()) or own[0])
            if gaze is None:
                return planes
            # These keep the eyes that they were made with; those of every gaze are kept by themselves.
            key = "eyes", view.head, exact, tuple(round(angle, 4) for angle in gaze[0].tolist())
            fresh = bool(own) and planes is own[0]
            eyes = self.kept.get(key, lambda: planes.eyes if fresh else self.G.with_gaze(planes, ws, gaze).eyes)
            return planes._replace(eyes=eyes)

    def panel(
        self, view: View, effort: Effort = FULL, pause: Callable[[], None] = nobody_else, read: bool = False,
        moving: bool = False,
    ) -> tuple[Panel, float]:  # fmt: skip
        """What `view.show` asks for, and the seconds that drawing took.

        read: whether the gaze network looks at the picture, the raw one if there is no other.
        """
        if view.show != "final" and effort.final and self.in_steps:
            rays = self.rays * SURFACE_RAYS if view.show in ("depth", "normals") else None
            effort = Effort(rays, effort.samples, final=False)
        drawn = self.draw(view, effort, pause, moving)
        picture = drawn.get("image", drawn.get("image_raw"))
        shown = {
            "final": lambda: picture,
            "raw": lambda: drawn.get("image_raw", picture),
            "depth": lambda: grey(drawn["image_depth"]),
            "normals": lambda: normals(drawn["image_depth"], drawn["label"]),
        }[view.show]
        if view.show in ("depth", "normals") and "image_depth" not in drawn:
            raise ValueError(f"{self.name}: draws no depth; show its final picture")
        image = shown()
        check_finite(image, [f"seed {view.seed}"])
        eyes = self._eyes(picture, drawn["label"]) if read and self.read_gaze else None
        return Panel(to_uint8(image)[0], eyes), drawn["seconds"]

    def _eyes(self, picture, label) -> tuple[float, float] | None:
        begun = time.perf_counter()
        yaw, pitch = (float(angle) for angle in self.read_gaze(picture, label))
        self.read_seconds = time.perf_counter() - begun
        return (yaw, pitch) if math.isfinite(yaw) and math.isfinite(pitch) else None

    def preview(self, view: View, asked: str, seconds: float, read: bool = False) -> Panel:
        """A panel that takes about so many seconds; asked: a name of EFFORTS, or auto.

        Eyes are read only once previews have left over the seconds that the last reading took, and only in pictures
        with super-resolution: in raw ones of half the samples embedded-judge is some 20 degrees off.
        """
        begun = time.perf_counter()
        name = self.pace.choose(seconds - self.round_seconds) if asked == "auto" else asked
        read = read and self.owed == 0 and EFFORTS[name].final
        with one_thread_less():
            panel, spent = self.panel(view, EFFORTS[name], read=read, moving=True)
        self._note(view, name, spent)
        took = time.perf_counter() - begun
        self.round_seconds = took - spent - (self.read_seconds if read else 0.0)
        self.owed = min(self.read_seconds, max(0.0, self.owed + took - seconds))
        return panel

    def full(self, view: View, pause: Callable[[], None], read: bool = False) -> Panel:
        """The whole picture; others may draw in the pauses."""
        panel, spent = self.panel(view, FULL, pause, read)
        self._note(view, "full", spent)
        return panel

    def _note(self, view: View, name: str, spent: float) -> None:
        if view.show == "final" or not EFFORTS[name].final:  # else there was no super-resolution
            self.pace.note(name, spent)


@contextmanager
def pauses_between_blocks(G, pause: Callable[[], None]) -> Iterator[list[float]]:
    """Inside, `pause` is called before each convolutional block: at 512 px all of them take a second or more.

    Gives a list, to which the seconds of each pause are added.
    """
    paused, spent = False, []

    def before(*_) -> None:
        nonlocal paused
        if not paused:  # what is drawn in a pause passes the same blocks
            paused, begun = True, time.perf_counter()
            try:
                pause()
            finally:
                paused = False
                spent.append(time.perf_counter() - begun)

    blocks = [] if pause is nobody_else else [module for module in G.modules() if hasattr(module, "use_fp16")]
    hooks = [block.register_forward_pre_hook(before) for block in blocks]
    try:
        yield spent
    finally:
        for hook in hooks:
            hook.remove()


def turned_gaze(gaze: torch.Tensor, label: torch.Tensor) -> tuple[float, float]:
    """A gaze [1, 2] in the head frame as the camera [1, 25] sees it: yaw and pitch, (0, 0) into the lens."""
    rotation = label[0, :16].reshape(4, 4)[:3, :3]
    x, y, z = (rotation.mT @ gaze_direction(gaze.to(label))[0]).tolist()
    return math.atan2(-x, -z), math.asin(max(-1.0, min(1.0, -y)))
