"""Redirecting one patch: which reference leads to the angles that are wanted, by how much, and the steps on the way."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from redirection.attributes import ANGLES, Attributes
from redirection.interpgaze.control import control_vector
from redirection.interpgaze.redirector import InterpGaze, network_input, picture
from redirection.patch_sets import PatchSet

LEAST, FURTHEST = -0.25, 1.5  # of the way to a reference; what is beyond was never trained
LEAST_BETWEEN_DEG = 5.0
Angles = dict[str, float]


def nearest_reference(
    patches: PatchSet, attributes: Attributes, source: Angles, wanted: Angles
) -> tuple[int, torch.Tensor]:
    """(row, v [branches]): the patch of a set that leads from `source` to `wanted` with fractions nearest to 1.

    Errors: ValueError, one line, if no patch of the set does, or no branch moves an angle.
    """
    moving = {name: degrees for name, degrees in wanted.items() if degrees != source[name]}
    best: tuple[float, int, torch.Tensor] | None = None
    for row, angles in enumerate(patches.angles.tolist()):
        reference = dict(zip(ANGLES, angles, strict=True))
        if any(abs(reference[name] - source[name]) < LEAST_BETWEEN_DEG for name in moving):
            continue
        ways = [(degrees - source[name]) / (reference[name] - source[name]) for name, degrees in moving.items()]
        if any(not LEAST <= way <= FURTHEST for way in ways):
            continue
        others = sum(abs(reference[name] - source[name]) / 10 for name in ANGLES if name not in moving)
        cost = sum(abs(way - 1) for way in ways) + 0.2 * others
        if best is None or cost < best[0]:
            best = cost, row, control_vector(attributes, source, reference, moving)
    if best is None:
        raise ValueError(
            f"no reference leads to {written(wanted)} from {written(source)} degrees; give others (--references), or "
            "angles nearer to theirs"
        )
    return best[1:]


def written(angles: Angles) -> str:
    """`0P 10V -5H`."""
    return " ".join(f"{degrees:g}{name}" for name, degrees in angles.items())


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
