"""Cameras: poses, intrinsics and the 25-number label.

World axes: +y up, +z out of the face, +x toward the subject's left (image right in a frontal view).
Camera axes follow OpenCV: +x image right, +y image down, +z forward; `cam2world` maps camera to world.

            +y                        camera in front of the face, on +z, looking to -z
             |    face                        z (forward)
             |   /                     camera o---> x (image right)
             o------ +x                       |
            /                                 v y (image down)
          +z (out of the face)

A label is 16 numbers of `cam2world`, row-major, then 9 of the intrinsics, row-major, normalised by the image size
(principal point about 0.5). Angles are radians; `yaw` and `pitch` *parameters* are those of EG3D's look-at sampler,
whose vertical parameter is not linear in elevation (see `lookat_pose`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from groundwork.plain import check_above_zero, check_types

FFHQ_RADIUS = 2.7
FFHQ_PIVOT = (0.0, 0.0, 0.2)
FFHQ_FOCAL = 2985.29 / 700  # 4.2647: the focal length in every published FFHQ label
FFHQ_FOV_DEG = 18.837  # what the published tools pass to fov_to_intrinsics; gives 4.2634
LABEL_DIM = 25


@dataclass(frozen=True, kw_only=True)
class Orbit:
    """Where the cameras of a generator stand: on a sphere round the world origin, looking at the pivot."""

    pivot: tuple[float, float, float]
    radius: float

    def __post_init__(self):
        check_types(self)
        check_above_zero("radius", self.radius)


FFHQ_ORBIT = Orbit(pivot=FFHQ_PIVOT, radius=FFHQ_RADIUS)


def intrinsics_matrix(focal: float) -> torch.Tensor:
    """Normalised pinhole matrix [3, 3] with square pixels and a centred principal point."""
    return torch.tensor([[focal, 0.0, 0.5], [0.0, focal, 0.5], [0.0, 0.0, 1.0]])


def fov_to_intrinsics(fov_deg: float) -> torch.Tensor:
    """Normalised intrinsics [3, 3] of a field of view in degrees.

    With the published constants (3.14159 and 1.414) the angle is in effect the *diagonal* field of view;
    they are kept because published pictures were drawn with them: 18.837 degrees give 4.26339.
    """
    return intrinsics_matrix(1.0 / (math.tan(fov_deg * 3.14159 / 360) * 1.414))


def focal_to_fov(focal: float) -> float:
    """The field of view in degrees that `fov_to_intrinsics` turns into this focal length."""
    return math.atan(1 / (focal * 1.414)) * 360 / 3.14159


def lookat_pose(yaw, pitch, pivot=FFHQ_PIVOT, radius: float = FFHQ_RADIUS) -> torch.Tensor:
    """Cameras on a sphere round the world origin that look at `pivot`: cam2world [N, 4, 4].

    Args:
        yaw: [N] or float, horizontal offset from the frontal view; positive moves the camera toward +x.
        pitch: [N] or float, EG3D's vertical parameter; *negative* moves the camera up. The polar angle is
            acos(-2 pitch / pi), so -0.2 is a true elevation of only 0.1277 rad; published tools and labels rely on it.
        pivot: the point looked at. The orbit stays centred on the origin.
    """
    yaw, pitch = torch.broadcast_tensors(*(torch.as_tensor(a, dtype=torch.float64).reshape(-1) for a in (yaw, pitch)))
    vertical = (pitch + math.pi / 2).clamp(1e-5, math.pi - 1e-5)
    polar = torch.acos(1 - 2 * vertical / math.pi)
    azimuth = math.pi / 2 - yaw  # of the position: pi minus the sampler's horizontal angle
    origin = radius * torch.stack([polar.sin() * azimuth.cos(), polar.cos(), polar.sin() * azimuth.sin()], dim=-1)
    forward = torch.nn.functional.normalize(torch.as_tensor(pivot, dtype=torch.float64) - origin, dim=-1)
    up = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64).expand_as(forward)
    right = -torch.nn.functional.normalize(torch.linalg.cross(up, forward, dim=-1), dim=-1)
    down = torch.nn.functional.normalize(torch.linalg.cross(forward, right, dim=-1), dim=-1)
    pose = torch.zeros(len(yaw), 4, 4, dtype=torch.float64)
    pose[:, :3, 0], pose[:, :3, 1], pose[:, :3, 2], pose[:, :3, 3] = right, down, forward, origin
    pose[:, 3, 3] = 1
    return pose.float()


def make_label(cam2world: torch.Tensor, intrinsics: torch.Tensor) -> torch.Tensor:
    """cam2world [N, 4, 4] and intrinsics [3, 3] or [N, 3, 3] -> labels [N, 25]."""
    n = len(cam2world)
    return torch.cat([cam2world.reshape(n, 16), intrinsics.to(cam2world).expand(n, 3, 3).reshape(n, 9)], dim=1)


def split_label(label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels [N, 25] -> cam2world [N, 4, 4], intrinsics [N, 3, 3]."""
    return label[:, :16].reshape(-1, 4, 4), label[:, 16:25].reshape(-1, 3, 3)


def mirror_label(label: torch.Tensor) -> torch.Tensor:
    """Label [N, 25] of the left-right mirrored image.

    pose' = S pose S with S = diag(-1, 1, 1, 1); cx' = 1 - cx, skew' = -skew.
    """
    cam2world, intrinsics = split_label(label)
    s = torch.diag(torch.tensor([-1.0, 1, 1, 1])).to(label)
    intrinsics = intrinsics.clone()
    intrinsics[:, 0, 2] = 1 - intrinsics[:, 0, 2]
    intrinsics[:, 0, 1] = -intrinsics[:, 0, 1]
    return make_label(s @ cam2world @ s, intrinsics)


def crop_intrinsics(intrinsics: torch.Tensor, size, box) -> torch.Tensor:
    """Intrinsics [N, 3, 3] of the part `box` of an image, again normalised, by the size of the part.

    A pixel u of the image is pixel u - left of the part; so f' = f W/w, c' = (c W - left)/w, and likewise downwards.
    Resizing changes nothing: the numbers are in units of the picture.
    Args:
        size: (W, H) of the image in pixels.
        box: (left, top, w, h) in pixels of the image, fractions too; padding reaches beyond the image.
    """
    (width, height), (left, top, w, h) = size, box
    to_part = torch.tensor([[width / w, 0, -left / w], [0, height / h, -top / h], [0, 0, 1]], dtype=torch.float64)
    return (to_part @ intrinsics.double()).to(intrinsics.dtype)


def yaw_pitch_of(label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Azimuth and elevation [N] of the camera's position as seen from the world origin, true angles in radians.

    Zero is frontal; positive azimuth is toward +x, positive elevation is up.
    """
    origin = label[:, [3, 7, 11]]
    return torch.atan2(origin[:, 0], origin[:, 2]), torch.asin(origin[:, 1] / origin.norm(dim=1))


def check_labels(labels: torch.Tensor, where: str, names: Sequence[str] | None = None) -> None:
    """Raises ValueError, naming `where` and the row or its name, unless all labels [N, 25] are finite, proper cameras.

    Proper: a rotation (to 1e-2, as files hold rounded numbers), positive focal lengths, and the last rows (0, 0, 0, 1)
    and (0, 0, 1) of pose and intrinsics.
    """
    if labels.ndim != 2 or labels.shape[1] != LABEL_DIM:
        got = "x".join(map(str, labels.shape))
        raise ValueError(f"{where}: camera labels must have 25 numbers each (16 pose + 9 intrinsics), got shape {got}")

    def of(row: int) -> str:
        return f"row {row}" if names is None else names[row]

    labels = labels.double()
    finite = labels.isfinite()
    if not finite.all():
        row, column = (~finite).nonzero()[0].tolist()
        raise ValueError(
            f"{where}: the camera of {of(row)} holds {labels[row, column]:g}; all 25 numbers must be finite"
        )
    pose, intrinsics = split_label(labels)
    rotation = pose[:, :3, :3]
    error = (rotation @ rotation.mT - torch.eye(3, dtype=torch.float64)).abs().amax(dim=(1, 2))
    row = _first_row((error >= 1e-2) | (torch.linalg.det(rotation) <= 0))
    if row is not None:
        raise ValueError(
            f"{where}: the camera of {of(row)} is not a rotation (R R^T differs from 1 by {error[row]:.3g}); "
            "the first 16 numbers must be a row-major cam2world matrix in OpenCV axes"
        )
    for name, matrix in (("pose (numbers 13 to 16)", pose), ("intrinsics (numbers 23 to 25)", intrinsics)):
        last = torch.eye(matrix.shape[-1], dtype=torch.float64)[-1]
        row = _first_row(((matrix[:, -1] - last).abs() > 1e-4).any(dim=1))
        if row is not None:
            got, want = (", ".join(f"{x:g}" for x in v.tolist()) for v in (matrix[row, -1], last))
            raise ValueError(f"{where}: in {of(row)} the last row of the {name} is ({got}); it must be ({want})")
    focal = intrinsics[:, [0, 1], [0, 1]]
    row = _first_row((focal <= 0).any(dim=1))
    if row is not None:
        fx, fy = focal[row].tolist()
        raise ValueError(f"{where}: the focal lengths of {of(row)} are {fx:g}, {fy:g}; they must be positive")


def _first_row(bad: torch.Tensor) -> int | None:
    """Index of the first True of [N]."""
    return int(bad.nonzero()[0, 0]) if bad.any() else None
