"""Named runs: where each leaves the defaults, which are the published ones; each says what it reproduces."""

from dataclasses import replace

from eg3d.config.eye_control import ControlConfig
from eg3d.config.run import DataConfig, LossConfig, ScheduleConfig, TrainConfig, WatchConfig
from eg3d.gaze.term import GazeLossConfig
from eg3d.geometry.cameras import FFHQ_ORBIT, FFHQ_RADIUS, Orbit
from eg3d.models.backbone import BackboneConfig
from eg3d.models.decoder import DecoderConfig
from eg3d.models.discriminator import DiscriminatorConfig
from eg3d.models.generator import GeneratorConfig
from eg3d.models.mapping import MappingConfig
from eg3d.models.superresolution import SR_OF_RESOLUTION, SuperresolutionConfig
from eg3d.rendering.options import RenderOptions


def _published(resolution: int, rendering: RenderOptions, orbit: Orbit, **rest) -> TrainConfig:
    """What EG3D's own command line builds for a data set of this resolution."""
    generator = GeneratorConfig(
        resolution=resolution,
        z_dim=512,
        w_dim=512,
        pose_cond=False,
        orbit=orbit,
        mapping=MappingConfig(num_layers=2),
        backbone=BackboneConfig(num_fp16_res=0),
        rendering=rendering,
        superresolution=SuperresolutionConfig(kind=SR_OF_RESOLUTION[resolution], num_fp16_res=4),
    )
    # No preset can know a gaze network. `flags.resolve` gives the term its published weight if a flag speaks of gaze.
    gaze = GazeLossConfig(weight=0.0)
    return TrainConfig(generator=generator, discriminator=DiscriminatorConfig(), gaze=gaze, **rest)


_HEADS = RenderOptions(depth_resolution=48, depth_resolution_importance=48, ray_start=2.25, ray_end=3.3, box_warp=1)

# ffhq: EG3D's FFHQ 512 model, first stage (gamma 1, batch 32). The published pose-conditioned model adds
# --gen_pose_cond=True; its second stage resumes with --neural_rendering_resolution_final=128 for 2000 kimg.
FFHQ = _published(
    512,
    _HEADS,
    FFHQ_ORBIT,
    preset="ffhq",
)

# afhq: EG3D's AFHQv2 cats: fine-tuned from FFHQ with gamma 5, --gpc_reg_prob=0.8 and augmentation.
AFHQ = _published(
    512,
    _HEADS,
    Orbit(pivot=(0.0, 0.0, -0.06), radius=FFHQ_RADIUS),
    preset="afhq",
    loss=LossConfig(r1_gamma=5.0),
)

# shapenet: EG3D's ShapeNet Cars, 128 px, gamma 0.3, white background, no pose conditioning.
SHAPENET = _published(
    128,
    RenderOptions(
        depth_resolution=64,
        depth_resolution_importance=64,
        ray_start=0.1,
        ray_end=2.6,
        box_warp=1.6,
        white_back=True,
    ),
    Orbit(pivot=(0.0, 0.0, 0.0), radius=1.7),
    preset="shapenet",
    loss=LossConfig(r1_gamma=0.3),
)

# embedded: the small model of `assets/embedded/`: the same classes at 64 px, made to be trained on two CPU cores.
WORLD = TrainConfig(
    preset="embedded",
    generator=GeneratorConfig(
        resolution=64,
        z_dim=64,
        w_dim=128,
        pose_cond=True,
        orbit=FFHQ_ORBIT,
        mapping=MappingConfig(num_layers=2),
        backbone=BackboneConfig(
            plane_resolution=64,
            plane_channels=16,
            channel_base=2048,
            channel_max=64,
            num_fp16_res=0,
        ),
        rendering=RenderOptions(
            depth_resolution=8,
            depth_resolution_importance=8,
            ray_start=2.25,
            ray_end=3.15,
            box_warp=1,
        ),
        decoder=DecoderConfig(width=32),
        superresolution=SuperresolutionConfig(kind=SR_OF_RESOLUTION[128], widths=(32, 16)),
    ),
    discriminator=DiscriminatorConfig(
        channel_base=1024,
        channel_max=128,
        num_fp16_res=0,
        conv_clamp=None,
        mapping=MappingConfig(num_layers=2),
    ),
    # Weight 5 is measured in docs/reproduction.md; the eyes are at their mean place in eg3d/world/cartoon/heads.py.
    gaze=GazeLossConfig(weight=5.0, l2cs_path="embedded", eye_x=0.0845, eye_y=0.029),
    control=ControlConfig(inner=0.41, outer=0.53, eyeball=0.33),  # its eyes are larger than people's
    # gamma 0.2 let the discriminator win; with the density term so short a run leaves a fog where a face should be.
    loss=LossConfig(r1_gamma=1.0, density_reg=0.0),
    schedule=ScheduleConfig(
        blur_init_sigma=2.0,
        blur_fade_kimg=10.0,
        gpc_reg_prob=1.0,  # always another camera: a view may only change by geometry, which 64 px leave weakly known
        gpc_reg_fade_kimg=10.0,
        raw_resolution_initial=32,
        ema_kimg=0.5,
    ),
    data=DataConfig(path="embedded"),
    watch=WatchConfig(num_gen=5000, detector="embedded"),  # what --metrics measures where it is given
    batch=16,
    kimg=200,
    tick=1,
    snap=5,
)

# people: a model of the world `people`: 128 px with 64 rays per side.
PEOPLE = TrainConfig(
    preset="people",
    generator=GeneratorConfig(
        resolution=128,
        z_dim=128,
        w_dim=128,
        pose_cond=True,
        orbit=FFHQ_ORBIT,
        mapping=MappingConfig(num_layers=2),
        backbone=BackboneConfig(
            plane_resolution=128,
            plane_channels=16,
            channel_base=2048,
            channel_max=128,
            num_fp16_res=0,
        ),
        rendering=RenderOptions(
            depth_resolution=8,
            depth_resolution_importance=8,
            ray_start=2.25,
            ray_end=3.3,
            box_warp=1,
        ),
        decoder=DecoderConfig(width=32),
        superresolution=SuperresolutionConfig(kind=SR_OF_RESOLUTION[128], widths=(32, 16)),
    ),
    discriminator=DiscriminatorConfig(
        channel_base=2048,
        channel_max=128,
        num_fp16_res=0,
        conv_clamp=None,
        mapping=MappingConfig(num_layers=2),
    ),
    gaze=GazeLossConfig(weight=5.0, l2cs_path="people", eye_x=0.083, eye_y=0.0875),
    loss=LossConfig(r1_gamma=1.0, density_reg=0.0),
    schedule=ScheduleConfig(
        blur_init_sigma=2.0,
        blur_fade_kimg=10.0,
        gpc_reg_prob=1.0,
        gpc_reg_fade_kimg=10.0,
        raw_resolution_initial=64,
        ema_kimg=1.0,
    ),
    data=DataConfig(path="people", mirror=True),
    watch=WatchConfig(num_gen=5000, detector="embedded"),
    batch=16,
    kimg=400,
    tick=1,
    snap=5,
)


def _smaller(size: int) -> TrainConfig:
    """The networks of people for pictures of another size."""
    backbone = replace(PEOPLE.generator.backbone, plane_resolution=size)
    return replace(
        PEOPLE,
        preset=f"people-{size}",
        generator=replace(PEOPLE.generator, resolution=size, backbone=backbone),
        schedule=replace(PEOPLE.schedule, raw_resolution_initial=size // 2),
        data=replace(PEOPLE.data, path=""),
    )


# people-32, people-64: how the training of people begins. The next larger starts from the smaller by --resume and
# --resume-partial, as the same function (eg3d/training/growth.py).
PEOPLE_32, PEOPLE_64 = _smaller(32), _smaller(64)

PRESETS = {config.preset: config for config in (FFHQ, AFHQ, SHAPENET, WORLD, PEOPLE, PEOPLE_64, PEOPLE_32)}
EMBEDDED = ("embedded", "people", "people-64", "people-32")  # of an embedded world: networks made for one size


def ray_ranges(network=None) -> list[tuple[float, float]]:
    """(nearest, farthest) depth of the rays of a generator or its configuration; of each preset if it has no rays."""
    own = getattr(network, "options", None) or getattr(network, "rendering", None)
    others = (getattr(run.generator, "rendering", None) for run in PRESETS.values())
    every = [own] if own is not None else [rays for rays in others if rays is not None]
    return [(rays.ray_start, rays.ray_end) for rays in every]
