"""The renderer's settings: EG3D's `rendering_kwargs` dictionary, read once and checked."""

from dataclasses import dataclass

from eg3d.rendering.planes import PLANE_AXES, PLANE_AXES_YZ

# Keys of the published dictionary that other parts read (constructor, mapping, losses, tools).
OTHER_KEYS = frozenset(
    "superresolution_module sr_antialias superresolution_noise_mode c_gen_conditioning_zero c_scale decoder_lr_mul "
    "avg_camera_radius avg_camera_pivot density_reg density_reg_p_dist reg_type image_resolution gpc_reg_prob".split()
)


@dataclass(frozen=True, kw_only=True)
class RenderOptions:
    """Spec section 4.8. Depths are distances along the unit ray, in world units."""

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
        if (self.ray_start == "auto") != (self.ray_end == "auto"):
            raise ValueError("ray_start and ray_end must both be 'auto' or both be numbers")
        if self.clamp_mode != "softplus":
            raise ValueError(f"clamp_mode {self.clamp_mode!r} is unknown: the only one is 'softplus'")
        if self.planes not in ("published", "yz"):
            raise ValueError(f"planes {self.planes!r} is unknown: use 'published' or 'yz'")
        if self.depth_resolution < 4:
            raise ValueError(f"depth_resolution must be at least 4, not {self.depth_resolution}")

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
        return cls(**{key: value for key, value in kwargs.items() if key in known})

    @property
    def plane_axes(self):
        return PLANE_AXES if self.planes == "published" else PLANE_AXES_YZ
