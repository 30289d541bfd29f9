"""The tri-plane field by compiled kernels (`native.py`, `triton_field.py`), differentiable once.

The gradient needs the features and colours of the samples. The kernels of a CPU keep them; those of a GPU compute them
again.
"""

import torch

from eg3d.ops.kernels.backend import kernels_for
from eg3d.ops.kernels.field_network import FieldWeights
from eg3d.ops.kernels.once import differentiable_once


class CompiledField:
    """Planes and decoder in the layout that kernels want. Made by `of`."""

    def __init__(self, planes, weights: FieldWeights, options, kernels):
        self.texels = planes.flatten(1, 2).permute(0, 2, 3, 1).contiguous()  # no copy of a channels-last image
        self.weights, self.kernels = weights, kernels
        self.place = (2 / options.box_warp, options.plane_axes)

    @classmethod
    def of(cls, planes, decoder, options, *places) -> "CompiledField | None":
        """The field of planes [N, 3, C, H, W] and a decoder, or None if no kernel can compute it.

        places: the points, or rays, at which the field will be read. Kernels give no gradient to them.
        """
        kernels = kernels_for(planes)
        if kernels is None or not hasattr(decoder, "field_weights"):
            return None
        weights = decoder.field_weights(len(options.plane_axes))
        tensors = (planes, *weights, *places)
        plain = any(t.dtype != torch.float32 or t.device != planes.device for t in tensors)
        moving = torch.is_grad_enabled() and any(t.requires_grad for t in places)
        return None if plain or moving or not kernels.field_fits(weights) else cls(planes, weights, options, kernels)

    def density(self, points, samples: int):
        """Points [N, P, 3] -> what `pixels` needs, sigma [N, P]. `samples` points side by side belong to one ray."""
        visit = _Visit(self.kernels, points.contiguous(), self.place, samples)
        promise, sigma = _Density.apply(visit, visit.points, self.texels, *self.weights)
        return (visit, promise), sigma  # a pair: the visit must not hold the promise, which would keep itself alive

    def pixels(self, look, share):
        """The sum of share [N, M, S] times colour over each ray's samples, without the decoder's margins: [N, M, O].

        Call it once for each look: the gradient uses the share of the last call.
        """
        assert look[0].share is None
        return _Pixels.apply(*look, share)


class _Visit:
    """One look at the field: the points, and what the kernels keep of them for the gradient."""

    def __init__(self, kernels, points, place, samples):
        self.kernels, self.points, self.place, self.samples = kernels, points, place, samples
        self.field = self.kept = self.share = None

    @property
    def arguments(self) -> tuple:
        texels, *weights = self.field
        return texels, self.points, FieldWeights(*weights), *self.place


class _Density(torch.autograd.Function):
    """Texels and weights -> sigma and a promise of the pixels: `_Pixels` sends its gradient back through that."""

    @staticmethod
    def forward(ctx, visit, points, texels, *weights):
        ctx.set_materialize_grads(False)
        # The points too: they may be the caller's own tensor, and PyTorch notices if the caller changes it meanwhile.
        ctx.save_for_backward(points, texels, *weights)
        ctx.visit = visit
        visit.field = (texels.detach(), *(w.detach() for w in weights))
        n, count, _ = points.shape
        promise = texels.new_empty(()).expand(n, count // visit.samples, len(weights[-1]) - 1)
        recorded = any(ctx.needs_input_grad)
        sigma, visit.kept = visit.kernels.field_density(*visit.arguments, recorded=recorded)
        return promise, sigma

    @differentiable_once
    def backward(ctx, saved, dpixels, dsigma):
        visit = ctx.visit
        visit.points, *visit.field = saved  # unchanged since the forward pass, or PyTorch complains
        share = None if dpixels is None else visit.share
        dtexels, dweights = visit.kernels.field_backward(*visit.arguments, visit.kept, dsigma, share, dpixels)
        return None, None, dtexels, *dweights


class _Pixels(torch.autograd.Function):
    @staticmethod
    def forward(ctx, visit, promise, share):
        ctx.save_for_backward(promise, share)
        ctx.visit = visit
        visit.share = share.detach()
        return visit.kernels.field_pixels(*visit.arguments, visit.kept, visit.share)

    @differentiable_once
    def backward(ctx, saved, dpixels):
        visit = ctx.visit
        dshare = visit.kernels.field_pixels_backward(*visit.arguments, visit.kept, dpixels)
        return None, dpixels, dshare
