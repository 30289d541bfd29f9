"""The tri-plane field by compiled kernels (`native.py`, `triton_field.py`), differentiable once.

For the gradient a CPU keeps features and colours of the samples, and the kernels compute the rest again. A GPU keeps
neither and computes all of it again.
"""

import torch

from eg3d.ops.kernels.backend import kernels_for
from eg3d.ops.kernels.field_network import FieldWeights
from eg3d.ops.kernels.once import differentiable_once


class CompiledField:
    """Planes and decoder laid out for the kernels; see `of`."""

    def __init__(self, planes, weights: FieldWeights, options, kernels):
        self.texels = planes.flatten(1, 2).permute(0, 2, 3, 1).contiguous()  # no copy of a channels-last image
        self.weights, self.kernels = weights, kernels
        self.place = (2 / options.box_warp, options.plane_axes)
        self._blend = {}

    @classmethod
    def of(cls, planes, decoder, options, *places) -> "CompiledField | None":
        """The field of planes [N, 3, C, H, W] and a decoder, or None if no kernel serves them.

        places: the points or rays of the samples; kernels know no gradient to them.
        """
        kernels = kernels_for(planes)
        if kernels is None or not hasattr(decoder, "field_weights"):
            return None
        weights = decoder.field_weights(len(options.plane_axes))
        tensors = (planes, *weights, *places)
        plain = any(t.dtype != torch.float32 or t.device != planes.device for t in tensors)
        moving = torch.is_grad_enabled() and any(t.requires_grad for t in places)
        return None if plain or moving or not kernels.field_fits(weights) else cls(planes, weights, options, kernels)

    def blended(self, second: "CompiledField", middle: float, balls) -> "CompiledField":
        """This field, changed: in some balls the second one takes its place, as `rendering/blended.py` says.

        For a CPU, and for drawing without gradients. middle: of the second's cube; balls: centres [N, K, 3], inner and
        outer radius.
        """
        self._blend = {"blend": (second.texels, second.weights, *second.place, middle, balls)}
        return self

    def density(self, points, per_ray: int):
        """Points [N, P, 3], `per_ray` of each ray side by side -> the samples for `pixels`, sigma [N, P]."""
        samples = _Samples(self.kernels, points.contiguous(), self.place, per_ray, self._blend)
        promise, sigma = _Density.apply(samples, samples.points, self.texels, *self.weights)
        return (samples, promise), sigma  # a pair: the promise as an attribute of the samples would keep itself alive

    def pixels(self, samples, sample_weights):
        """Sums over each ray of sample_weights [N, M, S] times colour, without the decoder's margins: [N, M, O].

        Called once for the samples of a pass: their gradient uses the weights of the last call.
        """
        assert samples[0].sample_weights is None
        return _Pixels.apply(*samples, sample_weights)


class _Samples:
    """Samples of one pass over the field: where they lie, and what the kernels keep of them."""

    def __init__(self, kernels, points, place, per_ray, blend):
        self.kernels, self.points, self.place, self.per_ray, self.blend = kernels, points, place, per_ray, blend
        self.field = self.kept = self.sample_weights = None

    @property
    def arguments(self) -> tuple:
        texels, *weights = self.field
        return texels, self.points, FieldWeights(*weights), *self.place


class _Density(torch.autograd.Function):
    """Texels and weights -> sigma, and a promise of the pixels, through which `_Pixels` sends its gradient back."""

    @staticmethod
    def forward(ctx, samples, points, texels, *weights):
        ctx.set_materialize_grads(False)
        # Points, too: they may be the caller's own, and PyTorch then sees that they are no longer what they were.
        ctx.save_for_backward(points, texels, *weights)
        ctx.samples = samples
        samples.field = (texels.detach(), *(w.detach() for w in weights))
        n, count, _ = points.shape
        promise = texels.new_empty(()).expand(n, count // samples.per_ray, len(weights[-1]) - 1)
        recorded = any(ctx.needs_input_grad)
        sigma, samples.kept = samples.kernels.field_density(*samples.arguments, recorded=recorded, **samples.blend)
        return promise, sigma

    @differentiable_once
    def backward(ctx, saved, dpixels, dsigma):
        samples = ctx.samples
        samples.points, *samples.field = saved  # as in the forward pass, or PyTorch complains
        given = dsigma, None if dpixels is None else samples.sample_weights, dpixels
        dtexels, dweights = samples.kernels.field_backward(*samples.arguments, samples.kept, *given)
        return None, None, dtexels, *dweights


class _Pixels(torch.autograd.Function):
    @staticmethod
    def forward(ctx, samples, promise, sample_weights):
        ctx.save_for_backward(promise, sample_weights)
        ctx.samples = samples
        samples.sample_weights = sample_weights.detach()
        return samples.kernels.field_pixels(*samples.arguments, samples.kept, samples.sample_weights)

    @differentiable_once
    def backward(ctx, saved, dpixels):
        samples = ctx.samples
        dsample_weights = samples.kernels.field_pixels_backward(*samples.arguments, samples.kept, dpixels)
        return None, dpixels, dsample_weights
