"""The whole of a training run in one frozen dataclass.

Contradictions raise `ConfigError` when the dataclass is made, before data, network files or a device are touched.
Each field carries its flag, help and check (groundwork/settings.py). `parts.py` holds the parts, `presets.py` the
numbers of named runs, and `flags.py` applies command-line flags to one of them.
"""

from dataclasses import asdict, dataclass, field

from eg3d.config.augmentation import AugmentConfig
from eg3d.config.eye_control import ControlConfig
from eg3d.config.indirect import INDIRECT, IndirectFlags
from eg3d.config.parts import DataConfig, LossConfig, OptimConfig, ScheduleConfig, WatchConfig
from eg3d.gaze.term import GAZE_DIM, GazeLossConfig
from eg3d.geometry.cameras import LABEL_DIM
from eg3d.models.architectures import DISCRIMINATORS, GENERATORS, class_of, name_of
from eg3d.models.protocol import NetworkConfig
from eg3d.ops.precision import FORMATS, PRECISIONS
from groundwork.places import START
from groundwork.plain import flat, from_plain
from groundwork.settings import (
    ConfigError,
    as_typed,
    at_least,
    check_settings,
    contradiction,
    flags_of,
    one_of,
    setting,
    within,
)


def _check_within(flag: str, value: float, least: float, most: float) -> None:
    """ConfigError, with a flag of `IndirectFlags`, for a value that is not from `least` to `most`."""
    if not least <= value <= most:
        text = f"{{{flag}:{{value}}}} must be from {{least}} to {{most}}"
        raise contradiction(IndirectFlags(), text, value=value, least=least, most=most)


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One training run. The size of the images is that of the generator's pictures."""

    preset: str
    generator: NetworkConfig
    discriminator: NetworkConfig
    optim: OptimConfig = field(default_factory=OptimConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    data: DataConfig = field(default_factory=DataConfig)
    gaze: GazeLossConfig
    control: ControlConfig = field(default_factory=ControlConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    watch: WatchConfig = field(default_factory=WatchConfig)
    gpus: int = setting(
        1,
        flag="--gpus",
        help="Processes, one per GPU; under torchrun its number, left out.",
        check=at_least(1),
        group="length",
    )
    batch: int = setting(
        32, flag="--batch", help="Images per step, over all processes.", check=within(1, 2**16), group="length"
    )
    batch_gpu: int | None = setting(
        None,
        flag="--batch-gpu",
        help="Images that a process handles at once; the rest is accumulated.",
        check=at_least(1),
        group="length",
        unset="--batch divided by --gpus",
    )
    kimg: float = setting(
        25000, flag="--kimg", help="Length of the run, in thousand images.", check=within(0, 10**9), group="length"
    )
    tick: float = setting(
        4,
        flag="--tick",
        help="Thousand images from one line of stats.jsonl to the next.",
        check=within(0.001, 10**9),  # from one image on
        group="watch",
    )
    snap: int = setting(
        50, flag="--snap", help="Ticks from one snapshot to the next.", check=at_least(1), group="watch"
    )
    seed: int = setting(0, flag="--seed", help="Seed of every random draw.", group="length")
    precision: str | None = setting(
        None,
        flag="--precision",
        help=FORMATS,
        check=one_of(PRECISIONS),
        group="speed",
        unset="as the network was built, fp16",
    )
    benchmark: bool = True  # cuDNN picks its algorithms by trial
    resume: str | None = setting(
        None,
        flag="--resume",
        help="Start from the weights of this checkpoint: ours, a published .pkl, a .pt, embedded-base, people-base, or "
        "an https:// address; latest: go on with the run in --outdir, which there must be.",
        group="start",
        metavar="NETWORK",
        place=START,
        unset="none, random weights",
    )
    freeze_g: int = setting(
        0,
        flag="--freeze-g",
        help="Freeze the mapping network and so many blocks of the backbone, from 4 px on.",
        group="start",
    )
    resume_partial: bool = setting(
        False,
        flag="--resume-partial",
        help="With --resume: start what does not fit from random weights. Networks for pictures of twice the side "
        "start as the same functions.",
        group="start",
        switch=True,
    )

    def __post_init__(self):
        check_settings(self)
        self._check_sizes()
        blocks = self.generator.freezable_blocks
        if not 0 <= self.freeze_g <= blocks:
            raise contradiction(
                self, "{freeze_g} must be from 0 to {blocks}, the blocks of this backbone", blocks=blocks
            )
        if self.loss.density_reg > 0 and not hasattr(class_of(self.generator), "sample_mixed"):
            raise contradiction(
                self,
                "{loss.density_reg} asks for densities, which a {kind} lacks (sample_mixed); give {loss.density_reg:0}",
                kind=name_of(self.generator),
            )
        if self.gaze.cond_d and self.augment.mode != "noaug" and self.augment.transforms.move_pixels:
            raise contradiction(
                self,
                "{gaze.cond_d:flag} tells the discriminator where the eyes look before {augment.pipe} turns and "
                "mirrors the picture, which then looks elsewhere; use {augment.pipe:colour}",
            )
        if self.control.on:
            self._check_control()
        if self.schedule.glr_fade_kimg is not None and self.kimg > self.schedule.glr_fade_kimg:
            raise contradiction(
                self,
                "{kimg} goes on where the generator's learning rate is 0, after {schedule.glr_fade_kimg}; give both "
                "the same number",
            )
        if self.resume_partial and self.resume is None:
            raise contradiction(
                self, "{resume_partial:flag} says how to read a checkpoint, but there is none: add {resume:FILE}"
            )
        if self.batch % self.gpus:
            raise contradiction(self, "{batch} is not divisible by {gpus}; choose a multiple")
        if self.batch % (self.gpus * self.micro_batch):
            raise contradiction(
                self,
                "{batch} is not divisible by {gpus:flag} x {batch_gpu:flag} = {gpus:value} x {micro_batch}; "
                "choose a multiple",
                micro_batch=self.micro_batch,
            )
        group = self.discriminator.by_flag("mbstd_group") or self.micro_batch
        if self.micro_batch < group or self.micro_batch % group:
            flag = "{batch:flag}" if self.batch_gpu is None else "{batch_gpu:flag}"
            raise contradiction(
                self,
                f"{flag} gives micro-batches of {{n}}, which cannot be split into groups of {{group}} for minibatch "
                f"statistics; make them a multiple of {{group}} by {flag}, "
                "or, in a new run, pass {flags.mbstd_group:{fits}} (a divisor of {n})",
                **{INDIRECT: IndirectFlags()},
                n=self.micro_batch,
                group=group,
                fits=max(n for n in range(1, group + 1) if self.micro_batch % n == 0),
            )

    def _check_control(self) -> None:
        """What a run with the gaze as an input cannot do without, or with."""
        for wrong, text in (
            (self.resume is None, "{control.on:flag} sets the gaze of a trained generator: add {resume:NETWORK}"),
            (self.gaze.weight == 0, "{control.on:flag} learns by the gaze term, which is off: add {gaze.weight:1}"),
            (self.gaze.mask, "{control.on:flag} changes the eyes alone by its own region: drop {gaze.mask:flag}"),
            (self.gaze.targets != "correct", "{control.on:flag} has its own targets: drop {gaze.targets}"),
        ):
            if wrong:
                raise contradiction(self, text)

    def _check_sizes(self) -> None:
        """Networks that can be built: every resolution has a channel, nothing grows without end."""
        side = self.generator.resolution
        for network in (self.generator, self.discriminator):
            for flag, least, most in (("cbase", max(side, self.generator.finest_layer), 2**20), ("cmax", 1, 2**13)):
                if flag in network.FLAGS:
                    _check_within(flag, network.by_flag(flag), least, most)
        layers = self.discriminator.freezable_layers(side)
        _check_within("freezed", self.discriminator.by_flag("freezed") or 0, 0, layers)
        for when in ("initial", "final"):
            rays = getattr(self.schedule, f"raw_resolution_{when}")
            if rays is not None and rays > side:
                raise contradiction(
                    self.schedule,
                    f"{{raw_resolution_{when}}} is finer than the images of {side} px; give {side} or less",
                )

    @property
    def micro_batch(self) -> int:
        """Images one process handles at once."""
        return self.batch_gpu or self.batch // self.gpus

    @property
    def smaller_micro_batch(self) -> int | None:
        """The next smaller --batch-gpu that goes with batch, processes and minibatch statistics; None if none does."""
        group = self.discriminator.by_flag("mbstd_group") or 1
        share = self.batch // self.gpus
        return max((n for n in range(group, self.micro_batch, group) if share % n == 0), default=None)

    @property
    def label_dim(self) -> int:
        """Numbers of the label that the discriminator is told: a camera, and a gaze beside it with --gaze-cond-d."""
        return LABEL_DIM + GAZE_DIM * self.gaze.cond_d

    @property
    def conditioned(self) -> bool:
        """Whether the mapping network is told a camera."""
        return bool(self.generator.by_flag("gen_pose_cond"))

    @property
    def painted_rays(self) -> int | None:
        """Rays per side of this run at which the published code paints over the raw picture; None: it never does."""
        first, painted = self.schedule.raw_resolution_initial, self.generator.painted_rays
        last = self.schedule.raw_resolution_final or first
        return painted if painted and min(first, last) <= painted <= max(first, last) else None

    @property
    def starts_blurred(self) -> bool:
        """Whether blur and swap fade as at a start, and are not skipped because the run starts from weights."""
        return self.resume is None or self.schedule.blur_init_sigma > 0


NETWORKS = {"generator": GENERATORS, "discriminator": DISCRIMINATORS}
PARTS = {
    "optim": OptimConfig,
    "loss": LossConfig,
    "schedule": ScheduleConfig,
    "data": DataConfig,
    "gaze": GazeLossConfig,
    "control": ControlConfig,
    "augment": AugmentConfig,
    "watch": WatchConfig,
}


def to_dict(config: TrainConfig) -> dict:
    """Plain nested dict that JSON can hold; `from_dict` inverts it."""
    plain = asdict(config)
    plain["optim"]["betas"] = list(plain["optim"]["betas"])
    for part, table in NETWORKS.items():
        name = name_of(getattr(config, part))
        if name != next(iter(table)):
            plain[part]["class"] = name
    return plain


def from_dict(plain: dict) -> TrainConfig:
    """Inverse of `to_dict`; ValueError for unknown or missing names and for values of another type."""
    if not isinstance(plain, dict):
        raise ConfigError(f"the configuration is no object with names, but {plain!r:.40}")
    return from_plain(TrainConfig, plain | {part: network_from_dict(part, plain.get(part)) for part in NETWORKS})


def network_from_dict(part: str, plain: dict) -> NetworkConfig:
    """The configuration of a network, one of NETWORKS."""
    if not isinstance(plain, dict):
        raise ConfigError(f"the configuration has no {part}, an object with names, but {plain!r:.40}")
    fields = {name: value for name, value in plain.items() if name != "class"}
    return from_plain(network_kind(part, plain), fields, f"{part}.")


def network_kind(part: str, plain: dict) -> type[NetworkConfig]:
    """Of which class `network_from_dict` makes it."""
    table = NETWORKS[part]
    name = plain.get("class", next(iter(table)))
    if not isinstance(name, str) or name not in table:
        raise ConfigError(f"the {part} is of the unknown class {name!s:.60}; known: {', '.join(table)}")
    return table[name].config


# Changing these between a stop and going on leaves the arithmetic of the run as it is, but for the sizes, of which the
# user is told (training/sizes.py). Whether the data set is the same one, wherever it lies, is told by its digest
# (training/trainer.py).
SIZES = {"batch", "batch_gpu", "gpus"}
FREE_TO_CHANGE = SIZES | {"kimg", "tick", "snap", "benchmark", "data.path", "data.workers", "data.skip_unmatched"}


def check_same_run(saved: TrainConfig, asked: TrainConfig) -> None:
    """Raises ConfigError, naming the first setting, unless `asked` may continue the run of `saved`."""
    old, new = (flat(to_dict(config)) for config in (saved, asked))
    for name in sorted(set(old) | set(new)):
        free = name in FREE_TO_CHANGE or name.startswith("watch.")
        if not free and old.get(name) != new.get(name):
            raise contradiction(
                saved,
                "the run in --outdir has {name}={old}, this command asks for {new}; give the same flags{flag} to go on "
                "with it, or another --outdir, with {resume:SNAPSHOT} to use its weights",
                name=name,
                old=old.get(name),
                new=new.get(name),
                flag=_how_it_was_set(name, old.get(name)),
            )


def _how_it_was_set(path: str, value) -> str:
    """` (--gaze-weight=1)` for gaze.weight; nothing for what no flag sets."""
    part, _, name = path.rpartition(".")
    cls = {"": TrainConfig, **PARTS}.get(part)
    flags = {flag.name: flag.setting.flag for flag in flags_of(cls).values()} if cls else {}
    if name not in flags:
        return ""
    return f" (no {flags[name]})" if value is None else f" ({flags[name]}={as_typed(value)})"
