"""The names that files have for settings: each means what it should, both ways, and no other name means anything."""

import copy

import pytest
import torch
from tiny_networks import tiny_generator_kwargs

from eg3d.checkpoints.arguments import discriminator_arguments, file_arguments, generator_arguments
from eg3d.checkpoints.published import save_state_dict
from eg3d.geometry.cameras import Orbit
from eg3d.models.backbone import BackboneConfig
from eg3d.models.blocks import BlockConfig
from eg3d.models.decoder import DecoderConfig
from eg3d.models.discriminator import DiscriminatorBlockConfig, DiscriminatorConfig, DualDiscriminator, EpilogueConfig
from eg3d.models.generator import GeneratorConfig, TriPlaneGenerator
from eg3d.models.mapping import MappingConfig
from eg3d.models.superresolution import SuperresolutionConfig
from eg3d.rendering.options import RenderOptions

# Every name, each with a value of its own.
GENERATOR = dict(
    z_dim=5, c_dim=25, w_dim=6, img_resolution=16, img_channels=3, sr_num_fp16_res=7, plane_resolution=8,
    plane_channels=9, decoder_width=10, channel_base=128, channel_max=11, num_fp16_res=1, conv_clamp=12.0,
    architecture="resnet", resample_filter=[1, 2, 1], fp16_channels_last=True, use_noise=False, activation="relu",
    kernel_size=5,
    mapping_kwargs=dict(num_layers=3, embed_features=13, layer_features=14, activation="elu", lr_multiplier=0.5,
                        w_avg_beta=0.25),
    sr_kwargs=dict(widths=[15, 16], architecture="orig", resample_filter=[1, 4, 1], fp16_channels_last=True,
                   use_noise=False, activation="selu", kernel_size=1),
    rendering_kwargs=dict(
        depth_resolution=17, depth_resolution_importance=18, ray_start=0.19, ray_end=0.2, box_warp=2.1, white_back=True,
        disparity_space_sampling=True, clamp_mode="softplus", density_noise=0.22, planes="yz",
        superresolution_module="training.superresolution.SuperresolutionHybrid2X", sr_antialias=False,
        superresolution_noise_mode="const", c_gen_conditioning_zero=False, c_scale=0.23, decoder_lr_mul=0.24,
        avg_camera_radius=2.5, avg_camera_pivot=[0.26, 0.27, 0.28],
    ),
)  # fmt: skip
CONFIG = GeneratorConfig(
    resolution=16, z_dim=5, w_dim=6, pose_cond=True, c_scale=0.23, orbit=Orbit(pivot=(0.26, 0.27, 0.28), radius=2.5),
    mapping=MappingConfig(num_layers=3, embed_features=13, layer_features=14, activation="elu", lr_multiplier=0.5,
                          w_avg_beta=0.25),
    backbone=BackboneConfig(
        plane_resolution=8, plane_channels=9, channel_base=128, channel_max=11, num_fp16_res=1, conv_clamp=12.0,
        blocks=BlockConfig(architecture="resnet", resample_filter=(1, 2, 1), fp16_channels_last=True, use_noise=False,
                           activation="relu", kernel_size=5),
    ),
    rendering=RenderOptions(
        depth_resolution=17, depth_resolution_importance=18, ray_start=0.19, ray_end=0.2, box_warp=2.1, white_back=True,
        disparity_space_sampling=True, density_noise=0.22, planes="yz",
    ),
    decoder=DecoderConfig(width=10, lr_multiplier=0.24),
    superresolution=SuperresolutionConfig(
        kind="SuperresolutionHybrid2X", widths=(15, 16), num_fp16_res=7, antialias=False, noise_mode="const",
        blocks=BlockConfig(architecture="orig", resample_filter=(1, 4, 1), fp16_channels_last=True, use_noise=False,
                           activation="selu", kernel_size=1),
    ),
)  # fmt: skip
DISCRIMINATOR = dict(
    c_dim=27, img_resolution=16, img_channels=3, architecture="skip", channel_base=64, channel_max=9, num_fp16_res=3,
    conv_clamp=10.0, cmap_dim=11, disc_c_noise=0.12,
    block_kwargs=dict(activation="relu", resample_filter=[1, 2, 1], fp16_channels_last=True, freeze_layers=2),
    mapping_kwargs=dict(num_layers=4, embed_features=5, layer_features=6, activation="elu", lr_multiplier=0.7,
                        w_avg_beta=0.8),
    epilogue_kwargs=dict(mbstd_group_size=3, mbstd_num_channels=2, activation="selu"),
)  # fmt: skip
D_CONFIG = DiscriminatorConfig(
    architecture="skip", channel_base=64, channel_max=9, num_fp16_res=3, conv_clamp=10.0, cmap_dim=11,
    disc_c_noise=0.12,
    blocks=DiscriminatorBlockConfig(activation="relu", resample_filter=(1, 2, 1), fp16_channels_last=True,
                                    freeze_layers=2),
    mapping=MappingConfig(num_layers=4, embed_features=5, layer_features=6, activation="elu", lr_multiplier=0.7,
                          w_avg_beta=0.8),
    epilogue=EpilogueConfig(mbstd_group_size=3, mbstd_num_channels=2, activation="selu"),
)  # fmt: skip


def test_every_name_of_a_generator_means_its_setting():
    assert generator_arguments(GENERATOR) == {"config": CONFIG, "neural_rendering_resolution": 64}


def test_every_name_of_a_discriminator_means_its_setting():
    assert discriminator_arguments(DISCRIMINATOR) == {"config": D_CONFIG, "c_dim": 27, "img_resolution": 16}


def test_what_is_read_is_written_again():
    assert file_arguments(TriPlaneGenerator(CONFIG)) == GENERATOR
    assert file_arguments(DualDiscriminator(D_CONFIG, 16, 27)) == DISCRIMINATOR


PLACES = [
    *(("init_kwargs", name) for name, value in GENERATOR.items() if not isinstance(value, dict)),
    *((group, name) for group, names in GENERATOR.items() if isinstance(names, dict) for name in names),
]


@pytest.mark.parametrize("group, name", PLACES)
def test_a_misspelt_name_is_refused_by_name(group, name):
    changed = copy.deepcopy(GENERATOR)
    place = changed if group == "init_kwargs" else changed[group]
    place[f"{name}x"] = place.pop(name)
    with pytest.raises(ValueError, match=f"{group} has unknown keys: {name}x$"):
        generator_arguments(changed)


def test_the_published_settings_that_no_picture_depends_on_are_read_and_forgotten():
    more = copy.deepcopy(GENERATOR) | {"fused_modconv_default": "inference_only"}
    more["rendering_kwargs"] |= dict(image_resolution=512, gpc_reg_prob=0.8, density_reg=0.25, reg_type="l1")
    more["sr_kwargs"] |= dict(channel_base=32768, channel_max=512, fused_modconv_default="inference_only")
    assert generator_arguments(more)["config"] == CONFIG


def test_the_constructor_s_settings_are_its_own_and_the_attribute_has_the_others():
    attribute = GENERATOR["rendering_kwargs"] | dict(box_warp=9, sr_antialias=True, decoder_lr_mul=0.9)
    config = generator_arguments(GENERATOR, attribute)["config"]
    sr, decoder = config.superresolution, config.decoder
    assert (config.rendering.box_warp, sr.antialias, decoder.lr_multiplier) == (9, False, 0.24)


def test_what_a_file_lacks_is_named_or_has_its_published_meaning():
    little = tiny_generator_kwargs()
    for name in ("avg_camera_radius", "avg_camera_pivot"):
        del little["rendering_kwargs"][name]
    config = generator_arguments(little)["config"]
    assert config.orbit == Orbit(pivot=(0.0, 0.0, 0.0), radius=2.7) and config.mapping.activation == "lrelu"
    for name in ("box_warp", "superresolution_module", "c_gen_conditioning_zero"):
        lacking = copy.deepcopy(little)
        del lacking["rendering_kwargs"][name]
        with pytest.raises(ValueError, match=f"there is no rendering_kwargs.{name}"):
            generator_arguments(lacking)


def test_an_exported_generator_has_everything_that_the_published_code_reads(tmp_path, tiny_generator):
    save_state_dict(tmp_path / "x.pt", {"G_ema": tiny_generator}, {})
    entry = torch.load(tmp_path / "x.pt", weights_only=True)["G_ema"]
    drawing = {
        "depth_resolution", "depth_resolution_importance", "ray_start", "ray_end", "box_warp", "clamp_mode",
        "disparity_space_sampling", "superresolution_module", "sr_antialias", "superresolution_noise_mode",
        "c_gen_conditioning_zero", "c_scale", "decoder_lr_mul", "avg_camera_radius", "avg_camera_pivot",
    }  # fmt: skip
    training = {"density_reg", "density_reg_p_dist", "reg_type", "image_resolution", "gpc_reg_prob"}
    for rendering in (entry["rendering_kwargs"], entry["init_kwargs"]["rendering_kwargs"]):
        assert set(rendering) == drawing | training
    assert rendering["superresolution_module"] == "training.superresolution.SuperresolutionHybrid2X"
    assert rendering["image_resolution"] == 32 and rendering["avg_camera_pivot"] == [0, 0, 0.2]
    needed = {"z_dim", "c_dim", "w_dim", "img_resolution", "img_channels", "mapping_kwargs", "sr_kwargs"}
    assert needed <= set(entry["init_kwargs"]) and entry["neural_rendering_resolution"] == 8
