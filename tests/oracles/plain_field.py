"""The tri-plane field as the kernels `native.py` and `triton_field.py` take it, by the definition of the look-up."""

import torch
import torch.nn.functional as F

from eg3d.ops.kernels.field_network import FieldWeights
from eg3d.rendering.planes import sample_planes

AXES = ((0, 1), (0, 2), (2, 0))


def field(texels, points, weights: FieldWeights, scale: float, axes):
    """texels [N, H, W, 3 C], points [N, P, 3] -> sigma [N, P], colours [N, P, K]."""
    planes = texels.unflatten(3, (3, -1)).permute(0, 3, 4, 1, 2)  # [N, 3, C, H, W]
    features = sample_planes(planes, points, 2 / scale, axes).sum(dim=1)
    hidden = F.softplus(features @ weights.w1.T + weights.b1)
    out = hidden @ weights.w2.T + weights.b2
    return out[..., 0], out[..., 1:].sigmoid()


def results(texels, points, weights, scale, axes, dsigma=None, sample_weights=None, dpixels=None):
    """sigma, pixels, dsample_weights, dtexels, dweights by autograd in float64; None, or 0, of what was not given."""
    double = [t.double().requires_grad_() for t in (texels, *weights)]
    sigma, colours = field(double[0], points.double(), FieldWeights(*double[1:]), scale, axes)
    pixels = dsample_weights = None
    total = 0 if dsigma is None else (sigma * dsigma.double()).sum()
    if sample_weights is not None:
        sample_weights = sample_weights.double().requires_grad_()
        pixels = (colours.unflatten(1, sample_weights.shape[1:]) * sample_weights[..., None]).sum(dim=2)
        total = total + (pixels * dpixels.double()).sum()
        dsample_weights = torch.autograd.grad(total, sample_weights, retain_graph=True)[0]
    gradients = torch.autograd.grad(total, double, allow_unused=True)
    gradients = [torch.zeros_like(t) if g is None else g for t, g in zip(double, gradients, strict=True)]
    return sigma, pixels, dsample_weights, gradients[0], FieldWeights(*gradients[1:])


class Scene:
    """Random arguments. Points lie inside, outside and on the border of the box, where float32 is exact.

    Sides that are powers of two, a box of side 1 and coordinates in steps of 1 / 4096: a look-up then has the same
    weights in float32 as in float64, so that nothing but sums is rounded.
    """

    def __init__(self, draw, n, rays, samples, c, hidden, colours, height, width, axes=AXES):
        self.texels = draw(n, height, width, 3 * c)
        points = (draw(n, rays * samples, 3) * (0.4 * 4096)).round() / 4096
        edges = [s * (0.5 + d) for s in (-1, 1) for d in (0, 0.5 / width, -0.5 / width, 0.5 / height, 1 / 4096, 1.0)]
        for axis in range(3):  # three points of four have one coordinate on a border, or near it
            chosen = points[:, axis::4, axis]
            chosen.copy_(torch.tensor(edges).repeat(chosen.shape[1] // len(edges) + 1)[: chosen.shape[1]])
        self.points = points.contiguous()
        w1, w2 = draw(hidden, c) / c**0.5, draw(1 + colours, hidden) / hidden**0.5
        self.weights = FieldWeights(w1, draw(hidden), w2, draw(1 + colours))
        self.place = (2.0, axes)
        self.dsigma, self.sample_weights = draw(n, rays * samples), draw(n, rays, samples).abs()
        self.dpixels = draw(n, rays, colours)

    @property
    def arguments(self):
        return self.texels, self.points, self.weights, *self.place
