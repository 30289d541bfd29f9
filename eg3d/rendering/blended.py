"""Two fields in one volume: a second one takes the place of the first round some centres, softly.

At a point with weight w (`Ball.weight`) raw density and colour are (1 - w) times the first field's plus w times the
second's. The weight is exactly 0 from the outer radius on. So a ray that meets no ball (`Ball.met`) has the numbers
that the first field alone gives it. Without gradients, kernels draw both fields at once (`render`). Else the first
field draws everything, and then both of them the rays that meet a ball (`render_met`).
"""

import functools
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
import torch.nn.functional as F

from eg3d.ops.kernels.field import CompiledField
from eg3d.rendering.options import RenderOptions
from eg3d.rendering.planes import mean_features
from eg3d.rendering.renderer import VolumeRenderer
from groundwork.draws import Replayed

HAIR = 1e-4  # of a radius: more than rounding moves a point of a ray


class Field(NamedTuple):
    """Planes [N, 3, C, H, W] of a cube of the volume, and their decoder: [N, C, P] -> colours, density."""

    planes: torch.Tensor
    decoder: torch.nn.Module
    middle: float = 0.0  # of the cube, on every axis
    share: float = 1.0  # of its side in the whole box's

    def within(self, options: RenderOptions) -> RenderOptions:
        """Options by which the cube is the box, for points from which `middle` is taken away."""
        return replace(options, box_warp=options.box_warp * self.share)


@dataclass(frozen=True)
class Ball:
    """Balls round centres [N, K, 3]; inner and outer radius in world units."""

    centres: torch.Tensor
    inner: float
    outer: float

    def weight(self, points: torch.Tensor) -> torch.Tensor:
        """Points [N, P, 3] -> [N, P]: 1 within an inner radius, 0 from the outer one on, a cubic between."""
        return self._softly((points[:, :, None] - self.centres[:, None]).square().sum(dim=-1).amin(dim=-1))

    def weight_along(self, origins, directions, depths) -> torch.Tensor:
        """As `weight`, at depths [N, M, S] of rays [N, M, 3] (unit directions): [N, M, S]."""
        along, squared = (values[:, :, None].unbind(dim=-1) for values in self._passed(origins, directions))
        per_ball = ((depths - at).square_().add_(nearest) for at, nearest in zip(along, squared, strict=True))
        return self._softly(functools.reduce(torch.minimum, per_ball))

    def met(self, origins: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
        """Which rays [N, M, 3] (unit directions) pass a centre within the outer radius, or a hair beside: [N, M].

        A point of any other ray has no weight, however it is rounded.
        """
        return self._passed(origins, directions)[1].amin(dim=-1) < (self.outer * (1 + HAIR)) ** 2

    def _passed(self, origins, directions):
        """Where rays come nearest to the centres, and the squared distance there: [N, M, K] twice."""
        to_centre = self.centres[:, None] - origins[:, :, None]  # [N, M, K, 3]
        along = (to_centre * directions[:, :, None]).sum(dim=-1, keepdim=True)
        return along[..., 0], (to_centre - along * directions[:, :, None]).square().sum(dim=-1)

    def _softly(self, squared):
        t = ((self.outer - squared.sqrt()) / (self.outer - self.inner)).clamp(0, 1)
        return t * t * (3 - 2 * t)


class _Plain:
    """One field in plain PyTorch, as `CompiledField` offers it."""

    def __init__(self, planes, decoder, options):
        self.arguments = planes, decoder, options

    def density(self, points, per_ray: int):
        planes, decoder, options = self.arguments
        colors, sigma = decoder(mean_features(planes, points, options.box_warp, options.plane_axes))
        return colors.unflatten(2, (-1, per_ray)), sigma  # [N, C', M, S], [N, M S]

    @staticmethod
    def pixels(samples, weights):
        """Weighted sums over the samples of each ray: [N, M, C']."""
        return (samples * weights[:, None]).sum(dim=-1).mT


class _Compiled:
    """One field by kernels, its decoder's margins added."""

    def __init__(self, compiled: CompiledField, decoder):
        self.density, self._compiled, self._decoder = compiled.density, compiled, decoder

    def pixels(self, samples, weights):
        colors = self._compiled.pixels(samples, weights)
        return self._decoder.with_margins(colors, weights.sum(dim=-1, keepdim=True))


def _field(field: Field, options, *places):
    options = field.within(options)
    compiled = CompiledField.of(field.planes, field.decoder, options, *places)
    return _Plain(field.planes, field.decoder, options) if compiled is None else _Compiled(compiled, field.decoder)


def query(fields, ball: Ball, points, options, draws):
    """The blended field at points [N, P, 3]: colours [N, C', P], raw density sigma [N, P].

    Args: fields: two, the second of which shows inside the balls; draws, of the density noise if there is any.
    """
    (first, first_sigma), (second, second_sigma) = (
        VolumeRenderer().query(f.planes, f.decoder, points - f.middle, f.within(options), draws) for f in fields
    )
    w = ball.weight(points)
    return torch.lerp(first, second, w[:, None]), torch.lerp(first_sigma, second_sigma, w)


def _chosen_first(chosen):
    """Rows of rays [N, M], those that are chosen before the others, and whether they are."""
    ordered = chosen.float().sort(dim=1, descending=True, stable=True)
    return ordered.indices, ordered.values > 0


def _of_rays(values, rays):
    """Values [N, M, X] of some rays [N, R]: [N, R, X]."""
    return values.gather(1, rays[..., None].expand(-1, -1, values.shape[2]))


def _with_rays(values, rays, new):
    """Values [N, M, X] with new ones [N, R, X] in some rays [N, R], which differ within a row."""
    n, m, _ = values.shape
    places = rays + m * torch.arange(n, device=rays.device)[:, None]
    return values.flatten(0, 1).index_copy(0, places.flatten(), new.flatten(0, 1)).unflatten(0, (n, m))


def render(fields, ball: Ball, origins, directions, options, draws):
    """Pixels of the blended field: features [N, C', M], depth [N, M]. None if no kernel serves: take `render_met`.

    Rays that meet no ball have the bits that `VolumeRenderer` gives them with the first field and these draws.

    Args: fields: two, the second of which shows inside the balls and the first of which has the whole box; origins,
        directions [N, M, 3]; options: RenderOptions.
    """
    if torch.is_grad_enabled() or options.density_noise > 0 or not origins.is_cpu:  # a GPU's kernels know one field
        return None
    first, second = (CompiledField.of(f.planes, f.decoder, f.within(options), origins, directions) for f in fields)
    if first is None or second is None:
        return None
    both = first.blended(second, fields[1].middle, (ball.centres, ball.inner, ball.outer))
    return VolumeRenderer()(fields[0].planes, fields[0].decoder, origins, directions, options, draws, both)


def render_met(fields, ball: Ball, origins, directions, options, jitter, features, depth):
    """Pixels with the blended field in the rays that meet a ball; the other pixels are returned as they came.

    Args:
        fields: two, as in `render`.
        origins, directions: [N, M, 3]; options: RenderOptions, whose density noise is left out here.
        jitter: the draws [N, M, S] of the coarse pass and of the fine one, if any, that `features` were rendered with.
        features [N, C', M], depth [N, M]: of the first field alone.
    Returns: features, depth; new tensors.
    """
    order, met = _chosen_first(ball.met(origins, directions))
    count = int(met.sum(dim=1).max())
    if torch.is_grad_enabled():
        count = max(count, 1)  # so that the second field has gradients in every process, zero or not
    if count == 0:
        return features, depth
    # Every row takes as many rays as the row with most; what it takes beyond its own stays as it was.
    rays, valid = order[:, :count], met[:, :count]
    parts = [_of_rays(values, rays) for values in (origins, directions, *jitter)]
    some = _render(fields, ball, *parts[:2], options, parts[2:])
    before = features.mT, depth[..., None]
    drawn = (
        _with_rays(old, rays, torch.where(valid[..., None], new, _of_rays(old, rays)))
        for old, new in zip(before, (some[0].mT, some[1][..., None]), strict=True)
    )
    features, depth = drawn
    return features.mT, depth[..., 0]


def _render(fields, ball: Ball, origins, directions, options, jitter):
    """All rays [N, M, 3] with the blended field: features [N, C', M], depth [N, M]."""
    draws = Replayed(jitter)
    depths, hit = VolumeRenderer.coarse_depths(origins, directions, options, draws)
    first, second = (_field(field, options, origins, directions) for field in fields)

    def along(at):  # depths [N, M, S] -> (samples, weights of the second and its own samples), sigma [N, M, S]
        points = torch.addcmul(origins[:, :, None], directions[:, :, None], at[..., None]).flatten(1, 2)
        samples, sigma = first.density(points, at.shape[-1])
        w = ball.weight_along(origins, directions, at)
        inside = _Inside(second, points - fields[1].middle, w.flatten(1, 2))
        return (samples, w, inside), inside.blended(sigma).reshape(at.shape)

    fine = draws if options.depth_resolution_importance else None
    passes, total, depth = VolumeRenderer.two_passes(along, depths, hit, fine, options)
    features = 0
    for (samples, w, inside), weights in passes:
        features = features + first.pixels(samples, weights * (1 - w)) + inside.pixels(weights * w)
    if options.white_back:
        features = features + (1 - total)[..., None]
    return (features * 2 - 1).mT, depth


class _Inside:
    """A field that is asked only where its weight [N, P] is above 0, of points [N, P, 3] along rays."""

    def __init__(self, field, points, weight):
        self._field, self._weight = field, weight
        n, p = weight.shape
        chosen = weight > 0
        most = max(int(chosen.sum(dim=1).max()), 1)
        # A row with fewer goes on with a point beyond its last, p: what is found there is thrown away.
        rank = torch.where(chosen, chosen.cumsum(dim=1) - 1, most)
        at = torch.arange(p, device=weight.device).expand(n, p)
        self._at = at.new_full((n, most + 1), p).scatter(1, rank, at)[:, :most]
        self._samples, self._sigma = field.density(_of_rays(points, self._at.clamp(max=p - 1)), 1)

    def blended(self, sigma):
        """Densities [N, P] of another field with this one's where it has weight."""
        n, p = sigma.shape
        own = sigma.new_zeros(n, p + 1).scatter(1, self._at, self._sigma)[:, :p]
        return torch.lerp(sigma, own, self._weight)

    def pixels(self, weights):
        """Sums over the samples of each ray, weights [N, M, S]: [N, M, C']."""
        n, m, s = weights.shape
        padded = F.pad(weights.flatten(1), (0, 1))
        colours = self._field.pixels(self._samples, padded.gather(1, self._at)[..., None])
        ray = (self._at // s).clamp(max=m - 1) + m * torch.arange(n, device=weights.device)[:, None]
        sums = colours.new_zeros(n * m, colours.shape[-1]).index_add(0, ray.flatten(), colours.flatten(0, 1))
        return sums.unflatten(0, (n, m))
