"""The tri-plane field on a GPU: look-up in three planes, small network, weighted sum along the ray; and its gradients.

Offers what `native.py` offers for CPUs, with nothing kept between the calls: features, hidden values and colours
are computed again, because storing them (32 + 64 + 32 numbers a point) costs more time than the arithmetic, and memory.

A program takes ROWS rays and walks along them, one sample of each at a time, so that a ray's sum stays in registers.
A point's twelve texels are rows of C contiguous numbers. Both layers are products [ROWS, C] x [C, H] and
[ROWS, H] x [H, K], K colours; sigma's row of w2 is a sum of its own, so that widths stay powers of two (others are
padded). Products are split in three of TF32 ("tf32x3"), which rounds as float32 does; Triton's own float32 products
("ieee") use no tensor core, take 1.3 to 1.6 times the instructions, and spill kilobytes of registers going backward.
Texels' gradients are added atomically, so their last bits depend on the order; all others go through one sum per
program and one over programs.

Floors on an H100 (67 TFLOP/s in float32, 3.35 TB/s), if nothing were computed twice; batch 4, 128 x 128 rays, 96
samples, 256 x 256 planes, C = K = 32, H = 64:

              arithmetic              memory              with what is computed again
    forward   58 GFLOP, 0.86 ms       235 MB, 0.07 ms      88 GFLOP
    backward  110 GFLOP, 1.64 ms      361 MB, 0.11 ms      223 GFLOP

Not in the floors: 9.7 GB of texel rows per look-up from the caches, and 2.4 billion atomic additions (four to an
instruction from compute capability 9.0 on).
"""

from typing import NamedTuple

import torch
import triton
import triton.language as tl

from eg3d.ops.kernels.field_network import FieldWeights


class Tile(NamedTuple):
    """Rows a program works on at a time, and its warps of 32 threads; rows below 16 * warps would be computed twice."""

    rows: int
    warps: int


# By registers, spills and instructions of sm_80 and sm_90 (test_triton_field.py); not yet by time on a GPU.
DENSITY, PIXELS, SAMPLE_WEIGHTS, BACKWARD = Tile(64, 4), Tile(64, 4), Tile(64, 4), Tile(64, 4)
PRODUCTS = "tf32x3"  # where there are no tensor cores for it, Triton takes float32 by itself
PROGRAMS_PER_CORE = 2  # of the backward pass: as many as registers allow


# ---------------------------------------------------------------- kernels
# Names: n image; ray, point: [ROWS] indices in an image; live: rows that exist; f features, h hidden, k colours.


@triton.constexpr_function
def padded(width):
    """The width that a product needs: a power of two, at least 16."""
    return max(triton.next_power_of_2(width), 16)


@triton.jit
def _neighbours(points, point, live, axis: tl.constexpr, scale, size, AGAIN: tl.constexpr):
    """The texel below a coordinate, and the weights of it and of the next one: 0 where there is no texel.

    AGAIN: read from memory even if it was read before; kept in registers all the while it would crowd out others.
    """
    grid = tl.load(points + 3 * point + axis, mask=live, other=float("inf"), volatile=AGAIN) * scale
    x = tl.minimum(tl.maximum(((grid + 1) * size - 1) * 0.5, -2.0), size + 1.0)  # far outside is outside
    low = tl.floor(x)
    i, part = low.to(tl.int32), x - low
    return i, tl.where((i >= 0) & (i < size), 1 - part, 0.0), tl.where((i >= -1) & (i < size - 1), part, 0.0)


@triton.jit
def _features(texels, points, point, live, height, width, scale, AXES: tl.constexpr, C: tl.constexpr):
    """Sum over the planes of the bilinear features: [ROWS, C]."""
    channel = tl.arange(0, padded(C))[None, :]
    f = tl.zeros([point.shape[0], padded(C)], tl.float32)
    for plane in tl.static_range(3):
        column, left, right = _neighbours(points, point, live, AXES[2 * plane], scale, width, False)
        row, top, bottom = _neighbours(points, point, live, AXES[2 * plane + 1], scale, height, False)
        first = texels + ((row * width + column) * 3 + plane)[:, None] * C + channel
        for corner in tl.static_range(4):
            weight = (right if corner % 2 else left) * (bottom if corner // 2 else top)
            at = first + (corner // 2 * width + corner % 2) * 3 * C
            f += weight[:, None] * tl.load(at, mask=(weight != 0)[:, None] & (channel < C), other=0.0)
    return f


@triton.jit
def _scatter(df, dtexels, points, point, live, height, width, scale, AXES: tl.constexpr, C: tl.constexpr):
    """The transpose of `_features`: adds df [ROWS, C] to the texels it came from."""
    channel = tl.arange(0, padded(C))[None, :]
    for plane in tl.static_range(3):
        column, left, right = _neighbours(points, point, live, AXES[2 * plane], scale, width, True)
        row, top, bottom = _neighbours(points, point, live, AXES[2 * plane + 1], scale, height, True)
        first = dtexels + ((row * width + column) * 3 + plane)[:, None] * C + channel
        for corner in tl.static_range(4):
            weight = (right if corner % 2 else left) * (bottom if corner // 2 else top)
            at = first + (corner // 2 * width + corner % 2) * 3 * C
            tl.atomic_add(at, weight[:, None] * df, mask=(weight != 0)[:, None] & (channel < C), sem="relaxed")


@triton.jit
def _matrix(w, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    row, column = tl.arange(0, padded(ROWS))[:, None], tl.arange(0, padded(COLUMNS))[None, :]
    return tl.load(w + row * COLUMNS + column, mask=(row < ROWS) & (column < COLUMNS), other=0.0)


@triton.jit
def _vector(w, COUNT: tl.constexpr):
    i = tl.arange(0, padded(COUNT))
    return tl.load(w + i, mask=i < COUNT, other=0.0)


@triton.jit
def _rays(rows, ray, live, K: tl.constexpr):
    """Addresses of the K numbers of each ray, and which of them exist: [ROWS, K]."""
    k = tl.arange(0, padded(K))[None, :]
    return rows + ray[:, None] * K + k, live[:, None] & (k < K)


@triton.jit
def _first_layer(f, w1, b1, C: tl.constexpr, H: tl.constexpr, DOT: tl.constexpr):
    """The hidden layer before and after its softplus: [ROWS, H]. No exponential can overflow here."""
    bent = tl.dot(f, _matrix(w1, H, C).T, input_precision=DOT) + _vector(b1, H)[None, :]
    return bent, tl.maximum(bent, 0.0) + tl.log(1 + tl.exp(-tl.abs(bent)))


@triton.jit
def _colours(hidden, w2, b2, H: tl.constexpr, K: tl.constexpr, DOT: tl.constexpr):
    """[ROWS, K]; their weights follow sigma's row. An exponential that overflows gives the sigmoid's 0."""
    return tl.sigmoid(tl.dot(hidden, _matrix(w2 + H, K, H).T, input_precision=DOT) + _vector(b2 + 1, K)[None, :])


@triton.jit
def density_kernel(
    texels, points, w1, b1, w2, b2, sigma, P, height, width, scale,
    AXES: tl.constexpr, C: tl.constexpr, H: tl.constexpr, DOT: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    n = tl.program_id(1).to(tl.int64)
    point = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    live = point < P
    f = _features(texels + n * height * width * 3 * C, points + n * P * 3, point, live, height, width, scale, AXES, C)
    _, hidden = _first_layer(f, w1, b1, C, H, DOT)
    out = tl.sum(hidden * _vector(w2, H)[None, :], axis=1) + tl.load(b2)
    tl.store(sigma + n * P + point, out, mask=live)


@triton.jit
def pixels_kernel(
    texels, points, w1, b1, w2, b2, sample_weights, pixels, M, S, height, width, scale,
    AXES: tl.constexpr, C: tl.constexpr, H: tl.constexpr, K: tl.constexpr, DOT: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    n = tl.program_id(1).to(tl.int64)
    texels, points = texels + n * height * width * 3 * C, points + n * M * S * 3
    sample_weights += n * M * S
    ray = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    live = ray < M
    total = tl.zeros([ROWS, padded(K)], tl.float32)
    for s in tl.range(S, disable_licm=True):  # what is hoisted out of the loop takes more registers than there are
        point = ray * S + s
        f = _features(texels, points, point, live, height, width, scale, AXES, C)
        _, hidden = _first_layer(f, w1, b1, C, H, DOT)
        colours = _colours(hidden, w2, b2, H, K, DOT)
        total += tl.load(sample_weights + point, mask=live, other=0.0)[:, None] * colours
    at, inside = _rays(pixels + n * M * K, ray, live, K)
    tl.store(at, total, mask=inside)


@triton.jit
def sample_weights_kernel(
    texels, points, w1, b1, w2, b2, dpixels, dsample_weights, M, S, height, width, scale,
    AXES: tl.constexpr, C: tl.constexpr, H: tl.constexpr, K: tl.constexpr, DOT: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    n = tl.program_id(1).to(tl.int64)
    texels, points = texels + n * height * width * 3 * C, points + n * M * S * 3
    dsample_weights += n * M * S
    ray = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    live = ray < M
    at, inside = _rays(dpixels + n * M * K, ray, live, K)
    dpixel = tl.load(at, mask=inside, other=0.0)
    for s in tl.range(S, disable_licm=True):
        point = ray * S + s
        f = _features(texels, points, point, live, height, width, scale, AXES, C)
        _, hidden = _first_layer(f, w1, b1, C, H, DOT)
        tl.store(dsample_weights + point, tl.sum(dpixel * _colours(hidden, w2, b2, H, K, DOT), axis=1), mask=live)


@triton.jit
def backward_kernel(
    texels, points, w1, b1, w2, b2, dsigma, sample_weights, dpixels, dtexels, dweights, scratch, N, M, S, height, width,
    scale, steps,
    AXES: tl.constexpr, C: tl.constexpr, H: tl.constexpr, K: tl.constexpr, DOT: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """A program takes `steps` steps, each one sample of ROWS rays; dsigma, or sample_weights and dpixels, may be None.

    dweights [programs, numbers of FieldWeights], zero before; scratch [programs, ROWS, padded(C)].
    """
    h, c, k = tl.arange(0, padded(H)), tl.arange(0, padded(C)), tl.arange(0, padded(K))
    dw1, dw2 = tl.zeros([padded(H), padded(C)], tl.float32), tl.zeros([padded(H), padded(K)], tl.float32)
    dweights += tl.program_id(0) * (H * C + H + (1 + K) * (H + 1))
    db1, dw_sigma = dweights + H * C, dweights + H * C + H
    db2 = dw_sigma + (1 + K) * H
    own = scratch + (tl.program_id(0) * ROWS + tl.arange(0, ROWS))[:, None] * padded(C) + c[None, :]
    blocks = tl.cdiv(M, ROWS)
    first = tl.program_id(0) * steps
    for step in tl.range(first, tl.minimum(first + steps, N * blocks * S), disable_licm=True):
        n = (step // S // blocks).to(tl.int64)
        ray = step // S % blocks * ROWS + tl.arange(0, ROWS)
        live, point = ray < M, ray * S + step % S
        place = n * height * width * 3 * C
        seen = points + n * M * S * 3
        f = _features(texels + place, seen, point, live, height, width, scale, AXES, C)
        bent, hidden = _first_layer(f, w1, b1, C, H, DOT)
        # Sums over rows are added in memory, by one thread of this program each: registers are for dw1 and dw2.
        dhidden = tl.zeros([ROWS, padded(H)], tl.float32)
        if dsigma is not None:
            d = tl.load(dsigma + n * M * S + point, mask=live, other=0.0)
            tl.atomic_add(dw_sigma + h, tl.sum(d[:, None] * hidden, axis=0), mask=h < H, sem="relaxed")
            tl.atomic_add(db2, tl.sum(d, axis=0), sem="relaxed")
        if sample_weights is not None:
            colours = _colours(hidden, w2, b2, H, K, DOT)
            at, inside = _rays(dpixels + n * M * K, ray, live, K)
            weight = tl.load(sample_weights + n * M * S + point, mask=live, other=0.0)
            dout = weight[:, None] * tl.load(at, inside, other=0.0)
            dout *= colours * (1 - colours)
            dw2 += tl.dot(hidden.T, dout, input_precision=DOT)
            tl.atomic_add(db2 + 1 + k, tl.sum(dout, axis=0), mask=k < K, sem="relaxed")
            dhidden = tl.dot(dout, _matrix(w2 + H, K, H), input_precision=DOT)
        if dsigma is not None:
            dhidden += tl.load(dsigma + n * M * S + point, mask=live, other=0.0)[:, None] * _vector(w2, H)[None, :]
        dbent = dhidden * tl.sigmoid(bent)
        dw1 += tl.dot(dbent.T, f, input_precision=DOT)
        tl.atomic_add(db1 + h, tl.sum(dbent, axis=0), mask=h < H, sem="relaxed")
        df = tl.dot(dbent, _matrix(w1, H, C), input_precision=DOT)
        # Through memory, or each of the twelve additions would redistribute its numbers among the threads anew.
        tl.debug_barrier()
        tl.store(own, df)
        tl.debug_barrier()
        df = tl.load(own, volatile=True)
        _scatter(df, dtexels + place, seen, point, live, height, width, scale, AXES, C)
    tl.store(dweights + h[:, None] * C + c[None, :], dw1, mask=(h < H)[:, None] & (c < C)[None, :])
    tl.store(dw_sigma + H + k[None, :] * H + h[:, None], dw2, mask=(h < H)[:, None] & (k < K)[None, :])


# ---------------------------------------------------------------- launchers


def field_fits(weights: FieldWeights) -> bool:
    """Whether the kernels know networks of these widths: wider ones need more registers than a GPU has."""
    return max(*weights.w1.shape, len(weights.w2) - 1) <= 64


def field_density(texels, points, weights: FieldWeights, scale: float, axes, recorded: bool = True):
    """Density of the field, and what the functions below need of it: nothing, recorded or not.

    Args:
        texels: [N, H, W, 3 C], the features of a texel's three planes side by side.
        points: [N, P, 3]; scale: 2 / side of the box; axes: per plane which coordinates index width and height.
    Returns: sigma [N, P], kept.
    """
    sigma = points.new_empty(points.shape[:2])
    grid = (triton.cdiv(points.shape[1], DENSITY.rows), len(points))
    tensors, numbers, fixed = _field(texels, points, weights, scale, axes, DENSITY)
    del fixed["K"]
    with torch.cuda.device_of(texels):
        density_kernel[grid](*tensors, sigma, points.shape[1], *numbers, **fixed)
    return sigma, None


def field_pixels(texels, points, weights: FieldWeights, scale: float, axes, kept, sample_weights):
    """Weighted sums of colours: sample_weights [N, M, S] -> [N, M, K]; point index = ray * S + sample."""
    n, rays, samples = sample_weights.shape
    pixels = points.new_empty(n, rays, len(weights.w2) - 1)
    tensors, numbers, fixed = _field(texels, points, weights, scale, axes, PIXELS)
    with torch.cuda.device_of(texels):
        pixels_kernel[triton.cdiv(rays, PIXELS.rows), n](
            *tensors, sample_weights.contiguous(), pixels, rays, samples, *numbers, **fixed
        )
    return pixels


def field_pixels_backward(texels, points, weights: FieldWeights, scale: float, axes, kept, dpixels):
    """Gradient of `field_pixels` to sample_weights: dpixels [N, M, K] -> [N, M, S]."""
    n, rays, _ = dpixels.shape
    samples = points.shape[1] // rays
    dsample_weights = points.new_empty(n, rays, samples)
    tensors, numbers, fixed = _field(texels, points, weights, scale, axes, SAMPLE_WEIGHTS)
    with torch.cuda.device_of(texels):
        sample_weights_kernel[triton.cdiv(rays, SAMPLE_WEIGHTS.rows), n](
            *tensors, dpixels.contiguous(), dsample_weights, rays, samples, *numbers, **fixed
        )
    return dsample_weights


def field_backward(texels, points, weights: FieldWeights, scale: float, axes, kept, dsigma, sample_weights, dpixels):
    """Gradients to texels and weights; None for what is not given: dsigma [N, P], or sample_weights and dpixels."""
    n, count, _ = points.shape
    samples = 1 if sample_weights is None else sample_weights.shape[2]
    rays = count // samples
    dsigma, sample_weights, dpixels = (None if t is None else t.contiguous() for t in (dsigma, sample_weights, dpixels))
    total = n * triton.cdiv(rays, BACKWARD.rows) * samples
    steps = triton.cdiv(total, min(total, _programs(texels.device)))
    programs = triton.cdiv(total, steps)

    tensors, numbers, fixed = _field(texels, points, weights, scale, axes, BACKWARD)
    dtexels = torch.zeros_like(texels)
    dweights = points.new_zeros(programs, sum(w.numel() for w in weights))
    scratch = points.new_empty(programs, BACKWARD.rows, padded(fixed["C"]))
    with torch.cuda.device_of(texels):
        backward_kernel[programs,](
            *tensors, dsigma, sample_weights, dpixels, dtexels, dweights, scratch, n, rays, samples, *numbers, steps,
            **fixed,
        )  # fmt: skip
    parts = dweights.sum(dim=0).split([w.numel() for w in weights])
    return dtexels, FieldWeights(*(part.view_as(w) for part, w in zip(parts, weights, strict=True)))


def _field(texels, points, weights, scale, axes, tile):
    """Arguments of all kernels: tensors, numbers, and the numbers for which they are compiled."""
    n, height, width, wide = texels.shape
    hidden, c = weights.w1.shape
    assert texels.is_contiguous() and points.is_contiguous() and texels.dtype == points.dtype == torch.float32
    assert wide == 3 * c and len(points) == n and points.shape[2] == 3
    fixed = dict(AXES=tuple(a for pair in axes for a in pair), C=c, H=hidden, K=len(weights.w2) - 1)
    fixed |= dict(DOT=PRODUCTS, ROWS=tile.rows, num_warps=tile.warps, num_stages=1)
    # a product and a sum may be one rounding; said here because Triton's default differs between versions
    fixed |= dict(enable_fp_fusion=True)
    return (texels, points, *(w.contiguous() for w in weights)), (height, width, float(scale)), fixed


def _programs(device) -> int:
    """Programs that share the steps of the backward pass; on a CPU, Triton's interpreter, a few."""
    if device.type != "cuda":
        return 3
    return PROGRAMS_PER_CORE * torch.cuda.get_device_properties(device).multi_processor_count
