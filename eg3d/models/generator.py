"""The 3D generator: latent and camera -> picture (EG3D, figure 4)."""

import math
from dataclasses import dataclass, field

import torch
from torch import nn

from eg3d.geometry.cameras import LABEL_DIM, Orbit, split_label
from eg3d.geometry.rays import camera_rays
from eg3d.models.backbone import Backbone, BackboneConfig
from eg3d.models.decoder import DecoderConfig, OSGDecoder
from eg3d.models.mapping import MappingConfig, MappingNetwork
from eg3d.models.protocol import NetworkConfig
from eg3d.models.superresolution import SUPERRESOLUTIONS, SuperresolutionConfig
from eg3d.rendering.options import RenderOptions
from eg3d.rendering.renderer import VolumeRenderer
from groundwork.draws import GlobalDraws
from groundwork.plain import check_types, check_within

PIXELS_AT_ONCE = 2**18  # of pictures that a CPU draws together; more only costs memory


@dataclass(frozen=True, kw_only=True)
class GeneratorConfig(NetworkConfig):
    """A generator but for its weights. The numbers of named runs are in eg3d/config/presets.py."""

    FLAGS = {
        "cbase": "backbone.channel_base",
        "cmax": "backbone.channel_max",
        "map_depth": "mapping.num_layers",
        "gen_pose_cond": "pose_cond",
        "c_scale": "c_scale",
        "decoder_lr_mul": "decoder.lr_multiplier",
        "planes": "rendering.planes",
        "sr_module": "superresolution.kind",
        "sr_noise_mode": "superresolution.noise_mode",
        "sr_num_fp16_res": "superresolution.num_fp16_res",
        "g_num_fp16_res": "backbone.num_fp16_res",
    }

    resolution: int  # pixels per side of the pictures
    z_dim: int
    w_dim: int
    c_dim: int = LABEL_DIM
    pose_cond: bool  # whether the mapping network sees the camera (EG3D, section 4.4)
    c_scale: float = 1.0  # of the camera that it sees
    orbit: Orbit  # of the cameras that the generator was trained for
    mapping: MappingConfig = field(default_factory=MappingConfig)
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    rendering: RenderOptions
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    superresolution: SuperresolutionConfig

    def __post_init__(self):
        check_types(self)
        check_within("resolution", self.resolution, 8)
        check_within("w_dim", self.w_dim, 1)
        check_within("z_dim", self.z_dim, 0)
        check_within("c_dim", self.c_dim, 0)

    @property
    def finest_layer(self) -> int:
        return self.backbone.plane_resolution

    @property
    def painted_rays(self) -> int | None:
        return SUPERRESOLUTIONS[self.superresolution.kind].painted_rays(self.resolution)

    @property
    def freezable_blocks(self) -> int:
        return int(math.log2(self.backbone.plane_resolution)) - 1


def _in_parts(function, tensors, side: int, noise_mode: str) -> torch.Tensor:
    """function(*tensors), on a CPU over a few rows at a time, unless gradients or draws belong to the whole batch."""
    step = max(PIXELS_AT_ONCE // side**2, 1)
    if torch.is_grad_enabled() or not tensors[0].is_cpu or noise_mode == "random" or len(tensors[0]) <= step:
        return function(*tensors)
    parts = zip(*(t.split(step) for t in tensors), strict=True)
    return torch.cat([function(*part) for part in parts])


class TriPlaneGenerator(nn.Module):
    """Backbone -> three planes -> volume rendering -> super-resolution.

    What is fixed in the published code is a number of the configuration here, so that a small model is the same class
    with other numbers. State-dict names and shapes are the published ones.

    Attributes: `config`; a part of it that no weight depends on, such as `rendering`, may be replaced between two
    pictures. `neural_rendering_resolution`: rays per side if a call names none; calls never change it, training does.
    """

    def __init__(self, config: GeneratorConfig, neural_rendering_resolution: int = 64):
        super().__init__()
        self.config = config
        self.neural_rendering_resolution = neural_rendering_resolution
        self._cached = None

        channels = config.backbone.plane_channels
        self.renderer = VolumeRenderer()
        self.backbone = Backbone(config.z_dim, config.c_dim, config.w_dim, config.backbone, config.mapping)
        self.superresolution = SUPERRESOLUTIONS[config.superresolution.kind](
            channels, config.resolution, config.w_dim, config.superresolution
        )
        self.decoder = OSGDecoder(channels, channels, config.decoder.width, config.decoder.lr_multiplier)

    @property
    def z_dim(self) -> int:
        return self.config.z_dim

    @property
    def c_dim(self) -> int:
        return self.config.c_dim

    @property
    def w_dim(self) -> int:
        return self.config.w_dim

    @property
    def img_resolution(self) -> int:
        return self.config.resolution

    @property
    def orbit(self) -> Orbit:
        return self.config.orbit

    @property
    def options(self) -> RenderOptions:
        return self.config.rendering

    @property
    def resolution(self) -> int:
        return self.img_resolution

    @property
    def num_ws(self) -> int:
        return self.backbone.num_ws

    @property
    def mapping_network(self) -> MappingNetwork:
        """It keeps the mean latent, which training moves."""
        return self.backbone.mapping

    def early_layers(self, blocks: int) -> list[nn.Module]:
        """What `--freeze-g=blocks` does not train: mapping network and first blocks; the mean latent still moves.

        They decide shape and identity, whatever the pose. (Mo et al. 2020 freeze early layers too, of a discriminator.)
        """
        synthesis = self.backbone.synthesis
        return [self.backbone.mapping, *(getattr(synthesis, f"b{r}") for r in synthesis.resolutions[:blocks])]

    def mapping(self, z, c, truncation_psi=1.0, truncation_cutoff=None, update_emas=False):
        """z [N, z_dim], conditioning camera c [N, 25] -> ws [N, num_ws, w_dim] (EG3D, section 4.4)."""
        if not self.config.pose_cond:
            c = torch.zeros_like(c)
        c = c * self.config.c_scale
        return self.backbone.mapping(z, c, truncation_psi, truncation_cutoff, update_emas)

    def planes(self, ws, noise_mode="random", draws=None, force_fp32=False):
        """ws [N, num_ws, w_dim] -> planes [N, 3, plane_channels, plane_resolution, plane_resolution]."""
        kwargs = dict(noise_mode=noise_mode, draws=draws, force_fp32=force_fp32)
        side = self.backbone.synthesis.resolutions[-1]
        stack = _in_parts(lambda ws: self.backbone.synthesis(ws, **kwargs), [ws], side, noise_mode)
        return stack.unflatten(1, (3, -1))

    def synthesis(
        self, ws, c, neural_rendering_resolution=None, update_emas=False, cache_backbone=False,
        use_cached_backbone=False, noise_mode="random", draws=None, force_fp32=False, fused_modconv=None,
        legacy_raw=False,
    ):  # fmt: skip
        """Draws M pictures of N latents, M = k N: the planes of a latent serve its k cameras.

        Args:
            ws: [N, num_ws, w_dim]; c: rendering cameras [M, 25], those of the first latent first.
            draws: source of randomness, see groundwork.draws (None: PyTorch's global generator, as published).
            noise_mode: of the backbone; the super-resolution has its own in the configuration.
            legacy_raw: whether image_raw is painted over as published (docs/published_defects.md, D-02).
        Returns: dict with image [M, 3, S, S], image_raw [M, 3, R, R], image_depth [M, 1, R, R] (along the ray).
        """
        del update_emas, fused_modconv  # published arguments without effect on the result
        draws = draws or GlobalDraws()
        n, m = len(ws), len(c)
        if m % n:
            raise ValueError(f"{m} cameras for {n} latents: the number of cameras must be a multiple")
        resolution = neural_rendering_resolution or self.neural_rendering_resolution
        planes = self._cached_planes(ws, noise_mode) if use_cached_backbone else None
        if planes is None:
            planes = self.planes(ws, noise_mode, draws, force_fp32)
        if cache_backbone:
            self._cached = (ws.detach().clone(), noise_mode, planes.detach())

        features, depth = self.rendered(planes, c.to(ws.dtype), resolution, draws)
        return self.picture(features, depth, ws, resolution, draws, force_fp32, legacy_raw)

    def rendered(self, planes, c, resolution: int, draws) -> tuple[torch.Tensor, torch.Tensor]:
        """Planes of N latents and cameras c [k N, 25] -> features [N, C, k R R], depth [N, k R R]."""
        origins, directions = self.rays(c, len(planes), resolution)
        return self.renderer(planes, self.decoder, origins, directions, self.options, draws)

    @staticmethod
    def rays(c, latents: int, resolution: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Origins and directions [N, k R R, 3] of cameras c [k N, 25]; the cameras of a latent lie side by side."""
        origins, directions = camera_rays(*split_label(c), resolution)
        return origins.reshape(latents, -1, 3), directions.reshape(latents, -1, 3)

    def picture(self, features, depth, ws, resolution: int, draws, force_fp32=False, legacy_raw=False):
        """What `synthesis` returns, of rendered features [N, C, k R R] and their depth [N, k R R]."""
        n, k = len(ws), features.shape[2] // resolution**2
        # [N, C, k R R] -> [M, C, R, R]
        features = features.unflatten(2, (k, resolution, resolution)).transpose(1, 2).flatten(0, 1)
        raw = features[:, :3]
        sr_noise = self.config.superresolution.noise_mode
        kwargs = dict(noise_mode=sr_noise, draws=draws, force_fp32=force_fp32)
        rendered = [raw, features, ws.repeat_interleave(k, dim=0)]
        if legacy_raw:
            image, raw = self.superresolution(*rendered, legacy_raw=True, **kwargs)
        else:
            image = _in_parts(
                lambda *parts: self.superresolution(*parts, **kwargs), rendered, self.img_resolution, sr_noise
            )
        return {"image": image, "image_raw": raw, "image_depth": depth.reshape(n * k, 1, resolution, resolution)}

    def sample(self, coords, dirs, z, c, truncation_psi=1.0, truncation_cutoff=None, update_emas=False, **kwargs):
        """The field of (z, c) at world points: coords [N, P, 3] -> rgb [N, P, C], raw sigma [N, P, 1]."""
        ws = self.mapping(z, c, truncation_psi, truncation_cutoff, update_emas)
        return self.sample_mixed(coords, dirs, ws, **kwargs)

    def sample_mixed(self, coords, dirs, ws, noise_mode="random", draws=None, force_fp32=False, **unused):
        """The field of ws at world points, as `sample`. View directions `dirs` never matter."""
        del dirs, unused
        draws = draws or GlobalDraws()
        return self.query(self.planes(ws, noise_mode, draws, force_fp32), coords, draws)

    def query(self, planes, coords, draws=None):
        """As `sample_mixed`, of planes [N, 3, C, H, W] that are there already."""
        colors, sigma = self.renderer.query(planes, self.decoder, coords, self.options, draws or GlobalDraws())
        return {"rgb": colors.mT, "sigma": sigma[..., None]}

    def forward(self, z, c, truncation_psi=1.0, truncation_cutoff=None, update_emas=False, **synthesis_kwargs):
        """Pictures of z [N, z_dim], with c [N, 25] as both the conditioning and the rendering camera."""
        ws = self.mapping(z, c, truncation_psi, truncation_cutoff, update_emas)
        return self.synthesis(ws, c, **synthesis_kwargs)

    @torch.no_grad()
    def kept_depth(self, ws, origins, directions, draws=None, noise_mode="random"):
        """Depth [N, M] of the surface along rays [N, M, 3], in the planes that `synthesis` has kept for this ws."""
        planes = self._cached_planes(ws, noise_mode)
        assert planes is not None, "call synthesis(ws, ..., cache_backbone=True) first"
        return self.renderer(planes, self.decoder, origins, directions, self.options, draws or GlobalDraws())[1]

    def forget_planes(self) -> None:
        """Frees the planes that `synthesis` has kept."""
        self._cached = None

    def _cached_planes(self, ws, noise_mode) -> torch.Tensor | None:
        """The planes kept for this ws and noise mode; the published cache did not look.

        See docs/published_defects.md, D-48. Who changes weights or number formats calls `forget_planes`. None while
        gradients are recorded: kept planes lead back to no weight and no ws.
        """
        if self._cached is None or torch.is_grad_enabled():
            return None
        kept_ws, kept_mode, planes = self._cached
        return planes if kept_mode == noise_mode and torch.equal(kept_ws, ws) else None
