"""The pictures that calc_gaze_control.py looks at: every gaze of a grid, from some cameras, beside the base's own."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from eg3d.metrics.gaze_control import GAZE_GRID, ControlReport, control_report, read_in_head
from eg3d.metrics.identity import IdentityReport, IdentityTally
from eg3d.models.eye_field import EyeField
from eg3d.pictures.views import GFAS_CAMERAS, ViewOptions, Views, camera_labels, check_finite, render_ws, ws_of_seeds
from groundwork.draws import Midpoints


@dataclass
class Looked:
    """What was found in the pictures of a few heads; all rows are gaze by gaze, head by head, camera by camera."""

    wanted: np.ndarray  # [n, 2]
    read: np.ndarray  # [n, 2]
    head: np.ndarray  # [n]
    camera: np.ndarray  # [n]
    changed: list[float]  # share of pixels that differ from the base's picture, of each picture
    outside: float  # largest change where nothing may change, of [-1, 1]
    similarity: dict = field(default_factory=dict)  # of identity, by a number for each picture


@torch.no_grad()
def look(G: EyeField, seeds: Sequence[int], judge, identity, view: ViewOptions, crop: str = "none") -> Looked:
    """Draws heads with every gaze of GAZE_GRID from GFAS_CAMERAS, and compares them with the base's pictures.

    Args: judge, a gaze network; identity, (network, landmarks) as IdentityTally takes them, or None.
    """
    device = next(G.parameters()).device
    labels = camera_labels(*zip(*GFAS_CAMERAS, strict=True), G.orbit, view.fov_deg).to(device)
    n, k = len(seeds), len(labels)
    ws, cameras = ws_of_seeds(G, seeds, view), labels.repeat(n, 1)
    plain = render_ws(G.base, ws, labels)["image"]
    may = G.may_differ(ws, cameras, noise_mode="const", draws=Midpoints())
    head, camera = np.repeat(np.array(seeds), k), np.tile(np.arange(k), n)
    tally, found = identity and IdentityTally(*identity), []
    for number, gaze in enumerate(GAZE_GRID):
        asked = torch.tensor(gaze, device=device).expand(n * k, 2)
        image = G.synthesis(ws, cameras, draws=Midpoints(), noise_mode="const", gaze=asked)["image"]
        check_finite(image, [f"seed {seed}" for seed in head])
        change = (image - plain).abs().amax(dim=1, keepdim=True)
        alike = {}
        if tally is not None:
            names = [number + len(GAZE_GRID) * (int(seed) * k + int(c)) for seed, c in zip(head, camera, strict=True)]
            alike = tally.read(pairs(plain, image, cameras, names))
        read = read_in_head(image, cameras, judge, crop).cpu().numpy()
        found.append(
            Looked(
                np.tile(gaze, (n * k, 1)), read, head, camera, (change > 0).float().mean(dim=(1, 2, 3)).tolist(),
                float((change * ~may).max()), alike,
            )
        )  # fmt: skip
    return together(found)


def pairs(first: torch.Tensor, second: torch.Tensor, labels: torch.Tensor, names: list[int]) -> Views:
    """Two pictures of each head, side by side, as `IdentityTally.read` takes them: rows of images [N, 3, H, W]."""
    images = torch.stack([first, second], dim=1).flatten(0, 1)
    return Views(images, labels.repeat_interleave(2, dim=0), [n for n in names for _ in (0, 1)], [0, 1] * len(names))


def together(parts: Sequence[Looked]) -> Looked:
    """Several of them as one."""
    arrays = {name: np.concatenate([getattr(p, name) for p in parts]) for name in ("wanted", "read", "head", "camera")}
    return Looked(
        **arrays,
        changed=[share for p in parts for share in p.changed],
        outside=max(p.outside for p in parts),
        similarity={name: value for p in parts for name, value in p.similarity.items()},
    )


def reports(found: Looked, identity=None) -> tuple[ControlReport, IdentityReport | None]:
    """Of the gaze, and of identity if it was measured."""
    report = control_report(found.wanted, found.read, found.head, found.camera)
    if identity is None:
        return report, None
    tally = IdentityTally(*identity)
    tally.take(found.similarity)
    return report, tally.report()
