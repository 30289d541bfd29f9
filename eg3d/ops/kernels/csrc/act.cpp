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

// For every block of pixels: body(latent, first and last place in [n * pixels], place of the block in [n * blocks]).
// Bodies go over a block in the order of memory, which is twice as fast as channel after channel.
template <typename Body>
INLINE void each_block(const Extent& e, int threads, const Body& body) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t task = 0; task < e.n * e.blocks; task++) {
        const int64_t i = task / e.blocks, first = task % e.blocks * e.block;
        body(i, i * e.pixels + first, i * e.pixels + std::min(first + e.block, e.pixels), task);
    }
}

API const char* instructions() { return INSTRUCTIONS; }
API int lanes() { return LANES; }

API int64_t act_blocks(int64_t pixels, int64_t c) { return Extent(1, pixels, c).blocks; }

// scale [n, c], noise [noise_n, pixels], b [c], each may be null; clamp may be infinite. y may be x.
API void act(const float* x, const float* scale, const float* noise, const float* b, float* y, int64_t n,
             int64_t pixels, int64_t c, int64_t noise_n, float gain, float slope, float clamp, int threads) {
    each_block(Extent(n, pixels, c), threads, [=](int64_t i, int64_t first, int64_t last, int64_t) {
        const Vec up = splat(gain), down = splat(gain * slope), high = splat(clamp), low = splat(-clamp);
        const float* factors = scale ? scale + i * c : nullptr;
        const float* map = noise ? noise + (noise_n > 1 ? 0 : -i * pixels) : nullptr;
        for (int64_t at = first; at < last; at++) {
            const Vec here = splat(map ? map[at] : 0);
            for (int64_t k = 0; k < c; k += LANES) {
                const Vec factor = factors ? load(factors + k) : splat(1), bias = b ? load(b + k) : Vec{};
                Vec v = load(x + at * c + k) * factor + (bias + here);
                v *= v > Vec{} ? up : down;
                v = v > high ? high : v;
                store(y + at * c + k, v < low ? low : v);
            }
        }
    });
}

// With dz = dy * d act / d (its argument): dx = dz * scale; per block of pixels the sums of dz (db) and of dz * x
// (dscale), both [n, blocks, c], zeroed by the caller; per pixel the sum of dz (dnoise) [n, pixels]. Outputs may be null.
API void act_backward(const float* dy, const float* y, const float* x, const float* scale, float* dx, float* dscale,
                      float* dnoise, float* db, int64_t n, int64_t pixels, int64_t c, float gain, float slope,
                      float clamp, int threads) {
    each_block(Extent(n, pixels, c), threads, [=](int64_t i, int64_t first, int64_t last, int64_t block) {
        const Vec up = splat(gain), down = splat(gain * slope), high = splat(clamp), low = splat(-clamp);
        const float* factors = scale ? scale + i * c : nullptr;
        const bool bounded = clamp < INFINITY;  // else infinite and undefined gradients pass as they are
        float *to_scale = dscale ? dscale + block * c : nullptr, *to_b = db ? db + block * c : nullptr;
        for (int64_t at = first; at < last; at++) {
            Vec all = Vec{};
            for (int64_t k = 0; k < c; k += LANES) {
                const Vec out = load(y + at * c + k);
                Vec dz = load(dy + at * c + k) * (out > Vec{} ? up : down);
                if (bounded) dz = (out >= high) | (out <= low) ? Vec{} : dz;
                if (dx) store(dx + at * c + k, factors ? dz * load(factors + k) : dz);
                if (to_scale) store(to_scale + k, load(to_scale + k) + dz * load(x + at * c + k));
                if (to_b) store(to_b + k, load(to_b + k) + dz);
                all += dz;
            }
            if (dnoise) dnoise[at] = sum(all);
        }
    });
}
