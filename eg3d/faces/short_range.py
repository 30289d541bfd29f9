"""MediaPipe's BlazeFace of short range: the face of a picture in which it is large, for pictures of unknown framing.

The network looks at the whole picture at 128 px. It has 896 anchors: two at each place of a grid of 16 x 16, and six at
each of 8 x 8. An anchor has a score, a box and six points relative to its place; the first two are the eyes,
that at the image's left first.
"""

from typing import NamedTuple

import torch

from eg3d.faces.face_mesh import MARGIN
from eg3d.faces.packaged import SHORT_RANGE
from eg3d.faces.squares import Squares, cut, placed
from eg3d.faces.tflite_network import load_tflite

GRIDS = ((16, 2), (8, 6))  # places per side, anchors at each
FOUND = 0.5  # least score of a face, as in MediaPipe


class Found(NamedTuple):
    """The best face of each picture: square [N] for FaceMesh, score [N], 0 to 1."""

    squares: Squares
    score: torch.Tensor


class ShortRange:
    """The network. Attributes: sha256 of its weights."""

    sha256 = SHORT_RANGE.sha256

    def __init__(self, device="cpu"):
        """ValueError, one line, if the package is not installed."""
        self._network, self._anchors = load_tflite(SHORT_RANGE, device), anchors().to(device)

    @torch.no_grad()
    def find(self, images: torch.Tensor) -> Found:
        """Images [N, 3, H, W] in [-1, 1]; what is not square gets black borders."""
        n, _, height, width = images.shape
        whole = images.new_tensor([max(height, width)], dtype=torch.float32).expand(n)
        centre = images.new_tensor([width / 2, height / 2], dtype=torch.float32).expand(n, 2)
        picture = Squares(centre, whole, torch.zeros_like(whole))
        numbers, scores = self._network(cut(images, picture, self._network.side))
        best = scores[..., 0].argmax(dim=1)
        rows = torch.arange(n, device=images.device)
        # Eight pairs: the box's centre, its size, six points. Sizes are parts of the picture, the rest are offsets.
        pairs = numbers[rows, best].unflatten(1, (8, 2)) / self._network.side
        places = placed(pairs[:, [0, 2, 3]] + self._anchors[best][:, None], picture)
        centre, left, right = places.unbind(dim=1)
        along = right - left
        side = MARGIN * whole * pairs[:, 1].amax(dim=1)
        return Found(Squares(centre, side, torch.atan2(along[:, 1], along[:, 0])), scores[rows, best, 0].sigmoid())


def anchors() -> torch.Tensor:
    """The places [896, 2] of the anchors as fractions of the picture: row by row, all of one place together."""
    parts = []
    for places, count in GRIDS:
        middles = (torch.arange(places) + 0.5) / places
        grid = torch.stack(torch.meshgrid(middles, middles, indexing="xy"), dim=-1).reshape(-1, 1, 2)
        parts.append(grid.expand(-1, count, 2).reshape(-1, 2))
    return torch.cat(parts)
