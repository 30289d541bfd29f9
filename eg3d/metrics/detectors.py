"""Detectors: frozen networks that turn pictures, uint8 [N, 3, H, W] of any size, into features, float32 [N, F].

Generated and real pictures come as the same bytes and take the same way. One class serves all: what differs is the
network, which resizes for itself, and the hash of its weights, which every report names.
"""

import torch
from torch import nn

from eg3d.metrics.network_file import VERSION
from eg3d.metrics.world_features import load_feature_network


class Detector:
    """A network in evaluation mode, float32.

    Attributes: name; width: F; sha256 of the weights file; classifier [classes, F] where there is one, else None;
    note: what a reader of the report must know.
    """

    def __init__(
        self, name: str, network: nn.Module, width: int, sha256: str, device="cpu", classifier=None, note: str = ""
    ):
        self.name, self.width, self.sha256, self.note, self.classifier = name, width, sha256, note, classifier
        self.device = device
        self._network = network.to(device).eval().requires_grad_(False)

    @torch.no_grad()
    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """uint8 [N, 3, H, W] -> float32 [N, width] on the CPU."""
        assert images.dtype == torch.uint8 and images.shape[1] == 3, f"{images.dtype} {list(images.shape)}"
        if not len(images):
            return torch.empty(0, self.width)
        return self._network(images.to(self.device)).float().cpu()

    def facts(self) -> dict[str, str]:
        """For reports."""
        return {"name": self.name, "sha256": self.sha256} | ({"note": self.note} if self.note else {})


def load_world_features(device="cpu") -> Detector:
    """The embedded feature network."""
    network, digest = load_feature_network()
    note = "the embedded world's own network: no FID, comparable with nothing measured by Inception"
    return Detector(
        f"embedded-features-v{VERSION}", network, network.architecture.widths[-1], digest, device, note=note
    )
