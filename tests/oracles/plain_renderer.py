"""The renderer written plainly, in the order of the published code (spec sections 3 and 4): the twin of the fast one.

Everything is stored: features [N, 3, P, C], colours of all samples, sorted with their depths, and their averages at the
mid-points. Origin: the specification and EG3D, section 4.1; own code. Of `eg3d` it calls the plane look-up, which is
`grid_sample` and nothing else. Depths are clamped per ray (published: over the batch, D-07), which no picture sees.
"""

import torch
import torch.nn.functional as F

from eg3d.rendering.planes import sample_planes


def field(planes, decoder, points, options):
    """Points [N, P, 3] -> colours [N, P, C'], sigma [N, P, 1] (sections 3.2 and 3.3)."""
    features = sample_planes(planes, points, options.box_warp, options.plane_axes).mean(dim=1)  # [N, P, C]
    first, _, last = decoder.net
    n, p, c = features.shape
    out = _linear(last, F.softplus(_linear(first, features.reshape(n * p, c)))).reshape(n, p, -1)
    return torch.sigmoid(out[..., 1:]) * (1 + 2 * 0.001) - 0.001, out[..., :1]


def render(planes, decoder, origins, directions, options, draws):
    """As `VolumeRenderer.forward`, for bounds that are numbers: features [N, C', M], depth [N, M]."""
    n, m, _ = origins.shape
    depths = coarse_depths(options, draws, n, m, origins)

    def along(depths):  # [N, M, S, 1]
        points = (origins[:, :, None] + depths * directions[:, :, None]).reshape(n, -1, 3)
        colors, sigma = field(planes, decoder, points, options)
        return colors.reshape(n, m, -1, colors.shape[-1]), sigma.reshape(n, m, -1, 1)

    colors, sigma = along(depths)
    if options.depth_resolution_importance:
        weights = march(colors, sigma, depths, options.white_back)[2]
        fine = fine_depths(depths, weights, options.depth_resolution_importance, draws)
        fine_colors, fine_sigma = along(fine)
        depths, order = torch.cat([depths, fine], dim=2).sort(dim=2)
        colors = torch.cat([colors, fine_colors], dim=2)
        colors = colors.gather(2, order.expand_as(colors))
        sigma = torch.cat([sigma, fine_sigma], dim=2).gather(2, order)
    pixels, depth, _ = march(colors, sigma, depths, options.white_back)
    return pixels.mT, depth[..., 0]


def coarse_depths(options, draws, n, m, like):
    """Section 4.2: [N, M, S, 1]."""
    near, far, count = options.ray_start, options.ray_end, options.depth_resolution
    depths = torch.linspace(near, far, count, device=like.device, dtype=like.dtype)[:, None]
    jitter = draws.uniform((n, m, count), like.device)[..., None]
    return (depths + jitter * ((far - near) / (count - 1))).to(like.dtype)


def march(colors, sigma, depths, white_back=False):
    """Section 4.3: colours [N, M, S, C], sigma and sorted depths [N, M, S, 1] -> pixels, depth, weights."""
    delta = depths[:, :, 1:] - depths[:, :, :-1]
    colors = (colors[:, :, :-1] + colors[:, :, 1:]) / 2
    sigma = (sigma[:, :, :-1] + sigma[:, :, 1:]) / 2
    middle = (depths[:, :, :-1] + depths[:, :, 1:]) / 2
    alpha = 1 - torch.exp(-F.softplus(sigma - 1) * delta)
    passed = torch.cat([torch.ones_like(alpha[:, :, :1]), 1 - alpha + 1e-10], dim=2)
    weights = alpha * torch.cumprod(passed, dim=2)[:, :, :-1]
    pixels, total = (weights * colors).sum(dim=2), weights.sum(dim=2)
    depth = torch.nan_to_num((weights * middle).sum(dim=2) / total, nan=float("inf"), posinf=float("inf"))
    depth = torch.minimum(torch.maximum(depth, depths[:, :, 0]), depths[:, :, -1])
    if white_back:
        pixels = pixels + 1 - total
    return pixels * 2 - 1, depth, weights


@torch.no_grad()
def fine_depths(depths, weights, count, draws):
    """Section 4.4: coarse depths [N, M, S, 1], weights [N, M, S - 1, 1] -> [N, M, count, 1], not sorted."""
    n, m, s, _ = depths.shape
    weights = weights.reshape(n * m, 1, s - 1)
    weights = F.avg_pool1d(F.max_pool1d(weights, 2, stride=1, padding=1), 2, stride=1).squeeze(1) + 0.01
    depths = depths.reshape(n * m, s)
    bins, mass = (depths[:, :-1] + depths[:, 1:]) / 2, weights[:, 1:-1] + 1e-5
    cdf = torch.cumsum(mass / mass.sum(dim=1, keepdim=True), dim=1)
    cdf = torch.cat([torch.zeros_like(cdf[:, :1]), cdf], dim=1)
    u = draws.stratified((n, m, count), depths.device).reshape(n * m, count).to(cdf.dtype).contiguous()
    above = torch.searchsorted(cdf, u, right=True)
    ends = torch.stack([(above - 1).clamp(min=0), above.clamp(max=s - 3)], dim=2).reshape(n * m, 2 * count)
    low, high = cdf.gather(1, ends).reshape(n * m, count, 2).unbind(dim=2)
    bin_low, bin_high = bins.gather(1, ends).reshape(n * m, count, 2).unbind(dim=2)
    span = torch.where(high - low < 1e-5, 1, high - low)
    return (bin_low + (u - low) / span * (bin_high - bin_low)).reshape(n, m, count, 1)


def _linear(layer, x):
    """Section 2.1."""
    return torch.addmm((layer.bias * layer.bias_gain)[None], x, (layer.weight * layer.weight_gain).t())
