"""Depths of a ray's samples: stratified in the coarse pass (NeRF, eq. 2), by importance in the fine pass (section 5.2).

An edit of `importance_depths` changes pictures only with `--ops=torch`: else a kernel draws the fine depths.
"""

import torch
import torch.nn.functional as F

from eg3d.ops.kernels.march import kernels_for_march
from eg3d.rendering import marching


def stratified_depths(near, far, count: int, draws, shape, device="cpu", disparity=False):
    """Coarse pass: one depth in each of `count` strata, per ray.

    Args:
        near, far: numbers, or per-ray tensors [N, M, 1].
        shape: (N, M).
        disparity: equal steps in 1 / depth instead of depth.
    Returns: [N, M, count], increasing along the last axis.

    The jitter is one-sided, as published: samples lie in [near, far + step) (docs/published_defects.md, D-05).
    """
    steps = torch.linspace(0, 1, count, device=device)
    jitter = draws.uniform((*shape, count), device)
    s = steps + jitter / (count - 1)
    if disparity:
        return 1 / ((1 - s) / near + s / far)
    return near + s * (far - near)


@torch.no_grad()
def importance_depths(depths, weights, count: int, draws):
    """Fine pass: depths drawn from the piecewise-constant density that the coarse weights describe.

    Args:    depths [N, M, S] coarse, increasing; weights [N, M, S-1] of the intervals between them
    Returns: [N, M, count], not sorted

    The mass of interval j lies between the mid-points j-1 and j, half an interval too near the camera, and the last bin
    is never used. Published pictures need it so (docs/published_defects.md, D-03).
    """
    n, m, s = depths.shape
    weights = weights.reshape(n * m, 1, s - 1)
    smooth = F.avg_pool1d(F.max_pool1d(weights, 2, stride=1, padding=1), 2, stride=1).squeeze(1) + 0.01
    bins = 0.5 * (depths[..., :-1] + depths[..., 1:]).reshape(n * m, s - 1)
    mass = smooth[:, 1:-1] + 1e-5
    cdf = F.pad((mass / mass.sum(dim=-1, keepdim=True)).cumsum(dim=-1), (1, 0))  # [NM, S-2]
    u = draws.stratified((n, m, count), depths.device).reshape(n * m, count).contiguous()
    above = torch.searchsorted(cdf, u, right=True)
    low, high = (above - 1).clamp(min=0), above.clamp(max=s - 3)
    cdf_low, cdf_high = cdf.gather(1, low), cdf.gather(1, high)
    bin_low, bin_high = bins.gather(1, low), bins.gather(1, high)
    span = cdf_high - cdf_low
    span = torch.where(span < 1e-5, torch.ones_like(span), span)
    return (bin_low + (u - cdf_low) / span * (bin_high - bin_low)).reshape(n, m, count)


@torch.no_grad()
def fine_depths(sigma, depths, count: int, draws):
    """Depths of the fine pass from sigma and depths of the coarse one: [N, M, S] twice -> [N, M, count], not sorted.

    `importance_depths` says what is drawn. A kernel computes it if there is one.
    """
    n, m, s = depths.shape
    kernels = kernels_for_march(sigma, depths)
    if kernels is None or max(s, count) > kernels.MOST_SAMPLES or s < 4:
        return importance_depths(depths, marching.interval_weights(sigma, depths), count, draws)
    u = draws.stratified((n, m, count), depths.device)
    return kernels.fine_depths(sigma, depths, u)
