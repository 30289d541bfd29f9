"""Where the eyes of a head look: yaw and pitch in the head frame, directions in the world, and what a user asks for.

The head frame's angles are those that a gaze network reads in a picture from the front (eg3d/gaze/term.py):

    h = (-cos p sin y, sin p, cos p cos y)

so (0, 0) looks along the face, +z; positive yaw looks toward the left edge of a frontal picture, positive pitch up.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from eg3d.geometry.cameras import split_label


def gaze_direction(gaze: torch.Tensor) -> torch.Tensor:
    """Yaw and pitch [..., 2], rad -> unit world direction [..., 3]."""
    yaw, pitch = gaze.unbind(dim=-1)
    return torch.stack([-pitch.cos() * yaw.sin(), pitch.sin(), pitch.cos() * yaw.cos()], dim=-1)


def gaze_along(direction: torch.Tensor) -> torch.Tensor:
    """World direction [..., 3] of any length -> yaw and pitch [..., 2], rad; inverse of `gaze_direction`."""
    x, y, z = F.normalize(direction, dim=-1).unbind(dim=-1)
    return torch.stack([torch.atan2(-x, z), y.clamp(-1, 1).asin()], dim=-1)


def gaze_into_camera(labels: torch.Tensor) -> torch.Tensor:
    """Cameras [N, 25] -> the gaze [N, 2] against their optical axes: a network reads (0, 0) in such pictures."""
    return gaze_along(-split_label(labels)[0][:, :3, 2])


@dataclass(frozen=True)
class Aim:
    """What a user asks of the eyes: a fixed direction in the head frame, rad, or eye contact with every camera."""

    yaw: float = 0.0
    pitch: float = 0.0
    camera: bool = False

    def gaze(self, labels: torch.Tensor) -> torch.Tensor:
        """The wanted gaze [N, 2] in pictures from cameras [N, 25]."""
        if self.camera:
            return gaze_into_camera(labels)
        return labels.new_tensor([self.yaw, self.pitch]).expand(len(labels), 2)


FACE, CAMERA = Aim(), Aim(camera=True)
