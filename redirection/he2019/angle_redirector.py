"""He et al. 2019 as a redirector (`redirection.methods`). It cannot turn the head: P stays."""

from pathlib import Path

import torch

from groundwork.files import WORLD_WEIGHTS
from redirection.he2019.angle_file import read_generator, to_bytes, unit_angles
from redirection.he2019.angle_networks import AngleGenerator
from redirection.patch_sets import signed

EMBEDDED = WORLD_WEIGHTS / "people_he2019.safetensors"
CHUNK = 64


class AngleRedirector:
    """The protocol's `redirect` by a generator, which is left in the mode that it has."""

    name = "He et al."

    def __init__(self, generator: AngleGenerator, device):
        self.generator, self.device, self.size = generator.to(device), device, generator.architecture.size

    @torch.no_grad()
    def redirect(self, patches: torch.Tensor, shown: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        drawn = []
        for rows in torch.arange(len(patches)).split(CHUNK):
            x, angle = signed(patches[rows]), unit_angles(wanted[rows].float())
            drawn.append(to_bytes(self.generator(x.to(self.device), angle.to(self.device))).cpu())
        return torch.cat(drawn)


def open_he2019(weights: Path | None, device, references=None) -> AngleRedirector:
    """For `redirection.methods`; references are not needed. Errors: ValueError, one line."""
    return AngleRedirector(read_generator(weights or EMBEDDED)[0], device)
