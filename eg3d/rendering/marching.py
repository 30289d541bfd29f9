"""Densities -> weights -> pixels: quadrature of the volume-rendering integral (NeRF, eq. 3; Max 1995).

An edit of this file changes pictures only with `--ops=torch`: else a kernel computes `march` (`ops/kernels/march.py`).
"""

import torch
import torch.nn.functional as F

from eg3d.ops.kernels.march import compiled_march, kernels_for_march


def interval_weights(sigma, depths):
    """Weight T_i alpha_i of every interval between neighbouring samples: transmittance times alpha (NeRF, eq. 3).

    Densities are averaged at interval mid-points and pass softplus(x - 1), as EG3D's weights expect.
    Args:    sigma [..., S] raw, depths [..., S] increasing
    Returns: weights [..., S-1]; along each ray they sum to at most 1
    """
    delta = depths[..., 1:] - depths[..., :-1]
    density = F.softplus(0.5 * (sigma[..., :-1] + sigma[..., 1:]) - 1)
    alpha = 1 - torch.exp(-density * delta)
    transmittance = torch.cumprod(1 - alpha + 1e-10, dim=-1)
    # Light that reaches interval i has passed the intervals before it.
    return alpha * F.pad(transmittance[..., :-1], (1, 0), value=1.0)


def sample_weights(weights):
    """Interval weights [..., S-1] -> weights of the samples [..., S].

    Colours averaged at the mid-points and weighted per interval, as in `composite`, have the same sum as each sample's
    own colour times half the weights of the two intervals beside it. So colours need be neither averaged nor sorted.
    """
    return 0.5 * (F.pad(weights, (0, 1)) + F.pad(weights, (1, 0)))


def march(sigmas, depths, hit=None):
    """Weights of all samples of a coarse pass, or of a coarse and a fine pass together.

    Args: sigmas, depths: per pass [N, M, S], in any order; hit [N, M]: rays that count, None: all.
    Returns: per pass the sample weights [N, M, S]; their sum and the mean depth of the light [N, M].
    """
    kernels = None
    if hit is None and not (torch.is_grad_enabled() and any(t.requires_grad for t in depths)):
        kernels = kernels_for_march(*sigmas, *depths)
    if kernels is not None:
        return compiled_march(kernels, sigmas, depths)
    sorted_depths, order = torch.cat(depths, dim=-1).sort(dim=-1)
    weights = interval_weights(torch.cat(sigmas, dim=-1).gather(-1, order), sorted_depths)
    if hit is not None:
        weights = weights * hit[..., None]
    # Back to the unsorted samples: 8 bytes a sample are moved, not its colours.
    per_sample = torch.empty_like(sorted_depths).scatter(-1, order, sample_weights(weights))
    per_pass = per_sample.split([at.shape[-1] for at in depths], dim=-1)
    return per_pass, weights.sum(dim=-1), expected_depth(weights, sorted_depths)


def expected_depth(weights, depths):
    """Mean depth of the light: weights [..., S-1], depths [..., S] -> [...].

    A ray that meets nothing gets its own last depth. The clamp is per ray. The published clamp took the range of the
    whole batch, so a depth depended on its batch mates (docs/published_defects.md, D-07).
    """
    middle = 0.5 * (depths[..., :-1] + depths[..., 1:])
    total = weights.sum(dim=-1)
    nothing = total == 0
    # Divided by 1, not by 0, because the gradient of 0 / 0 is not a number.
    depth = (weights * middle).sum(dim=-1) / total.masked_fill(nothing, 1.0)
    depth = depth.masked_fill(nothing, float("inf"))
    depth = torch.nan_to_num(depth, nan=float("inf"), posinf=float("inf"))
    return torch.minimum(torch.maximum(depth, depths[..., 0]), depths[..., -1])


def composite(colors, sigma, depths, white_back=False):
    """Samples of a ray -> its pixel: sum of T_i alpha_i c_i, with colours and densities at the intervals' mid-points.

    Args:    colors [N, M, S, C], sigma [N, M, S, 1], depths [N, M, S, 1] increasing along S
    Returns: features [N, M, C] in about [-1, 1], depth [N, M, 1], weights [N, M, S-1, 1]

    There is no infinite last interval. Light that nothing absorbed meets the background: -1, or 1 with white_back.
    This is the definition, for definition.py; the renderer computes the same by `march`, without sorted colours.
    """
    weights = interval_weights(sigma[..., 0], depths[..., 0])
    middle = 0.5 * (colors[:, :, :-1] + colors[:, :, 1:])
    features = (weights[..., None] * middle).sum(dim=2)
    if white_back:
        features = features + 1 - weights.sum(dim=-1)[..., None]
    return features * 2 - 1, expected_depth(weights, depths[..., 0])[..., None], weights[..., None]
