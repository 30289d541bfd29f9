"""Two-pass volume rendering of a tri-plane field: the same as `definition.py` computes, faster. Read that file first.

`VolumeRenderer.forward` takes the first of three paths that can serve:

* `_render_compiled`: kernels for the field and along the rays (`ops/kernels/field.py`, `march.py`). They need float32,
  a decoder that they know, and no gradient to the rays. `--ops=torch` turns them off.
* `_render_rows`: plain PyTorch on a CPU if no gradient is recorded, with a `PlaneTable`.
* `_render_block`: plain PyTorch for everything else, with every gradient.

All three compute densities first, then the weights of all samples, then one weighted sum of unsorted colours. If no
gradient is recorded, rays are rendered in blocks, whose features stay in the cache. The jitter is that of
`definition.py`. Random density noise is another noise of the same kind, because its numbers are drawn in another order.
"""

import torch
import torch.nn.functional as F
from torch import nn

from eg3d.geometry.rays import box_bounds
from eg3d.ops.kernels.field import CompiledField
from eg3d.rendering import marching, sampling
from eg3d.rendering.planes import PlaneTable, mean_features

POINTS_PER_BLOCK = 2**15  # points of one block of rays when no gradient is kept: its features stay in the cache
POINTS_PER_BLOCK_COMPILED = 2**17  # the kernels keep their features in the cache by themselves; fewer, larger calls
POINTS_PER_BLOCK_CUDA = 2**21  # enough to fill a GPU, less than a gigabyte of features


class VolumeRenderer(nn.Module):
    """Planes and rays -> feature pixels. Holds no tensors."""

    def forward(self, planes, decoder, origins, directions, options, draws, compiled=None):
        """Renders the rays of N latents, as `definition.render` does.

        Args:
            planes: [N, 3, C, H, W]; decoder: features [N, C, P] -> (colours [N, C', P], sigma [N, P]).
            origins, directions: [N, M, 3]; options: RenderOptions; draws: see groundwork.draws.
            compiled: a field by kernels that takes the place of these planes' own, or None.
        Returns: features [N, C', M], depth [N, M]. Raises: ValueError when there are no rays.
        """
        n, m, _ = origins.shape
        if not n or not m:
            raise ValueError(f"there is nothing to render: {n} latents with {m} rays each; both must be at least 1")
        depths, hit = self.coarse_depths(origins, directions, options, draws)
        fine = options.depth_resolution_importance
        jitter = _Replay(draws.stratified((*depths.shape[:2], fine), depths.device)) if fine else None
        compiled = compiled or CompiledField.of(planes, decoder, options, origins, directions)
        block = m
        if not torch.is_grad_enabled() and not (compiled and planes.is_cuda):  # kernels on a GPU store nothing
            points = POINTS_PER_BLOCK_COMPILED if compiled else POINTS_PER_BLOCK
            points = POINTS_PER_BLOCK_CUDA if planes.is_cuda else points
            block = max(points // (len(planes) * max(options.depth_resolution, fine)), 1)
        if compiled is not None:
            render, planes = self._render_compiled, compiled
        elif not torch.is_grad_enabled() and not planes.is_cuda:
            render, planes = self._render_rows, PlaneTable(planes)
        else:
            render = self._render_block
        outputs = []
        for i in range(0, m, block):
            rays = slice(i, i + block)
            outputs.append(
                render(
                    planes, decoder, origins[:, rays], directions[:, rays], depths[:, rays],
                    None if hit is None else hit[:, rays], jitter and jitter.part(rays), options, draws,
                )
            )  # fmt: skip
        features, depth = zip(*outputs, strict=True)
        return torch.cat(features, dim=2), torch.cat(depth, dim=1)

    @staticmethod
    def coarse_depths(origins, directions, options, draws):
        """Stratified depths [N, M, S] and, for 'auto' bounds, which rays meet the box [N, M] (else None)."""
        near, far, hit = options.ray_start, options.ray_end, None
        if near == "auto":
            near, far, hit = box_bounds(origins, directions, options.box_warp)
            hit = hit[..., 0]
        depths = sampling.stratified_depths(
            near, far, options.depth_resolution, draws, origins.shape[:2], origins.device,
            options.disparity_space_sampling,
        )  # fmt: skip
        return depths.to(origins.dtype), hit

    def query(self, planes, decoder, points, options, draws):
        """The field at points [N, P, 3]: colours [N, C', P], raw density sigma [N, P]."""
        compiled = CompiledField.of(planes, decoder, options, points)
        if compiled is not None:
            samples, sigma = compiled.density(points, per_ray=1)
            colors = compiled.pixels(samples, torch.ones_like(points[..., :1])).mT
            colors = decoder.with_margins(colors)
        else:
            colors, sigma = decoder(mean_features(planes, points, options.box_warp, options.plane_axes))
        if options.density_noise > 0:
            sigma = sigma + draws.normal(sigma.shape, sigma.device) * options.density_noise
        return colors, sigma

    def _render_block(self, planes, decoder, origins, directions, depths, hit, jitter, options, draws):
        n, m, _ = origins.shape

        # Points lie [S, M], samples before rays: neighbours in memory are neighbours in the planes, and weighted sums
        # over the samples run along contiguous rays. Only sigma and depth are transposed.
        def field(at):  # depths [N, M, S] -> colours [N, C', S, M], sigma [N, M, S]
            points = (origins[:, None] + at.mT[..., None] * directions[:, None]).reshape(n, -1, 3)
            colors, sigma = self.query(planes, decoder, points, options, draws)
            return colors.reshape(n, -1, at.shape[2], m), sigma.reshape(n, -1, m).mT

        passes, total, depth = self.two_passes(field, depths, hit, jitter, options)
        features = sum((colors * weights.mT[:, None].contiguous()).sum(dim=2) for colors, weights in passes)
        if options.white_back:
            features = features + (1 - total)[:, None]
        return features * 2 - 1, depth

    def _render_rows(self, table, decoder, origins, directions, depths, hit, jitter, options, draws):
        """As `_render_block`, for a PlaneTable; colours are computed where they are summed."""
        n, m, _ = origins.shape

        def field(at):  # depths [N, M, S] -> hidden [N M S, hidden], sigma [N, M, S]
            points = torch.addcmul(origins[..., None], directions[..., None], at[:, :, None])  # [N, M, 3, S]
            points = points.movedim(2, 3).reshape(n, -1, 3)
            features = table.sum_features(points, options.box_warp, options.plane_axes)
            hidden = decoder.hidden(features, scale=1 / len(options.plane_axes))
            sigma = decoder.density(hidden).reshape(at.shape)
            if options.density_noise > 0:
                sigma = sigma + draws.normal(sigma.shape, sigma.device) * options.density_noise
            return hidden, sigma

        passes, total, depth = self.two_passes(field, depths, hit, jitter, options)
        features = 0
        for hidden, weights in passes:
            weights = weights.reshape(n * m, -1)
            rows = torch.arange(weights.numel(), dtype=torch.int32, device=weights.device).view_as(weights)
            # a weighted sum over each ray's rows, without a product to store
            features = features + F.embedding_bag(
                rows, decoder.saturation(hidden), mode="sum", per_sample_weights=weights
            )
        total = total[..., None]
        features = decoder.with_margins(features.reshape(n, m, -1), total)
        if options.white_back:
            features = features + (1 - total)
        return (features * 2 - 1).mT, depth

    def _render_compiled(self, compiled, decoder, origins, directions, depths, hit, jitter, options, draws):
        """As `_render_block`, for a CompiledField."""

        def field(at):  # depths [N, M, S] -> what `pixels` needs of the samples, sigma [N, M, S]
            points = torch.addcmul(origins[:, :, None], directions[:, :, None], at[..., None]).flatten(1, 2)
            samples, sigma = compiled.density(points, at.shape[-1])
            sigma = sigma.reshape(at.shape)
            if options.density_noise > 0:
                sigma = sigma + draws.normal(sigma.shape, sigma.device) * options.density_noise
            return samples, sigma

        passes, total, depth = self.two_passes(field, depths, hit, jitter, options)
        total = total[..., None]
        features = decoder.with_margins(sum(compiled.pixels(samples, weights) for samples, weights in passes), total)
        if options.white_back:
            features = features + (1 - total)
        return (features * 2 - 1).mT, depth

    @staticmethod
    def two_passes(field, depths, hit, jitter, options):
        """The coarse and the fine pass, then the weights of all samples together.

        Args: field: from depths [N, M, S] to (anything, sigma [N, M, S]); depths: the coarse ones.
        Returns: per pass (what `field` gave, the sample weights [N, M, S]); sum of the weights, mean depth [N, M].
        """
        given, sigma = field(depths)
        passes = [(given, sigma, depths)]
        if jitter is not None:
            fine = sampling.fine_depths(sigma, depths, options.depth_resolution_importance, jitter)
            passes.append((*field(fine), fine))
        given, sigmas, unsorted = zip(*passes, strict=True)
        weights, total, depth = marching.march(sigmas, unsorted, hit)
        return list(zip(given, weights, strict=True)), total, depth


class _Replay:
    """Hands out draws that were made before the rays were cut into blocks, so blocks change nothing."""

    def __init__(self, values):
        self.values = values

    def part(self, rays):
        return _Replay(self.values[:, rays])

    def stratified(self, shape, device="cpu"):
        assert tuple(shape) == tuple(self.values.shape)
        return self.values
