"""MediaPipe's Iris network: the contour of each eye and its iris, from the eye's corners in the face mesh.

The corners of the eye are level in the square round it, which is 2.3 times as wide as the eye, as MediaPipe's
description of its iris pipeline says. The network also looks at a larger one, for the mean of both is steadier. It
knows eyes at the image's left; the other eye is shown to it mirrored.
"""

from typing import NamedTuple

import torch

from eg3d.faces.face_mesh import EYE_CORNERS
from eg3d.faces.packaged import IRIS
from eg3d.faces.squares import Squares, cut, placed, round_points
from eg3d.faces.tflite_network import load_tflite

CONTOUR = 71
OUTER, INNER = 0, 8  # corners of the eye in the contour
MARGINS = (2.3, 2.7)
CENTRE, RIGHT, TOP, LEFT, BOTTOM = range(5)  # of an iris; right is at the nose's side


class Irises(NamedTuple):
    """Both eyes, that at the image's left first, in pixels: contour [N, 2, 71, 3], iris [N, 2, 5, 3]."""

    contour: torch.Tensor
    iris: torch.Tensor


class IrisFinder:
    """The network. Attributes: sha256 of its weights."""

    sha256 = IRIS.sha256

    def __init__(self, device="cpu"):
        """ValueError, one line, if the package is not installed."""
        self._network = load_tflite(IRIS, device)

    def read(self, images: torch.Tensor, mesh: torch.Tensor) -> Irises:
        """Images [N, 3, H, W] in [-1, 1] and their mesh points [N, 468, 3] in pixels."""
        looks = [self._look(images, mesh, margin) for margin in MARGINS]
        return Irises(*(torch.stack(points).mean(dim=0) for points in zip(*looks, strict=True)))

    def _look(self, images: torch.Tensor, mesh: torch.Tensor, margin: float) -> Irises:
        side, n = self._network.side, len(images)
        left, right = (_square(mesh, corners, margin) for corners in (EYE_CORNERS[0], EYE_CORNERS[1][::-1]))
        eyes = torch.cat([cut(images, left, side), cut(images, right, side).flip(3)])
        contour, iris = (points.reshape(2 * n, -1, 3) / side for points in self._network((eyes + 1) / 2))
        return Irises(*(_both(points, left, right) for points in (contour, iris)))


def _square(mesh: torch.Tensor, corners: tuple[int, int], margin: float) -> Squares:
    """corners: the one at the image's left first."""
    ends = mesh[:, list(corners), :2].detach()
    return round_points(ends, *ends.unbind(dim=1), margin)


def _both(points: torch.Tensor, left: Squares, right: Squares) -> torch.Tensor:
    """Points [2 N, K, 3] as fractions, of all left eyes and then of all right ones, mirrored -> [N, 2, K, 3] px."""
    of_left, of_right = points.chunk(2)
    of_right = torch.cat([1 - of_right[..., :1], of_right[..., 1:]], dim=2)
    return torch.stack([placed(of_left, left), placed(of_right, right)], dim=1)
