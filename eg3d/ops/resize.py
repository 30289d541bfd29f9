"""Resizing of image batches, as the dual discriminator needs it (EG3D, section 4.3)."""

import torch.nn.functional as F

from eg3d.ops.upfirdn2d import downsample2d, setup_filter, upsample2d


def bilinear(x, size: int, antialias: bool = True):
    """[N, C, H, W] -> [N, C, size, size], half-pixel centres; antialiasing only matters when shrinking."""
    return F.interpolate(x, size=(size, size), mode="bilinear", align_corners=False, antialias=antialias)


def filtered_resizing(x, size: int, mode="antialiased"):
    """[N, C, H, W] -> [N, C, size, size].

    mode: 'antialiased' (default), 'none' (plain bilinear), 'classic' (2x up, bilinear, 2x down with the [1, 3, 3, 1]
    filter), or a float a in (0, 1): a * antialiased + (1 - a) * none.
    """
    if mode == "antialiased":
        return bilinear(x, size)
    if mode == "none":
        return bilinear(x, size, antialias=False)
    if mode == "classic":
        f = setup_filter().to(x.device)
        enlarged = bilinear(upsample2d(x, f), size * 2 + 2, antialias=False)
        return downsample2d(enlarged, f, extra_padding=-1, flip_filter=True)
    if isinstance(mode, float) and 0 < mode < 1:
        return mode * bilinear(x, size) + (1 - mode) * bilinear(x, size, antialias=False)
    raise ValueError(f"unknown resizing mode {mode!r}: use antialiased, none, classic or a float between 0 and 1")
