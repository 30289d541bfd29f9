"""How the published command-line flags of training set a configuration: `resolve` applies them to a preset.

A flag is a field of the configuration (groundwork/settings.py), or of `IndirectFlags` if no single field holds it.
"""

from dataclasses import dataclass

from eg3d.config.parts import WatchConfig
from eg3d.config.presets import PRESETS, SR_OF_RESOLUTION, TO_BE_GIVEN
from eg3d.config.run import NETWORKS, PARTS, ConfigError, TrainConfig, from_dict, to_dict
from eg3d.metrics.registry import DETECTOR_TABLE, VGG, parse_metrics, takes_weights
from eg3d.models.blocks import CLAMP
from groundwork.plain import from_plain
from groundwork.settings import (
    FINITE,
    NON_NEGATIVE,
    POSITIVE,
    Check,
    Flag,
    Need,
    at_least,
    check_settings,
    contradiction,
    flags_of,
    message,
    one_of,
    setting,
)


def _both(field: str):
    """A number that both networks have."""

    def shown(run: TrainConfig) -> str:
        first, second = getattr(run.generator.backbone, field), getattr(run.discriminator, field)
        return str(first) if first == second else f"{first}, discriminator {second}"

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
        shown=lambda run: run.discriminator.blocks.freeze_layers,
    )
    cbase: int | None = setting(
        None,
        flag="--cbase",
        help="Channels of the networks times resolution.",
        group="networks",
        shown=_both("channel_base"),
    )
    cmax: int | None = setting(
        None, flag="--cmax", help="Most channels of the networks.", group="networks", shown=_both("channel_max")
    )
    map_depth: int | None = setting(
        None,
        flag="--map-depth",
        help="Layers of the generator's mapping network.",
        group="networks",
        shown=lambda run: run.generator.mapping.num_layers,
    )
    mbstd_group: int | None = setting(
        None,
        flag="--mbstd-group",
        help="Images per group of the minibatch statistics.",
        check=at_least(1),
        group="networks",
        shown=lambda run: run.discriminator.epilogue.mbstd_group_size,
    )
    sr_module: str | None = setting(
        None,
        flag="--sr-module",
        help="Class of the super-resolution.",
        group="networks",
        metavar="CLASS",
        shown=f"by the size of the images, {_SIZES}",
    )
    sr_noise_mode: str | None = setting(
        None,
        flag="--sr_noise_mode",
        help="Noise of the super-resolution.",
        check=one_of(("random", "none")),
        group="networks",
        shown=lambda run: run.generator.superresolution.noise_mode,
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
        shown=lambda run: run.generator.c_scale,
    )
    disc_c_noise: float | None = setting(
        None,
        flag="--disc_c_noise",
        help="Noise on the discriminator's camera, in standard deviations of the labels.",
        check=NON_NEGATIVE,
        group="cameras",
        shown=lambda run: run.discriminator.disc_c_noise,
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
        shown=lambda run: run.generator.decoder.lr_multiplier,
    )
    sr_num_fp16_res: int | None = setting(
        None,
        flag="--sr_num_fp16_res",
        help="Above 0: float16 in the super-resolution.",
        check=at_least(0),
        group="speed",
        shown=lambda run: run.generator.superresolution.num_fp16_res,
    )
    g_num_fp16_res: int | None = setting(
        None,
        flag="--g_num_fp16_res",
        help="Largest resolutions of the backbone in float16.",
        check=at_least(0),
        group="speed",
        shown=lambda run: run.generator.backbone.num_fp16_res,
    )
    d_num_fp16_res: int | None = setting(
        None,
        flag="--d_num_fp16_res",
        help="Largest resolutions of the discriminator in float16.",
        check=at_least(0),
        group="speed",
        shown=lambda run: run.discriminator.num_fp16_res,
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
    if plain["gaze"]["l2cs_path"] == TO_BE_GIVEN:
        plain["gaze"]["l2cs_path"] = None
    for name, value in given.items():
        flag = TABLE[name]
        if flag.part != INDIRECT:
            (plain[flag.part] if flag.part else plain)[flag.name] = value
    _set_networks(plain, given)
    _set_resolution(plain, cfg, resolution, given.get("sr_module"))
    schedule, generator = plain["schedule"], plain["generator"]

    # Lengths that grow with the batch, as published: 200 kimg of blur and 10 of EMA are for a batch of 32.
    scale = plain["batch"] / base_batch
    schedule["blur_fade_kimg"] *= scale
    schedule["ema_kimg"] *= scale
    if "blur_fade_kimg" in given:
        schedule["blur_fade_kimg"] = plain["batch"] * given["blur_fade_kimg"] / 32

    generator["pose_cond"] = conditioned = given.get("gen_pose_cond", generator["pose_cond"])
    if not conditioned:
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
    """Flags that end up in the networks' configurations."""
    generator, discriminator = plain["generator"], plain["discriminator"]
    backbone, sr = generator["backbone"], generator["superresolution"]
    for flag, part, name in (
        ("--cbase", backbone, "channel_base"),
        ("--cbase", discriminator, "channel_base"),
        ("--cmax", backbone, "channel_max"),
        ("--cmax", discriminator, "channel_max"),
        ("--map-depth", generator["mapping"], "num_layers"),
        ("--c-scale", generator, "c_scale"),
        ("--decoder_lr_mul", generator["decoder"], "lr_multiplier"),
        ("--sr_noise_mode", sr, "noise_mode"),
        ("--sr_num_fp16_res", sr, "num_fp16_res"),
        ("--g_num_fp16_res", backbone, "num_fp16_res"),
        ("--d_num_fp16_res", discriminator, "num_fp16_res"),
        ("--disc_c_noise", discriminator, "disc_c_noise"),
        ("--freezed", discriminator["blocks"], "freeze_layers"),
        ("--mbstd-group", discriminator["epilogue"], "mbstd_group_size"),
    ):
        key = flag.removeprefix("--").replace("-", "_")
        if key in given:
            part[name] = given[key]
            _check_networks(plain, f"{name}=", f"{flag}=")
    for flag, network in (("g_num_fp16_res", backbone), ("d_num_fp16_res", discriminator)):
        if flag in given:
            network["conv_clamp"] = CLAMP if given[flag] > 0 else None
    if "nobench" in given:
        plain["benchmark"] = not given["nobench"]


def _check_networks(plain: dict, setting: str, flag: str) -> None:
    """ConfigError that names a flag in place of the setting which it has just changed."""
    try:
        for name, cls in NETWORKS.items():
            from_plain(cls, plain[name])
    except ValueError as error:
        raise ConfigError(str(error).replace(setting, flag)) from None


def _set_resolution(plain: dict, cfg: str, resolution: int | None, sr_module: str | None) -> None:
    """Image size of the data set, and the super-resolution that goes with it."""
    generator, sr = plain["generator"], plain["generator"]["superresolution"]
    size = generator["resolution"] if resolution is None else resolution
    images = f"--data={plain['data']['path']} has images of {size} px"
    if cfg == "embedded" and size != generator["resolution"]:
        raise ConfigError(f"{images}, but --cfg={cfg} makes {generator['resolution']} px; resize the images")
    if cfg != "embedded":
        if size not in SR_OF_RESOLUTION and sr_module is None:
            raise ConfigError(f"{images}; --cfg={cfg} takes 512, 256 or 128")
        generator["resolution"] = size
        sr["kind"] = SR_OF_RESOLUTION.get(size)
    if sr_module is not None:
        sr["kind"] = sr_module.rsplit(".", 1)[-1]
