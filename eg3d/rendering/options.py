"""The renderer's settings: EG3D's `rendering_kwargs` dictionary, read once and checked."""

import math
from dataclasses import dataclass

from eg3d.rendering.planes import PLANE_AXES, PLANE_AXES_YZ

# Keys of the published dictionary that other parts read (constructor, mapping, losses, tools).
OTHER_KEYS = frozenset(
    "superresolution_module sr_antialias superresolution_noise_mode c_gen_conditioning_zero c_scale decoder_lr_mul "
    "avg_camera_radius avg_camera_pivot density_reg density_reg_p_dist reg_type image_resolution gpc_reg_prob".split()
)

OTHER_NUMBERS = {"c_scale": None, "avg_camera_radius": 0, "decoder_lr_mul": 0}  # and what they must be above
MOST_SAMPLES = 1024  # along a ray, per pass


def check_number(name: str, value, above: float | None = None) -> None:
    """ValueError unless a setting is a finite number, and above the bound."""
    well = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not well or (above is not None and value <= above):
        bound = "" if above is None else f" above {above}"
        raise ValueError(f"{name} must be a number{bound}, not {value!r:.40}")


@dataclass(frozen=True, kw_only=True)
class RenderOptions:
    """One field per key of EG3D's dictionary. Depths are distances along the unit ray, in world units."""

    depth_resolution: int
    depth_resolution_importance: int
    ray_start: float | str
    ray_end: float | str
    box_warp: float
    white_back: bool = False
    disparity_space_sampling: bool = False
    clamp_mode: str = "softplus"
    density_noise: float = 0.0
    planes: str = "published"  # 'published' or 'yz' (corrected third plane, for new models)

    def __post_init__(self):
        for name, least in (("depth_resolution", 4), ("depth_resolution_importance", 0)):
            value = getattr(self, name)
            if type(value) is not int or not least <= value <= MOST_SAMPLES:
                raise ValueError(f"{name} must be an integer from {least} to {MOST_SAMPLES}, not {value!r:.40}")
        for name in ("ray_start", "ray_end"):
            if getattr(self, name) != "auto":
                check_number(name, getattr(self, name))
        check_number("box_warp", self.box_warp, above=0)
        check_number("density_noise", self.density_noise)
        if (self.ray_start == "auto") != (self.ray_end == "auto"):
            raise ValueError("ray_start and ray_end must both be 'auto' or both be numbers")
        if self.clamp_mode != "softplus":
            raise ValueError(f"clamp_mode {self.clamp_mode!r} is unknown: the only one is 'softplus'")
        if self.planes not in ("published", "yz"):
            raise ValueError(f"planes {self.planes!r} is unknown: use 'published' or 'yz'")

    @classmethod
    def from_kwargs(cls, kwargs: dict) -> "RenderOptions":
        """Reads the published dictionary; a key that nobody knows is an error, because it is a misspelt one."""
        known = set(cls.__dataclass_fields__)
        unknown = set(kwargs) - known - OTHER_KEYS
        if unknown:
            raise ValueError(f"rendering_kwargs has unknown keys: {', '.join(sorted(unknown))}")
        missing = [k for k, f in cls.__dataclass_fields__.items() if k not in kwargs and f.default is f.default_factory]
        if missing:
            raise ValueError(f"rendering_kwargs lacks {', '.join(missing)}")
        for name, above in OTHER_NUMBERS.items():
            if kwargs.get(name) is not None:
                check_number(name, kwargs[name], above)
        pivot = kwargs.get("avg_camera_pivot", [0, 0, 0])
        if not isinstance(pivot, (list, tuple)) or len(pivot) != 3:
            raise ValueError("avg_camera_pivot must be three numbers")
        for value in pivot:
            check_number("avg_camera_pivot", value)
        return cls(**{key: value for key, value in kwargs.items() if key in known})

    @property
    def plane_axes(self):
        return PLANE_AXES if self.planes == "published" else PLANE_AXES_YZ
