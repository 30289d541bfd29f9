"""The renderer as the papers say it. Start here; `renderer.py` computes the same faster.

    for every pixel's ray r(t) = o + t d:
        coarse pass    one depth in each of S strata                         NeRF, eq. 2          sampling.py
                       features of three planes at r(t), their mean          EG3D, section 3      planes.py
                       a small network: colour c, density sigma              EG3D, section 3      models/decoder.py
                       alpha, transmittance T, weights w = T alpha           NeRF, eq. 3          marching.py
        fine pass      depths where the coarse weights are large             NeRF, section 5.2    sampling.py
        pixel          sum of w c over the samples of both passes, sorted    NeRF, eq. 3          marching.py

EG3D's "colours" are 32 features of which the first three are the picture before super-resolution. Nothing here is
quick: every feature of every plane is kept, and colours are sorted. No picture is drawn by this file; the tests compare
every path of `renderer.py` with it, in value and gradient.
"""

import torch

from eg3d.geometry.rays import box_bounds
from eg3d.rendering.marching import composite
from eg3d.rendering.planes import sample_planes
from eg3d.rendering.sampling import importance_depths, stratified_depths


def render(planes, decoder, origins, directions, options, draws):
    """Volume rendering in two passes (EG3D, section 4.1; NeRF, section 5.2).

    Args:
        planes: [N, 3, C, H, W]; decoder: features [N, C, P] -> (colours [N, C', P], sigma [N, P]).
        origins, directions: [N, M, 3], directions of length 1; options: RenderOptions; draws: see groundwork.draws.
    Returns: features [N, C', M] in about [-1, 1], depth [N, M].
    """
    near, far, hit = options.ray_start, options.ray_end, None
    if near == "auto":
        near, far, hit = box_bounds(origins, directions, options.box_warp)  # [N, M, 1]

    def along_rays(depths):
        """Depths [N, M, S] -> colours [N, M, S, C'], sigma [N, M, S, 1]."""
        points = origins[:, :, None] + depths[..., None] * directions[:, :, None]
        colors, sigma = field(planes, decoder, points.flatten(1, 2), options, draws)
        sigma = sigma.reshape(depths.shape)
        if hit is not None:
            sigma = sigma.masked_fill(~hit, -torch.inf)  # a ray that misses the box meets nothing
        return colors.mT.reshape(*depths.shape, -1), sigma[..., None]

    depths = stratified_depths(
        near, far, options.depth_resolution, draws, origins.shape[:2], origins.device, options.disparity_space_sampling
    ).to(origins.dtype)
    colors, sigma = along_rays(depths)

    if options.depth_resolution_importance > 0:
        _, _, weights = composite(colors, sigma, depths[..., None])
        fine = importance_depths(depths, weights[..., 0], options.depth_resolution_importance, draws)
        fine_colors, fine_sigma = along_rays(fine)
        depths = torch.cat([depths, fine], dim=2)
        colors, sigma = torch.cat([colors, fine_colors], dim=2), torch.cat([sigma, fine_sigma], dim=2)

    depths, order = depths[..., None].sort(dim=2)
    colors, sigma = colors.gather(2, order.expand_as(colors)), sigma.gather(2, order)
    features, depth, _ = composite(colors, sigma, depths, options.white_back)
    return features.mT, depth[..., 0]


def field(planes, decoder, points, options, draws):
    """The tri-plane field (EG3D, section 3): points [N, P, 3] -> colours [N, C', P], raw density sigma [N, P]."""
    features = sample_planes(planes, points, options.box_warp, options.plane_axes)  # [N, 3, P, C]
    # EG3D's paper sums over the planes; its published weights want the mean.
    colors, sigma = decoder(features.mean(dim=1).mT)
    if options.density_noise > 0:
        sigma = sigma + options.density_noise * draws.normal(sigma.shape, sigma.device)
    return colors, sigma
