// The end of a layer: y = clamp(gain * lrelu(x * scale + noise + b)), and its gradients, in one pass each.
// Activations are [n, pixels, c] (channels last), c a multiple of LANES. The number of threads is the caller's.
#include <algorithm>
#include <cmath>

#include "common.h"

constexpr int64_t BLOCK = 2048;  // numbers that one task goes over at a time: they stay in the first-level cache

struct Extent {
    int64_t n, pixels, c, block, blocks;  // `block` pixels each
    Extent(int64_t n, int64_t pixels, int64_t c)
        : n(n), pixels(pixels), c(c), block(std::max<int64_t>(BLOCK / c, 1)), blocks((pixels + block - 1) / block) {}
};

// For every block of pixels and every LANES channels in it: body(latent, first pixel, pixels, first channel).
template <typename Body>
INLINE void each_block(const Extent& e, int threads, const Body& body) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t task = 0; task < e.n * e.blocks; task++) {
        const int64_t i = task / e.blocks, first = task % e.blocks * e.block;
        for (int64_t k = 0; k < e.c; k += LANES) body(i, first, std::min(e.block, e.pixels - first), k);
    }
}

API const char* instructions() { return INSTRUCTIONS; }
API int lanes() { return LANES; }

API int64_t act_blocks(int64_t pixels, int64_t c) { return Extent(1, pixels, c).blocks; }

// scale [n, c], noise [noise_n, pixels], b [c], each may be null; clamp may be infinite. y may be x.
API void act(const float* x, const float* scale, const float* noise, const float* b, float* y, int64_t n,
             int64_t pixels, int64_t c, int64_t noise_n, float gain, float slope, float clamp, int threads) {
    const Extent e(n, pixels, c);
    each_block(e, threads, [=](int64_t i, int64_t first, int64_t count, int64_t k) {
        const Vec up = splat(gain), down = splat(gain * slope), high = splat(clamp), low = splat(-clamp);
        const Vec factor = scale ? load(scale + i * c + k) : splat(1), bias = b ? load(b + k) : Vec{};
        const float* map = noise ? noise + (noise_n > 1 ? i : 0) * pixels + first : nullptr;
        const int64_t at = (i * pixels + first) * c + k;
        for (int64_t p = 0; p < count; p++) {
            Vec v = load(x + at + p * c) * factor + (map ? bias + map[p] : bias);
            v *= v > Vec{} ? up : down;
            v = v > high ? high : v;
            store(y + at + p * c, v < low ? low : v);
        }
    });
}

// With dz = dy * d act / d (its argument): dx = dz * scale; per block of pixels the sums of dz (db) and of dz * x
// (dscale), both [n, blocks, c]; per pixel the sum of dz (dnoise) [n, pixels], zeroed by the caller. Outputs may be null.
API void act_backward(const float* dy, const float* y, const float* x, const float* scale, float* dx, float* dscale,
                      float* dnoise, float* db, int64_t n, int64_t pixels, int64_t c, float gain, float slope,
                      float clamp, int threads) {
    const Extent e(n, pixels, c);
    each_block(e, threads, [=](int64_t i, int64_t first, int64_t count, int64_t k) {
        const Vec up = splat(gain), down = splat(gain * slope), high = splat(clamp), low = splat(-clamp);
        const Vec factor = scale ? load(scale + i * c + k) : splat(1);
        const bool bounded = clamp < INFINITY;  // else infinite and undefined gradients pass as they are
        const int64_t at = (i * pixels + first) * c + k, sums = (i * e.blocks + first / e.block) * c + k;
        Vec total = Vec{}, product = Vec{};
        for (int64_t p = 0; p < count; p++) {
            const Vec out = load(y + at + p * c);
            Vec dz = load(dy + at + p * c) * (out > Vec{} ? up : down);
            if (bounded) dz = (out >= high) | (out <= low) ? Vec{} : dz;
            if (dx) store(dx + at + p * c, dz * factor);
            if (x) product += dz * load(x + at + p * c);
            if (dnoise) dnoise[i * pixels + first + p] += sum(dz);
            total += dz;
        }
        if (db) store(db + sums, total);
        if (dscale) store(dscale + sums, product);
    });
}
