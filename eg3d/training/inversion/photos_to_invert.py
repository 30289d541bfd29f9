"""Photos that shall become heads: their pixels, their cameras, and where their eyes look."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from eg3d.geometry.cameras import make_label, split_label
from eg3d.models.eye_field import is_aimed
from groundwork.draws import Midpoints


@dataclass(frozen=True)
class Photos:
    """images [N, 3, S, S] in [-1, 1], of the generator's size; labels [N, 25]; gaze [N, 2], yaw and pitch in the head
    frame, rad, None for a generator whose gaze cannot be set; keys [N]: key every photo's draws."""

    images: torch.Tensor
    labels: torch.Tensor
    keys: Sequence[int]
    gaze: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.images)

    def one(self, row: int) -> "Photos":
        gaze = None if self.gaze is None else self.gaze[row : row + 1]
        return Photos(self.images[row : row + 1], self.labels[row : row + 1], self.keys[row : row + 1], gaze)

    def seen_from(self, labels: torch.Tensor) -> "Photos":
        """The same with other cameras."""
        return replace(self, labels=labels)


def draw(G, ws: torch.Tensor, labels: torch.Tensor, gaze: torch.Tensor | None = None) -> torch.Tensor:
    """Pictures [M, 3, S, S] of N latents from M = k N cameras, with gradients, as every script draws them."""
    extras = {"gaze": gaze} if gaze is not None and is_aimed(G) else {}
    return G.synthesis(ws, labels, draws=Midpoints(), noise_mode="const", **extras)["image"]


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
