"""Derivatives that kernels know once: the second is refused, even where its way would not be seen."""

import functools

import torch


def differentiable_once(backward):
    """Makes `backward(ctx, saved, *gradients)` the backward of a Function; saved: `ctx.saved_tensors`, read once.

    PyTorch's `once_differentiable` refuses a second derivative only along the incoming gradient. That of a plain sum
    depends on nothing, and then a penalty on the result, which depends on the saved inputs too, would silently have no
    gradient. Saved must therefore be every input that the result is not linear in.
    """

    @functools.wraps(backward)
    def derive(ctx, *gradients):
        saved = ctx.saved_tensors  # once: non-reentrant checkpoints hand them out a single time
        with torch.no_grad():
            results = backward(ctx, saved, *gradients)
        if not torch.is_grad_enabled():
            return results
        sources = [t for t in (*saved, *gradients) if t is not None and t.requires_grad]
        places = [i for i, t in enumerate(results) if t is not None]
        if not sources or not places:
            return results
        refusing = _Refusal.apply(len(places), *(results[i].detach() for i in places), *sources)
        results = list(results)
        for i, t in zip(places, refusing, strict=True):
            results[i] = t
        return tuple(results)

    return staticmethod(derive)


class _Refusal(torch.autograd.Function):
    """The first `count` tensors, as if made from the others; differentiating that raises RuntimeError."""

    @staticmethod
    def forward(ctx, count, *tensors):
        return tuple(t.view_as(t) for t in tensors[:count])

    @staticmethod
    def backward(ctx, *gradients):
        raise RuntimeError("compiled kernels know no second derivative here; --ops=torch does")
