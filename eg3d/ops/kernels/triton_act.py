"""The end of a layer on a GPU: scale, noise, bias, activation, gain and clamp, in one pass forward and one backward.

The definition is `eg3d.ops.bias_act`; `eg3d.ops.kernels.fused_act` makes it differentiable. A program takes a tile of
[channels, pixels] of one sample, given the distances between them in memory, so that both layouts are one kernel.
Sums go through a partial sum per tile and a second sum over tiles: no atomics, so equal inputs give equal bits.
"""

import functools

import torch
import triton
import triton.language as tl

LINE = 64  # numbers per side of a tile: 128 bytes of float16, whichever of the two sides is contiguous
TILE = 4096  # numbers in a tile
OPTIONS = {"num_warps": 8, "enable_fp_fusion": True}  # x * scale + noise is one instruction


# ---------------------------------------------------------------- kernels


@triton.jit
def _tile(channels, pixels, stride_c, stride_p, BLOCK_C: tl.constexpr, BLOCK_P: tl.constexpr):
    """This program's tile: channels [BLOCK_C, 1], pixels [1, BLOCK_P], which of them exist, and their addresses."""
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)[:, None]
    p = tl.program_id(0) * BLOCK_P + tl.arange(0, BLOCK_P)[None, :]
    sample = tl.program_id(2).to(tl.int64)  # a batch may hold more than 2^31 numbers, a sample does not
    inside = (c < channels) & (p < pixels)
    return c, p, sample, inside, sample * channels * pixels + c * stride_c + p * stride_p


@triton.jit
def act_kernel(
    x, scale, noise, b, y, channels, pixels, stride_c, stride_p, noise_stride, gain, slope, limit,
    BLOCK_C: tl.constexpr, BLOCK_P: tl.constexpr,
):  # fmt: skip
    c, p, sample, inside, at = _tile(channels, pixels, stride_c, stride_p, BLOCK_C, BLOCK_P)
    z = tl.load(x + at, mask=inside, other=0).to(tl.float32)
    if scale is not None:
        z *= tl.load(scale + sample * channels + c, mask=c < channels, other=0).to(tl.float32)
    if noise is not None:
        z += tl.load(noise + sample * noise_stride + p, mask=p < pixels, other=0).to(tl.float32)
    if b is not None:
        z += tl.load(b + c, mask=c < channels, other=0).to(tl.float32)
    z = tl.where(z > 0, z, z * slope) * gain
    if limit is not None:  # written so that nan stays nan
        z = tl.where(z > limit, limit, z)
        z = tl.where(z < -limit, -limit, z)
    tl.store(y + at, z.to(y.dtype.element_ty), mask=inside)


@triton.jit
def act_backward_kernel(
    dy, y, x, scale, dx, dscale, dnoise, db, channels, pixels, stride_c, stride_p, gain, slope, limit,
    BLOCK_C: tl.constexpr, BLOCK_P: tl.constexpr,
):  # fmt: skip
    """dscale and db [N, C, tiles of pixels], dnoise [tiles of channels, N, pixels] take the sums over a tile."""
    c, p, sample, inside, at = _tile(channels, pixels, stride_c, stride_p, BLOCK_C, BLOCK_P)
    dz = tl.load(dy + at, mask=inside, other=0).to(tl.float32) * gain
    if y is not None:
        value = tl.load(y + at, mask=inside, other=0).to(tl.float32)
        dz = tl.where(value > 0, dz, dz * slope)
        if limit is not None:
            dz = tl.where(tl.abs(value) < limit, dz, 0.0)
    row = (sample * channels + c) * tl.num_programs(0) + tl.program_id(0)
    if db is not None:
        tl.store(db + row, tl.sum(dz, axis=1)[:, None], mask=c < channels)
    if dscale is not None:
        product = dz * tl.load(x + at, mask=inside, other=0).to(tl.float32)
        tl.store(dscale + row, tl.sum(product, axis=1)[:, None], mask=c < channels)
    if dnoise is not None:
        plane = tl.program_id(1).to(tl.int64) * tl.num_programs(2) + sample
        tl.store(dnoise + plane * pixels + p, tl.sum(dz, axis=0)[None, :], mask=p < pixels)
    if dx is not None:
        if scale is not None:
            dz *= tl.load(scale + sample * channels + c, mask=c < channels, other=0).to(tl.float32)
        tl.store(dx + at, dz.to(dx.dtype.element_ty), mask=inside)


# ---------------------------------------------------------------- launchers


def suits(x: torch.Tensor) -> bool:
    """Whether `act` takes x as it lies in memory."""
    last = x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last)
    return last or (x.ndim in (2, 4) and x.is_contiguous())


def act(x, scale, noise, b, gain: float, slope: float, clamp: float | None, out=None):
    """y = clamp(gain * lrelu(x * scale + noise + b)), computed in float32 and stored as x is.

    Args: x [N, C, H, W] contiguous or channels last, or [N, C]; scale [N, C], noise [N or 1, 1, H, W], b [C], or None;
        gain > 0; slope below 0: 1 for linear, 0 for relu; out, like x: where y goes, may be x itself.
    """
    assert suits(x) and (noise is None or noise.ndim == 4)
    y = torch.empty_like(x) if out is None else out
    n, c, pixels, *strides = _extent(x, scale)
    scale, noise, b = (None if t is None else t.contiguous() for t in (scale, noise, b))
    noise_stride = 0 if noise is None or len(noise) == 1 else pixels
    grid, blocks = _grid(n, c, pixels)
    numbers = float(gain), float(slope), None if clamp is None else float(clamp)
    with torch.cuda.device_of(x):
        act_kernel[grid](x, scale, noise, b, y, c, pixels, *strides, noise_stride, *numbers, *blocks, **OPTIONS)
    return y


def act_backward(dy, y, x, scale, noise_shape, gain: float, slope: float, clamp: float | None, needs):
    """Gradients (dx, dscale, dnoise, db) of `act`; None for each that `needs` does not ask for. The last 3: float32.

    y may be anything of its shape when slope is 1 and clamp None, x may be None when scale is.
    """
    need_x, need_scale, need_noise, need_b = needs
    y = y if suits(y) else y.contiguous()
    dy, x = _like(dy, y), _like(x, y) if need_scale else None
    n, c, pixels, *strides = _extent(y, scale)
    grid, blocks = _grid(n, c, pixels)
    new = functools.partial(torch.empty, device=y.device, dtype=torch.float32)
    dx = torch.empty_like(y) if need_x else None
    dscale = new(n, c, grid[0]) if need_scale else None
    dnoise = new(grid[1], n, pixels) if need_noise else None
    db = new(n, c, grid[0]) if need_b else None
    scale = None if scale is None else scale.contiguous()
    limit = None if clamp is None else _as_stored(float(clamp), y.dtype)
    bent = y if slope != 1 or clamp is not None else None
    with torch.cuda.device_of(y):
        act_backward_kernel[grid](
            dy, bent, x, scale, dx, dscale, dnoise, db, c, pixels, *strides, float(gain), float(slope), limit, *blocks,
            **OPTIONS,
        )  # fmt: skip
    if need_noise:
        dnoise = (dnoise.sum(dim=(0, 1)) if noise_shape[0] == 1 else dnoise.sum(dim=0)).reshape(noise_shape)
    return dx, dscale.sum(dim=2) if need_scale else None, dnoise, db.sum(dim=(0, 2)) if need_b else None


def _extent(x, scale) -> tuple[int, int, int, int, int]:
    """Samples, channels, pixels; distance in memory between channels, and between pixels."""
    if x.ndim == 2:  # rows that no scale tells apart are the pixels of one sample
        return (1, x.shape[1], len(x), 1, x.shape[1]) if scale is None else (*x.shape, 1, 1, 1)
    n, c, h, w = x.shape
    return (n, c, h * w, h * w, 1) if x.is_contiguous() else (n, c, h * w, 1, c)


def _grid(n: int, c: int, pixels: int) -> tuple[tuple[int, int, int], tuple[int, int]]:
    """Programs (tiles of pixels, tiles of channels, samples), and the tile."""
    block_c = min(LINE, triton.next_power_of_2(c))
    block_p = min(TILE // block_c, triton.next_power_of_2(pixels))
    return (triton.cdiv(pixels, block_p), triton.cdiv(c, block_c), n), (block_c, block_p)


def _like(t, y):
    """t in the memory layout of y."""
    return t.contiguous() if y.is_contiguous() else t.contiguous(memory_format=torch.channels_last)


@functools.lru_cache
def _as_stored(limit: float, dtype: torch.dtype) -> float:
    """The clamp as y's format stores it, to tell what was clamped: 0.7 is 0.69921875 in bfloat16."""
    return torch.tensor(limit).to(dtype).item()
