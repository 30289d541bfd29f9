"""First derivatives by kernels. The kernels know no second derivative, so asking for one is always an error."""

import functools

import torch


def differentiable_once(backward):
    """Makes `backward(ctx, saved, *gradients)` the backward of a Function; `saved` is `ctx.saved_tensors`.

    The first derivative depends on the incoming gradient and on the saved inputs. PyTorch's `once_differentiable`
    watches only the incoming gradient. If that is a constant, as for a plain sum, PyTorch would let a penalty on the
    first derivative pass, and the penalty would have no gradient, without an error. Here both are watched. So the
    Function must save every input in which its result is not linear.
    """

    @functools.wraps(backward)
    def derive(ctx, *gradients):
        saved = ctx.saved_tensors  # read once: non-reentrant checkpoints give them out a single time
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
    """The first `count` tensors, as if they were computed from the others. Differentiating them is a RuntimeError."""

    @staticmethod
    def forward(ctx, count, *tensors):
        return tuple(t.view_as(t) for t in tensors[:count])

    @staticmethod
    def backward(ctx, *gradients):
        raise RuntimeError("compiled kernels know no second derivative here; --ops=torch does")
