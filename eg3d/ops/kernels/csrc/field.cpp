// The tri-plane field: bilinear features of three planes -> hidden = softplus(w1 f + b1) -> (density, colours).
// Points go through in tiles that stay in the first-level cache. Widths are multiples of LANES, at most WIDEST.
#include <algorithm>
#include <cmath>
#include <vector>

#include "common.h"
#include "products.h"

constexpr int TILE = 32, WIDEST = 64, PLANES = 3, CORNERS = 4;

struct Field {
    const float* texels;                 // [n, height, width, 3 c]
    const float* points;                 // [n, count, 3]
    const float *w1, *b1, *w2, *b2;      // [h, c], [h], [1 + o, h], [1 + o]
    const float *w1_t, *w2_t;            // [c, h]; the colours' rows transposed, [h, o]
    int64_t n, count, height, width, c, h, o;
    float scale;                         // 2 / side of the box
    int32_t axes[2 * PLANES];            // per plane: which coordinates index width and height
};

// ---------------------------------------------------------------- look-up

// Where LANES points lie in the planes.
struct Corners {
    int32_t offset[PLANES * CORNERS][LANES];  // of a texel's features in one latent's texels
    float weight[PLANES * CORNERS][LANES];    // 0 outside the planes
};

INLINE Vec between(Vec x, float low, float high) {  // not-a-number becomes `low`
    x = x > splat(low) ? x : splat(low);
    return x < splat(high) ? x : splat(high);
}

INLINE Vec as_float(VecInt x) { return __builtin_convertvector(x, Vec); }

// `count` points from `point` on; the rest of the lanes repeat the first.
INLINE void corners_of(const Field& f, const float* point, int64_t count, Corners& at) {
    const float width = f.width, height = f.height;
    Vec coordinate[3];
    for (int axis = 0; axis < 3; axis++)
        for (int t = 0; t < LANES; t++) coordinate[axis][t] = point[3 * (t < count ? t : 0) + axis];
    for (int plane = 0; plane < PLANES; plane++) {
        // Texel centres at odd multiples of 1 / size, as grid_sample with align_corners=False. A texel beyond the border
        // everything is zero, so that far points need no wider integers.
        const Vec x = between(((coordinate[f.axes[2 * plane]] * f.scale + 1) * width - 1) / 2, -2, width + 1);
        const Vec y = between(((coordinate[f.axes[2 * plane + 1]] * f.scale + 1) * height - 1) / 2, -2, height + 1);
        const VecInt left = __builtin_convertvector(x + 2, VecInt) - 2, top = __builtin_convertvector(y + 2, VecInt) - 2;
        const Vec from_left = x - as_float(left), from_top = y - as_float(top);
        for (int corner = 0; corner < CORNERS; corner++) {
            const VecInt column = left + (corner & 1), row = top + (corner >> 1);
            const VecInt inside = (column >= 0) & (column < (int32_t)f.width) & (row >= 0) & (row < (int32_t)f.height);
            const Vec weight =
                (corner & 1 ? from_left : 1 - from_left) * (corner >> 1 ? from_top : 1 - from_top);
            const VecInt texel = ((row * (int32_t)f.width + column) * PLANES + plane) * (int32_t)f.c;
            const Vec kept_weight = inside ? weight : Vec{};
            const VecInt kept_texel = inside & texel;
            std::memcpy(at.weight[plane * CORNERS + corner], &kept_weight, sizeof kept_weight);
            std::memcpy(at.offset[plane * CORNERS + corner], &kept_texel, sizeof kept_texel);
        }
    }
}

// The next V * LANES of a point's features: its corners' texels, weighted. Sums side by side wait less for each other.
template <int V>
INLINE void add_corners(const Corners& at, int64_t t, const float* texels, float* features) {
    Vec total[V] = {};
    for (int j = 0; j < PLANES * CORNERS; j++) {
        const float weight = at.weight[j][t], *texel = texels + at.offset[j][t];
        for (int v = 0; v < V; v++) total[v] += weight * load(texel + v * LANES);
    }
    for (int v = 0; v < V; v++) store(features + v * LANES, total[v]);
}

// features [tile, c] of points first .. first + tile - 1 of latent i, summed over the planes
static void look_up(const Field& f, int64_t i, int64_t first, int64_t tile, float* features) {
    const float* texels = f.texels + i * f.height * f.width * PLANES * f.c;
    Corners at;
    for (int64_t t = 0; t < tile; t++) {
        if (t % LANES == 0) corners_of(f, f.points + (i * f.count + first + t) * 3, tile - t, at);
        constexpr int MANY = 32 / LANES;
        float* to = features + t * f.c;
        int64_t k = 0;
        for (; k + MANY * LANES <= f.c; k += MANY * LANES) add_corners<MANY>(at, t % LANES, texels + k, to + k);
        for (; k < f.c; k += LANES) add_corners<1>(at, t % LANES, texels + k, to + k);
    }
}

// hidden [tile, h] from features [tile, c]
static void hide(const Field& f, const float* features, int64_t tile, float* hidden) {
    product(tile, f.h, f.c, features, f.c, 1, f.w1_t, hidden, f.b1);
    for (int64_t k = 0; k < tile * f.h; k += LANES) store(hidden + k, softplus(load(hidden + k)));
}

// ---------------------------------------------------------------- forward

// sigma [tile] and colours [tile, o] from hidden [tile, h]
static void decode(const Field& f, const float* hidden, int64_t tile, float* sigma, float* colours) {
    for (int64_t t = 0; t < tile; t++) {
        Vec total = Vec{};
        for (int64_t k = 0; k < f.h; k += LANES) total += load(hidden + t * f.h + k) * load(f.w2 + k);
        sigma[t] = sum(total) + f.b2[0];
    }
    product(tile, f.o, f.h, hidden, f.h, 1, f.w2_t, colours, f.b2 + 1);
    for (int64_t k = 0; k < tile * f.o; k += LANES) store(colours + k, sigmoid(load(colours + k)));
}

// A second field round the nearest of some centres, where `Ball.weight` of eg3d/rendering/blended.py is above 0.
struct Balls {
    Field second;
    const float* centres;  // [n, count, 3]
    int64_t count;
    float middle;  // is taken from every coordinate before the second field is looked up
    float inner, outer;
};

// The second field into samples of a first, at points [tile, 3] of latent i: 1 - w times those, plus w times its own.
static void blend(const Balls& balls, int64_t i, const float* points, int64_t tile, float* sigma, float* colours) {
    const float bound = balls.outer * balls.outer, *centre = balls.centres + i * balls.count * 3;
    float squared[TILE];  // of the distance to the nearest centre
    std::fill_n(squared, TILE, bound);
    bool any = false;
    for (int64_t k = 0; k < balls.count; k++, centre += 3)
        for (int64_t t = 0; t < tile; t++) {
            const float x = points[3 * t] - centre[0], y = points[3 * t + 1] - centre[1], z = points[3 * t + 2] - centre[2];
            const float here = x * x + y * y + z * z;
            squared[t] = here < squared[t] ? here : squared[t];
            any |= here < bound;
        }
    if (!any) return;
    alignas(64) float hidden[TILE * WIDEST], own_colours[TILE * WIDEST];
    float inside[TILE * 3], own_sigma[TILE];
    int64_t at[TILE], found = 0;
    for (int64_t t = 0; t < tile; t++)
        if (squared[t] < bound) {
            for (int64_t axis = 0; axis < 3; axis++) inside[3 * found + axis] = points[3 * t + axis] - balls.middle;
            at[found++] = t;
        }
    Field f = balls.second;
    f.points = inside;
    f.count = 0;  // the points are those of every latent
    look_up(f, i, 0, found, own_colours);
    hide(f, own_colours, found, hidden);
    decode(f, hidden, found, own_sigma, own_colours);
    for (int64_t j = 0; j < found; j++) {
        const float s = std::min((balls.outer - std::sqrt(squared[at[j]])) / (balls.outer - balls.inner), 1.0f);
        const float w = s * s * (3 - 2 * s);
        sigma[at[j]] = (1 - w) * sigma[at[j]] + w * own_sigma[j];
        float* colour = colours + at[j] * f.o;
        for (int64_t k = 0; k < f.o; k += LANES)
            store(colour + k, (1 - w) * load(colour + k) + w * load(own_colours + j * f.o + k));
    }
}

// sigma [n, count] and colours [n, count, o], with a second field blended in unless `balls` is null;
// features [n, count, c] for field_backward, may be null
API void field_density(const Field* field, const Balls* balls, float* sigma, float* colours, float* features,
                       int threads) {
    const Field f = *field;
    const int64_t tiles = (f.count + TILE - 1) / TILE;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t task = 0; task < f.n * tiles; task++) {
        const int64_t i = task / tiles, first = task % tiles * TILE, tile = std::min<int64_t>(TILE, f.count - first);
        const int64_t at = i * f.count + first;
        alignas(64) float scratch[TILE * WIDEST], hidden[TILE * WIDEST];
        float* seen = features ? features + at * f.c : scratch;
        look_up(f, i, first, tile, seen);
        hide(f, seen, tile, hidden);
        decode(f, hidden, tile, sigma + at, colours + at * f.o);
        if (balls) blend(*balls, i, f.points + at * 3, tile, sigma + at, colours + at * f.o);
    }
}

// pixels [rays, o] = sum over the samples of weights [rays, samples] * colours [rays, samples, o]
API void field_pixels(const float* colours, const float* weights, float* pixels, int64_t rays, int64_t samples, int64_t o,
                      int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t ray = 0; ray < rays; ray++)
        product(1, o, samples, weights + ray * samples, 0, 1, colours + ray * samples * o, pixels + ray * o);
}

// ---------------------------------------------------------------- backward

// dweights [rays, samples] = <dpixels [rays, o], colours [rays, samples, o]>
API void field_pixels_backward(const float* colours, const float* dpixels, float* dweights, int64_t rays, int64_t samples,
                               int64_t o, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t at = 0; at < rays * samples; at++) {
        Vec total = Vec{};
        for (int64_t k = 0; k < o; k += LANES)
            total += load(colours + at * o + k) * load(dpixels + at / samples * o + k);
        dweights[at] = sum(total);
    }
}

// Gradients of one latent go to texels that only its own thread writes, so that runs repeat to the bit.
// dsigma [n, count] or null; weights and dpixels both or neither; dtexels zeroed by the caller;
// per latent dw1 [n, h, c], db1 [n, h], dw2 [n, 1 + o, h], db2 [n, 1 + o], zeroed by the caller.
API void field_backward(const Field* field, const float* features, const float* colours, const float* dsigma,
                        const float* weights, const float* dpixels, float* dtexels, float* dw1, float* db1, float* dw2,
                        float* db2, int64_t samples, int threads) {
    const Field f = *field;
    const int64_t size = f.height * f.width * PLANES * f.c;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t i = 0; i < f.n; i++) {
        alignas(64) float hidden[TILE * WIDEST], out[TILE * WIDEST], inner[TILE * WIDEST], outer[TILE * WIDEST];
        float *to = dtexels + i * size, *to_w1 = dw1 + i * f.h * f.c, *to_b1 = db1 + i * f.h;
        float *to_w2 = dw2 + i * (1 + f.o) * f.h, *to_b2 = db2 + i * (1 + f.o);
        for (int64_t first = 0; first < f.count; first += TILE) {
            const int64_t tile = std::min<int64_t>(TILE, f.count - first), at = i * f.count + first;
            const float* seen = features + at * f.c;
            hide(f, seen, tile, hidden);
            if (dpixels) {
                for (int64_t t = 0; t < tile; t++) {
                    const float* grad = dpixels + (at + t) / samples * f.o;
                    for (int64_t k = 0; k < f.o; k += LANES) {
                        const Vec colour = load(colours + (at + t) * f.o + k);
                        const Vec value = weights[at + t] * load(grad + k) * colour * (1.0f - colour);
                        store(out + t * f.o + k, value);
                        store(to_b2 + 1 + k, load(to_b2 + 1 + k) + value);
                    }
                }
                product(tile, f.h, f.o, out, f.o, 1, f.w2 + f.h, inner);
                product(f.o, f.h, tile, out, 1, f.o, hidden, to_w2 + f.h, nullptr, true);
            } else {
                std::fill_n(inner, tile * f.h, 0.0f);
            }
            if (dsigma) {
                product(1, f.h, tile, dsigma + at, 0, 1, hidden, to_w2, nullptr, true);
                for (int64_t t = 0; t < tile; t++) {
                    to_b2[0] += dsigma[at + t];
                    for (int64_t k = 0; k < f.h; k += LANES)
                        store(inner + t * f.h + k, load(inner + t * f.h + k) + dsigma[at + t] * load(f.w2 + k));
                }
            }
            // softplus' = 1 - e^-softplus
            for (int64_t t = 0; t < tile; t++)
                for (int64_t k = 0; k < f.h; k += LANES) {
                    const Vec grad = load(inner + t * f.h + k) * (1.0f - exp_of_negative(-load(hidden + t * f.h + k)));
                    store(inner + t * f.h + k, grad);
                    store(to_b1 + k, load(to_b1 + k) + grad);
                }
            product(f.h, f.c, tile, inner, 1, f.h, seen, to_w1, nullptr, true);
            product(tile, f.c, f.h, inner, f.h, 1, f.w1, outer);
            Corners corner;
            for (int64_t t = 0; t < tile; t++) {
                if (t % LANES == 0) corners_of(f, f.points + (at + t) * 3, tile - t, corner);
                for (int64_t k = 0; k < f.c; k += LANES) {
                    const Vec grad = load(outer + t * f.c + k);
                    for (int j = 0; j < PLANES * CORNERS; j++) {
                        float* texel = to + corner.offset[j][t % LANES] + k;
                        store(texel, load(texel) + corner.weight[j][t % LANES] * grad);
                    }
                }
            }
        }
    }
}
