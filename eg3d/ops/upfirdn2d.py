"""Up-sampling, FIR filtering and down-sampling of images (StyleGAN3, appendix; spec section 2.4)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F


def setup_filter(taps=(1, 3, 3, 1), gain: float = 1.0) -> torch.Tensor:
    """Filter with sum `gain`: fewer than 8 one-dimensional taps become their outer product, more stay separable.

    `gain` is the two-dimensional gain; a separable filter carries its square root on each axis.
    """
    f = torch.as_tensor(taps, dtype=torch.float32)
    if f.ndim == 1 and f.numel() < 8:
        f = torch.outer(f, f)
    return f / f.sum() * gain ** (f.ndim / 2)


def upfirdn2d(x, f, up=1, down=1, padding=(0, 0, 0, 0), flip_filter=False, gain=1.0):
    """Insert zeros, pad, filter, keep every `down`-th sample.

    Args:
        x: [N, C, H, W].
        f: FIR filter [fh, fw], or [taps] for a separable one; None for the identity.
        up, down: integer factors, one number or (x, y). Up-sampling puts factor - 1 zeros *after* every sample.
        padding: (left, right, top, bottom) of the up-sampled image, negative values crop; or one number for all sides.
        flip_filter: False convolves, True correlates.
        gain: factor on the result (a separable filter gets its square root per axis).
    """
    up_x, up_y = _pair(up)
    down_x, down_y = _pair(down)
    left, right, top, bottom = (padding,) * 4 if isinstance(padding, int) else padding
    if f is None:
        f = torch.ones(1, 1, device=x.device)
    if up_x > 1 or up_y > 1:
        n, c, h, w = x.shape
        x = F.pad(x.reshape(n, c, h, 1, w, 1), (0, up_x - 1, 0, 0, 0, up_y - 1)).reshape(n, c, h * up_y, w * up_x)
    # Negative padding crops, and F.pad's own negative padding keeps the gradient, so one call serves both.
    if left or right or top or bottom:
        x = F.pad(x, (left, right, top, bottom))
    f = (f * gain ** (f.ndim / 2)).to(x.dtype)
    if not flip_filter:
        f = f.flip(tuple(range(f.ndim)))
    for kernel in (f[None, :], f[:, None]) if f.ndim == 1 else (f,):
        x = _depthwise(x, kernel, 1, 1) if f.ndim == 1 else _depthwise(x, kernel, down_x, down_y)
    return x[:, :, ::down_y, ::down_x] if f.ndim == 1 else x


def filter2d(x, f, gain=1.0):
    """Filter that keeps the size and the centre."""
    n = f.shape[-1]
    before, after = n // 2, (n - 1) // 2
    return upfirdn2d(x, f, padding=(before, after, before, after), gain=gain)


def upsample2d(x, f, up=2, gain=1.0):
    """Enlarge by the factor `up`, keeping the mean brightness and the centre."""
    n = f.shape[-1]
    before, after = (n + up - 1) // 2, (n - up) // 2
    if f.ndim == 2 and up == 2 and n == 4:
        return _upsample_twice(x, f, gain)
    return upfirdn2d(x, f, up=up, padding=(before, after, before, after), gain=gain * up**2)


def downsample2d(x, f, down=2, gain=1.0, extra_padding=0, flip_filter=False):
    """Shrink by the factor `down`, keeping the centre; `extra_padding` widens (or, negative, crops) all sides."""
    n = f.shape[-1]
    before, after = (n - down + 1) // 2 + extra_padding, (n - down) // 2 + extra_padding
    return upfirdn2d(x, f, down=down, padding=(before, after, before, after), gain=gain, flip_filter=flip_filter)


def _upsample_twice(x, f, gain):
    """upsample2d by 2 with a 4 x 4 filter in polyphase form: no zeros are ever multiplied.

    Output sample 2i+p sees the inputs i-1+p and i+p, weighted by the taps 3-p and 1-p of the filter, because the zeros
    fall on the other two.
    """
    n, c, h, w = x.shape
    f = f * (4 * gain)
    # kernel of phase (py, px), correlating over a 2 x 2 window
    phases = torch.stack([f[[3 - py, 1 - py]][:, [3 - px, 1 - px]] for py in (0, 1) for px in (0, 1)])
    y = F.conv2d(x.reshape(n * c, 1, h, w), phases[:, None].to(x.dtype), padding=1)  # [NC, 4, h+1, w+1]
    rows = [torch.stack([y[:, 2 * py + px, py : py + h, px : px + w] for px in (0, 1)], dim=-1) for py in (0, 1)]
    return torch.stack(rows, dim=2).reshape(n, c, 2 * h, 2 * w)


def _depthwise(x, kernel, stride_x, stride_y):
    c = x.shape[1]
    return F.conv2d(x, kernel.expand(c, 1, *kernel.shape), groups=c, stride=(stride_y, stride_x))


def _pair(factor: int | Sequence[int]) -> tuple[int, int]:
    return (factor, factor) if isinstance(factor, int) else tuple(factor)
