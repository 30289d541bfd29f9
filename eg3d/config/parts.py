"""The parts of a training run that are neither networks nor gaze: rates, losses, schedules, data, what is kept."""

from dataclasses import dataclass

from eg3d.config.indirect import A_START, POSE_CONDITIONING
from eg3d.metrics.registry import DETECTORS, NAMES, WEIGHTS_HELP
from groundwork.matching import FLAG, HELP
from groundwork.places import DATA_SET, WEIGHTS
from groundwork.settings import (
    NON_NEGATIVE,
    POSITIVE,
    PROBABILITY,
    Need,
    at_least,
    check_settings,
    one_of,
    setting,
)


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """Adam for both networks; rates are before the correction for lazy regularisation (schedules.lazy_adam)."""

    generator_lr: float = setting(0.0025, flag="--glr", help="Learning rate of the generator.", check=POSITIVE)
    discriminator_lr: float = setting(0.002, flag="--dlr", help="Learning rate of the discriminator.", check=POSITIVE)
    betas: tuple[float, float] = (0.0, 0.99)
    eps: float = 1e-8

    def __post_init__(self):
        check_settings(self)


_DENSITY_TERM = Need(
    lambda run: run.loss.density_reg > 0,
    "the density regularisation, whose weight is 0: add {loss.density_reg:0.25}",
    published=True,
)
_PAIRS = Need(
    lambda run: run.loss.reg_type == "l1",
    "{loss.reg_type:l1} (other kinds have their own distance): add it",
    published=True,
)


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Weights of the terms. EG3D, section 5.1 and supplement; the gaze term has its own part."""

    r1_gamma: float = setting(1.0, flag="--gamma", help="Weight of R1; 0 turns it off.", check=NON_NEGATIVE)
    r1_every: int = setting(16, check=at_least(1))  # discriminator steps per R1 step
    style_mixing_prob: float = setting(
        0.0, flag="--style_mixing_prob", help="How often latents are mixed.", check=PROBABILITY
    )
    density_reg: float = setting(
        0.25,
        flag="--density_reg",
        help="Weight of the density regularisation; 0 turns it off.",
        check=NON_NEGATIVE,
    )
    density_reg_every: int = setting(
        4,
        flag="--density_reg_every",
        help="Steps of the generator from one step of the density regularisation to the next.",
        check=at_least(1),
        needs=(_DENSITY_TERM,),
    )
    density_reg_p_dist: float = setting(
        0.004,
        flag="--density_reg_p_dist",
        help="Distance of its pairs of points, in world units.",
        check=NON_NEGATIVE,
        needs=(_DENSITY_TERM, _PAIRS),
    )
    density_points: int = 1000
    # False, published: points in [-1, 1]^3 whatever box_warp is (docs/published_defects.md, D-08)
    density_in_box: bool = False
    reg_type: str = setting(
        "l1",
        flag="--reg_type",
        help="Kind of density regularisation.",
        check=one_of(
            ("l1", "monotonic-detach", "monotonic-fixed"),
            # docs/published_defects.md, D-09
            refused=dict.fromkeys(
                ("l1-alt", "total-variation"), "never did anything in EG3D: it added 0; give --density_reg=0, or use l1"
            ),
        ),
        needs=(_DENSITY_TERM,),
    )
    filter_mode: str = "antialiased"  # how real images are shrunk to image_raw
    raw_image: str = setting(
        "rendered",
        flag="--raw-image",
        help="legacy: the raw picture that the discriminator sees is painted over, as published for 128 px at 64 rays "
        "and 256 px at 128; for weights that were trained so.",
        check=one_of(("rendered", "legacy")),
    )
    # False, published: generated raw images stay sharp while real ones are blurred (docs/published_defects.md, D-13)
    blur_raw: bool = False

    def __post_init__(self):
        check_settings(self)


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """Everything that depends on the images seen (training/schedules.py). kimg: thousand images."""

    blur_init_sigma: float = setting(10.0, check=NON_NEGATIVE)  # px
    blur_fade_kimg: float = setting(200.0, check=NON_NEGATIVE)
    gpc_reg_prob: float | None = setting(
        None,
        flag="--gpc_reg_prob",
        help="How often the generator is conditioned on another camera than the rendered one.",
        check=PROBABILITY,
        needs=(POSE_CONDITIONING,),
        group="cameras",
        unset="0.5 with --gen_pose_cond=True",
    )
    gpc_reg_fade_kimg: float = setting(
        1000.0,
        flag="--gpc_reg_fade_kimg",
        help="Thousand images in which that goes from always to --gpc_reg_prob; none with --resume.",
        check=NON_NEGATIVE,
        needs=(
            POSE_CONDITIONING,
            A_START,
        ),
        group="cameras",
    )
    raw_resolution_initial: int = setting(
        64, flag="--neural_rendering_resolution_initial", help="Rays per side at the start.", check=at_least(4)
    )
    raw_resolution_final: int | None = setting(
        None,
        flag="--neural_rendering_resolution_final",
        help="Rays per side at the end.",
        check=at_least(4),
        unset="as at the start",
    )
    raw_resolution_fade_kimg: float = setting(
        1000.0,
        flag="--neural_rendering_resolution_fade_kimg",
        help="Thousand images from the first number of rays to the last.",
        check=NON_NEGATIVE,
        needs=(
            Need(
                lambda run: run.schedule.raw_resolution_final is not None,
                "a change of the resolution: add {schedule.raw_resolution_final:flag}",
                published=True,
            ),
        ),
    )
    glr_fade_kimg: float | None = setting(
        None,
        flag="--glr-fade-kimg",
        help="Thousand images in which the generator's learning rate falls to 0, as a cosine.",
        check=POSITIVE,
        unset="it stays",
    )
    ema_kimg: float = setting(10.0, check=NON_NEGATIVE)
    ema_rampup: float | None = 0.05

    def __post_init__(self):
        check_settings(self)


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where the images are and how they are read."""

    path: str = setting(
        "",
        flag="--data",
        help="Data set: a zip or folder with dataset.json, embedded, or people.",
        metavar="PATH",
        place=DATA_SET,
        unset="to be given",
    )
    # The published code mirrors the image alone: docs/published_defects.md, D-25
    mirror: bool = setting(False, flag="--mirror", help="Use each image mirrored too, its camera mirrored with it.")
    workers: int = setting(3, flag="--workers", help="Threads that decode images.", check=at_least(1))
    skip_unmatched: bool = setting(False, flag=FLAG, help=HELP, switch=True)

    def __post_init__(self):
        check_settings(self)


_METRICS = Need(
    lambda run: run.watch.metrics != "none",
    "metrics at snapshots, of which there are none: add {watch.metrics:NAME}",
)


@dataclass(frozen=True, kw_only=True)
class WatchConfig:
    """What a run keeps, and when it stops by itself; none of it touches the arithmetic."""

    keep: int | None = setting(
        None,
        flag="--keep",
        help="How many of the last snapshots stay, besides the one with the best gaze score.",
        check=at_least(1),
        unset="all",
    )
    state_minutes: float = setting(
        10.0,
        flag="--state-minutes",
        help="Minutes from one state to go on from to the next, if snapshots are further apart.",
        check=NON_NEGATIVE,
    )
    bad_steps: int = setting(
        1,
        flag="--bad-steps",
        help="The run stops after so many steps in a row with a loss that is not finite.",
        check=at_least(1),
    )
    tensorboard: bool = setting(
        False, flag="--tensorboard", help="Also write every line of stats.jsonl for TensorBoard."
    )
    metrics: str = setting(
        "none",
        flag="--metrics",
        help="Metrics at snapshots, besides the gaze score by --l2cs-path; none, or a comma list of "
        f"{', '.join(NAMES)}.",
        metavar="NAMES",
    )
    num_gen: int = setting(
        50_000,
        flag="--num-gen",
        help="Generated pictures per metric, which is named by it: 2000 of fid50k_full are fid2k_full.",
        check=at_least(1),
        needs=(_METRICS,),
    )
    detector: str = setting(
        "inception",
        flag="--detector",
        help="Whose features the metrics compare, as in calc_metrics.py.",
        check=one_of(DETECTORS),
        needs=(_METRICS,),
    )
    inception_weights: str | None = setting(
        None,
        flag="--inception-weights",
        help=f"Weights of the detector: {WEIGHTS_HELP}.",
        metavar="FILE",
        place=WEIGHTS,
        needs=(_METRICS,),
    )
    vgg_weights: str | None = setting(
        None,
        flag="--vgg-weights",
        help="torchvision's VGG16, for precision and recall.",
        metavar="FILE",
        place=WEIGHTS,
        needs=(_METRICS,),
    )

    def __post_init__(self):
        check_settings(self)
