"""DeepWarp as a redirector (`redirection.methods`). It cannot turn the head: P stays."""

from pathlib import Path

import torch

from groundwork.files import WORLD_WEIGHTS
from redirection.deepwarp.gaze_warp import GazeWarp
from redirection.deepwarp.warp_file import angle_difference, box_rows, read_warp

EMBEDDED = WORLD_WEIGHTS / "people_deepwarp.safetensors"
CHUNK = 64


class WarpRedirector:
    """The protocol's `redirect` by a warp, which is left in the mode that it has."""

    name = "DeepWarp"

    def __init__(self, network: GazeWarp, device):
        self.network, self.device, self.config = network.to(device), device, network.architecture
        self.size = self.config.width

    @torch.no_grad()
    def redirect(self, patches: torch.Tensor, shown: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        drawn, rows = patches.clone(), box_rows(self.config)
        for part in torch.arange(len(patches)).split(CHUNK):
            x = patches[part][:, :, rows].float().to(self.device) / 255
            difference = angle_difference(shown[part].float(), wanted[part].float(), self.config)
            output = self.network(x, difference.to(self.device)).output
            drawn[part, :, rows] = (output * 255).round().clamp(0, 255).byte().cpu()
        return drawn


def open_deepwarp(weights: Path | None, device, references=None) -> WarpRedirector:
    """For `redirection.methods`; references are not needed. Errors: ValueError, one line."""
    return WarpRedirector(read_warp(weights or EMBEDDED)[0], device)
