"""`iris`: gaze by geometry from the irises, a judge for photos and pictures as real as photos (docs/photos.md).

It is independent of L2CS-Net and its training data. It only scores, and what it says has limits; see LIMITS.
"""

import hashlib

import torch

from eg3d.faces.face_mesh import PRESENT, FaceMesh
from eg3d.faces.iris_gaze import gaze_directions
from eg3d.faces.irises import IrisFinder
from eg3d.faces.mesh_pose import MeanFace
from eg3d.faces.short_range import FOUND, ShortRange
from l2cs.estimator import GazeAngles

LEAST_SIDE = 96  # px of a picture: a face of EG3D's framing then has 27 px between its eyes
# Of photos with eye contact, 200 rendered people and 200 cartoons: the table in docs/photos.md.
LIMITS = (
    "good for yaw near the lens, 3 to 4 degrees off on photos with eye contact; slope 0.83 on rendered people, 0.48 on "
    "cartoons; not for pitch"
)
BRIEFLY = "yaw near the lens only"  # where a footnote has no place: in rows of a table that a program reads


class IrisGaze:
    """A `GazeNetwork` that only scores; NaN for a picture in which it finds no face."""

    differentiable = False
    input_size = 512  # px: what is larger may be made smaller before it comes here
    facts = {"name": "iris", "limits": LIMITS, "limits_briefly": BRIEFLY}
    sha256 = hashlib.sha256("".join(one.sha256 for one in (ShortRange, FaceMesh, IrisFinder)).encode()).hexdigest()

    def __init__(self, device="cpu"):
        self._find, self._mesh, self._irises = (kind(device) for kind in (ShortRange, FaceMesh, IrisFinder))
        self._face = MeanFace(device)

    @torch.no_grad()
    def __call__(self, images: torch.Tensor) -> GazeAngles:
        """Images [N, 3, H, W] in [-1, 1], one face each -> angles [N]; ValueError for pictures that are too small."""
        if min(images.shape[2:]) < LEAST_SIDE:
            size = "x".join(map(str, images.shape[:1:-1]))
            raise ValueError(
                f"gaze network iris: pictures of {size} px are too small for irises; give such of {LEAST_SIDE} px or "
                "more, or another network (embedded, people, L2CS-Net's weights)"
            )
        images = images.float()
        found = self._find.find(images)
        mesh = self._mesh.find(images, found.squares)
        head = self._face.rotation(mesh.points)
        x, y, z = gaze_directions(self._irises.read(images, mesh.points), head).unbind(dim=1)
        none = (found.score < FOUND) | ~(mesh.presence >= PRESENT)
        return GazeAngles(*(a.float().masked_fill(none, torch.nan) for a in (torch.atan2(-x, z), torch.asin(y))))


def load_iris_gaze(name, device="cpu") -> IrisGaze:
    """The row `iris` of the gaze networks; ValueError, one line, if its package is not installed."""
    del name
    return IrisGaze(device)
