"""Photos that shall become heads: their pixels, their cameras, and where their eyes look."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from eg3d.geometry.cameras import make_label, split_label
from eg3d.models.eye_field import is_aimed
from groundwork.draws import Midpoints


@dataclass(frozen=True)
class Photos:
    """Photos of N heads, k of each, those of the first head first; of users' photos k is 1.

    images [N k, 3, S, S] in [-1, 1], of the generator's size; labels [N k, 25]; keys: N numbers that key the draws of
    every head; gaze [N, 2], yaw and pitch in the head frame, rad, None for a generator whose gaze cannot be set.
    """

    images: torch.Tensor
    labels: torch.Tensor
    keys: Sequence[int]
    gaze: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def views(self) -> int:
        """k."""
        return len(self.images) // len(self.keys)

    def one(self, head: int) -> "Photos":
        """Those of one head."""
        rows = slice(head * self.views, (head + 1) * self.views)
        gaze = None if self.gaze is None else self.gaze[head : head + 1]
        return Photos(self.images[rows], self.labels[rows], self.keys[head : head + 1], gaze)


def draw(G, ws: torch.Tensor, labels: torch.Tensor, gaze: torch.Tensor | None = None) -> torch.Tensor:
    """Pictures [N k, 3, S, S]; otherwise as `drawn`."""
    return drawn(G, ws, labels, gaze)["image"]


def drawn(G, ws: torch.Tensor, labels: torch.Tensor, gaze: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
    """What `synthesis` gives of N latents from N k cameras, with gradients, as every script draws them.

    gaze: [N, 2] of each latent, or [N k, 2] of each picture; None: none can be set.
    """
    extras = {}
    if gaze is not None and is_aimed(G):
        extras["gaze"] = gaze.repeat_interleave(len(labels) // len(gaze), dim=0)
    return G.synthesis(ws, labels, draws=Midpoints(), noise_mode="const", **extras)


def moved(labels: torch.Tensor, motion: torch.Tensor) -> torch.Tensor:
    """Cameras [N, 25] turned round the world's origin by motion[:, :3] (axis times angle, rad) and shifted by the rest.

    motion: [N, 6]. Intrinsics stay.
    """
    pose, intrinsics = split_label(labels)
    x, y, z = motion[:, :3].unbind(dim=1)
    nought = torch.zeros_like(x)
    cross = torch.stack([nought, -z, y, z, nought, -x, -y, x, nought], dim=1).reshape(-1, 3, 3)
    turn = torch.linalg.matrix_exp(cross)
    place = turn @ pose[:, :3, 3:] + motion[:, 3:, None]
    upper = torch.cat([turn @ pose[:, :3, :3], place], dim=2)
    return make_label(torch.cat([upper, pose[:, 3:]], dim=1), intrinsics)
