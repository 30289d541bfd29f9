"""Images in [-1, 1] -> what the network eats."""

import torch
import torch.nn.functional as F

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
WINDOWS = {  # what of a picture is looked at: left, top, right, bottom, in parts of its side
    "all": (0.0, 0.0, 1.0, 1.0),
    "eyes": (0.1875, 0.25, 0.8125, 0.5),  # of EG3D's crops, whose eyes lie there from every side of the face
}


class _ClampTowardRange(torch.autograd.Function):
    """clamp(x, low, high) whose gradient also reaches saturated values, but only to bring them back.

    A plain clamp has no gradient outside the range, so an image that is too white (the sclera, often) could never be
    corrected. Here a value beyond the range keeps the gradient whose descent step leads back into it, and loses the one
    that would push it further out.
    """

    @staticmethod
    def forward(ctx, x, low, high):
        ctx.save_for_backward(x)
        ctx.range = low, high
        return x.clamp(low, high)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        low, high = ctx.range
        outward = ((x > high) & (grad < 0)) | ((x < low) & (grad > 0))
        return grad.masked_fill(outward, 0), None, None


def preprocess(images: torch.Tensor, input_size: int, window: str = "all") -> torch.Tensor:
    """Images [N, 3, H, W] in [-1, 1] -> network input [N, 3, input_size, input_size], or what a window leaves of it.

    The published order: bytes as `x * 127.5 + 128` clamped to 0..255 (not rounded), bilinear without antialiasing, then
    ImageNet's mean and deviation. Values equal the published ones; gradients differ at saturated pixels
    (`_ClampTowardRange`).
    """
    x = _ClampTowardRange.apply(images * 127.5 + 128, 0.0, 255.0)
    if window != "all":
        x = _resized_window(x, input_size, WINDOWS[window])
    elif tuple(x.shape[2:]) != (input_size, input_size):
        x = F.interpolate(x, size=(input_size, input_size), mode="bilinear", align_corners=False)
    mean, std = (torch.tensor(v, device=x.device, dtype=x.dtype)[:, None, None] for v in (IMAGENET_MEAN, IMAGENET_STD))
    return (x / 255 - mean) / std


def _resized_window(x: torch.Tensor, input_size: int, window: tuple[float, ...]) -> torch.Tensor:
    """What resizing the whole picture and cutting the window out would give, without computing the rest."""
    left, top, right, bottom = window
    theta = x.new_tensor([[right - left, 0, left + right - 1], [0, bottom - top, top + bottom - 1]])
    size = [len(x), 3, round((bottom - top) * input_size), round((right - left) * input_size)]
    grid = F.affine_grid(theta.expand(len(x), 2, 3), size, align_corners=False)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)
