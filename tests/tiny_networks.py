"""The smallest networks of the real classes, for tests: random weights, fixed by a seed."""

import torch

from eg3d.checkpoints.arguments import discriminator_arguments, generator_arguments
from eg3d.models.discriminator import DualDiscriminator
from eg3d.models.eye_field import EyeField, EyeFieldConfig
from eg3d.models.generator import TriPlaneGenerator
from l2cs.estimator import GazeEstimator
from l2cs.model import L2CS, Architecture


def generator_of(**init_kwargs) -> TriPlaneGenerator:
    """A generator by the names that published files have for its settings."""
    return TriPlaneGenerator(**generator_arguments(init_kwargs))


def discriminator_of(cls=DualDiscriminator, **init_kwargs):
    """A discriminator by the names that published files have for its settings."""
    return cls(**discriminator_arguments(init_kwargs))


def tiny_generator_kwargs() -> dict:
    """Settings of a 32 px generator with ray maps of 8 px."""
    return dict(
        z_dim=16,
        c_dim=25,
        w_dim=32,
        img_resolution=32,
        mapping_kwargs=dict(num_layers=2),
        plane_resolution=16,
        plane_channels=16,
        decoder_width=16,
        neural_rendering_resolution=8,
        channel_base=512,
        channel_max=32,
        sr_kwargs=dict(widths=[16, 16]),
        rendering_kwargs=dict(
            superresolution_module="training.superresolution.SuperresolutionHybrid2X",
            sr_antialias=True,
            superresolution_noise_mode="none",
            c_gen_conditioning_zero=False,
            c_scale=1.0,
            depth_resolution=6,
            depth_resolution_importance=6,
            ray_start=2.25,
            ray_end=3.15,
            box_warp=1,
            avg_camera_radius=2.7,
            avg_camera_pivot=[0, 0, 0.2],
        ),
    )


def tiny_generator(seed: int = 0) -> TriPlaneGenerator:
    """A 32 px generator with random weights; noise and mean latent are non-zero, so that tests notice them."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        G = generator_of(**tiny_generator_kwargs()).eval().requires_grad_(False)
        for name, value in G.state_dict().items():
            if name.endswith(("noise_strength", "w_avg")):
                value.copy_(0.3 * torch.randn_like(value))
    return G


def tiny_eye_field(base: TriPlaneGenerator, **changes) -> EyeField:
    """An eye field on a base, its eyes the base's own but for a shift that is not zero; `changes`: of its places."""
    config = dict(base=base.config, eye_x=0.08, eye_y=0.03, inner=0.3, outer=0.5) | changes
    field = EyeField(EyeFieldConfig(**config), base.neural_rendering_resolution).eval().requires_grad_(False)
    its = base.state_dict()
    with torch.random.fork_rng():
        torch.manual_seed(1)
        for name, value in field.state_dict().items():
            origin = field.origin_of(name)
            value.copy_(torch.randn_like(value) if origin is None else its[origin])
    return field


def tiny_gaze_network(seed: int = 0) -> L2CS:
    """A 32 px gaze network with random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return L2CS(Architecture.small(width=16, input_size=32), finetune=False)


def tiny_estimator(seed: int = 0) -> GazeEstimator:
    return GazeEstimator(tiny_gaze_network(seed), sha256=f"{seed:064x}")
