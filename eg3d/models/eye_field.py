"""A generator whose gaze can be set: eyes of their own in the volume of a frozen generator (docs/eye_field.md).

The base draws its planes as ever. A copy of its backbone and decoder draws *eye planes* from ws + shift(gaze). In the
volume the second field takes the place of the first round the eyes, softly, and only there (rendering/blended.py). The
super-resolution is the base's. So a pixel whose rays pass the eyes by, and that super-resolution mixes with no pixel
whose rays do not, is the base's own, bit for bit.
"""

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import nn

from eg3d.geometry.cameras import LABEL_DIM, Orbit
from eg3d.geometry.head_gaze import FACE, Aim
from eg3d.models.backbone import SynthesisNetwork
from eg3d.models.decoder import OSGDecoder
from eg3d.models.generator import GeneratorConfig, TriPlaneGenerator
from eg3d.models.layers import FullyConnectedLayer
from eg3d.models.protocol import NetworkConfig
from eg3d.models.superresolution import SUPERRESOLUTIONS
from eg3d.rendering import blended
from eg3d.rendering.blended import Ball, Field
from groundwork.draws import GlobalDraws, Midpoints, Recorded, Replayed, Split
from groundwork.plain import check_above_zero, check_types, check_within

GAZE_SCALE = 0.3  # rad; the network of the shift sees gaze / GAZE_SCALE, which is about 1 in size


@dataclass(frozen=True, kw_only=True)
class EyeFieldConfig(NetworkConfig):
    """An eye field but for its weights; `base` is the configuration of the generator that it is built on."""

    FLAGS = {flag: f"base.{place}" for flag, place in GeneratorConfig.FLAGS.items()}

    base: GeneratorConfig
    eye_x: float  # of the eye at +x in a frontal view, world units; the other is its mirror image
    eye_y: float
    inner: float  # radius of the eye field alone, in distances of the eyes
    outer: float  # from here on there is the base alone
    shift_width: int = 64
    sees_latent: bool = False  # whether the network of the shift is given the mean row of ws too

    def __post_init__(self):
        check_types(self)
        check_above_zero("eye_x", self.eye_x)
        check_above_zero("inner", self.inner)
        check_within("shift_width", self.shift_width, 1)
        if not self.inner < self.outer:
            raise ValueError(f"inner={self.inner} must be less than outer={self.outer}")
        half = self.base.rendering.box_warp / 2
        if max(abs(self.eye_x), abs(self.eye_y)) >= half:
            raise ValueError(f"the eyes at ({self.eye_x}, {self.eye_y}) lie outside the volume, +-{half}")

    @property
    def resolution(self) -> int:
        return self.base.resolution

    @property
    def rendering(self):
        return self.base.rendering

    @property
    def finest_layer(self) -> int:
        return self.base.finest_layer

    @property
    def painted_rays(self) -> int | None:
        return self.base.painted_rays


class Planes(NamedTuple):
    """What both fields are read from: base [N, 3, C, H, W], eyes [E, 3, C, S, S] of E = N or more, centres [N, 2, 3].

    The eyes' planes are a part of whole ones, round the centres. With E > N the eyes of a latent differ from camera to
    camera.
    """

    base: torch.Tensor
    eyes: torch.Tensor
    centres: torch.Tensor


class GazeShift(nn.Module):
    """Gaze [N, 2], ws [N, T, w_dim] -> what is added to ws; zero before training."""

    def __init__(self, num_ws: int, w_dim: int, config: EyeFieldConfig):
        super().__init__()
        self.shape, self.sees_latent = (num_ws, w_dim), config.sees_latent
        inputs, width = 2 + w_dim * config.sees_latent, config.shift_width
        self.net = nn.Sequential(
            FullyConnectedLayer(inputs, width, activation="lrelu"),
            FullyConnectedLayer(width, width, activation="lrelu"),
            FullyConnectedLayer(width, num_ws * w_dim),
        )
        with torch.no_grad():
            self.net[-1].weight.zero_()

    def forward(self, gaze, ws):
        x = gaze.to(ws.dtype) / GAZE_SCALE
        if self.sees_latent:
            x = torch.cat([x, ws.mean(dim=1)], dim=1)
        return self.net(x).unflatten(1, self.shape)


class EyeField(nn.Module):
    """A `Generator` (protocol.py) with one thing more: where the eyes look.

    Attributes: `config`; `aim`, what `synthesis` takes for the gaze if a call says none, and may be replaced between
    two pictures; `base`, the generator underneath.
    """

    def __init__(self, config: EyeFieldConfig, neural_rendering_resolution: int = 64):
        super().__init__()
        self.config, self.aim = config, FACE
        base, decoder = config.base, config.base.decoder
        channels = base.backbone.plane_channels
        self.base = TriPlaneGenerator(base, neural_rendering_resolution)
        self.eye_backbone = SynthesisNetwork(base.w_dim, base.backbone)
        self.eye_decoder = OSGDecoder(channels, channels, decoder.width, decoder.lr_multiplier)
        self.shift = GazeShift(self.base.num_ws, base.w_dim, config)

    @classmethod
    def origin_of(cls, name: str) -> str | None:
        """The tensor of a base that one of an eye field starts from; None: its own initial value."""
        for own, base in (("base.", ""), ("eye_backbone.", "backbone.synthesis."), ("eye_decoder.", "decoder.")):
            if name.startswith(own):
                return base + name.removeprefix(own)
        return None

    z_dim = property(lambda self: self.base.z_dim)
    c_dim = property(lambda self: self.base.c_dim)
    w_dim = property(lambda self: self.base.w_dim)
    num_ws = property(lambda self: self.base.num_ws)
    options = property(lambda self: self.base.options)
    resolution = property(lambda self: self.base.resolution)
    img_resolution = property(lambda self: self.base.resolution)

    @property
    def orbit(self) -> Orbit:
        return self.base.orbit

    @property
    def neural_rendering_resolution(self) -> int:
        return self.base.neural_rendering_resolution

    @neural_rendering_resolution.setter
    def neural_rendering_resolution(self, rays: int) -> None:
        self.base.neural_rendering_resolution = rays

    @property
    def untrained(self) -> list[nn.Module]:
        """What training leaves as it is, the mean latent too."""
        return [self.base]

    def mapping(self, z, c, truncation_psi=1.0, truncation_cutoff=None, update_emas=False):
        """As the base's: the gaze has no part in who somebody is."""
        return self.base.mapping(z, c, truncation_psi, truncation_cutoff, update_emas)

    def planes(self, ws, noise_mode="random", draws=None, force_fp32=False, gaze=None) -> Planes:
        """Planes of ws [N, num_ws, w_dim] and of gaze [E, 2], E = N or k N; None: of `aim`, seen from the front."""
        kept = Recorded(draws or GlobalDraws())
        with torch.set_grad_enabled(torch.is_grad_enabled() and self._base_has_gradients(ws)):
            base = self.base.planes(ws, noise_mode, kept, force_fp32)
            centres = self._eye_centres(base.detach())
        gaze = self.aim.gaze(_frontal(ws)) if gaze is None else gaze
        k = len(gaze) // len(ws)
        ws = ws.repeat_interleave(k, dim=0)
        noise = Replayed([value.repeat_interleave(k, dim=0) for value in kept.values])
        return Planes(base, self._eye_planes(ws, gaze, centres, noise_mode, noise, force_fp32), centres)

    def with_gaze(self, planes: Planes, ws, gaze) -> Planes:
        """The same heads [N] with eyes that look elsewhere, gaze [N, 2]; noise is constant."""
        return planes._replace(eyes=self._eye_planes(ws, gaze, planes.centres, "const", Midpoints()))

    def _eye_planes(self, ws, gaze, centres, noise_mode, draws, force_fp32=False) -> torch.Tensor:
        ws, window = ws + self.shift(gaze, ws), self._window(centres)
        return self.eye_backbone(ws, noise_mode, draws, force_fp32, window).unflatten(1, (3, -1))

    def synthesis(
        self, ws, c, neural_rendering_resolution=None, noise_mode="random", draws=None, force_fp32=False,
        legacy_raw=False, gaze=None, rig_from=None, **unused,
    ):  # fmt: skip
        """As `TriPlaneGenerator.synthesis`.

        Args: gaze [M, 2]: yaw and pitch in the head frame, rad, of each picture; None: what `aim` says. rig_from: also
            return `rig` [M], the rig loss, with this radius of the eyeballs in distances of the eyes.
        """
        del unused
        draws = draws or GlobalDraws()
        n, m = len(ws), len(c)
        if m % n:
            raise ValueError(f"{m} cameras for {n} latents: the number of cameras must be a multiple")
        c = c.to(ws.dtype)
        gaze = (self.aim.gaze(c) if gaze is None else gaze.to(c)).unflatten(0, (n, m // n))
        same = bool((gaze == gaze[:, :1]).all())  # then the cameras of a latent share its eyes
        planes = self.planes(ws, noise_mode, draws, force_fp32, gaze[:, 0] if same else gaze.flatten(0, 1))

        side = neural_rendering_resolution or self.neural_rendering_resolution
        features, depth, rig = self._rendered(planes, c, side, draws, rig_from)
        drawn = self.picture(features, depth, ws, side, draws, force_fp32, legacy_raw)
        return drawn if rig is None else drawn | {"rig": rig}

    def rendered(self, planes: Planes, c, resolution: int, draws) -> tuple[torch.Tensor, torch.Tensor]:
        """As `TriPlaneGenerator.rendered`, with the eyes that the planes were made for."""
        return self._rendered(planes, c, resolution, draws)[:2]

    def _rendered(self, planes: Planes, c, resolution: int, draws, rig_from=None):
        """As `rendered`, and the rig loss [M], or None."""
        n, k = len(planes.base), len(planes.eyes) // len(planes.base)
        origins, directions = self.base.rays(c, n, resolution)
        base = planes.base if k == 1 else planes.base.repeat_interleave(k, dim=0)  # which copies in any case
        scenes = (
            self._fields(planes._replace(base=base)), self._ball(planes.centres.repeat_interleave(k, dim=0)),
            _split(origins, k), _split(directions, k), self.options,
        )  # fmt: skip
        seen = blended.render(*scenes, Split(draws, k)) if rig_from is None else None
        if seen is None:
            kept = Recorded(draws)
            with torch.set_grad_enabled(torch.is_grad_enabled() and self._base_has_gradients(planes.base)):
                pixels, depth = self.base.renderer(
                    planes.base, self.base.decoder, origins, directions, self.options, kept
                )
            jitter = kept.values[: 2 if self.options.depth_resolution_importance else 1]
            jitter = [_split(u, k) for u in jitter]
            seen = blended.render_met(*scenes, jitter, _split(pixels.mT, k).mT, depth.reshape(n * k, -1))
        seen = seen[0].mT.unflatten(0, (n, k)).flatten(1, 2).mT, seen[1].reshape(n, -1)
        if rig_from is None:
            return *seen, None
        both = [values.unflatten(2, (len(c) // n, -1)) for values in (seen[0], pixels)]
        return *seen, self._rig(planes.centres, rig_from, origins, directions, *both).flatten()

    def picture(self, features, depth, ws, resolution: int, draws, force_fp32=False, legacy_raw=False):
        """As `TriPlaneGenerator.picture`: super-resolution is the base's."""
        return self.base.picture(features, depth, ws, resolution, draws, force_fp32, legacy_raw)

    def query(self, planes: Planes, coords, draws=None):
        """The blended field at world points [N, P, 3]: rgb [N, P, C], raw sigma [N, P, 1]."""
        draws, ball = draws or GlobalDraws(), self._ball(planes.centres)
        colors, sigma = blended.query(self._fields(planes), ball, coords, self.options, draws)
        return {"rgb": colors.mT, "sigma": sigma[..., None]}

    def sample_mixed(self, coords, dirs, ws, noise_mode="random", draws=None, force_fp32=False, gaze=None, **unused):
        """As `query`, of ws [N, num_ws, w_dim]; `dirs` never matter. gaze [N, 2]: None, what `aim` says."""
        del dirs, unused
        return self.query(self.planes(ws, noise_mode, draws, force_fp32, gaze), coords, draws)

    def sample(self, coords, dirs, z, c, truncation_psi=1.0, truncation_cutoff=None, update_emas=False, **kwargs):
        """As `sample_mixed`, of (z, c)."""
        ws = self.mapping(z, c, truncation_psi, truncation_cutoff, update_emas)
        return self.sample_mixed(coords, dirs, ws, **kwargs)

    def forward(self, z, c, truncation_psi=1.0, truncation_cutoff=None, update_emas=False, **synthesis_kwargs):
        """Pictures of z [N, z_dim], with c [N, 25] as both the conditioning and the rendering camera."""
        return self.synthesis(self.mapping(z, c, truncation_psi, truncation_cutoff), c, **synthesis_kwargs)

    @torch.no_grad()
    def may_differ(self, ws, c, neural_rendering_resolution=None, noise_mode="random", draws=None) -> torch.Tensor:
        """Which pixels of pictures [M] may differ from the base's: bool [M, 1, S, S], for any gaze."""
        side = neural_rendering_resolution or self.neural_rendering_resolution
        centres = self._eye_centres(self.base.planes(ws, noise_mode, draws or GlobalDraws()))
        met = self._ball(centres).met(*self.base.rays(c.to(ws.dtype), len(ws), side))
        sr = self.config.base.superresolution.kind
        return SUPERRESOLUTIONS[sr].reached(met.reshape(len(c), 1, side, side), self.resolution)

    def _base_has_gradients(self, made_of: torch.Tensor) -> bool:
        return made_of.requires_grad or any(parameter.requires_grad for parameter in self.base.parameters())

    def _fields(self, planes: Planes) -> tuple[Field, Field]:
        start, end = self.eye_backbone.drawn(self._window(planes.centres))
        share = (end - start) / self.config.base.backbone.plane_resolution
        middle = (start + end) / 2 / self.config.base.backbone.plane_resolution - 0.5
        eyes = Field(planes.eyes, self.eye_decoder, middle * self.options.box_warp, share)
        return Field(planes.base, self.base.decoder), eyes

    def _ball(self, centres) -> Ball:
        apart = 2 * self.config.eye_x
        return Ball(centres, self.config.inner * apart, self.config.outer * apart)

    def _rig(self, centres, eyeball: float, origins, directions, features, base) -> torch.Tensor:
        """The rig loss of features [N, C, k, R R] beside the base's, by rays [N, k R R, 3]: [N, k].

        Rays that meet a ball of the blend, but pass the eyeballs by, should show what they showed. In an eyeball an
        iris may move. So its rays are compared in the order of their values: the same colours, wherever they are. (That
        is the Wasserstein distance in one dimension, channel by channel.)
        """
        ball = self._ball(centres)
        eyeballs = replace(ball, outer=eyeball * 2 * self.config.eye_x)
        met, inside = (b.met(origins, directions).view(len(base), 1, *base.shape[2:]) for b in (ball, eyeballs))

        def mean(change, rays):  # [N, C, k, R R], [N, 1, k, R R] -> [N, k]
            return change.sum(dim=3).mean(dim=1) / rays.sum(dim=3)[:, 0].clamp(min=1)

        ring = met & ~inside
        sorted_ones = [torch.where(inside, values, torch.inf).sort(dim=3).values for values in (features, base)]
        moved = torch.where(sorted_ones[1].isfinite(), sorted_ones[0] - sorted_ones[1], 0)
        return mean((features - base).abs() * ring, ring) + mean(moved.abs(), inside)

    def _window(self, centres) -> tuple[int, int]:
        """Which rows of eye planes, and columns, are read round centres [N, 2, 3], whatever axes the planes have."""
        side, outer = self.config.base.backbone.plane_resolution, self._ball(centres).outer
        low, high = ((float(v) / self.options.box_warp + 0.5) * side - 0.5 for v in centres.aminmax())
        reach = outer / self.options.box_warp * side
        return max(math.floor(low - reach), 0), min(math.floor(high + reach) + 2, side)

    @torch.no_grad()
    def _eye_centres(self, planes) -> torch.Tensor:
        """Where the base's surface is at the eyes: [N, 2, 3], along rays parallel to the z axis.

        ValueError if that is outside the volume: there is no face whose eyes could be set.
        """
        x, y, distance = self.config.eye_x, self.config.eye_y, self.orbit.radius
        origins = planes.new_tensor([[-x, y, distance], [x, y, distance]]).expand(len(planes), 2, 3)
        directions = planes.new_tensor([0.0, 0.0, -1.0]).expand(len(planes), 2, 3)
        depth = self.base.renderer(planes, self.base.decoder, origins, directions, self.options, Midpoints())[1]
        centres = origins + depth[..., None] * directions
        z = centres[..., 2]
        if not (z.abs() < self.options.box_warp / 2).all():  # not a number: as wrong as far away
            worst = float(z.flatten()[z.flatten().abs().nan_to_num(math.inf).argmax()])
            raise ValueError(
                f"the base has no surface where its eyes should be: at x = +-{x}, y = {y} it lies at z = {worst:.3g}, "
                f"outside the volume, +-{self.options.box_warp / 2}; give another base, or its eyes' place"
            )
        return centres


def _split(values, k: int):
    """Values [N, k M, X] of the rays of k scenes each: [k N, M, X]."""
    return values.unflatten(1, (k, -1)).flatten(0, 1)


def _frontal(like) -> torch.Tensor:
    """Labels [N, 25] of cameras that look along -z, one for each row of `like`."""
    pose = like.new_tensor([[1, 0, 0, 0], [0, -1, 0, 0], [0, 0, -1, 0], [0, 0, 0, 1]])
    return torch.cat([pose.flatten(), like.new_zeros(LABEL_DIM - 16)]).expand(len(like), LABEL_DIM)


def is_aimed(G) -> bool:
    """Whether the gaze of a generator can be set."""
    return isinstance(getattr(G, "aim", None), Aim)
