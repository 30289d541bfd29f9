"""Four frequency bands of an image, one octave apart, each with a gain of its own (StyleGAN2-ADA, appendix B)."""

import torch
import torch.nn.functional as F

SYM2 = (-0.12940952255092145, 0.22414386804185735, 0.836516303737469, 0.48296291314469025)
BANDS = 4


def filter_bank() -> torch.Tensor:
    """Taps [4, 43], float64, of symmetric filters, lowest band first; their sum passes everything."""
    low = torch.tensor(SYM2, dtype=torch.float64)
    high = low * torch.tensor([1.0, -1.0, 1.0, -1.0], dtype=torch.float64)
    low, high = _with_reverse(low) / 2, _with_reverse(high) / 2
    bank = torch.zeros(BANDS, 1, dtype=torch.float64)
    bank[0] = 1
    for band in range(1, BANDS):
        stretched = torch.stack([bank, torch.zeros_like(bank)], dim=-1).flatten(1)[:, :-1]
        bank = _convolve(stretched, low)
        start = (bank.shape[1] - len(high)) // 2
        bank[band, start : start + len(high)] += high
    return bank


def amplify_bands(images, gains):
    """images [N, C, H, W], gains [N, 4] -> the same shape, reflected at the edges (so H and W are at least 22)."""
    n, c, height, width = images.shape
    taps = (gains.double().cpu() @ filter_bank()).to(images)
    reach = taps.shape[1] // 2
    if min(height, width) <= reach:
        raise ValueError(f"images of {width} x {height} px are too small for imgfilter, which needs {reach + 1} px")
    # One channel group per sample and channel, as every sample has a filter of its own.
    taps = taps.repeat_interleave(c, dim=0)[:, None]
    x = F.pad(images, (reach, reach, reach, reach), mode="reflect").flatten(0, 1)[None]
    x = F.conv2d(F.conv2d(x, taps[:, :, None, :], groups=n * c), taps[:, :, :, None], groups=n * c)
    return x.view_as(images)


def _with_reverse(taps):
    return _convolve(taps[None], taps.flip(0))[0]


def _convolve(rows, taps):
    """Full convolution of every row [R, n] with taps [t] -> [R, n + t - 1]; conv1d correlates, hence the flip."""
    return F.conv1d(rows[:, None], taps.flip(0)[None, None], padding=len(taps) - 1)[:, 0]
