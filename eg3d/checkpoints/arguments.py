"""What files say about a network, as the arguments of our classes, and back. Only this file knows the published names.

A published file holds `init_kwargs`, with `rendering_kwargs` among them; our snapshots and state dicts hold the same,
and a few names more for numbers that are fixed in the published code. The tables below name every setting that is read,
in both directions; a group is joined to its name by a dot. A network of another class is stored by the names of its own
fields.
"""

import dataclasses

from torch import nn

from eg3d.geometry.cameras import FFHQ_RADIUS
from eg3d.models.architectures import DISCRIMINATORS, GENERATORS
from eg3d.models.discriminator import IMG_CHANNELS, DiscriminatorConfig
from eg3d.models.generator import GeneratorConfig
from eg3d.models.mapping import MappingConfig
from eg3d.rendering.options import RenderOptions
from groundwork.plain import flat, from_plain

# Classes that published files hold.
PUBLISHED_GENERATOR = "TriPlaneGenerator"
PUBLISHED = (PUBLISHED_GENERATOR, "DualDiscriminator", "DummyDualDiscriminator", "SingleDiscriminator")

_BLOCKS = ("architecture", "resample_filter", "fp16_channels_last", "use_noise", "activation", "kernel_size")
_MAPPING = {f"mapping_kwargs.{field.name}": f"mapping.{field.name}" for field in dataclasses.fields(MappingConfig)}

# Name in the file -> place in GeneratorConfig.
GENERATOR = {
    "z_dim": "z_dim",
    "c_dim": "c_dim",
    "w_dim": "w_dim",
    "img_resolution": "resolution",
    "channel_base": "backbone.channel_base",
    "channel_max": "backbone.channel_max",
    "num_fp16_res": "backbone.num_fp16_res",
    "conv_clamp": "backbone.conv_clamp",
    **{name: f"backbone.blocks.{name}" for name in _BLOCKS},
    **_MAPPING,
    "sr_num_fp16_res": "superresolution.num_fp16_res",
    **{f"sr_kwargs.{name}": f"superresolution.blocks.{name}" for name in _BLOCKS},
    **{f"rendering_kwargs.{field.name}": f"rendering.{field.name}" for field in dataclasses.fields(RenderOptions)},
    "rendering_kwargs.superresolution_module": "superresolution.kind",
    "rendering_kwargs.sr_antialias": "superresolution.antialias",
    "rendering_kwargs.superresolution_noise_mode": "superresolution.noise_mode",
    "rendering_kwargs.c_gen_conditioning_zero": "pose_cond",  # its opposite
    "rendering_kwargs.c_scale": "c_scale",
    "rendering_kwargs.decoder_lr_mul": "decoder.lr_multiplier",
    "rendering_kwargs.avg_camera_radius": "orbit.radius",
    "rendering_kwargs.avg_camera_pivot": "orbit.pivot",
}
# Ours alone, because the published code has these numbers in its text. A file has them only if they differ.
OURS_ALONE = {
    "plane_resolution": "backbone.plane_resolution",
    "plane_channels": "backbone.plane_channels",
    "decoder_width": "decoder.width",
    "sr_kwargs.widths": "superresolution.widths",
    "rendering_kwargs.planes": "rendering.planes",
}
# The published code reads these from its constructor's rendering_kwargs, all others from the attribute of that name.
OF_THE_CONSTRUCTOR = ("superresolution_module", "sr_antialias", "decoder_lr_mul")

# Name in the file -> place in DiscriminatorConfig.
DISCRIMINATOR = {
    **{name: name for name in ("architecture", "channel_base", "channel_max", "num_fp16_res", "conv_clamp", "cmap_dim",
                               "disc_c_noise")},
    **{f"block_kwargs.{name}": f"blocks.{name}"
       for name in ("activation", "resample_filter", "fp16_channels_last", "freeze_layers")},
    **_MAPPING,
    **{f"epilogue_kwargs.{name}": f"epilogue.{name}"
       for name in ("mbstd_group_size", "mbstd_num_channels", "activation")},
}  # fmt: skip

# The published code fails without these.
NEEDED = {
    "z_dim", "c_dim", "w_dim", "img_resolution",
    *(f"rendering_kwargs.{name}" for name in (
        "depth_resolution", "depth_resolution_importance", "ray_start", "ray_end", "box_warp", "superresolution_module",
        "sr_antialias", "superresolution_noise_mode", "c_gen_conditioning_zero",
    )),
}  # fmt: skip
# What the published code takes if a file lacks them; c_scale: docs/published_defects.md, D-18.
IF_ABSENT = {
    "rendering_kwargs.c_scale": 0.0,
    "rendering_kwargs.avg_camera_radius": FFHQ_RADIUS,
    "rendering_kwargs.avg_camera_pivot": (0.0, 0.0, 0.0),
}
FIXED = {"img_channels": IMG_CHANNELS, "rendering_kwargs.clamp_mode": "softplus"}  # no other value was ever of use
# Published arguments that change no picture: dropped.
UNREAD = {
    "fused_modconv_default", "sr_upsample_factor",
    *(f"sr_kwargs.{name}" for name in ("channel_base", "channel_max", "num_fp16_res", "conv_clamp",
                                       "fused_modconv_default")),
    *(f"rendering_kwargs.{name}" for name in ("image_resolution", "gpc_reg_prob", "density_reg", "density_reg_p_dist",
                                              "reg_type")),
}  # fmt: skip
# Written whatever their values are; the rest only if it differs from what a file without it means.
ALWAYS = {
    *NEEDED, *IF_ABSENT, "mapping_kwargs.num_layers", "channel_base", "channel_max", "num_fp16_res", "conv_clamp",
    "sr_num_fp16_res", "rendering_kwargs.disparity_space_sampling", "rendering_kwargs.decoder_lr_mul",
}  # fmt: skip

RENDERING = "rendering_kwargs."
KNOWN_RENDERING = {name.removeprefix(RENDERING) for name in {*GENERATOR, *OURS_ALONE, *FIXED, *UNREAD}
                   if name.startswith(RENDERING)}  # fmt: skip
SR_MODULE = "training.superresolution."  # leads the class's name in published files


# ------------------------------------------------------------------ reading


def generator_arguments(init_kwargs: dict, rendering_kwargs: dict | None = None) -> dict:
    """Arguments of our TriPlaneGenerator; ValueError for a name that nobody knows, because it is a misspelt one.

    Args: rendering_kwargs, the attribute of the network, which may be newer than the argument of that name.
    """
    given = dict(init_kwargs)
    rays = given.pop("neural_rendering_resolution", 64)
    if rendering_kwargs is not None:
        first = given.get("rendering_kwargs", {})
        given["rendering_kwargs"] = rendering_kwargs | {key: first[key] for key in OF_THE_CONSTRUCTOR if key in first}
    values = _known(given, GENERATOR | OURS_ALONE)
    if missing := sorted(name for name in NEEDED if name not in values):
        raise ValueError(f"there is no {', '.join(missing)}")
    values = IF_ABSENT | values
    name = "rendering_kwargs.c_gen_conditioning_zero"
    values[name] = _opposite(values[name], name)
    name = "rendering_kwargs.superresolution_module"
    values[name] = str(values[name]).rsplit(".", 1)[-1]
    plain = _nested({(GENERATOR | OURS_ALONE)[name]: value for name, value in values.items()})
    return {"config": from_plain(GeneratorConfig, plain), "neural_rendering_resolution": rays}


def discriminator_arguments(init_kwargs: dict) -> dict:
    """Arguments of our discriminators, likewise."""
    given = dict(init_kwargs)
    if missing := sorted({"c_dim", "img_resolution"} - set(given)):
        raise ValueError(f"there is no {', '.join(missing)}")
    own = {name: given.pop(name) for name in ("c_dim", "img_resolution", "raw_fade") if name in given}
    values = _known(given, DISCRIMINATOR)
    plain = _nested({DISCRIMINATOR[name]: value for name, value in values.items()})
    return {"config": from_plain(DiscriminatorConfig, plain), **own}


def own_arguments(cls: str, init_kwargs: dict) -> dict:
    """Arguments of a class that is not published."""
    names = _own_names(cls)
    if set(init_kwargs) != set(names):
        raise ValueError(f"init_kwargs must hold {', '.join(names)} and nothing else")
    return init_kwargs | {"config": from_plain((GENERATORS | DISCRIMINATORS)[cls].config, init_kwargs["config"])}


def _own_names(cls: str) -> tuple[str, ...]:
    if cls not in GENERATORS | DISCRIMINATORS:
        raise ValueError(f"{cls} cannot be stored: add a row to eg3d/models/architectures.py")
    return ("config",) if cls in GENERATORS else ("config", "c_dim", "img_resolution")


def _known(given: dict, table: dict[str, str]) -> dict:
    """The settings of the table, by their names in the file."""
    values = flat(given)
    for name, value in FIXED.items():
        if values.pop(name, value) != value:
            raise ValueError(f"{name} must be {value!r}; nothing else can be drawn")
    values = {name: value for name, value in values.items() if name not in UNREAD}
    for name in values:
        if name not in table:
            group, _, key = name.rpartition(".")
            raise ValueError(f"{group or 'init_kwargs'} has unknown keys: {key[:60]}")
    return values


def _opposite(value, name: str) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false, not {value!r:.40}")
    return not value


# ------------------------------------------------------------------ writing


def file_arguments(network: nn.Module) -> dict:
    """`init_kwargs` of a network as files hold them; a published generator's include `rendering_kwargs`."""
    name = type(network).__name__
    if name not in PUBLISHED:
        own = {key: getattr(network, key) for key in _own_names(name)}
        return own | {"config": dataclasses.asdict(network.config)}
    if name == PUBLISHED_GENERATOR:
        values = _generator_values(network.config)
        absent = generator_arguments(_nested({name: values[name] for name in NEEDED}))["config"]
        return {"sr_kwargs": {}} | _nested(FIXED | _kept(values, _generator_values(absent)))
    values, absent = (_values(config, DISCRIMINATOR) for config in (network.config, DiscriminatorConfig()))
    own = {"c_dim": network.c_dim, "img_resolution": network.img_resolution, "img_channels": IMG_CHANNELS}
    own |= {"raw_fade": network.raw_fade} if hasattr(network, "raw_fade") else {}
    return own | {"block_kwargs": {}, "mapping_kwargs": {}, "epilogue_kwargs": {}} | _nested(_kept(values, absent))


def _generator_values(config: GeneratorConfig) -> dict:
    values = _values(config, GENERATOR | OURS_ALONE)
    values["rendering_kwargs.c_gen_conditioning_zero"] = not config.pose_cond
    values["rendering_kwargs.superresolution_module"] = SR_MODULE + config.superresolution.kind
    return values


def _values(config, table: dict[str, str]) -> dict:
    """All settings of a configuration by their names in files."""
    settings = flat(dataclasses.asdict(config))
    return {name: settings[place] for name, place in table.items()}


def _kept(values: dict, absent: dict) -> dict:
    """The settings that a file must say, as it would mean those of `absent` without them."""
    return {name: value for name, value in values.items() if name in ALWAYS or value != absent[name]}


def _nested(flat: dict) -> dict:
    nested: dict = {}
    for name, value in flat.items():
        *groups, key = name.split(".")
        inner = nested
        for group in groups:
            inner = inner.setdefault(group, {})
        inner[key] = list(value) if isinstance(value, tuple) else value
    return nested
