"""The camera of EG3D's crops from FaceMesh: where a mean face must be seen from to look like the mesh.

The mesh's x, y and depth are taken for a view without perspective. A similarity takes the points of the mean face that
hardly move with expression to them. Its rotation gives the camera, whose place is that of the crop. The picture is read
mirrored too: what is wrong to one side in one reading is wrong to the other side in the other. Each reading is the mean
of three looks, from a square that is closer to the face, one that is farther, and MediaPipe's own.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from eg3d.faces.face_mesh import PRESENT, FaceMesh, MeshReading, square_of_mesh
from eg3d.faces.similarity import nearest_rotation, umeyama
from eg3d.faces.squares import Squares
from eg3d.geometry.face_cameras import face_labels

MEAN_FACE = Path(__file__).resolve().parent / "data" / "mean_mesh.npz"
DEPTH = 1.2  # FaceMesh's depth is too flat by that: found on heads of known cameras, and on photos
MORE_LOOKS = (1.3, 1.8)  # sides of their squares over that of the face's box; FaceMesh.find has one of 1.5
MOST_DISAGREEMENT_DEG = 6.0  # of the readings of a picture and its mirror image
# Regions of the mean face whose points move with expression and gaze; x to either side, decimetres: the others count.
MOUTH = ((0.0, 0.32), (-0.60, -0.22))  # |x|, y
EYES = ((0.12, 0.50), (0.15, 0.40))


class PoseReading(NamedTuple):
    """labels [N, 25] of the cameras; disagreement_deg [N], between the picture and its mirror image; presence [N].

    points: of the mesh of the plain picture, [N, 468, 3] in pixels. The least presence of both readings counts.
    """

    labels: torch.Tensor
    disagreement_deg: torch.Tensor
    presence: torch.Tensor
    points: torch.Tensor


class MeshPose:
    """Finished crops of EG3D's framing -> camera labels. For photos; the extra is `photos`.

    Attributes: name, landmarks: for reports; sha256 of the mesh network's weights.
    """

    landmarks = "FaceMesh, 468 points"
    sha256 = FaceMesh.sha256

    def __init__(self, device="cpu", mode: str = "orig"):
        """mode: of `face_labels`. ValueError, one line, if the package is not installed."""
        self.device, self._mesh, self._face = device, FaceMesh(device), MeanFace(device)
        self.mode = mode
        self.name = "FaceMesh and a mean face" + ("" if mode == "orig" else f" ({mode})")

    def prepare(self, picture, name: str) -> torch.Tensor:
        """A square picture (PIL, RGB) -> what `labels` stacks."""
        del name
        return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 127.5 - 1

    @torch.no_grad()
    def labels(self, batch: torch.Tensor) -> list[torch.Tensor | str]:
        """Crops [N, 3, S, S] in [-1, 1] -> per row a label [25], or the reason why there is none."""
        reading = self.read(batch.to(self.device))
        rows = zip(reading.labels.cpu(), reading.presence.tolist(), reading.disagreement_deg.tolist(), strict=True)
        return [_no_label(*row[1:]) or row[0] for row in rows]

    def read(self, crops: torch.Tensor) -> PoseReading:
        """Crops [N, 3, S, S] in [-1, 1]."""
        (plain, one), (mirrored, other) = (self._look(images) for images in (crops, crops.flip(3)))
        flip = torch.diag(one.new_tensor([-1, 1, 1]))
        other = flip @ other @ flip
        return PoseReading(
            labels=face_labels(camera_rotation(nearest_rotation(one + other)), mode=self.mode),
            disagreement_deg=angle_between(one, other).rad2deg(),
            presence=torch.minimum(plain.presence, mirrored.presence),
            points=plain.points,
        )

    def _look(self, crops: torch.Tensor) -> tuple[MeshReading, torch.Tensor]:
        """FaceMesh's reading of crops, and rotations [N, 3, 3] of the heads, the mean of all looks."""
        found = self._mesh.find(crops, framed_face(len(crops), crops.shape[-1], crops.device))
        looks = [found, *(self._mesh.read(crops, square_of_mesh(found.points, margin)) for margin in MORE_LOOKS)]
        return found, nearest_rotation(sum(self._face.rotation(look.points) for look in looks))


def _no_label(presence: float, disagreement_deg: float) -> str | None:
    if not presence >= PRESENT:
        return f"FaceMesh sees no face (presence {presence:.2f}, least {PRESENT})"
    if not disagreement_deg <= MOST_DISAGREEMENT_DEG:
        return (
            f"the picture and its mirror image give cameras {disagreement_deg:.1f} degrees apart "
            f"(most {MOST_DISAGREEMENT_DEG:g})"
        )
    return None


def upright(points: torch.Tensor) -> torch.Tensor:
    """Mesh points [..., 3] in pixels -> x right, y up, z toward the camera, as deep as a face is."""
    return points * points.new_tensor([1, -1, -DEPTH])


class MeanFace:
    """The mean mesh in the frame of the standard face, decimetres (made by make_mean_mesh.py).

    Attributes: points [468, 3], on the CPU; rigid: numbers of those outside the regions that move.
    """

    def __init__(self, device="cpu"):
        with np.load(MEAN_FACE) as file:
            self.points = torch.from_numpy(file["points"]).double()
        x, y = self.points[:, 0].abs(), self.points[:, 1]
        moves = [(x > a) & (x < b) & (y > c) & (y < d) for (a, b), (c, d) in (MOUTH, EYES)]
        self.rigid = (~(moves[0] | moves[1])).nonzero()[:, 0].tolist()
        self._held = self.points[self.rigid].to(device)

    def rotation(self, points: torch.Tensor) -> torch.Tensor:
        """Rotations [N, 3, 3] that turn the mean face as the mesh points [N, 468, 3] in pixels are seen."""
        return umeyama(self._held, upright(points[:, self.rigid].double())).rotation


def camera_rotation(head: torch.Tensor) -> torch.Tensor:
    """Rotations of a head seen by a camera (x right, y up, z back) -> cam2world rotations in OpenCV axes [N, 3, 3]."""
    return head.mT * head.new_tensor([1, -1, -1])


def angle_between(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Angle [N] in radians between rotations [N, 3, 3]; exact for small ones too."""
    return 2 * torch.asin(((a - b).flatten(1).norm(dim=1) / 8**0.5).clamp(max=1))


# Of EG3D's crops, as parts of their side: where FaceMesh looks first.
CROP_CENTRE, CROP_SIDE = (0.5, 0.52), 0.95


def framed_face(n: int, side: int, device) -> Squares:
    """Where the face lies in n crops of EG3D's framing; the network's second look places it better."""
    centre = torch.tensor(CROP_CENTRE, device=device).mul(side).expand(n, 2)
    return Squares(centre, torch.full((n,), CROP_SIDE * side, device=device), torch.zeros(n, device=device))
