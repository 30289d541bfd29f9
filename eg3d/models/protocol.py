"""What the rest of the repository asks of networks; scores, pictures and the gaze term need only `Generator`.

Another architecture than EG3D's needs the names of `Generator` and no base class. If it is trained here, its
configuration is a `NetworkConfig`. docs/contributing.md lists the files that a new generator touches.
"""

from collections.abc import Iterator
from operator import attrgetter
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


class NetworkConfig:
    """What a training run asks of a network's configuration, a frozen dataclass of plain values.

    A subclass says what its network has; the network lacks what is left out. A generator's configuration also has a
    field `resolution`, the pixels per side of its pictures.

    To be trained, a generator is a torch.nn.Module with the names of `Generator`, and draws `image_raw` too, of
    --neural_rendering_resolution_initial pixels per side. These are asked for by name, and may be missing:
    `neural_rendering_resolution`, rays per side, an attribute and an argument of `synthesis`; `mapping_network`, which
    keeps the mean latent; `sample_mixed` for --density_reg; `kept_depth` for --gaze-mask; `early_layers` for
    --freeze-g; and ws of rows, [N, rows, w_dim], for --style_mixing_prob.
    """

    # Flag of train.py, by its name in Python -> the field that it sets, joined by dots.
    FLAGS = {}

    def by_flag(self, flag: str):
        """What a flag of train.py sets; None if this network has nothing of the kind."""
        return attrgetter(self.FLAGS[flag])(self) if flag in self.FLAGS else None

    @property
    def finest_layer(self) -> int:
        """Pixels per side of the finest layer of a generator that --cbase gives channels to."""
        return 0

    @property
    def painted_rays(self) -> int | None:
        """Rays per side at which `legacy_raw` of a generator's `synthesis` makes a difference; None: at no number."""
        return None

    @property
    def freezable_blocks(self) -> int:
        """How many blocks of a generator --freeze-g can freeze."""
        return 0

    def freezable_layers(self, resolution: int) -> int:
        """How many layers of a discriminator for such pictures --freezed can freeze."""
        return 0
