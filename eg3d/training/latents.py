"""What the phases of a training step work on: latents to generate from, images of the data set, with their cameras."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Fakes:
    """Latents of a batch to generate: z [N, z_dim]; rendered and conditioning cameras [N, 25]."""

    z: torch.Tensor
    cameras: torch.Tensor
    conditioning: torch.Tensor
    u_mix: torch.Tensor  # [N, 2]
    z_mix: torch.Tensor | None
    samples: range  # indices in the global batch

    def part(self, rows: slice) -> "Fakes":
        """A micro-batch of it."""
        mix = None if self.z_mix is None else self.z_mix[rows]
        return Fakes(
            self.z[rows], self.cameras[rows], self.conditioning[rows], self.u_mix[rows], mix, self.samples[rows]
        )


@dataclass(frozen=True)
class Reals:
    """Images [N, 3, H, W] in [-1, 1] of the data set and their cameras [N, 25]."""

    images: torch.Tensor
    cameras: torch.Tensor
    samples: range

    def part(self, rows: slice) -> "Reals":
        """A micro-batch of it."""
        return Reals(self.images[rows], self.cameras[rows], self.samples[rows])
