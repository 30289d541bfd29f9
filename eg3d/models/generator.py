"""The 3D generator: latent and camera -> picture (EG3D, figure 4)."""

import copy
import warnings

import torch
from torch import nn

from eg3d.geometry.cameras import FFHQ_RADIUS, Orbit, split_label
from eg3d.geometry.rays import camera_rays
from eg3d.models.backbone import Backbone
from eg3d.models.decoder import OSGDecoder
from eg3d.models.superresolution import superresolution_class
from eg3d.rendering.options import RenderOptions
from eg3d.rendering.renderer import VolumeRenderer
from groundwork.draws import GlobalDraws

PIXELS_AT_ONCE = 2**18  # of pictures that a CPU draws together; more only costs memory


def _in_parts(function, tensors, side: int, noise_mode: str) -> torch.Tensor:
    """function(*tensors), on a CPU over a few rows at a time, unless gradients or draws belong to the whole batch."""
    step = max(PIXELS_AT_ONCE // side**2, 1)
    if torch.is_grad_enabled() or not tensors[0].is_cpu or noise_mode == "random" or len(tensors[0]) <= step:
        return function(*tensors)
    parts = zip(*(t.split(step) for t in tensors), strict=True)
    return torch.cat([function(*part) for part in parts])


class TriPlaneGenerator(nn.Module):
    """Backbone -> three planes -> volume rendering -> super-resolution.

    Takes the published constructor arguments; what was hard-wired there is an argument with the published value
    (`plane_resolution`, `plane_channels`, `decoder_width`, `sr_kwargs['widths']`), so that a small model is the same
    class with other numbers. State-dict names and shapes are the published ones.

    Attributes: `rendering_kwargs` (a dict, see RenderOptions), `neural_rendering_resolution` (rays per side when a call
    names none; calls never change it), `init_kwargs` (rebuilds this generator).
    """

    def __init__(
        self, z_dim, c_dim, w_dim, img_resolution, img_channels=3, sr_num_fp16_res=0, mapping_kwargs=None,
        rendering_kwargs=None, sr_kwargs=None, plane_resolution=256, plane_channels=32, decoder_width=64,
        neural_rendering_resolution=64, **synthesis_kwargs,
    ):  # fmt: skip
        super().__init__()
        mapping_kwargs, sr_kwargs = dict(mapping_kwargs or {}), dict(sr_kwargs or {})
        self.init_kwargs = copy.deepcopy(
            dict(
                z_dim=z_dim, c_dim=c_dim, w_dim=w_dim, img_resolution=img_resolution, img_channels=img_channels,
                sr_num_fp16_res=sr_num_fp16_res, mapping_kwargs=mapping_kwargs, rendering_kwargs=rendering_kwargs,
                sr_kwargs=sr_kwargs, plane_resolution=plane_resolution, plane_channels=plane_channels,
                decoder_width=decoder_width, neural_rendering_resolution=neural_rendering_resolution,
                **synthesis_kwargs,
            )
        )  # fmt: skip
        self.z_dim, self.c_dim, self.w_dim = z_dim, c_dim, w_dim
        self.img_resolution, self.img_channels = img_resolution, img_channels
        self.plane_channels = plane_channels
        self.rendering_kwargs = copy.deepcopy(dict(rendering_kwargs or {}))
        self.neural_rendering_resolution = neural_rendering_resolution
        RenderOptions.from_kwargs(self.rendering_kwargs)  # a wrong key fails here, not in the first picture
        if "c_scale" not in self.rendering_kwargs and not self.rendering_kwargs.get("c_gen_conditioning_zero", True):
            warnings.warn("rendering_kwargs has no c_scale: using 1 (the published code took 0, D-18)", stacklevel=2)
        self._cached = None

        self.renderer = VolumeRenderer()
        self.backbone = Backbone(
            z_dim, c_dim, w_dim, plane_resolution, 3 * plane_channels, mapping_kwargs, **synthesis_kwargs
        )
        self.superresolution = superresolution_class(self.rendering_kwargs["superresolution_module"])(
            channels=plane_channels, img_resolution=img_resolution, sr_num_fp16_res=sr_num_fp16_res, w_dim=w_dim,
            sr_antialias=self.rendering_kwargs["sr_antialias"], **sr_kwargs,
        )  # fmt: skip
        self.decoder = OSGDecoder(
            plane_channels, plane_channels, decoder_width, self.rendering_kwargs.get("decoder_lr_mul", 1.0)
        )

    @property
    def resolution(self) -> int:
        return self.img_resolution

    @property
    def orbit(self) -> Orbit:
        kwargs = self.rendering_kwargs
        pivot = tuple(kwargs.get("avg_camera_pivot", (0.0, 0.0, 0.0)))
        return Orbit(pivot=pivot, radius=kwargs.get("avg_camera_radius", FFHQ_RADIUS))

    @property
    def num_ws(self) -> int:
        return self.backbone.num_ws

    def mapping(self, z, c, truncation_psi=1.0, truncation_cutoff=None, update_emas=False):
        """z [N, z_dim], conditioning camera c [N, 25] -> ws [N, num_ws, w_dim] (EG3D, section 4.4)."""
        if self.rendering_kwargs["c_gen_conditioning_zero"]:
            c = torch.zeros_like(c)
        c = c * self.rendering_kwargs.get("c_scale", 1.0)
        return self.backbone.mapping(z, c, truncation_psi, truncation_cutoff, update_emas)

    def planes(self, ws, noise_mode="random", draws=None, force_fp32=False):
        """ws [N, num_ws, w_dim] -> planes [N, 3, plane_channels, plane_resolution, plane_resolution]."""
        kwargs = dict(noise_mode=noise_mode, draws=draws, force_fp32=force_fp32)
        side = self.backbone.synthesis.resolutions[-1]
        stack = _in_parts(lambda ws: self.backbone.synthesis(ws, **kwargs), [ws], side, noise_mode)
        return stack.reshape(len(stack), 3, self.plane_channels, *stack.shape[-2:])

    def synthesis(
        self, ws, c, neural_rendering_resolution=None, update_emas=False, cache_backbone=False,
        use_cached_backbone=False, noise_mode="random", draws=None, force_fp32=False, fused_modconv=None,
    ):  # fmt: skip
        """Draws M pictures of N latents, M = k N: the planes of a latent serve its k cameras.

        Args:
            ws: [N, num_ws, w_dim]; c: rendering cameras [M, 25], those of the first latent first.
            draws: source of randomness, see groundwork.draws (None: PyTorch's global generator, as published).
            noise_mode: of the backbone; the super-resolution has its own in rendering_kwargs.
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

        options = RenderOptions.from_kwargs(self.rendering_kwargs)
        origins, directions = camera_rays(*split_label(c.to(ws.dtype)), resolution)
        origins, directions = (t.reshape(n, -1, 3) for t in (origins, directions))
        features, depth = self.renderer(planes, self.decoder, origins, directions, options, draws)
        # [N, C, k R R] -> [M, C, R, R]: the cameras of a latent were rendered side by side
        features = features.unflatten(2, (m // n, resolution, resolution)).transpose(1, 2).flatten(0, 1)
        raw = features[:, :3]
        sr_noise = self.rendering_kwargs["superresolution_noise_mode"]
        kwargs = dict(noise_mode=sr_noise, draws=draws, force_fp32=force_fp32)
        image = _in_parts(
            lambda *parts: self.superresolution(*parts, **kwargs), [raw, features, ws.repeat_interleave(m // n, dim=0)],
            self.img_resolution, sr_noise,
        )  # fmt: skip
        return {"image": image, "image_raw": raw, "image_depth": depth.reshape(m, 1, resolution, resolution)}

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
        options = RenderOptions.from_kwargs(self.rendering_kwargs)
        colors, sigma = self.renderer.query(planes, self.decoder, coords, options, draws or GlobalDraws())
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
        options = RenderOptions.from_kwargs(self.rendering_kwargs)
        return self.renderer(planes, self.decoder, origins, directions, options, draws or GlobalDraws())[1]

    def forget_planes(self) -> None:
        """Frees the planes that `synthesis` has kept."""
        self._cached = None

    def _cached_planes(self, ws, noise_mode) -> torch.Tensor | None:
        """The planes kept for this ws and noise mode; the published cache did not look (D-48).

        Who changes weights or number formats calls `forget_planes`. None while gradients are recorded: kept planes lead
        back to no weight and no ws.
        """
        if self._cached is None or torch.is_grad_enabled():
            return None
        kept_ws, kept_mode, planes = self._cached
        return planes if kept_mode == noise_mode and torch.equal(kept_ws, ws) else None
