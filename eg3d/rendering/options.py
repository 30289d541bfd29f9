"""The renderer's settings."""

from dataclasses import dataclass

from eg3d.rendering.planes import AXES
from groundwork.plain import check_above_zero, check_one_of, check_types, check_within

MOST_SAMPLES = 1024  # along a ray, per pass


@dataclass(frozen=True, kw_only=True)
class RenderOptions:
    """How rays are sampled (EG3D, section 4.1; NeRF, section 5). Depths are along the unit ray, in world units.

    Both ends of a ray are numbers, or both are 'auto': where the ray enters and leaves the box.
    """

    depth_resolution: int
    depth_resolution_importance: int
    ray_start: float | str
    ray_end: float | str
    box_warp: float  # side of the box that the planes span
    white_back: bool = False
    disparity_space_sampling: bool = False
    density_noise: float = 0.0
    planes: str = "published"  # a name of AXES; 'yz': corrected third plane, for new models

    def __post_init__(self):
        check_types(self)
        check_within("depth_resolution", self.depth_resolution, 4, MOST_SAMPLES)
        check_within("depth_resolution_importance", self.depth_resolution_importance, 0, MOST_SAMPLES)
        for name in ("ray_start", "ray_end"):
            if isinstance(getattr(self, name), str):
                check_one_of(name, getattr(self, name), ("auto",))
        if (self.ray_start == "auto") != (self.ray_end == "auto"):
            raise ValueError("ray_start and ray_end must both be 'auto' or both be numbers")
        check_above_zero("box_warp", self.box_warp)
        check_one_of("planes", self.planes, tuple(AXES))

    @property
    def plane_axes(self):
        return AXES[self.planes]
