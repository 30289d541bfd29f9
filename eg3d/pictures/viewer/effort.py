"""How much work a picture may be: as much as the time between two frames allows, or as the user says."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch

FRAME_SECONDS = 0.04  # for all that the server does for a picture of a drag; with the browser's work 15 frames a second
FAR_TOO_LONG = 4  # times the time allowed: what has taken that long once is not tried a second time


@dataclass(frozen=True)
class Effort:
    """Rays per side (None: the network's own), share of their samples, and whether super-resolution follows."""

    rays: int | None = None
    samples: float = 1.0
    final: bool = True


FULL = Effort()
# From most to least; the names are what a client may ask for.
EFFORTS = {
    "full": FULL,
    "raw": Effort(samples=0.5, final=False),
    "raw-64": Effort(rays=64, samples=0.5, final=False),
    "raw-48": Effort(rays=48, samples=0.34, final=False),
    "raw-32": Effort(rays=32, samples=0.25, final=False),
}


class Pace:
    """Chooses the effort of previews of one network from how long pictures have taken.

    A machine that is busier now than before is so for all efforts: they are assumed to have kept their proportions.
    """

    def __init__(self, rays: int | None):
        smaller = [name for name, effort in EFFORTS.items() if effort.rays is None or effort.rays < (rays or 0)]
        self.names = smaller if rays else ["full"]
        self.seconds: dict[str, float] = {}
        self._once: set[str] = set()  # measured once, maybe by a first picture, which is slow

    def choose(self, seconds: float = FRAME_SECONDS) -> str:
        """The most effort that takes no longer than this; what was never tried is."""

        def fits(name: str) -> bool:
            return self.seconds.get(name, 0.0) <= seconds * (FAR_TOO_LONG if name in self._once else 1)

        return next(filter(fits, self.names), self.names[-1])

    def note(self, name: str, seconds: float) -> None:
        """How long a picture with this effort has taken."""
        before = self.seconds.get(name)
        if before is None or name in self._once:
            self.seconds[name] = seconds
            (self._once.add if before is None else self._once.remove)(name)
            return
        busier = (max(seconds, before) + seconds) / (2 * before)
        self.seconds = {other: value * busier for other, value in self.seconds.items()}


@contextmanager
def one_thread_less() -> Iterator[None]:
    """Inside, PyTorch leaves a core to the browser: with it on one of two, each layer waits for the slower thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads - 1))
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def fewer_samples(G, share: float) -> Iterator[None]:
    """Inside, rays of the generator have this share of their samples. Only one thread may draw with it meanwhile."""
    if share == 1 or not hasattr(G, "options"):
        yield
        return
    drawing = getattr(G, "base", G)  # an eye field is rendered as its base says
    before, own = drawing.config, G.options
    fewer = {
        name: max(4, round(getattr(own, name) * share)) if getattr(own, name) else 0
        for name in ("depth_resolution", "depth_resolution_importance")
    }
    drawing.config = replace(before, rendering=replace(own, **fewer))
    try:
        yield
    finally:
        drawing.config = before
