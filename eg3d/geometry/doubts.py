"""What a set of cameras looks like if it is in another unit or convention than it should be.

Each camera alone may be proper (`cameras.check_labels`), and yet training learns nothing, as all rays miss the scene.
So these are warnings, each with what to do.
"""

import math

import torch

from eg3d.geometry.cameras import split_label

UNITS = {"millimetres": 1000, "centimetres": 100, "decimetres": 10}  # how many of them are one of a head's units
ALIKE = 2  # a unit is recognised within this factor
MOST_FOCAL = 50  # image sizes; such a camera sees one degree, and in pixels every camera has more
STRAY_RAD = 0.05  # cameras that look at a face may pass by the origin so far
CLEARLY = 3  # another convention must look nearer to the origin by this factor

FLIP = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64))  # between OpenGL's and OpenCV's axes
# How a pose would become cam2world in OpenCV axes, and what a user has to do for it.
CONVENTIONS = {
    "cam2world in OpenGL's axes": (lambda pose: pose @ FLIP, "negate numbers 2, 3, 6, 7, 10 and 11 of each"),
    "world2cam": (torch.linalg.inv, "invert each matrix"),
    "world2cam in OpenGL's axes": (
        lambda pose: torch.linalg.inv(FLIP @ pose),
        "negate numbers 5 to 12 of each and invert the matrix",
    ),
}


def camera_doubts(labels: torch.Tensor, ray_ranges: list[tuple[float, float]]) -> list[str]:
    """A line for each thing that these proper cameras [N, 25] seem to have wrong; [] if there is none.

    ray_ranges: (nearest, farthest) depth of the rays of each model that the cameras may be for, the likeliest first.
    """
    if not len(labels):
        return []
    pose, intrinsics = split_label(labels.double())
    lines = (_no_ray_reaches(pose, ray_ranges), _in_pixels(intrinsics), _another_convention(pose))
    return [line for line in lines if line]


def _no_ray_reaches(pose: torch.Tensor, ray_ranges: list[tuple[float, float]]) -> str | None:
    """Cameras so far from the origin, or so near, that the rays of no model pass by it."""
    radius = pose[:, :3, 3].norm(dim=1)
    outside = torch.stack([(radius < near) | (radius > far) for near, far in ray_ranges]).all(dim=0)
    if not outside.any():
        return None
    unit = _unit(radius.median().item(), ray_ranges) if outside.all() else None
    advice = f"are they in {unit}? Divide" if unit else "is their unit another? Bring"
    advice += " numbers 4, 8 and 12 of each label " + (f"by {UNITS[unit]}" if unit else "to that of the rays")
    depths = " or ".join(f"{near:g} to {far:g}" for near, far in dict.fromkeys(ray_ranges))
    return (
        f"{int(outside.sum())} of {len(pose)} cameras stand {_span(radius[outside])} from the origin, but rays are "
        f"drawn at depths of {depths}, so they miss it; {advice}"
    )


def _unit(radius: float, ray_ranges: list[tuple[float, float]]) -> str | None:
    """The unit in which this radius is most like the middle of some rays; None if it is like none of them."""
    apart = {
        unit: min(abs(math.log(max(radius, 1e-9) / size / ((near + far) / 2))) for near, far in ray_ranges)
        for unit, size in UNITS.items()
    }
    nearest = min(apart, key=apart.get)
    return nearest if apart[nearest] < math.log(ALIKE) else None


def _in_pixels(intrinsics: torch.Tensor) -> str | None:
    wrong = (intrinsics[:, 0, 0] > MOST_FOCAL) | (intrinsics[:, :2, 2].abs() > MOST_FOCAL).any(dim=1)
    if not wrong.any():
        return None
    focal, centre = intrinsics[wrong, 0, 0], intrinsics[wrong, 0, 2]
    return (
        f"{int(wrong.sum())} of {len(intrinsics)} cameras have a focal length of {_span(focal)} and a principal point "
        f"at {_span(centre)}; are they in pixels? Divide numbers 17 to 19 by the image's width, 20 to 22 by its height"
    )


def _another_convention(pose: torch.Tensor) -> str | None:
    """Cameras of a head look at it, near the origin. If they do not, but would in another convention, it is named."""
    stray = _stray(pose)
    if stray <= STRAY_RAD:
        return None
    nearest = min(CONVENTIONS, key=lambda name: _stray(CONVENTIONS[name][0](pose)))
    become, remedy = CONVENTIONS[nearest]
    if CLEARLY * _stray(become(pose)) > stray:
        return None
    return (
        f"the cameras look past the origin, by {stray * 57.3:.0f} degrees (median), but would look at it if the "
        f"matrices were {nearest}; they must be cam2world in OpenCV axes: {remedy}"
    )


def _stray(pose: torch.Tensor) -> float:
    """Median angle, radians, between the way cam2world poses [N, 4, 4] look and the way to the origin."""
    toward = torch.nn.functional.normalize(-pose[:, :3, 3], dim=1)
    return torch.acos((toward * pose[:, :3, 2]).sum(dim=1).clamp(-1, 1)).median().item()


def _span(values: torch.Tensor) -> str:
    low, high = (f"{x:.4g}" for x in (values.min().item(), values.max().item()))
    return low if low == high else f"{low} to {high}"
