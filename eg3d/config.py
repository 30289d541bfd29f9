"""The whole of a training run in one frozen dataclass, its presets, and how the published flags set it.

Contradictions raise `ConfigError` when the dataclass is made, before data, network files or a device are touched.
Presets hold all numbers; `resolve` applies flags to one of them.
"""

import dataclasses
from dataclasses import asdict, dataclass, field, replace

from eg3d.cameras import FFHQ_PIVOT, FFHQ_RADIUS, LABEL_DIM
from eg3d.gaze import GazeLossConfig


class ConfigError(ValueError):
    """A contradiction in a configuration; the message is one line that names the flag and the remedy."""


def _non_negative(flag: str, value: float) -> None:
    if not 0 <= value < float("inf"):
        raise ConfigError(f"{flag}={value} must be a number >= 0")


def _fraction(flag: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ConfigError(f"{flag}={value} is a probability; use a number from 0 to 1")


def _at_least(flag: str, value: int, least: int) -> None:
    if value < least:
        raise ConfigError(f"{flag}={value} must be at least {least}")


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """Adam for both networks; rates are before the correction for lazy regularisation (schedules.lazy_adam)."""

    generator_lr: float = 0.0025
    discriminator_lr: float = 0.002
    betas: tuple[float, float] = (0.0, 0.99)
    eps: float = 1e-8


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Weights of the terms. EG3D, section 5.1 and supplement; the gaze term has its own part."""

    r1_gamma: float = 1.0  # 0 turns R1 off
    r1_every: int = 16  # discriminator steps per R1 step
    style_mixing_prob: float = 0.0
    density_reg: float = 0.25  # 0 turns the term off
    density_reg_every: int = 4
    density_reg_p_dist: float = 0.004  # distance of the paired points, world units
    density_points: int = 1000
    density_in_box: bool = False  # False, published: points in [-1, 1]^3 whatever box_warp is (D-08)
    reg_type: str = "l1"
    filter_mode: str = "antialiased"  # how real images are shrunk to image_raw
    blur_raw: bool = False  # False, published: generated raw images stay sharp while real ones are blurred (D-13)

    def __post_init__(self):
        _non_negative("--gamma", self.r1_gamma)
        _non_negative("--density_reg", self.density_reg)
        _non_negative("--density_reg_p_dist", self.density_reg_p_dist)
        _fraction("--style_mixing_prob", self.style_mixing_prob)
        _at_least("--density_reg_every", self.density_reg_every, 1)
        _at_least("r1_every", self.r1_every, 1)
        if self.reg_type in ("l1-alt", "total-variation"):  # D-09
            raise ConfigError(f"--reg_type={self.reg_type} never did anything in EG3D and is not offered; use l1")
        if self.reg_type not in ("l1", "monotonic-detach", "monotonic-fixed"):
            raise ConfigError(f"--reg_type={self.reg_type} is unknown; use l1, monotonic-detach or monotonic-fixed")


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """Everything that depends on the images seen (training/schedules.py). kimg: thousand images."""

    blur_init_sigma: float = 10.0  # px
    blur_fade_kimg: float = 200.0
    gpc_reg_prob: float | None = None  # conditioning swap; None without pose conditioning
    gpc_reg_fade_kimg: float = 1000.0
    raw_resolution_initial: int = 64  # rays per side
    raw_resolution_final: int | None = None
    raw_resolution_fade_kimg: float = 1000.0
    ema_kimg: float = 10.0
    ema_rampup: float | None = 0.05

    def __post_init__(self):
        for name in ("blur_init_sigma", "blur_fade_kimg", "gpc_reg_fade_kimg", "raw_resolution_fade_kimg", "ema_kimg"):
            _non_negative(name, getattr(self, name))
        if self.gpc_reg_prob is not None:
            _fraction("--gpc_reg_prob", self.gpc_reg_prob)
        for resolution in (self.raw_resolution_initial, self.raw_resolution_final or 4):
            _at_least("--neural_rendering_resolution", resolution, 4)


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where the images are and how they are read."""

    path: str = ""
    mirror: bool = False  # each image also left to right, with its camera (D-25)
    resolution: int = 512
    workers: int = 3


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One training run. `generator` and `discriminator` are the constructors' arguments."""

    preset: str
    generator: dict
    discriminator: dict
    optim: OptimConfig = field(default_factory=OptimConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    data: DataConfig = field(default_factory=DataConfig)
    gaze: GazeLossConfig = field(default_factory=lambda: GazeLossConfig(weight=0.0))
    gpus: int = 1
    batch: int = 32  # global
    batch_gpu: int | None = None  # micro-batch of one process; None: batch // gpus
    kimg: float = 25000
    tick: float = 4  # kimg between two lines of stats.jsonl
    snap: int = 50  # ticks between two snapshots
    seed: int = 0
    benchmark: bool = True  # cuDNN picks its algorithms by trial
    resume: str | None = None  # weights to start from; the optimisers start fresh

    def __post_init__(self):
        _at_least("--gpus", self.gpus, 1)
        _at_least("--batch", self.batch, 1)
        _non_negative("--kimg", self.kimg)
        _at_least("--snap", self.snap, 1)
        if self.tick <= 0:
            raise ConfigError(f"--tick={self.tick} must be more than 0")
        if self.batch % self.gpus:
            raise ConfigError(f"--batch={self.batch} is not divisible by --gpus={self.gpus}; choose a multiple")
        if self.batch_gpu is not None:
            _at_least("--batch-gpu", self.batch_gpu, 1)
        if self.batch % (self.gpus * self.micro_batch):
            raise ConfigError(
                f"--batch={self.batch} is not divisible by --gpus x --batch-gpu = {self.gpus} x {self.micro_batch}; "
                "choose a multiple"
            )
        group = self.discriminator["epilogue_kwargs"]["mbstd_group_size"]
        if self.micro_batch < group or self.micro_batch % group:
            flag = "--batch" if self.batch_gpu is None else "--batch-gpu"
            fits = 1 if self.micro_batch == 1 else f"a divisor of {self.micro_batch}"
            raise ConfigError(
                f"{flag} gives micro-batches of {self.micro_batch}, which cannot be split into groups of "
                f"{group} for its minibatch statistics; pass --mbstd-group={fits} or a larger {flag}"
            )
        if self.generator["img_resolution"] != self.data.resolution:
            raise ConfigError(
                f"--data={self.data.path} has images of {self.data.resolution} px, "
                f"but --cfg={self.preset} makes {self.generator['img_resolution']} px; resize the images"
            )

    @property
    def micro_batch(self) -> int:
        """Images one process handles at once."""
        return self.batch_gpu or self.batch // self.gpus

    @property
    def rendering(self) -> dict:
        """The generator's `rendering_kwargs`."""
        return self.generator["rendering_kwargs"]


PARTS = {
    "optim": OptimConfig,
    "loss": LossConfig,
    "schedule": ScheduleConfig,
    "data": DataConfig,
    "gaze": GazeLossConfig,
}


def to_dict(config: TrainConfig) -> dict:
    """Plain nested dict that JSON can hold; `from_dict` inverts it."""
    plain = asdict(config)
    plain["optim"]["betas"] = list(plain["optim"]["betas"])
    return plain


def from_dict(plain: dict) -> TrainConfig:
    """Inverse of `to_dict`; unknown names raise ConfigError."""
    plain = dict(plain)
    for name, cls in PARTS.items():
        if name in plain:
            plain[name] = _build(cls, plain[name], f"{name}.")
    return _build(TrainConfig, plain, "")


def _build(cls, plain: dict, prefix: str):
    unknown = set(plain) - {f.name for f in dataclasses.fields(cls)}
    if unknown:
        raise ConfigError(f"the configuration holds the unknown name {prefix}{min(unknown)}; remove it")
    values = {name: tuple(v) if name == "betas" else v for name, v in plain.items()}
    return cls(**values)


# ------------------------------------------------------------------ presets


def _published(resolution: int, rendering: dict, **rest) -> TrainConfig:
    """What EG3D's own command line builds for a data set of this resolution."""
    generator = dict(
        z_dim=512,
        c_dim=LABEL_DIM,
        w_dim=512,
        img_resolution=resolution,
        img_channels=3,
        mapping_kwargs=dict(num_layers=2),
        channel_base=32768,
        channel_max=512,
        fused_modconv_default="inference_only",
        num_fp16_res=0,
        conv_clamp=None,
        sr_num_fp16_res=4,
        sr_kwargs=dict(channel_base=32768, channel_max=512, fused_modconv_default="inference_only"),
        rendering_kwargs=dict(
            image_resolution=resolution,
            disparity_space_sampling=False,
            clamp_mode="softplus",
            superresolution_module=SR_OF_RESOLUTION[resolution],
            sr_antialias=True,
            superresolution_noise_mode="none",
            c_gen_conditioning_zero=True,
            gpc_reg_prob=None,
            c_scale=1.0,
            decoder_lr_mul=1.0,
            density_reg=0.25,
            density_reg_p_dist=0.004,
            reg_type="l1",
            **rendering,
        ),
    )
    discriminator = dict(
        c_dim=LABEL_DIM,
        img_resolution=resolution,
        img_channels=3,
        channel_base=32768,
        channel_max=512,
        num_fp16_res=4,
        conv_clamp=256,
        disc_c_noise=0.0,
        block_kwargs=dict(freeze_layers=0),
        mapping_kwargs={},
        epilogue_kwargs=dict(mbstd_group_size=4),
    )
    return TrainConfig(generator=generator, discriminator=discriminator, data=DataConfig(resolution=resolution), **rest)


SR_OF_RESOLUTION = {
    512: "training.superresolution.SuperresolutionHybrid8XDC",
    256: "training.superresolution.SuperresolutionHybrid4X",
    128: "training.superresolution.SuperresolutionHybrid2X",
}

_HEADS = dict(depth_resolution=48, depth_resolution_importance=48, ray_start=2.25, ray_end=3.3, box_warp=1)

# ffhq: EG3D's FFHQ 512 model, first stage (gamma 1, batch 32). The published pose-conditioned model adds
# --gen_pose_cond=True; its second stage resumes with --neural_rendering_resolution_final=128 for 2000 kimg.
FFHQ = _published(
    512,
    dict(_HEADS, avg_camera_radius=FFHQ_RADIUS, avg_camera_pivot=list(FFHQ_PIVOT)),
    preset="ffhq",
)

# afhq: EG3D's AFHQv2 cats: fine-tuned from FFHQ with gamma 5, --gpc_reg_prob=0.8 and augmentation.
AFHQ = _published(
    512,
    dict(_HEADS, avg_camera_radius=FFHQ_RADIUS, avg_camera_pivot=[0, 0, -0.06]),
    preset="afhq",
    loss=LossConfig(r1_gamma=5.0),
)

# shapenet: EG3D's ShapeNet Cars, 128 px, gamma 0.3, white background, no pose conditioning.
SHAPENET = _published(
    128,
    dict(
        depth_resolution=64,
        depth_resolution_importance=64,
        ray_start=0.1,
        ray_end=2.6,
        box_warp=1.6,
        white_back=True,
        avg_camera_radius=1.7,
        avg_camera_pivot=[0, 0, 0],
    ),
    preset="shapenet",
    loss=LossConfig(r1_gamma=0.3),
)

# embedded: the small model of `assets/embedded/`: the same classes at 64 px, made to be trained on two CPU cores.
EMBEDDED = TrainConfig(
    preset="embedded",
    generator=dict(
        z_dim=64,
        c_dim=LABEL_DIM,
        w_dim=128,
        img_resolution=64,
        img_channels=3,
        mapping_kwargs=dict(num_layers=2),
        plane_resolution=64,
        plane_channels=16,
        decoder_width=32,
        channel_base=2048,
        channel_max=64,
        fused_modconv_default="inference_only",
        num_fp16_res=0,
        conv_clamp=None,
        sr_num_fp16_res=0,
        sr_kwargs=dict(widths=[32, 16], fused_modconv_default="inference_only"),
        rendering_kwargs=dict(
            image_resolution=64,
            disparity_space_sampling=False,
            clamp_mode="softplus",
            superresolution_module=SR_OF_RESOLUTION[128],
            sr_antialias=True,
            superresolution_noise_mode="none",
            c_gen_conditioning_zero=False,
            gpc_reg_prob=0.5,
            c_scale=1.0,
            decoder_lr_mul=1.0,
            density_reg=0.25,
            density_reg_p_dist=0.004,
            reg_type="l1",
            depth_resolution=8,
            depth_resolution_importance=8,
            ray_start=2.25,
            ray_end=3.15,
            box_warp=1,
            avg_camera_radius=FFHQ_RADIUS,
            avg_camera_pivot=list(FFHQ_PIVOT),
        ),
    ),
    discriminator=dict(
        c_dim=LABEL_DIM,
        img_resolution=64,
        img_channels=3,
        channel_base=1024,
        channel_max=128,
        num_fp16_res=0,
        conv_clamp=None,
        disc_c_noise=0.0,
        block_kwargs=dict(freeze_layers=0),
        mapping_kwargs=dict(num_layers=2),
        epilogue_kwargs=dict(mbstd_group_size=4),
    ),
    loss=LossConfig(r1_gamma=1.0, density_in_box=True),
    schedule=ScheduleConfig(
        blur_init_sigma=2.0,
        blur_fade_kimg=10.0,
        gpc_reg_prob=0.5,
        gpc_reg_fade_kimg=10.0,
        raw_resolution_initial=32,
        ema_kimg=0.5,
    ),
    data=DataConfig(path="embedded", resolution=64),
    batch=16,
    kimg=200,
    tick=1,
    snap=5,
)

PRESETS = {config.preset: config for config in (FFHQ, AFHQ, SHAPENET, EMBEDDED)}
GAZE_WEIGHT = 1.0  # the published loss has no weight factor

# ------------------------------------------------------------------ flags

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
    **{name: (None, name) for name in ("gpus", "batch", "batch_gpu", "kimg", "tick", "snap", "seed", "resume")},
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
    _reject_what_comes_later(given)
    base = plain = to_dict(PRESETS[cfg])
    base_batch, base_swap = base["batch"], base["schedule"]["gpc_reg_prob"]
    _set_gaze_defaults(plain, cfg)
    for flag, (part, name) in PLAIN_FLAGS.items():
        if flag in given:
            (plain[part] if part else plain)[name] = given[flag]
    _set_networks(plain, given)
    _set_resolution(plain, cfg, resolution, given.get("sr_module"))
    schedule, rendering = plain["schedule"], plain["generator"]["rendering_kwargs"]

    # Lengths that grow with the batch, as published: 200 kimg of blur and 10 of EMA are for a batch of 32.
    scale = plain["batch"] / base_batch
    schedule["blur_fade_kimg"] *= scale
    schedule["ema_kimg"] *= scale
    if "blur_fade_kimg" in given:
        schedule["blur_fade_kimg"] = plain["batch"] * given["blur_fade_kimg"] / 32

    conditioned = given.get("gen_pose_cond", not rendering["c_gen_conditioning_zero"])
    rendering["c_gen_conditioning_zero"] = not conditioned
    schedule["gpc_reg_prob"] = (
        given.get("gpc_reg_prob", 0.5 if base_swap is None else base_swap) if conditioned else None
    )
    rendering["gpc_reg_prob"] = schedule["gpc_reg_prob"]
    for name in ("density_reg", "density_reg_p_dist", "reg_type"):
        rendering[name] = plain["loss"][name]
    if plain["resume"] is not None:
        schedule["ema_rampup"] = None
        if not given.get("resume_blur", False):
            schedule["blur_init_sigma"], schedule["gpc_reg_fade_kimg"] = 0.0, 0.0
    return from_dict(plain)


def _reject_what_comes_later(given: dict) -> None:
    if given.get("aug", "noaug") != "noaug":
        raise ConfigError(f"--aug={given['aug']}: augmentation is not implemented yet (a later issue); use --aug=noaug")
    if given.get("metrics", "none") != "none":
        raise ConfigError(f"--metrics={given['metrics']}: metrics are not implemented yet (a later issue); use none")
    if given.get("cond", True) is False:
        raise ConfigError("--cond=False: EG3D cannot be trained without camera labels; drop the flag")


def _set_gaze_defaults(plain: dict, cfg: str) -> None:
    plain["gaze"]["weight"] = GAZE_WEIGHT
    if cfg == "embedded":
        plain["gaze"]["l2cs_path"] = "embedded"


def _set_networks(plain: dict, given: dict) -> None:
    """Flags that end up in the constructors' arguments."""
    generator, discriminator = plain["generator"], plain["discriminator"]
    rendering = generator["rendering_kwargs"]
    for flag, name in (("cbase", "channel_base"), ("cmax", "channel_max")):
        if flag in given:
            generator[name] = discriminator[name] = generator["sr_kwargs"][name] = given[flag]
    if "map_depth" in given:
        generator["mapping_kwargs"]["num_layers"] = given["map_depth"]
    if "mbstd_group" in given:
        discriminator["epilogue_kwargs"]["mbstd_group_size"] = given["mbstd_group"]
    if "freezed" in given:
        discriminator["block_kwargs"]["freeze_layers"] = given["freezed"]
    if "disc_c_noise" in given:
        discriminator["disc_c_noise"] = given["disc_c_noise"]
    for flag, name in (
        ("c_scale", "c_scale"),
        ("sr_noise_mode", "superresolution_noise_mode"),
        ("decoder_lr_mul", "decoder_lr_mul"),
    ):
        if flag in given:
            rendering[name] = given[flag]
    if "sr_num_fp16_res" in given:
        generator["sr_num_fp16_res"] = given["sr_num_fp16_res"]
    for flag, network in (("g_num_fp16_res", generator), ("d_num_fp16_res", discriminator)):
        if flag in given:
            network["num_fp16_res"] = given[flag]
            network["conv_clamp"] = 256 if given[flag] > 0 else None
    if "nobench" in given:
        plain["benchmark"] = not given["nobench"]


def _set_resolution(plain: dict, cfg: str, resolution: int | None, sr_module: str | None) -> None:
    """Image size of the data set, and the super-resolution that goes with it."""
    if resolution is not None:
        plain["data"]["resolution"] = resolution
    size = plain["data"]["resolution"]
    rendering = plain["generator"]["rendering_kwargs"]
    if cfg != "embedded":
        if size not in SR_OF_RESOLUTION and sr_module is None:
            raise ConfigError(
                f"--data={plain['data']['path']} has images of {size} px; --cfg={cfg} takes 512, 256 or 128"
            )
        plain["generator"]["img_resolution"] = plain["discriminator"]["img_resolution"] = size
        rendering["image_resolution"] = size
        rendering["superresolution_module"] = SR_OF_RESOLUTION.get(size)
    if sr_module is not None:
        rendering["superresolution_module"] = sr_module


# Changing these between a stop and `--resume=latest` leaves the arithmetic of the run as it is.
FREE_TO_CHANGE = {"kimg", "tick", "snap", "benchmark", "data.workers"}


def check_same_run(saved: TrainConfig, asked: TrainConfig) -> None:
    """Raises ConfigError, naming the first setting, unless `asked` may continue the run of `saved`."""
    old, new = _flat(to_dict(saved)), _flat(to_dict(asked))
    for name in sorted(set(old) | set(new)):
        if name not in FREE_TO_CHANGE and old.get(name) != new.get(name):
            raise ConfigError(
                f"--resume=latest: the stopped run has {name}={old.get(name)}, this command asks for {new.get(name)}; "
                "give the same flags, or start another --outdir with --resume=SNAPSHOT"
            )


def _flat(plain: dict, prefix: str = "") -> dict:
    flat = {}
    for name, value in plain.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat


__all__ = ["PRESETS", "ConfigError", "TrainConfig", "check_same_run", "from_dict", "replace", "resolve", "to_dict"]
