"""How the published command-line flags of training set a configuration: `resolve` applies them to a preset."""

from eg3d.config.presets import PRESETS, SR_OF_RESOLUTION
from eg3d.config.run import NETWORKS, ConfigError, TrainConfig, from_dict, to_dict
from eg3d.metrics.registry import INCEPTION, VGG, parse_metrics
from eg3d.models.blocks import CLAMP
from groundwork.plain import from_plain

GAZE_WEIGHT = 1.0  # the published loss has no weight factor
DASHED = ("c_scale", "gaze_loss", "gaze_targets", "gaze_warmup_kimg", "gaze_crop", "num_gen", "inception_weights",
          "vgg_weights")  # fmt: skip
FLAG_NAMES = {name: name.replace("_", "-") for name in DASHED}  # as a user writes them; all others as they are

# flag -> (part, field), copied as it is; the others are worked out in `resolve`.
PLAIN_FLAGS = {
    "gamma": ("loss", "r1_gamma"),
    "style_mixing_prob": ("loss", "style_mixing_prob"),
    "density_reg": ("loss", "density_reg"),
    "density_reg_every": ("loss", "density_reg_every"),
    "density_reg_p_dist": ("loss", "density_reg_p_dist"),
    "reg_type": ("loss", "reg_type"),
    "glr": ("optim", "generator_lr"),
    "dlr": ("optim", "discriminator_lr"),
    "gpc_reg_prob": ("schedule", "gpc_reg_prob"),
    "gpc_reg_fade_kimg": ("schedule", "gpc_reg_fade_kimg"),
    "neural_rendering_resolution_initial": ("schedule", "raw_resolution_initial"),
    "neural_rendering_resolution_final": ("schedule", "raw_resolution_final"),
    "neural_rendering_resolution_fade_kimg": ("schedule", "raw_resolution_fade_kimg"),
    "data": ("data", "path"),
    "mirror": ("data", "mirror"),
    "workers": ("data", "workers"),
    "l2cs_path": ("gaze", "l2cs_path"),
    "gaze_weight": ("gaze", "weight"),
    "gaze_loss": ("gaze", "kind"),
    "gaze_targets": ("gaze", "targets"),
    "gaze_warmup_kimg": ("gaze", "warmup_kimg"),
    "gaze_crop": ("gaze", "crop"),
    "gaze_mask": ("gaze", "mask"),
    "gaze_cond_d": ("gaze", "cond_d"),
    "aug": ("augment", "mode"),
    "augpipe": ("augment", "pipe"),
    "p": ("augment", "p"),
    "target": ("augment", "target"),
    **{name: ("watch", name) for name in ("keep", "state_minutes", "bad_steps", "tensorboard")},
    **{name: ("watch", name) for name in ("metrics", "num_gen", "detector", "inception_weights", "vgg_weights")},
    **{name: (None, name) for name in ("gpus", "batch", "batch_gpu", "kimg", "tick", "snap", "seed")},
    "freeze_g": (None, "freeze_g"),
    **{name: (None, name) for name in ("resume", "resume_partial", "precision")},
}


def resolve(cfg: str, resolution: int | None = None, **flags) -> TrainConfig:
    """The run that published flags (None: not given) describe.

    Args:
        cfg: name of a preset.
        resolution: pixels per side of the data set; None, before it is known, takes the preset's.
        flags: by their names in `train.py`.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    if cfg not in PRESETS:
        raise ConfigError(f"--cfg={cfg} is unknown; use one of {', '.join(PRESETS)}")
    if given.get("cond", True) is False:
        raise ConfigError("--cond=False: EG3D cannot be trained without camera labels; drop the flag")
    base = plain = to_dict(PRESETS[cfg])
    base_batch, base_swap = base["batch"], base["schedule"]["gpc_reg_prob"]
    _set_gaze_defaults(plain, cfg)
    for flag, (part, name) in PLAIN_FLAGS.items():
        if flag in given:
            (plain[part] if part else plain)[name] = given[flag]
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
    schedule["gpc_reg_prob"] = (
        given.get("gpc_reg_prob", 0.5 if base_swap is None else base_swap) if conditioned else None
    )
    if plain["resume"] is not None:
        schedule["ema_rampup"], plain["augment"]["kimg"] = None, 100.0
        if not given.get("resume_blur", False):
            schedule["blur_init_sigma"], schedule["gpc_reg_fade_kimg"] = 0.0, 0.0
    config = from_dict(plain)
    _reject_what_does_nothing(given, config)
    _check_metrics(config.watch)
    return config


def _reject_what_does_nothing(given: dict, config: TrainConfig) -> None:
    """ConfigError for an option, given explicitly, that this configuration never looks at; it names the missing one.

    A preset may hold what it does not use, and a switch that is turned off asks for nothing.
    """
    loss, gaze, mode = config.loss, config.gaze, config.augment.mode
    conditioned = config.generator.pose_cond
    blurred = config.resume is None or given.get("resume_blur", False)
    no_term = "the gaze term, whose weight is 0: add --gaze-weight=1"
    no_metrics = "metrics at snapshots, of which there are none: add --metrics=NAME"
    needs = [  # (options, whether they do something, what they belong to and how to get it)
        ("p", mode == "fixed", "--aug=fixed: add it"),
        ("target", mode == "ada", "--aug=ada: add it"),
        ("augpipe", mode != "noaug", "--aug=ada and --aug=fixed: add one"),
        ("gpc_reg_prob gpc_reg_fade_kimg c_scale", conditioned, "pose conditioning: add --gen_pose_cond=True"),
        ("resume_blur", config.resume is not None, "a run that starts from weights: add --resume=FILE"),
        ("blur_fade_kimg gpc_reg_fade_kimg", blurred, "a start, and --resume skips it: add --resume_blur=True"),
        ("neural_rendering_resolution_fade_kimg", config.schedule.raw_resolution_final is not None,
         "a change of the resolution: add --neural_rendering_resolution_final"),
        ("density_reg_every density_reg_p_dist reg_type", loss.density_reg > 0,
         "the density regularisation, whose weight is 0: add --density_reg=0.25"),
        ("density_reg_p_dist", loss.reg_type == "l1", "--reg_type=l1 (other kinds have their own distance): add it"),
        ("gaze_loss gaze_targets", gaze.weight > 0, no_term),
        ("gaze_warmup_kimg", gaze.weight > 0 or gaze.warmup_kimg == 0, no_term),
        ("gaze_crop", gaze.l2cs_path is not None, "a gaze network, which also scores snapshots: add --l2cs-path=FILE"),
        ("num_gen detector inception_weights vgg_weights", config.watch.metrics != "none", no_metrics),
    ]  # fmt: skip
    for flags, used, what in needs:
        for flag in flags.split():
            if not used and given.get(flag, False) is not False:
                shown = FLAG_NAMES.get(flag, flag)
                raise ConfigError(f"--{shown}={given[flag]} is of {what}, or drop --{shown}")


def _check_metrics(watch) -> None:
    """ValueError for names that mean no metric, ConfigError for one without its detector, or weights no one reads."""
    metrics = parse_metrics(watch.metrics, watch.num_gen, watch.detector, watch.vgg_weights is not None)
    if not watch.inception_weights and any(metric.features == INCEPTION for metric in metrics):
        raise ConfigError(
            f"--metrics={watch.metrics} needs --inception-weights=FILE, torch-fidelity's "
            "weights-inception-2015-12-05-6726825d.pth (nothing is downloaded), or --detector=embedded for the "
            "embedded world"
        )
    if watch.inception_weights and watch.detector != INCEPTION:
        raise ConfigError(f"--inception-weights: --detector={watch.detector} has no use for them; leave one out")
    if watch.vgg_weights and not any(metric.features == VGG for metric in metrics):
        raise ConfigError(
            f"--vgg-weights: --metrics={watch.metrics} has no use for them; leave them out, or add pr50k3_full"
        )


def _set_gaze_defaults(plain: dict, cfg: str) -> None:
    plain["gaze"]["weight"] = GAZE_WEIGHT
    if cfg == "embedded":
        plain["gaze"]["l2cs_path"] = "embedded"


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
