"""Redirecting one patch: the steps on the way, and what a reference makes of it."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from redirection.attributes import ANGLES, Attributes
from redirection.interpgaze.redirector import InterpGaze, network_input, picture


def way_to(v: torch.Tensor, steps: int, order: Sequence[int] = ()) -> torch.Tensor:
    """Controls [steps, branches] from 0 to v [branches]: all branches at once, or first those in `order`, in turn."""
    if steps == 1:
        return v[None]
    stages = [[k] for k in order]
    stages.append([k for k in range(len(v)) if k not in order])
    stages = [stage for stage in stages if any(v[k] != 0 for k in stage)] or [list(range(len(v)))]
    at = torch.linspace(0, len(stages), steps)
    controls = torch.zeros(steps, len(v))
    for number, stage in enumerate(stages):
        controls[:, stage] = (at - number).clamp(0, 1)[:, None] * v[stage]
    return controls


def looks_between(
    shown: torch.Tensor, wanted: torch.Tensor, attributes: Attributes, steps: int, order: Sequence[int] = ()
) -> torch.Tensor:
    """P, V, H in degrees [steps, 3] on the way from shown to wanted [3], in the order of `way_to`."""
    branches = [attributes.branch_of(name) for name in ANGLES]
    moving = [(a, branch) for a, branch in enumerate(branches) if branch is not None and wanted[a] != shown[a]]
    v = torch.zeros(attributes.branches)
    v[[branch for _, branch in moving]] = 1
    share, looks = way_to(v, steps, order), shown.repeat(steps, 1)
    for a, branch in moving:
        looks[:, a] = torch.lerp(shown[a], wanted[a], share[:, branch])
    return looks


@torch.no_grad()
def moved(
    redirector: InterpGaze, source: np.ndarray, reference: np.ndarray, controls: torch.Tensor, device
) -> tuple[np.ndarray, np.ndarray]:
    """(reconstruction [S, S, 3], patches [steps, S, S, 3]), uint8, at the size of the networks.

    Args: source, reference: uint8 [s, s, 3], of any size
    """
    both = [torch.from_numpy(x.copy()).permute(2, 0, 1)[None] for x in (source, reference)]
    x, r = (network_input(patch, redirector.config).to(device) for patch in both)
    of_x, of_r = redirector.encoder(x), redirector.encoder(r)
    drawn = [
        redirector.draw(x, of_x, redirector.controller(of_x, of_r, v.to(device)[None]))
        for v in [torch.zeros(controls.shape[1]), *controls]
    ]
    pictures = picture(torch.cat(drawn), redirector.config)
    first, *others = (pictures * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    return first, np.stack(others)


def resized(patch: np.ndarray, size: int) -> np.ndarray:
    """uint8 [S, S, 3] -> [size, size, 3]."""
    if patch.shape[0] == size:
        return patch
    return np.asarray(Image.fromarray(patch).resize((size, size), Image.Resampling.BICUBIC))
