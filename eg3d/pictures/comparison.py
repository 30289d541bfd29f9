"""Two generators on the same heads: pictures side by side, the subjects of a report, a sheet and a turning film."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from eg3d.metrics.gfas import GazeTally, GfasReport
from eg3d.pictures.layout import (
    before_after_sheet,
    enlarge,
    side_by_side,
    stack,
    to_uint8,
    turning_frames,
    write_gif,
    write_png,
)
from eg3d.pictures.report import TURN_CAMERAS, Subject, shown_seeds, turns_of
from eg3d.pictures.views import GFAS_CAMERAS, ViewOptions, render_views

SHEET_HEADS, TURN_HEADS = 4, 6
SHEET_YAWS, TURN_YAWS = (0.5, 0.25, 0.0, -0.25, -0.5), [0.5 - i / 16 for i in range(17)]


class Comparison:
    """Two generators, and how their heads are drawn, shown to a gaze network and called."""

    def __init__(self, generators, names: Sequence[str], gaze_network, crop: str, view: ViewOptions, batch: int):
        """names: short ones, for pictures; batch: seeds rendered at a time."""
        self.generators, self.names = generators, names
        self._gaze_network, self._crop, self._drawn = gaze_network, crop, {"view": view, "batch_size": batch}

    def write_pictures(self, seeds: Sequence[int], folder: Path) -> list[GfasReport]:
        """seed0000_compare_0.png to _2.png of each seed, and compare.png of the first; the scores of each generator.

        Every view is rendered once.
        """
        tallies, first = [GazeTally(self._gaze_network, self._crop) for _ in self.generators], []
        films = [
            render_views(G, seeds, progress=name, **self._drawn)
            for G, name in zip(self.generators, self.names, strict=True)
        ]
        for pair in zip(*films, strict=True):
            for tally, views in zip(tallies, pair, strict=True):
                tally.add(views)
            for (seed, left), (_, right) in zip(*(views.by_seed() for views in pair), strict=True):
                for i, both in enumerate(zip(to_uint8(left), to_uint8(right), strict=True)):
                    write_png(folder / f"seed{seed:04d}_compare_{i}.png", side_by_side(both))
                first += [(left, right)][: SHEET_HEADS - len(first)]
        found = [tally.report() for tally in tallies]
        captions = [f"{name}: slope of the eyes {result.slope:.2f}   (0: they follow the camera, 1: the face)"
                    for name, result in zip(self.names, found, strict=True)]  # fmt: skip
        sheet = before_after_sheet(*zip(*first, strict=True), captions, [yaw for yaw, _ in GFAS_CAMERAS])
        write_png(folder / "compare.png", sheet)
        return found

    def subjects(self, scores: Sequence[GfasReport], measured: Sequence[dict], count: int) -> list[Subject]:
        """What a report shows of each generator: `count` heads to turn, besides its scores.

        measured: other scores, as `report.measured_of` gives them.
        """
        shown = shown_seeds(scores, count)
        turns = [
            turns_of(render_views(G, shown, TURN_CAMERAS, progress="report", **self._drawn), self._gaze_network,
                     self._crop)
            for G in self.generators
        ]  # fmt: skip
        return [Subject(*parts) for parts in zip(self.names, scores, turns, measured, strict=True)]


def write_before_after(folder: Path, generators, seeds: Sequence[int], slopes: Sequence[float]) -> None:
    """The first heads before and after a correction: heads.png (two), compare.png (four) and turn.gif (six).

    slopes: of the eyes, before and after; captions of compare.png and turn.gif name them.
    """
    notes = ("slope 0: eyes follow the camera", "slope 1: eyes follow the face")
    captions = [f"{when}: slope of the eyes {slope:.2f}   ({note})"
                for when, slope, note in zip(("before", "after"), slopes, notes, strict=True)]  # fmt: skip
    sheets = [_turned(G, seeds[:SHEET_HEADS], SHEET_YAWS, "compare.png") for G in generators]
    films = [_turned(G, seeds[:TURN_HEADS], TURN_YAWS, "turn.gif") for G in generators]
    write_png(folder / "heads.png", two_heads(*sheets))
    write_png(folder / "compare.png", before_after_sheet(*sheets, captions, SHEET_YAWS))
    write_gif(folder / "turn.gif", turning_frames(films, captions))


def two_heads(before: Sequence[torch.Tensor], after: Sequence[torch.Tensor], side: int = 128) -> np.ndarray:
    """The first two heads from the first, the middle and the last camera, `before` above `after`: [2 side, 6 side, 3].

    before, after: images [k, 3, H, W] of each head.
    """
    rows = []
    for heads in (before, after):
        views = [image for head in heads[:2] for image in to_uint8(head[[0, len(head) // 2, -1]])]
        rows.append(side_by_side([enlarge(view, side) for view in views]))
    return stack(rows)


def _turned(G, seeds: Sequence[int], yaws: Sequence[float], title: str) -> list:
    """Images [len(yaws), 3, H, W] of each seed."""
    views = render_views(G, seeds, [(yaw, -0.1) for yaw in yaws], batch_size=2, progress=title)
    return [images for batch in views for _, images in batch.by_seed()]
