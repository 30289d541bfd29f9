"""Affine change of an image's geometry without aliasing (StyleGAN2-ADA, Karras et al. 2020, appendix B).

The image is reflected at its edges, enlarged twice, looked up bilinearly and shrunk again. Both filters are the
orthogonal low-pass of the sym6 wavelet: enlarging and shrinking alone give back the very image.
A kept quirk: sym6 is not quite symmetric, so a flip or half turn comes out 0.1 pixels off (tests/ops/test_warp.py).
"""

import torch
import torch.nn.functional as F

from eg3d.ops.grid_sample import sample_at
from eg3d.ops.upfirdn2d import downsample2d, setup_filter, upsample2d

SYM6 = (
    0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633, 0.4910559419267466,
    0.787641141030194, 0.3379294217276218, -0.07263752278646252, -0.021060292512300564, 0.04472490177066578,
    0.0017677118642428036, -0.007800708325034148,
)  # fmt: skip
REACH = len(SYM6) // 4  # pixels by which the output is computed beyond its edges, for the last filter


def scaling(x, y):
    """Matrices [N, 3, 3] of (x, y) -> (x * s, y * t), from factors [N] or numbers."""
    x, y = torch.broadcast_tensors(*_tensors(x, y))
    return torch.diag_embed(torch.stack([x, y, torch.ones_like(x)], dim=-1))


def translation(x, y):
    """Matrices [N, 3, 3] that add (x, y), each [N] or a number."""
    x, y = torch.broadcast_tensors(*_tensors(x, y))
    moved = torch.eye(3, dtype=torch.float64).repeat(*x.shape, 1, 1)
    moved[..., 0, 2], moved[..., 1, 2] = x, y
    return moved


def rotation(angle_rad):
    """Matrices [N, 3, 3] that turn by angles [N] from the x axis toward the y axis."""
    (angle_rad,) = _tensors(angle_rad)
    c, s, zero, one = angle_rad.cos(), angle_rad.sin(), torch.zeros_like(angle_rad), torch.ones_like(angle_rad)
    return torch.stack([c, -s, zero, s, c, zero, zero, zero, one], dim=-1).unflatten(-1, (3, 3))


def warp(images, to_input):
    """Reads every output pixel where `to_input` says: images [N, C, H, W] -> the same shape.

    Args:
        to_input: [N, 3, 3], output pixel -> input pixel, in pixels from the image's centre, x to the right, y down.

    Published code pads the whole batch by the largest margin in it, which lets a sample's edges depend on its batch
    mates; here each gets what it would get alone.
    """
    one_by_one = zip(images.split(1), to_input.double().cpu(), strict=True)
    return torch.cat([_warp_one(image, matrix) for image, matrix in one_by_one])


def _warp_one(image, to_input):
    """image [1, C, H, W], to_input [3, 3]."""
    if torch.equal(to_input, torch.eye(3, dtype=torch.float64)):
        return image  # what the filters would give, up to rounding
    height, width = image.shape[2:]
    left, right, top, bottom = _margins(to_input, height, width)
    padded = F.pad(image, (left, right, top, bottom), mode="reflect")
    matrix = translation((left - right) / 2, (top - bottom) / 2) @ to_input

    lowpass = setup_filter(SYM6).to(image.device)
    enlarged = upsample2d(padded, lowpass)
    # Enlarged pixel 2 i lies on pixel i, so the centre of the enlarged image is half a pixel off that of the small one.
    matrix = scaling(2, 2) @ matrix @ scaling(0.5, 0.5)
    matrix = translation(-0.5, -0.5) @ matrix @ translation(0.5, 0.5)

    rows, columns = 2 * (height + 2 * REACH), 2 * (width + 2 * REACH)
    from_pixels = scaling(2 / enlarged.shape[3], 2 / enlarged.shape[2])
    theta = from_pixels @ matrix @ scaling(columns / 2, rows / 2)
    # In float64, because a grid is a matrix product, which GPUs may round to 10 bits.
    grid = F.affine_grid(theta[None, :2].to(image.device), [1, 1, rows, columns], align_corners=False)
    looked_up = sample_at(enlarged, grid.to(image.dtype))
    return downsample2d(looked_up, lowpass, extra_padding=-2 * REACH, flip_filter=True)


def _margins(to_input, height: int, width: int) -> list[int]:
    """Pixels (left, right, top, bottom) that the look-up needs beyond the image; at most one reflection."""
    cx, cy = (width - 1) / 2, (height - 1) / 2
    corners = to_input.new_tensor([[-cx, -cy, 1], [cx, -cy, 1], [-cx, cy, 1], [cx, cy, 1]])
    x, y, _ = (to_input @ corners.T).unbind()
    needed = torch.stack([-x, x, -y, y]).amax(dim=1) + 2 * REACH - to_input.new_tensor([cx, cx, cy, cy])
    most = to_input.new_tensor([width - 1, width - 1, height - 1, height - 1])
    return needed.clamp(min=0).minimum(most).ceil().int().tolist()


def _tensors(*values):
    return [torch.as_tensor(v, dtype=torch.float64) for v in values]
