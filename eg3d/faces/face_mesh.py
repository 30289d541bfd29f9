"""MediaPipe's FaceMesh: 468 points of a face, with depth, from a square round it.

The square is 1.5 times as large as the box of the face, and its eyes are level, as MediaPipe's description of its face
pipeline says. The box is that of the 468 points themselves: from a first square, which may be rough, the network finds
points, and these give the square of the next round.
"""

from typing import NamedTuple

import torch

from eg3d.faces.packaged import FACE_MESH
from eg3d.faces.squares import Squares, cut, placed, round_points
from eg3d.faces.tflite_network import load_tflite

POINTS = 468
ROUNDS = 2
MARGIN = 1.5
PRESENT = 0.5  # presence from which on there is a face, as in MediaPipe
# Corners of the eyes, outer and inner, at the image's left and at its right; the tip of the nose; corners of the mouth.
EYE_CORNERS = ((33, 133), (263, 362))
NOSE, MOUTH = 4, (61, 291)


class MeshReading(NamedTuple):
    """points [N, 468, 3] in pixels (z from the middle of the head, negative toward the camera); presence [N], 0..1."""

    points: torch.Tensor
    presence: torch.Tensor


def eyes_of(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mesh points [N, 468, D] -> the middles [N, D] of the eyes at the image's left and right."""
    left, right = (points[:, list(pair)].mean(dim=1) for pair in EYE_CORNERS)
    return left, right


def five_of(points: torch.Tensor) -> torch.Tensor:
    """Mesh points [N, 468, D] -> five points [N, 5, D] in the order of `eg3d.geometry.landmarks`."""
    return torch.stack([*eyes_of(points), points[:, NOSE], points[:, MOUTH[0]], points[:, MOUTH[1]]], dim=1)


class FaceMesh:
    """The network. Attributes: sha256 of its weights."""

    sha256 = FACE_MESH.sha256

    def __init__(self, device="cpu"):
        """ValueError, one line, if the package is not installed."""
        self._network = load_tflite(FACE_MESH, device)

    def read(self, images: torch.Tensor, squares: Squares) -> MeshReading:
        """One look at images [N, 3, H, W] in [-1, 1]."""
        side = self._network.side
        points, presence = self._network((cut(images, squares, side) + 1) / 2)
        return MeshReading(placed(points.reshape(-1, POINTS, 3) / side, squares), presence.flatten().sigmoid())

    def find(self, images: torch.Tensor, squares: Squares, rounds: int = ROUNDS) -> MeshReading:
        """As `read`, from a square that may be rough: each further round looks at what the last one found."""
        reading = self.read(images, squares)
        for _ in range(rounds - 1):
            reading = self.read(images, square_of_mesh(reading.points))
        return reading


def square_of_mesh(points: torch.Tensor, margin: float = MARGIN) -> Squares:
    """Where FaceMesh is to look for the face whose points [N, 468, 3] these are."""
    flat = points[..., :2].detach()  # a place to look at has no gradient
    return round_points(flat, *eyes_of(flat), margin)
