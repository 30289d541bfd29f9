"""The generator of He et al. 2019 with its configuration: our own file, and how patches and degrees go in."""

from dataclasses import dataclass
from pathlib import Path

import torch

from eg3d.metrics.network_file import load_configured, save_network
from groundwork.plain import check_one_of, check_types, check_within
from redirection.he2019.angle_networks import RESIDUALS, UNITS_DEG, WIDTH, AngleGenerator
from redirection.tensorflow_checkpoint import is_checkpoint
from redirection.tensorflow_names import published_network

KIND, SIZES = "gaze redirection by He et al.", (32, 64)


@dataclass(frozen=True, kw_only=True)
class AngleConfig:
    """The published ones. size: side of a patch, pixels. width: channels of the first layer."""

    size: int = 64
    width: int = WIDTH
    residuals: int = RESIDUALS

    def __post_init__(self):
        check_types(self)
        check_one_of("size", self.size, SIZES)
        check_within("width", self.width, 1, 1024)
        check_within("residuals", self.residuals, 1, 64)

    def build(self) -> AngleGenerator:
        generator = AngleGenerator(self.width, self.residuals)
        generator.architecture = self
        return generator


def unit_angles(degrees: torch.Tensor) -> torch.Tensor:
    """P, V, H in degrees [B, 3] that a patch shows -> (H / 15, V / 10) [B, 2]."""
    return degrees[:, [2, 1]] / degrees.new_tensor(UNITS_DEG)


def to_bytes(x: torch.Tensor) -> torch.Tensor:
    """[-1, 1] -> uint8, rounded."""
    return ((x + 1) * 127.5).round().clamp(0, 255).byte()


def save_generator(path: Path, generator: AngleGenerator, facts: dict) -> None:
    """Atomically; matrices as float16."""
    save_network(path, KIND, generator, facts)


def read_generator(path: Path) -> tuple[AngleGenerator, dict]:
    """(generator in evaluation mode, facts) of our file, or of a published checkpoint of TensorFlow.

    Errors: ValueError, one line.
    """
    if is_checkpoint(path):
        return published_network(AngleConfig().build, "generator", path), {}
    network, stored = load_configured(path, KIND, AngleConfig)
    return network, stored.facts
