"""Named runs, with every number in one place; each says which result it reproduces."""

from eg3d.config.run import DataConfig, LossConfig, ScheduleConfig, TrainConfig, WatchConfig
from eg3d.gaze.term import GazeLossConfig
from eg3d.geometry.cameras import FFHQ_PIVOT, FFHQ_RADIUS, LABEL_DIM

# A gaze network that no preset can know. `flags.resolve` puts in what the user gives, or says that it is missing.
TO_BE_GIVEN = "to be given"


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
    return TrainConfig(
        generator=generator,
        discriminator=discriminator,
        data=DataConfig(resolution=resolution),
        gaze=GazeLossConfig(l2cs_path=TO_BE_GIVEN),  # and the published weight
        **rest,
    )


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
WORLD = TrainConfig(
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
            gpc_reg_prob=1.0,
            c_scale=1.0,
            decoder_lr_mul=1.0,
            density_reg=0.0,
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
    # Weight 5 is measured in docs/reproduction.md; the eyes are at their mean place in eg3d/world/heads.py.
    gaze=GazeLossConfig(weight=5.0, l2cs_path="embedded", eye_x=0.0845, eye_y=0.029),
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
    data=DataConfig(path="embedded", resolution=64),
    watch=WatchConfig(num_gen=5000, detector="embedded"),  # what --metrics measures where it is given
    batch=16,
    kimg=200,
    tick=1,
    snap=5,
)

PRESETS = {config.preset: config for config in (FFHQ, AFHQ, SHAPENET, WORLD)}
