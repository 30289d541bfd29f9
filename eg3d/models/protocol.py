"""What the rest of the repository asks of a generator: scores, pictures and the gaze term need nothing else.

Another architecture than EG3D's needs these names and no base class. docs/contributing.md lists the files that a new
generator touches.
"""

from collections.abc import Iterator
from typing import Protocol

import torch

from eg3d.geometry.cameras import Orbit


class Generator(Protocol):
    """Latent and camera -> picture.

    A camera is a label [N, 25], see eg3d/geometry/cameras.py. World axes: +y up, +z out of the face.
    """

    z_dim: int
    orbit: Orbit  # where the cameras stand that pictures and scores choose

    @property
    def resolution(self) -> int:
        """Pixels per side of `image`."""

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        """As of torch.nn.Module; the first one tells the device."""

    def mapping(self, z, c, truncation_psi: float = 1.0, truncation_cutoff: int | None = None) -> torch.Tensor:
        """z [N, z_dim], conditioning cameras c [N, 25] -> ws [N, ...].

        Truncation pulls the first `truncation_cutoff` rows of ws (None: all) toward the mean latent by 1 - psi.
        """

    def synthesis(self, ws, c, *, draws=None, noise_mode: str = "random") -> dict[str, torch.Tensor]:
        """Pictures of N latents from M = k N rendering cameras c [M, 25], those of the first latent first.

        Args:
            draws: source of all randomness (groundwork/draws.py); None: PyTorch's global generator.
            noise_mode: `random`, `const` or `none`; a generator without noise ignores it.
        Returns: a dict with `image` [M, 3, H, W] in [-1, 1]. Extras have names: `image_depth` [M, 1, R, R], the
            distance along the rays, which --gaze-mask and films of depth ask for; `image_raw` [M, 3, R, R], the picture
            before super-resolution, which the dual discriminator asks for.
        """
