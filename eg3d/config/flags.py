"""How the published command-line flags of training set a configuration: `resolve` applies them to a preset.

A flag is a field of the configuration (groundwork/settings.py), or of `IndirectFlags` if no single field holds it.
"""

from dataclasses import dataclass

from eg3d.config.parts import WatchConfig
from eg3d.config.presets import PRESETS, SR_OF_RESOLUTION
from eg3d.config.run import (
    NETWORKS,
    PARTS,
    ConfigError,
    TrainConfig,
    from_dict,
    network_from_dict,
    network_kind,
    to_dict,
)
from eg3d.gaze.term import GazeLossConfig
from eg3d.metrics.registry import DETECTOR_TABLE, VGG, parse_metrics, takes_weights
from eg3d.models.blocks import CLAMP
from eg3d.rendering.planes import AXES
from groundwork.settings import (
    FINITE,
    NON_NEGATIVE,
    POSITIVE,
    Check,
    Flag,
    Need,
    at_least,
    check_settings,
    check_value,
    contradiction,
    flags_of,
    message,
    one_of,
    setting,
)


def _of(flag: str):
    """What the networks of a preset have for a flag."""

    def shown(run: TrainConfig):
        first, second = run.generator.by_flag(flag), run.discriminator.by_flag(flag)
        if None not in (first, second) and first != second:
            return f"{first}, discriminator {second}"
        return second if first is None else first

    return shown


_SIZES = ", ".join(f"{side} px {name}" for side, name in SR_OF_RESOLUTION.items())


@dataclass(frozen=True, kw_only=True)
class IndirectFlags:
    """Flags that are not copied into one field of `TrainConfig`: they set several, or are worked out in `resolve`.

    None: not given. `shown` reads from a preset what then holds.
    """

    resume_blur: bool | None = setting(
        None,
        flag="--resume_blur",
        help="With --resume: blur, and condition on other cameras, as at a start.",
        needs=(Need(lambda run: run.resume is not None, "a run that starts from weights: add {resume:FILE}"),),
        group="start",
        shown=lambda run: False,
    )
    freezed: int | None = setting(
        None,
        flag="--freezed",
        help="Freeze so many layers of the discriminator, from the image on.",
        group="start",
        shown=_of("freezed"),
    )
    cbase: int | None = setting(
        None,
        flag="--cbase",
        help="Channels of the networks times resolution.",
        group="networks",
        shown=_of("cbase"),
    )
    cmax: int | None = setting(
        None, flag="--cmax", help="Most channels of the networks.", group="networks", shown=_of("cmax")
    )
    map_depth: int | None = setting(
        None,
        flag="--map-depth",
        help="Layers of the generator's mapping network.",
        group="networks",
        shown=_of("map_depth"),
    )
    mbstd_group: int | None = setting(
        None,
        flag="--mbstd-group",
        help="Images per group of the minibatch statistics.",
        check=at_least(1),
        group="networks",
        shown=_of("mbstd_group"),
    )
    sr_module: str | None = setting(
        None,
        flag="--sr-module",
        help="Class of the super-resolution.",
        group="networks",
        metavar="CLASS",
        shown=f"by the size of the images, {_SIZES}",
    )
    planes: str | None = setting(
        None,
        flag="--planes",
        help="Axes of the three planes. fixed_triplanes: to go on from weights of EG3D's branch of that name.",
        check=one_of(tuple(AXES)),
        group="networks",
        shown=_of("planes"),
    )
    sr_noise_mode: str | None = setting(
        None,
        flag="--sr_noise_mode",
        help="Noise of the super-resolution.",
        check=one_of(("random", "none")),
        group="networks",
        shown=_of("sr_noise_mode"),
    )
    cond: bool | None = setting(
        None,
        flag="--cond",
        help="Condition on cameras; only True can be trained.",
        check=Check(lambda value: None if value else "cannot be trained: EG3D needs camera labels; drop the flag"),
        group="cameras",
        shown=lambda run: True,
    )
    gen_pose_cond: bool | None = setting(
        None,
        flag="--gen_pose_cond",
        help="Condition the generator on a camera.",
        group="cameras",
        shown=lambda run: run.conditioned,
    )
    c_scale: float | None = setting(
        None,
        flag="--c-scale",
        help="Factor on the conditioning camera.",
        check=FINITE,
        needs=(Need(lambda run: run.conditioned, "pose conditioning: add {flags.gen_pose_cond:True}"),),
        group="cameras",
        shown=_of("c_scale"),
    )
    disc_c_noise: float | None = setting(
        None,
        flag="--disc_c_noise",
        help="Noise on the discriminator's camera, in standard deviations of the labels.",
        check=NON_NEGATIVE,
        group="cameras",
        shown=_of("disc_c_noise"),
    )
    blur_fade_kimg: float | None = setting(
        None,
        flag="--blur_fade_kimg",
        help="Thousand images of blur before the discriminator, for a batch of 32; other batches in proportion.",
        check=NON_NEGATIVE,
        needs=(
            Need(lambda run: run.starts_blurred, "a start, and {resume:flag} skips it: add {flags.resume_blur:True}"),
        ),
        group="schedule",
        shown=lambda run: run.schedule.blur_fade_kimg * 32 / run.batch,
    )
    decoder_lr_mul: float | None = setting(
        None,
        flag="--decoder_lr_mul",
        help="Factor on the decoder's learning rate.",
        check=POSITIVE,
        group="optim",
        shown=_of("decoder_lr_mul"),
    )
    sr_num_fp16_res: int | None = setting(
        None,
        flag="--sr_num_fp16_res",
        help="Above 0: float16 in the super-resolution.",
        check=at_least(0),
        group="speed",
        shown=_of("sr_num_fp16_res"),
    )
    g_num_fp16_res: int | None = setting(
        None,
        flag="--g_num_fp16_res",
        help="Largest resolutions of the backbone in float16.",
        check=at_least(0),
        group="speed",
        shown=_of("g_num_fp16_res"),
    )
    d_num_fp16_res: int | None = setting(
        None,
        flag="--d_num_fp16_res",
        help="Largest resolutions of the discriminator in float16.",
        check=at_least(0),
        group="speed",
        shown=_of("d_num_fp16_res"),
    )
    nobench: bool | None = setting(
        None,
        flag="--nobench",
        help="Do not let cuDNN time its algorithms.",
        group="speed",
        shown=lambda run: not run.benchmark,
    )

    def __post_init__(self):
        check_settings(self)


# Headings of the page of help by a flag's group, which is its part if it names none.
GROUPS = {
    "data": "Data set",
    "length": "Length, batches, processes",
    "start": "Weights to start from",
    "gaze": "Gaze term",
    "loss": "Other terms of the loss",
    "optim": "Learning rates",
    "schedule": "Blur and rays",
    "cameras": "Conditioning on cameras",
    "networks": "Sizes of the networks",
    "augment": "Augmentation of what the discriminator sees",
    "watch": "What is measured, kept and watched",
    "speed": "Number formats and speed",
}
INDIRECT = "flags"  # the part that `IndirectFlags` are in TABLE and in messages


def _table() -> dict[str, Flag]:
    """Every flag of a run by its name in Python."""
    table: dict[str, Flag] = {}
    for part, cls in {"": TrainConfig, INDIRECT: IndirectFlags, **PARTS}.items():
        found = flags_of(cls, part)
        assert not set(found) & set(table), f"a flag stands twice: {set(found) & set(table)}"
        table |= found
    return table


TABLE = _table()


def resolve(cfg: str, resolution: int | None = None, **flags) -> TrainConfig:
    """The run that published flags (None: not given) describe.

    Args:
        cfg: name of a preset.
        resolution: pixels per side of the data set; None, before it is known, takes the preset's.
        flags: by their names in TABLE.
    """
    assert set(flags) <= set(TABLE), f"there is no flag {min(set(flags) - set(TABLE))}"
    given = {name: value for name, value in flags.items() if value is not None}
    if cfg not in PRESETS:
        raise ConfigError(f"--cfg={cfg} is unknown; use one of {', '.join(PRESETS)}")
    indirect = IndirectFlags(**{name: value for name, value in given.items() if TABLE[name].part == INDIRECT})
    plain = to_dict(PRESETS[cfg])
    base_batch = plain["batch"]
    if any(value and TABLE[name].part == "gaze" for name, value in given.items()):
        plain["gaze"]["weight"] = plain["gaze"]["weight"] or GazeLossConfig.weight
    for name, value in given.items():
        flag = TABLE[name]
        if flag.part != INDIRECT:
            check_value({"": TrainConfig, **PARTS}[flag.part], flag.name, value)  # before others are made of it
            (plain[flag.part] if flag.part else plain)[flag.name] = value
    _set_networks(plain, given)
    _set_resolution(plain, cfg, resolution, given.get("sr_module"))
    schedule = plain["schedule"]

    # Lengths that grow with the batch, as published: 200 kimg of blur and 10 of EMA are for a batch of 32.
    scale = plain["batch"] / base_batch
    schedule["blur_fade_kimg"] *= scale
    schedule["ema_kimg"] *= scale
    if "blur_fade_kimg" in given:
        schedule["blur_fade_kimg"] = plain["batch"] * given["blur_fade_kimg"] / 32

    if not network_from_dict("generator", plain["generator"]).by_flag("gen_pose_cond"):
        schedule["gpc_reg_prob"] = None
    elif schedule["gpc_reg_prob"] is None:
        schedule["gpc_reg_prob"] = 0.5
    if plain["resume"] is not None:
        schedule["ema_rampup"], plain["augment"]["kimg"] = None, 100.0
        if not given.get("resume_blur", False):
            schedule["blur_init_sigma"], schedule["gpc_reg_fade_kimg"] = 0.0, 0.0
    config = from_dict(plain)
    _reject_what_does_nothing(given, config, indirect)
    _check_metrics(config.watch)
    if resolution is not None:
        _check_raw_image(config)
    return config


def _reject_what_does_nothing(given: dict, config: TrainConfig, indirect: IndirectFlags) -> None:
    """ConfigError for an option, given explicitly, that this configuration never looks at; it names the missing one.

    A preset may hold what it does not use, and a switch that is turned off asks for nothing.
    """
    for name, flag in TABLE.items():
        for need in flag.setting.needs:
            if given.get(name, False) is not False and not need.met(config):
                belongs = message(config, need.of, **{INDIRECT: indirect})
                shown = flag.setting.flag
                raise ConfigError(f"{shown}={given[name]} is of {belongs}, or drop {shown}")


def _check_raw_image(config: TrainConfig) -> None:
    """ConfigError for --raw-image=legacy where it makes no difference: the rays never meet the super-resolution."""
    first, painted = config.schedule.raw_resolution_initial, config.generator.painted_rays
    last = config.schedule.raw_resolution_final or first
    if config.loss.raw_image != "legacy" or config.painted_rays:
        return
    if painted is None:
        raise contradiction(config, "{loss.raw_image} changes nothing: this super-resolution enlarges first; drop it")
    raise contradiction(
        config,
        "{loss.raw_image} changes nothing with {rays} rays per side: this super-resolution paints over {painted}; drop "
        "it, or give {rays_flag}={painted}",
        rays=first if first == last else f"{first} to {last}",
        painted=painted,
        rays_flag=message(config, "{schedule.raw_resolution_initial:flag}"),
    )


def _check_metrics(watch: WatchConfig) -> None:
    """ValueError for names that mean no metric, ConfigError for one without its detector, or weights no one reads."""
    metrics = parse_metrics(watch.metrics, watch.num_gen, watch.detector, watch.vgg_weights is not None)
    if not watch.inception_weights and any(takes_weights(metric.features) for metric in metrics):
        raise contradiction(
            watch,
            "{metrics} needs {inception_weights:FILE}, {file} (nothing is downloaded), or {detector:embedded} for the "
            "embedded world",
            file=DETECTOR_TABLE[watch.detector].file,
        )
    if watch.inception_weights and not takes_weights(watch.detector):
        raise contradiction(watch, "{inception_weights:flag}: {detector} has no use for them; leave one out")
    if watch.vgg_weights and not any(metric.features == VGG for metric in metrics):
        raise contradiction(
            watch, "{vgg_weights:flag}: {metrics} has no use for them; leave them out, or add pr50k3_full"
        )


def _set_networks(plain: dict, given: dict) -> None:
    """Flags that end up in the networks' configurations; ConfigError for one that neither network has."""
    kinds = {part: network_kind(part, plain[part]) for part in NETWORKS}
    anywhere = {flag for table in NETWORKS.values() for row in table.values() for flag in row.config.FLAGS}
    for flag in given:
        if flag in anywhere and not any(flag in kind.FLAGS for kind in kinds.values()):
            shown = TABLE[flag].setting.flag
            raise ConfigError(f"{shown}={given[flag]}: the networks of this --cfg have no such setting; drop {shown}")
    for part, kind in kinds.items():
        for flag, place in kind.FLAGS.items():
            if flag in given and flag != "sr_module":  # see _set_resolution
                _set_network(plain, part, place, given[flag], TABLE[flag].setting.flag)
    if "nobench" in given:
        plain["benchmark"] = not given["nobench"]


def _set_network(plain: dict, part: str, place: str, value, flag: str) -> None:
    """Sets one field of a network; ConfigError, with the flag in place of the field, if the network cannot have it."""
    holder, name = _holder(plain[part], place)
    holder[name] = value
    try:
        network_from_dict(part, plain[part])
    except ValueError as error:
        raise ConfigError(str(error).replace(f"{name}=", f"{flag}=")) from None
    if name == "num_fp16_res" and "conv_clamp" in holder:
        holder["conv_clamp"] = CLAMP if value > 0 else None


def _holder(plain: dict, place: str) -> tuple[dict, str]:
    """`backbone.channel_base` -> the dict of the backbone, `channel_base`."""
    *groups, name = place.split(".")
    for group in groups:
        plain = plain[group]
    return plain, name


def _set_resolution(plain: dict, cfg: str, resolution: int | None, sr_module: str | None) -> None:
    """Image size of the data set, and the super-resolution that goes with it."""
    generator = plain["generator"]
    size = generator["resolution"] if resolution is None else resolution
    images = f"--data={plain['data']['path']} has images of {size} px"
    if cfg == "embedded" and size != generator["resolution"]:
        raise ConfigError(f"{images}, but --cfg={cfg} makes {generator['resolution']} px; resize the images")
    generator["resolution"] = size
    place = network_kind("generator", generator).FLAGS.get("sr_module")
    if place is None:
        return
    sr, kind = _holder(generator, place)
    if cfg != "embedded":
        if size not in SR_OF_RESOLUTION and sr_module is None:
            raise ConfigError(f"{images}; --cfg={cfg} takes 512, 256 or 128")
        sr[kind] = SR_OF_RESOLUTION.get(size)
    if sr_module is not None:
        sr[kind] = sr_module.rsplit(".", 1)[-1]
