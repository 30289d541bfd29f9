"""Pictures of every pair of unseen people who face the camera, in the published layout.

eval/targets, eval/genes and eval/reals hold the true picture, the drawn one and the source of each pair under one name,
<batch>_<index>_<degrees between the gazes>_H<h>_V<v>.jpg with the target's angles.
"""

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from groundwork.files import atomic_write
from redirection.gaze_pairs import GazePairs
from redirection.he2019.angle_networks import AngleGenerator
from redirection.he2019.angle_redirector import AngleRedirector
from redirection.he2019.cycle_losses import angular_error_deg
from redirection.patch_sets import PatchSet

EVAL, QUALITY = "eval", 95


def write_pairs(folder: Path, generator: AngleGenerator, unseen: PatchSet, device, batch: int, stretch: bool) -> int:
    """Writes the pictures; returns how many pairs there are. P = 0, and two different patches.

    stretch: as published, every picture from its own minimum to its own maximum, so that brightness differs.
    Errors: ValueError, one line, for a folder that exists, or a set without such pairs.
    """
    if folder.exists():
        raise ValueError(f"{folder}: exists already; remove it, or rename it")
    facing = unseen.subset(torch.nonzero(unseen.angles[:, 0] == 0)[:, 0])
    if not len(facing):
        raise ValueError("no unseen patch has P = 0, which eval draws; give a set with such head poses")
    pairs = GazePairs(facing)
    sources, targets = pairs.pairs(torch.arange(len(pairs)))
    sources, targets = sources[sources != targets], targets[sources != targets]
    draw = AngleRedirector(generator, device).redirect
    for number, rows in enumerate(torch.arange(len(sources)).split(batch)):
        source, target = sources[rows], targets[rows]
        x, shown, wanted = facing.images[source], facing.angles[source], facing.angles[target]
        apart = angular_error_deg(shown[:, [2, 1]], wanted[:, [2, 1]])
        drawn = {"targets": facing.images[target], "genes": draw(x, shown, wanted), "reals": x}
        for k, (degrees, angles) in enumerate(zip(apart.tolist(), wanted.tolist(), strict=True)):
            name = f"{number}_{k}_{degrees:.3f}_H{angles[2]:g}_V{angles[1]:g}.jpg"
            for part, pictures in drawn.items():
                atomic_write(folder / part / name, _jpeg(pictures[k].permute(1, 2, 0).numpy(), stretch))
    return len(sources)


def _jpeg(picture: np.ndarray, stretch: bool) -> bytes:
    if stretch:
        least, most = int(picture.min()), int(picture.max())
        picture = ((picture.astype(np.float32) - least) * (255 / max(most - least, 1))).round().astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()
