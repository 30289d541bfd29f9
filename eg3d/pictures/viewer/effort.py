"""How much work a picture may be: as much as the time between two frames allows, or as the user says."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch

FRAME_SECONDS = 0.04  # for all that the server does for a picture of a drag; with the browser's work 15 frames a second
FAR_TOO_LONG = 4  # times the time allowed: what has taken that long once is not tried a second time
UNNOTICED = 0.25  # of the time that new planes took: a preview that adds no more may have it, however late it is


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
    """The time of one network's previews: how much effort each may be, and in which the eyes are read.

    A machine that is busier now than before is so for all efforts: they are assumed to have kept their proportions.
    """

    def __init__(self):
        self.seconds: dict[Effort, float] = {}
        self._once: set[Effort] = set()  # measured once, maybe by a first picture, which is slow
        self.reading = self.owed = 0.0  # seconds of the last reading; of it, those that previews have not yet left over

    def choose(self, efforts: Sequence[Effort], seconds: float, gone: float = 0.0) -> Effort:
        """The first of these efforts, from most to least, that takes no longer than is left; what was never tried does.

        gone: of the seconds, what it took to make planes and eyes.
        """
        left = max(seconds - gone, gone * UNNOTICED)

        def fits(effort: Effort) -> bool:
            return self.seconds.get(effort, 0.0) <= left * (FAR_TOO_LONG if effort in self._once else 1)

        return next(filter(fits, efforts), efforts[-1])

    def may_read(self, effort: Effort) -> bool:
        """Only with all samples: in raw pictures of half of them embedded-judge is some 20 degrees off."""
        return self.owed == 0 and effort.samples == 1

    def note(self, effort: Effort, seconds: float) -> None:
        """How long a picture with this effort has taken, without planes, eyes and reading."""
        before = self.seconds.get(effort)
        if before is None or effort in self._once:
            self.seconds[effort] = seconds
            (self._once.add if before is None else self._once.remove)(effort)
            return
        busier = (max(seconds, before) + seconds) / (2 * before)
        self.seconds = {other: value * busier for other, value in self.seconds.items()}

    def settle(self, late: float) -> None:
        """After a preview that took so many seconds more than it might; less, if negative: it pays for a reading."""
        self.owed = min(self.reading, max(0.0, self.owed + late))


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
