"""Heads of an embedded world with a chosen gaze: what a gaze network reads at best, and how controlled eyes look."""

from collections.abc import Sequence

import numpy as np

from eg3d.world.worlds import world_of


def aimed_heads(
    people: Sequence[int], labels: np.ndarray, directions: np.ndarray, world: str = "cartoons", split: str = "test"
) -> np.ndarray:
    """Pictures uint8 [N, H, W, 3] of people by number, each from its camera with its gaze.

    Args: labels float [N, 25]; directions [N, 3], where the eyes look, in the world.
    """
    its = world_of(world)
    return np.stack([
        its.render(its.draw(split, int(number)), label, np.asarray(direction, np.float64), its.size).rgb
        for number, label, direction in zip(people, labels, directions, strict=True)
    ])  # fmt: skip
