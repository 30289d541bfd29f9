"""DeepWarp's network with its configuration: our own file, and which part of a patch goes in.

The published box is 2 widths of the eye wide and 0.8 of that high. Patches are squares of some 1.7 widths. So the box
here is as wide as the square, and its middle 0.8 high; the eye looks a sixth larger in it. What lies above and below
stays. The square has the width of the box, so nothing is resampled.
"""

from pathlib import Path

import torch

from eg3d.metrics.network_file import load_configured, save_network
from redirection.deepwarp.gaze_warp import GazeWarp, WarpConfig
from redirection.tensorflow_checkpoint import is_checkpoint
from redirection.tensorflow_names import published_network

KIND = "gaze redirection by DeepWarp"


def box_rows(config: WarpConfig) -> slice:
    """The rows of a square patch, as wide as the box, that are the box."""
    top = (config.width - config.height) // 2
    return slice(top, top + config.height)


def angle_difference(shown: torch.Tensor, wanted: torch.Tensor, config: WarpConfig) -> torch.Tensor:
    """P, V, H [B, 3] in degrees, of the source and wanted -> what the network gets [B, 2]: (H, V), source - wanted."""
    return (shown - wanted)[:, [2, 1]] / config.unit_deg


def save_warp(path: Path, network: GazeWarp, facts: dict) -> None:
    """Atomically; matrices as float16."""
    save_network(path, KIND, network, facts)


def read_warp(path: Path) -> tuple[GazeWarp, dict]:
    """(network in evaluation mode, facts) of our file, or of a published checkpoint of TensorFlow.

    Errors: ValueError, one line.
    """
    if is_checkpoint(path):
        return published_network(WarpConfig().build, "deepwarp", path), {}
    network, stored = load_configured(path, KIND, WarpConfig)
    return network, stored.facts
