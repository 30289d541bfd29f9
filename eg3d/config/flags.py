"""How the published command-line flags of training set a configuration: `resolve` applies them to a preset.

A flag is a field of the configuration (groundwork/settings.py), or of `IndirectFlags` if no single field holds it.
"""

from eg3d.config.eye_control import ControlConfig
from eg3d.config.indirect import INDIRECT, IndirectFlags
from eg3d.config.parts import WatchConfig
from eg3d.config.presets import EMBEDDED, PRESETS
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
from eg3d.models.generator import GeneratorConfig
from eg3d.models.superresolution import SR_OF_RESOLUTION
from groundwork.plain import from_plain
from groundwork.settings import (
    Flag,
    check_value,
    contradiction,
    flags_of,
    message,
)

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
    IndirectFlags(**{name: value for name, value in given.items() if TABLE[name].part == INDIRECT})  # checks them
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
    if plain["control"]["on"]:
        if network_kind("generator", plain["generator"]) is not GeneratorConfig:
            raise ConfigError(f"--gaze-control: the generator of --cfg={cfg} has no planes to put eyes in; drop it")
        gaze = plain["gaze"]
        control = from_plain(ControlConfig, plain["control"])
        plain["generator"] = control.on_base(plain["generator"], gaze["eye_x"], gaze["eye_y"])
    config = from_dict(plain)
    if unread := _unmet(given, config, published=True):
        return resolve(cfg, resolution, **{name: value for name, value in given.items() if name not in unread})
    for name, belongs in _unmet(given, config, published=False).items():
        shown = TABLE[name].setting.flag
        raise ConfigError(f"{shown}={given[name]} is of {belongs}, or drop {shown}")
    _check_metrics(config.watch)
    if resolution is not None:
        _check_raw_image(config)
    return config


def passed_over(config: TrainConfig, flags: dict) -> list[str]:
    """Lines about given options that this configuration never looks at, and that the published script takes anyway."""
    given = {name: value for name, value in flags.items() if name in TABLE and value is not None}
    unmet = _unmet(given, config, published=True)
    return [f"{TABLE[n].setting.flag}={given[n]} does nothing here: it belongs to {of}" for n, of in unmet.items()]


def _unmet(given: dict, config: TrainConfig, published: bool) -> dict[str, str]:
    """Options, given explicitly, that this configuration never looks at, each with what it belongs to.

    A preset may hold what it does not use, and a switch that is turned off asks for nothing.
    Args: published: whether those are asked for that the published script takes all the same, or the others.
    """
    indirect, found = IndirectFlags(**{n: v for n, v in given.items() if TABLE[n].part == INDIRECT}), {}
    for name, flag in TABLE.items():
        for need in flag.setting.needs:
            if need.published == published and given.get(name, False) is not False and not need.met(config):
                found.setdefault(name, message(config, need.of, **{INDIRECT: indirect}))
    return found


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
    if cfg in EMBEDDED and size != generator["resolution"]:
        raise ConfigError(f"{images}, but --cfg={cfg} makes {generator['resolution']} px; resize the images")
    generator["resolution"] = size
    place = network_kind("generator", generator).FLAGS.get("sr_module")
    if place is None:
        return
    sr, kind = _holder(generator, place)
    if cfg not in EMBEDDED:
        if size not in SR_OF_RESOLUTION and sr_module is None:
            raise ConfigError(f"{images}; --cfg={cfg} takes 512, 256 or 128")
        sr[kind] = SR_OF_RESOLUTION.get(size)
    if sr_module is not None:
        sr[kind] = sr_module.rsplit(".", 1)[-1]
