"""Flags of training that no single field of a run holds; their effect is in `flags.resolve`."""

from dataclasses import dataclass

from eg3d.models.superresolution import SR_OF_RESOLUTION
from eg3d.rendering.planes import AXES
from groundwork.settings import (
    FINITE,
    NON_NEGATIVE,
    POSITIVE,
    Check,
    Need,
    at_least,
    check_settings,
    one_of,
    setting,
)

INDIRECT = "flags"  # the part that they are in messages and in `flags.TABLE`

POSE_CONDITIONING = Need(
    lambda run: run.conditioned, "pose conditioning: add {flags.gen_pose_cond:True}", published=True
)
A_START = Need(
    lambda run: run.starts_blurred, "a start, and {resume:flag} skips it: add {flags.resume_blur:True}", published=True
)


def _of(flag: str):
    """What the networks of a preset have for a flag."""

    def shown(run):
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
        needs=(
            Need(
                lambda run: run.resume is not None, "a run that starts from weights: add {resume:FILE}", published=True
            ),
        ),
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
        needs=(POSE_CONDITIONING,),
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
        needs=(A_START,),
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
