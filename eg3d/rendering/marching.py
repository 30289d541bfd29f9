"""Densities -> weights -> pixels: quadrature of the volume-rendering integral (NeRF, eq. 3; Max 1995)."""

import torch
import torch.nn.functional as F

from eg3d.ops.kernels.march import kernels_for_march, march


def interval_weights(sigma, depths):
    """Weight of every interval between neighbouring samples.

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

    A colour averaged at the mid-points and weighted per interval is the same sum as each sample's own colour times half
    the weights of the two intervals it borders, so colours need be neither averaged nor sorted.
    """
    return 0.5 * (F.pad(weights, (0, 1)) + F.pad(weights, (1, 0)))


def shares(sigmas, depths, hit=None):
    """One marching pass over all samples of one or two looks at the field.

    Args: sigmas, depths: per look [N, M, S], in any order; hit [N, M]: rays that count, None: all.
    Returns: per look the weights of its samples [N, M, S], their sum and the mean depth of the light [N, M].
    """
    kernels = None
    if hit is None and not (torch.is_grad_enabled() and any(t.requires_grad for t in depths)):
        kernels = kernels_for_march(*sigmas, *depths)
    if kernels is not None:
        return march(kernels, sigmas, depths)
    sorted_depths, order = torch.cat(depths, dim=-1).sort(dim=-1)
    weights = interval_weights(torch.cat(sigmas, dim=-1).gather(-1, order), sorted_depths)
    if hit is not None:
        weights = weights * hit[..., None]
    # Back to the unsorted samples: 8 bytes a sample are moved, not its colours.
    per_sample = torch.empty_like(sorted_depths).scatter(-1, order, sample_weights(weights))
    per_look = per_sample.split([at.shape[-1] for at in depths], dim=-1)
    return per_look, weights.sum(dim=-1), expected_depth(weights, sorted_depths)


def expected_depth(weights, depths):
    """Mean depth of the light: weights [..., S-1], depths [..., S] -> [...].

    A ray that meets nothing gets its own last depth. The clamp is per ray; the published one took the range of
    the whole batch, so that a depth depended on its batch mates (D-07).
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
    """Plain definition of one marching pass; the renderer computes the same without sorting colours.

    Args:    colors [N, M, S, C], sigma [N, M, S, 1], depths [N, M, S, 1] increasing along S
    Returns: features [N, M, C] in about [-1, 1], depth [N, M, 1], weights [N, M, S-1, 1]

    There is no infinite last interval: light that nothing absorbed falls to the background: -1, or 1 with white_back.
    """
    weights = interval_weights(sigma[..., 0], depths[..., 0])
    features = (sample_weights(weights)[..., None] * colors).sum(dim=2)
    if white_back:
        features = features + 1 - weights.sum(dim=-1)[..., None]
    return features * 2 - 1, expected_depth(weights, depths[..., 0])[..., None], weights[..., None]
