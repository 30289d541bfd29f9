"""How unlike two pictures look: by maps of a network that has learnt to see, and by pixels."""

from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F

from eg3d.metrics.vgg import load_vgg_network
from eg3d.metrics.world_features import load_feature_network

MOST_SIDE = 256  # larger pictures are brought to this before a network sees them, as StyleGAN2's projector does


class PictureDistance:
    """Squared distance of unit feature vectors, mean over places, summed over maps; and the mean square of pixels.

    The first part is LPIPS (Zhang et al. 2018, eq. 1) with all channels alike: its learned weights are in no file that
    is at hand here.
    Attributes: sha256 of the network's file; pixels, the weight of their part.
    """

    def __init__(self, maps: Callable, sha256: str, pixels: float = 5.0):
        """maps: pictures [N, 3, H, W] in [-1, 1] -> a list of maps [N, C, h, w]."""
        self.sha256, self.pixels, self._maps = sha256, pixels, maps

    def __call__(self, images: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
        """Both [N, 3, H, W] in [-1, 1] -> [N], 0 for the same pictures."""
        images, others = images.float(), others.float()
        total = self.pixels * (images - others).square().mean(dim=(1, 2, 3))
        for a, b in zip(self._seen(images), self._seen(others), strict=True):
            total = total + (_unit(a) - _unit(b)).square().sum(dim=1).mean(dim=(1, 2))
        return total

    def _seen(self, images: torch.Tensor) -> list[torch.Tensor]:
        if images.shape[-1] > MOST_SIDE:
            images = F.interpolate(images, (MOST_SIDE, MOST_SIDE), mode="bilinear", antialias=True)
        return self._maps(images)


def _unit(maps: torch.Tensor) -> torch.Tensor:
    """Maps [N, C, h, w], each place a vector of length 1."""
    return maps * (maps.square().sum(dim=1, keepdim=True) + 1e-10).rsqrt()


def load_distance(vgg_weights: str | None = None, device="cpu") -> PictureDistance:
    """By torchvision's VGG16 from the user's file, or by the embedded feature network. ValueError: another file."""
    network, sha256 = load_vgg_network(Path(vgg_weights)) if vgg_weights else load_feature_network()
    return PictureDistance(network.to(device).eval().requires_grad_(False).maps, sha256)
