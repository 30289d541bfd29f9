"""The renderer written plainly, in the order of the published code (spec sections 3 and 4): the twin of the fast one.

Everything is stored: features [N, 3, P, C], colours of all samples, sorted with their depths. Origin: the specification
and EG3D, section 4.1; own code.
"""

import torch

from eg3d.rendering import marching, sampling
from eg3d.rendering.planes import sample_planes


def field(planes, decoder, points, options):
    """Points [N, P, 3] -> colours [N, P, C'], sigma [N, P, 1]."""
    features = sample_planes(planes, points, options.box_warp, options.plane_axes).mean(dim=1)  # [N, P, C]
    first, activation, last = decoder.net
    n, p, c = features.shape
    out = last(activation(first(features.reshape(n * p, c)))).reshape(n, p, -1)
    return torch.sigmoid(out[..., 1:]) * (1 + 2 * 0.001) - 0.001, out[..., :1]


def render(planes, decoder, origins, directions, options, draws):
    """As `VolumeRenderer.forward`, for bounds that are numbers: features [N, C', M], depth [N, M]."""
    n, m, _ = origins.shape
    depths = sampling.stratified_depths(
        options.ray_start, options.ray_end, options.depth_resolution, draws, (n, m), origins.device
    )

    def along(depths):
        points = (origins[:, :, None] + depths[..., None] * directions[:, :, None]).reshape(n, -1, 3)
        colors, sigma = field(planes, decoder, points, options)
        return colors.reshape(n, m, -1, colors.shape[-1]), sigma.reshape(n, m, -1, 1)

    colors, sigma = along(depths)
    if options.depth_resolution_importance:
        weights = marching.composite(colors, sigma, depths[..., None])[2]
        fine = sampling.importance_depths(depths, weights[..., 0], options.depth_resolution_importance, draws)
        fine_colors, fine_sigma = along(fine)
        depths, order = torch.cat([depths, fine], dim=-1).sort(dim=-1)
        order = order[..., None]
        colors = torch.cat([colors, fine_colors], dim=2)
        colors = colors.gather(2, order.expand_as(colors))
        sigma = torch.cat([sigma, fine_sigma], dim=2).gather(2, order)
    pixels, depth, _ = marching.composite(colors, sigma, depths[..., None], options.white_back)
    return pixels.mT, depth[..., 0]
