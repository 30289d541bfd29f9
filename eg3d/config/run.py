"""The whole of a training run in one frozen dataclass.

Contradictions raise `ConfigError` when the dataclass is made, before data, network files or a device are touched.
`presets.py` holds the numbers of named runs, `flags.py` applies command-line flags to one of them.
"""

import dataclasses
import math
from dataclasses import asdict, dataclass, field

from eg3d.config.augmentation import AugmentConfig
from eg3d.gaze.term import GAZE_DIM, GazeLossConfig
from eg3d.geometry.cameras import LABEL_DIM
from eg3d.models.discriminator import DiscriminatorConfig
from eg3d.models.generator import GeneratorConfig
from groundwork.plain import from_plain


class ConfigError(ValueError):
    """A contradiction in a configuration; the message is one line that names the flag and the remedy."""


def _non_negative(flag: str, value: float) -> None:
    if not 0 <= value < float("inf"):
        raise ConfigError(f"{flag}={value} must be a number >= 0")


def _positive(flag: str, value: float) -> None:
    if not 0 < value < float("inf"):
        raise ConfigError(f"{flag}={value} must be a number > 0")


def _fraction(flag: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ConfigError(f"{flag}={value} is a probability; use a number from 0 to 1")


def _at_least(flag: str, value: int, least: int) -> None:
    if value < least:
        raise ConfigError(f"{flag}={value} must be at least {least}")


def _within(flag: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise ConfigError(f"{flag}={value} must be from {least} to {most}")


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """Adam for both networks; rates are before the correction for lazy regularisation (schedules.lazy_adam)."""

    generator_lr: float = 0.0025
    discriminator_lr: float = 0.002
    betas: tuple[float, float] = (0.0, 0.99)
    eps: float = 1e-8

    def __post_init__(self):
        _positive("--glr", self.generator_lr)
        _positive("--dlr", self.discriminator_lr)


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
        for name in ("blur_init_sigma", "ema_kimg"):  # without a flag
            _non_negative(name, getattr(self, name))
        _non_negative("--blur_fade_kimg", self.blur_fade_kimg)
        _non_negative("--gpc_reg_fade_kimg", self.gpc_reg_fade_kimg)
        _non_negative("--neural_rendering_resolution_fade_kimg", self.raw_resolution_fade_kimg)
        if self.gpc_reg_prob is not None:
            _fraction("--gpc_reg_prob", self.gpc_reg_prob)
        _at_least("--neural_rendering_resolution_initial", self.raw_resolution_initial, 4)
        if self.raw_resolution_final is not None:
            _at_least("--neural_rendering_resolution_final", self.raw_resolution_final, 4)


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where the images are and how they are read."""

    path: str = ""
    mirror: bool = False  # each image also left to right, with its camera (D-25)
    workers: int = 3


@dataclass(frozen=True, kw_only=True)
class WatchConfig:
    """What a run keeps, and when it stops by itself; none of it touches the arithmetic."""

    keep: int | None = None  # how many of the last snapshots stay, besides the best one; None: all
    state_minutes: float = 10.0  # between two states, where snapshots are further apart
    bad_steps: int = 1  # steps in a row with a loss that is not finite, until the run stops
    tensorboard: bool = False
    metrics: str = "none"  # measured at snapshots, as in eg3d/calc_metrics.py; a gaze network scores them besides
    num_gen: int = 50_000  # generated pictures per metric
    detector: str = "inception"
    inception_weights: str | None = None
    vgg_weights: str | None = None

    def __post_init__(self):
        if self.keep is not None:
            _at_least("--keep", self.keep, 1)
        _non_negative("--state-minutes", self.state_minutes)
        _at_least("--bad-steps", self.bad_steps, 1)


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One training run. The size of the images is that of the generator's pictures."""

    preset: str
    generator: GeneratorConfig
    discriminator: DiscriminatorConfig
    optim: OptimConfig = field(default_factory=OptimConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    data: DataConfig = field(default_factory=DataConfig)
    gaze: GazeLossConfig = field(default_factory=lambda: GazeLossConfig(weight=0.0))
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    watch: WatchConfig = field(default_factory=WatchConfig)
    gpus: int = 1
    batch: int = 32  # global
    batch_gpu: int | None = None  # micro-batch of one process; None: batch // gpus
    kimg: float = 25000
    tick: float = 4  # kimg between two lines of stats.jsonl
    snap: int = 50  # ticks between two snapshots
    seed: int = 0
    precision: str | None = None  # of the convolutions, see models/precision.py; None: as the networks are built
    benchmark: bool = True  # cuDNN picks its algorithms by trial
    resume: str | None = None  # weights to start from; the optimisers start fresh
    freeze_g: int = 0  # blocks of the backbone that are not trained, from 4 px on; any also freezes the mapping network
    resume_partial: bool = False  # start what `resume` lacks, or has in another shape, from random weights

    def __post_init__(self):
        _at_least("--gpus", self.gpus, 1)
        _within("--batch", self.batch, 1, 2**16)
        _within("--kimg", self.kimg, 0, 10**9)
        self._check_sizes()
        blocks = int(math.log2(self.plane_resolution)) - 1
        if not 0 <= self.freeze_g <= blocks:
            raise ConfigError(f"--freeze-g={self.freeze_g} must be from 0 to {blocks}, the blocks of this backbone")
        _at_least("--snap", self.snap, 1)
        _within("--tick", self.tick, 0.001, 10**9)  # from one image on
        if self.gaze.cond_d and self.augment.mode != "noaug" and self.augment.transforms.move_pixels:
            raise ConfigError(
                f"--gaze-cond-d tells the discriminator where the eyes look before --augpipe={self.augment.pipe} turns "
                "and mirrors the picture, which then looks elsewhere; use --augpipe=colour"
            )
        if self.resume_partial and self.resume is None:
            raise ConfigError("--resume-partial says how to read a checkpoint, but there is none: add --resume=FILE")
        if self.batch % self.gpus:
            raise ConfigError(f"--batch={self.batch} is not divisible by --gpus={self.gpus}; choose a multiple")
        if self.batch_gpu is not None:
            _at_least("--batch-gpu", self.batch_gpu, 1)
        if self.batch % (self.gpus * self.micro_batch):
            raise ConfigError(
                f"--batch={self.batch} is not divisible by --gpus x --batch-gpu = {self.gpus} x {self.micro_batch}; "
                "choose a multiple"
            )
        _non_negative("--disc_c_noise", self.discriminator.disc_c_noise)
        group = self.discriminator.epilogue.mbstd_group_size or self.micro_batch
        if self.micro_batch < group or self.micro_batch % group:
            flag = "--batch" if self.batch_gpu is None else "--batch-gpu"
            fits = max(n for n in range(1, group + 1) if self.micro_batch % n == 0)
            raise ConfigError(
                f"{flag} gives micro-batches of {self.micro_batch}, which cannot be split into groups of {group} for "
                f"minibatch statistics; pass --mbstd-group={fits} (a divisor of {self.micro_batch}), "
                f"or make them a multiple of {group} by {flag}"
            )

    def _check_sizes(self) -> None:
        """Networks that can be built: every resolution has a channel, nothing grows without end."""
        side = self.generator.resolution
        for network in (self.generator.backbone, self.discriminator):
            _within("--cbase", network.channel_base, max(side, self.plane_resolution), 2**20)
            _within("--cmax", network.channel_max, 1, 2**13)
        # Of the discriminator's blocks, from the image down to 8 px: three convolutions each, and one from RGB.
        layers = 3 * (int(math.log2(side)) - 2) + 1
        _within("--freezed", self.discriminator.blocks.freeze_layers, 0, layers)
        for when in ("initial", "final"):
            rays = getattr(self.schedule, f"raw_resolution_{when}")
            if rays is not None and rays > side:
                raise ConfigError(
                    f"--neural_rendering_resolution_{when}={rays} is finer than the images of {side} px; "
                    f"give {side} or less"
                )

    @property
    def micro_batch(self) -> int:
        """Images one process handles at once."""
        return self.batch_gpu or self.batch // self.gpus

    @property
    def plane_resolution(self) -> int:
        return self.generator.backbone.plane_resolution

    @property
    def label_dim(self) -> int:
        """Numbers of the label that the discriminator is told: a camera, and a gaze beside it with --gaze-cond-d."""
        return LABEL_DIM + GAZE_DIM * self.gaze.cond_d


NETWORKS = {"generator": GeneratorConfig, "discriminator": DiscriminatorConfig}
PARTS = {
    "optim": OptimConfig,
    "loss": LossConfig,
    "schedule": ScheduleConfig,
    "data": DataConfig,
    "gaze": GazeLossConfig,
    "augment": AugmentConfig,
    "watch": WatchConfig,
}


def to_dict(config: TrainConfig) -> dict:
    """Plain nested dict that JSON can hold; `from_dict` inverts it."""
    plain = asdict(config)
    plain["optim"]["betas"] = list(plain["optim"]["betas"])
    return plain


def from_dict(plain: dict) -> TrainConfig:
    """Inverse of `to_dict`; unknown names raise ConfigError."""
    plain = dict(plain)
    for name, cls in NETWORKS.items():
        plain[name] = from_plain(cls, plain[name], f"{name}.")
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


# Changing these between a stop and going on leaves the arithmetic of the run as it is; another number of processes
# adds the same numbers in another order. The micro-batches must stay: minibatch statistics depend on them. Whether the
# data set is the same one, wherever it lies, is told by its digest (training/trainer.py).
FREE_TO_CHANGE = {"kimg", "tick", "snap", "benchmark", "data.path", "data.workers", "gpus"}


def check_same_run(saved: TrainConfig, asked: TrainConfig) -> None:
    """Raises ConfigError, naming the first setting, unless `asked` may continue the run of `saved`."""
    old, new = (_flat(to_dict(config)) | {"batch_gpu": config.micro_batch} for config in (saved, asked))
    for name in sorted(set(old) | set(new)):
        free = name in FREE_TO_CHANGE or name.startswith("watch.")
        if not free and old.get(name) != new.get(name):
            raise ConfigError(
                f"the run in --outdir has {name}={old.get(name)}, this command asks for {new.get(name)}; "
                "give the same flags to go on with it, or another --outdir, with --resume=SNAPSHOT to use its weights"
            )


def _flat(plain: dict, prefix: str = "") -> dict:
    flat = {}
    for name, value in plain.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat
