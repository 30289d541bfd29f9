"""Where eyes look, by geometry: the iris's place on an eyeball whose centre lies behind the corners of the lids.

An iris is about 11.7 mm wide in everybody, an eye from corner to corner about 28.5 mm, and an eyeball's radius is about
12 mm. So the first two give the scale, and the head's rotation the direction that is "behind". No weights, and nothing
is learned, but three lengths were fitted.
"""

from typing import NamedTuple

import torch

from eg3d.faces.irises import BOTTOM, CENTRE, INNER, LEFT, OUTER, RIGHT, TOP, Irises

RADIUS_PER_IRIS = 1.026  # eyeball's radius over the iris's diameter
RADIUS_PER_WIDTH = 0.42  # over the width of the eye
LARGEST_OFFSET = 0.98  # of the iris from the eyeball's centre, in radii: what is farther is an error of the points


class EyeCentre(NamedTuple):
    """From the middle between the corners of an eye to the eyeball's centre, in radii along the head's axes."""

    back: float
    inward: float  # toward the nose
    up: float


EYE_CENTRE = EyeCentre(back=0.5, inward=0.0, up=0.06)  # fitted on 17 photos of people who look into the camera


def gaze_directions(irises: Irises, head: torch.Tensor, centre: EyeCentre = EYE_CENTRE) -> torch.Tensor:
    """Unit directions [N, 3], the mean of both eyes, in camera axes x right, y up, z toward the camera.

    Args: head: rotations [N, 3, 3] of the head in these axes (eg3d/faces/mesh_pose.py).
    """
    up = irises.contour.new_tensor([1, -1])  # pixels count downwards
    middle = irises.contour[:, :, [OUTER, INNER], :2].mean(dim=2) * up  # [N, 2, 2]
    iris = irises.iris[..., :2] * up
    radius = _radius(irises, head)[..., None]
    to_centre = head.new_tensor([[side * centre.inward, centre.up, -centre.back] for side in (1, -1)])
    to_centre = (to_centre @ head.mT)[..., :2].to(radius)  # [N, 2, 2]: the two eyes, as the camera sees it
    offset = (iris[:, :, CENTRE] - middle) / radius - to_centre
    offset = offset * (LARGEST_OFFSET / offset.norm(dim=2, keepdim=True).clamp(min=LARGEST_OFFSET))
    toward = (1 - offset.square().sum(dim=2, keepdim=True)).sqrt()
    return torch.nn.functional.normalize(torch.cat([offset, toward], dim=2).mean(dim=1), dim=1)


def _radius(irises: Irises, head: torch.Tensor) -> torch.Tensor:
    """Of both eyeballs [N, 2], px: the geometric mean of what the iris and the corners of the eye tell."""

    def across(points: torch.Tensor, a: int, b: int) -> torch.Tensor:
        return (points[:, :, a, :2] - points[:, :, b, :2]).norm(dim=2)

    iris = torch.maximum(across(irises.iris, LEFT, RIGHT), across(irises.iris, TOP, BOTTOM))  # one is foreshortened
    width = across(irises.contour, OUTER, INNER) / head[:, :2, 0].norm(dim=1, keepdim=True).to(iris)
    return (RADIUS_PER_IRIS * iris * RADIUS_PER_WIDTH * width).sqrt()
