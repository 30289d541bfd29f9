"""Up-sampling, FIR filtering and down-sampling on a GPU, in one pass.

The definition, and the gradient, are in `eg3d.ops.upfirdn2d`. Polyphase: of an output's taps only those that meet a
sample are visited; the zeros between samples are never touched.
"""

import torch
import triton
import triton.language as tl

from eg3d.ops.upfirdn2d import output_size

TILE = 2048  # outputs of a program
OPTIONS = {"num_warps": 4, "enable_fp_fusion": True}
LINE_LAST, LINE_FIRST = 64, 16  # channels of a tile, channels last and first


# Nothing is said about out_w: else Triton sees that outputs lie in runs and gives each thread a run to store at once,
# and then neighbouring threads read far apart, tap for tap.
@triton.jit(do_not_specialize=["out_w"])
def upfirdn2d_kernel(
    x, f, y, channels, in_h, in_w, out_h, out_w, first_x, shift_x, first_y, shift_y, gain,
    x_stride_c, x_stride_p, y_stride_c, y_stride_p,
    UP_X: tl.constexpr, UP_Y: tl.constexpr, DOWN_X: tl.constexpr, DOWN_Y: tl.constexpr,
    TAPS_X: tl.constexpr, TAPS_Y: tl.constexpr, FLIP: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_P: tl.constexpr,
):  # fmt: skip
    """first: the sample at or before the first output's first tap; shift: how many taps after it that tap lies."""
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)[:, None]
    p = tl.program_id(0) * BLOCK_P + tl.arange(0, BLOCK_P)[None, :]
    sample = tl.program_id(2).to(tl.int64)
    inside = (c < channels) & (p < out_h * out_w)
    out_x, out_y = p % out_w, p // out_w
    at_x = out_x * DOWN_X + shift_x  # of the first tap, on the up-sampled image, counted from `first`
    at_y = out_y * DOWN_Y + shift_y
    tap_x = (UP_X - at_x % UP_X) % UP_X  # the first tap that meets a sample
    tap_y = (UP_Y - at_y % UP_Y) % UP_Y
    x_of_tap = first_x + (at_x + tap_x) // UP_X
    y_of_tap = first_y + (at_y + tap_y) // UP_Y
    source = x + sample * channels * in_h * in_w + c * x_stride_c
    total = tl.zeros([BLOCK_C, BLOCK_P], tl.float32)
    for j in range((TAPS_Y + UP_Y - 1) // UP_Y):  # not unrolled as well: 16 loads in flight are enough
        for i in tl.static_range((TAPS_X + UP_X - 1) // UP_X):
            if UP_X == 1 and UP_Y == 1:  # the same tap for all outputs: one scalar
                weight = tl.load(f + ((j * TAPS_X + i) if FLIP else (TAPS_Y - 1 - j) * TAPS_X + TAPS_X - 1 - i))
            else:
                k_x, k_y = tap_x + i * UP_X, tap_y + j * UP_Y
                tap = (k_y * TAPS_X + k_x) if FLIP else (TAPS_Y - 1 - k_y) * TAPS_X + TAPS_X - 1 - k_x
                weight = tl.load(f + tap, mask=(k_x < TAPS_X) & (k_y < TAPS_Y), other=0)
            column, row = x_of_tap + i, y_of_tap + j
            there = inside & (column >= 0) & (column < in_w) & (row >= 0) & (row < in_h)
            value = tl.load(source + (row * in_w + column) * x_stride_p, mask=there, other=0)
            total += weight * value.to(tl.float32)
    target = y + sample * channels * out_h * out_w + c * y_stride_c + (out_y * out_w + out_x) * y_stride_p
    tl.store(target, (total * gain).to(y.dtype.element_ty), mask=inside)


def upfirdn2d(x, f, up, down, padding, flip_filter: bool, gain: float):
    """`eg3d.ops.upfirdn2d.upfirdn2d` for x [N, C, H, W] and f [fh, fw] of up to 8 x 8 taps; keeps x's layout.

    Args: up, down: pairs (x, y); padding: (left, right, top, bottom). Sums in float32.
    """
    last = not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)
    x, f = x if last else x.contiguous(), f.contiguous()
    n, c, h, w = x.shape
    out_h, out_w = output_size(x.shape, f.shape, up, down, padding)
    layout = torch.channels_last if last else torch.contiguous_format
    y = torch.empty(n, c, out_h, out_w, device=x.device, dtype=x.dtype, memory_format=layout)
    strides = (1, c, 1, c) if last else (h * w, 1, out_h * out_w, 1)
    block_c = min(LINE_LAST if last else LINE_FIRST, triton.next_power_of_2(c))
    block_p = min(TILE // block_c, triton.next_power_of_2(out_h * out_w))
    with torch.cuda.device_of(x):
        upfirdn2d_kernel[triton.cdiv(out_h * out_w, block_p), triton.cdiv(c, block_c), n](
            x, f, y, c, h, w, out_h, out_w, *divmod(-padding[0], up[0]), *divmod(-padding[2], up[1]), float(gain),
            *strides, *up, *down, f.shape[1], f.shape[0], flip_filter, block_c, block_p, **OPTIONS,
        )  # fmt: skip
    return y
