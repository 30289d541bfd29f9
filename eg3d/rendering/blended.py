"""Two fields in one volume: a second one takes the place of the first round some centres, softly.

At a point with weight w (`Ball.weight`) raw density and colour are (1 - w) times the first field's plus w times the
second's. The weight is exactly 0 from the outer radius on. So only rays that meet a ball (`Ball.met`) are rendered here
(`render_met`); every other ray keeps the numbers that the first field alone has given it.
"""

from dataclasses import dataclass

import torch

from eg3d.ops.kernels.field import CompiledField
from eg3d.rendering.planes import mean_features
from eg3d.rendering.renderer import VolumeRenderer
from groundwork.draws import Replayed


@dataclass(frozen=True)
class Ball:
    """Balls round centres [N, K, 3]; inner and outer radius in world units."""

    centres: torch.Tensor
    inner: float
    outer: float

    def weight(self, points: torch.Tensor) -> torch.Tensor:
        """Points [N, P, 3] -> [N, P]: 1 within an inner radius, 0 from the outer one on, a cubic between."""
        squared = (points[:, :, None] - self.centres[:, None]).square().sum(dim=-1).amin(dim=-1)
        t = ((self.outer - squared.sqrt()) / (self.outer - self.inner)).clamp(0, 1)
        return t * t * (3 - 2 * t)

    def met(self, origins: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
        """Which rays [N, M, 3] (unit directions) pass a centre within the outer radius: [N, M]."""
        to_centre = self.centres[:, None] - origins[:, :, None]  # [N, M, K, 3]
        along = (to_centre * directions[:, :, None]).sum(dim=-1, keepdim=True)
        apart = (to_centre - along * directions[:, :, None]).square().sum(dim=-1).amin(dim=-1)
        return apart < self.outer**2


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


def _field(planes, decoder, options, *places):
    compiled = CompiledField.of(planes, decoder, options, *places)
    return _Plain(planes, decoder, options) if compiled is None else _Compiled(compiled, decoder)


def query(fields, ball: Ball, points, options, draws):
    """The blended field at points [N, P, 3]: colours [N, C', P], raw density sigma [N, P].

    Args: fields, twice (planes [N, 3, C, H, W], decoder), the second of which shows inside the balls; draws, of the
        density noise if there is any.
    """
    (first, first_sigma), (second, second_sigma) = (
        VolumeRenderer().query(planes, decoder, points, options, draws) for planes, decoder in fields
    )
    w = ball.weight(points)
    return torch.lerp(first, second, w[:, None]), torch.lerp(first_sigma, second_sigma, w)


def render_met(fields, ball: Ball, origins, directions, options, jitter, features, depth):
    """Pixels with the blended field in the rays that meet a ball; the other pixels are returned as they came.

    Args:
        fields: twice (planes [N, 3, C, H, W], decoder), the second of which shows inside the balls.
        origins, directions: [N, M, 3]; options: RenderOptions, whose density noise is left out here.
        jitter: the draws [N, M, S] of the coarse pass and of the fine one, if any, that `features` were rendered with.
        features [N, C', M], depth [N, M]: of the first field alone.
    Returns: features, depth; new tensors.
    """
    met = ball.met(origins, directions)
    count = int(met.sum(dim=1).max())
    if torch.is_grad_enabled():
        count = max(count, 1)  # so that the second field has gradients in every process, zero or not
    if count == 0:
        return features, depth
    # Every row takes as many rays as the row with most; what it takes beyond its own stays as it was.
    rays = met.float().sort(dim=1, descending=True, stable=True).indices[:, :count]
    valid = met.gather(1, rays)

    def of_rays(values):  # [N, M, X] -> [N, count, X]
        return values.gather(1, rays[..., None].expand(-1, -1, values.shape[2]))

    some = _render(fields, ball, of_rays(origins), of_rays(directions), options, [of_rays(u) for u in jitter])
    places = rays[:, None].expand(-1, features.shape[1], -1)
    new = torch.where(valid[:, None], some[0], features.gather(2, places))
    return (
        features.scatter(2, places, new),
        depth.scatter(1, rays, torch.where(valid, some[1], depth.gather(1, rays))),
    )


def _render(fields, ball: Ball, origins, directions, options, jitter):
    """All rays [N, M, 3] with the blended field: features [N, C', M], depth [N, M]."""
    draws = Replayed(jitter)
    depths, hit = VolumeRenderer.coarse_depths(origins, directions, options, draws)
    parts = [_field(planes, decoder, options, origins, directions) for planes, decoder in fields]

    def along(at):  # depths [N, M, S] -> (samples of both fields, weight of the second), sigma [N, M, S]
        points = torch.addcmul(origins[:, :, None], directions[:, :, None], at[..., None]).flatten(1, 2)
        first, second = (part.density(points, at.shape[-1]) for part in parts)
        w = ball.weight(points)
        given = (first[0], second[0]), w.reshape(at.shape)
        return given, torch.lerp(first[1], second[1], w).reshape(at.shape)

    fine = draws if options.depth_resolution_importance else None
    passes, total, depth = VolumeRenderer.two_passes(along, depths, hit, fine, options)
    features = 0
    for (samples, w), weights in passes:
        features = features + parts[0].pixels(samples[0], weights * (1 - w)) + parts[1].pixels(samples[1], weights * w)
    if options.white_back:
        features = features + (1 - total)[..., None]
    return (features * 2 - 1).mT, depth
