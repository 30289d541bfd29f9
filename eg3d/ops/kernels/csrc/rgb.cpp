// The image of a skip architecture: y = b + w x + (a smaller image, enlarged twice by a 4 x 4 filter), in one pass, and
// its gradients. All lie channels last; widths are multiples of LANES. The number of threads is the caller's.
#include <algorithm>

#include "products.h"

constexpr int64_t TILE = 32, TAPS = 4;

// row [width, k] += row `at` of the image [h, w, k] that is enlarged to twice its sides.
// Sample i of the small image lies at 2 i of the large one, between zeros: two of four taps meet a sample.
static void add_enlarged(const float* image, int64_t h, int64_t w, int64_t k, const float* filter, int64_t at,
                         float* row) {
    for (int64_t i = 0; i < 2; i++) {
        const int64_t tap_y = (at & 1) + 2 * i, y = at / 2 - 1 + (at & 1) + i;
        if (y < 0 || y >= h) continue;
        for (int64_t column = 0; column < 2 * w; column++) {
            const int64_t odd = column & 1, x = column / 2 - 1 + odd;
            const float first = x >= 0 ? filter[tap_y * TAPS + odd] : 0;
            const float second = x + 1 < w ? filter[tap_y * TAPS + odd + 2] : 0;
            const float *left = image + (y * w + std::max<int64_t>(x, 0)) * k;
            const float *right = image + (y * w + std::min(x + 1, w - 1)) * k;
            for (int64_t j = 0; j < k; j += LANES)
                store(row + column * k + j,
                      load(row + column * k + j) + first * load(left + j) + second * load(right + j));
        }
    }
}

// x [n, h, w, c], weight [n, c, k], b [k] -> y [n, h, w, k]; image [n, h / 2, w / 2, k] or null, filter [4, 4].
API void rgb(const float* x, const float* weight, const float* b, const float* image, const float* filter, float* y,
             int64_t n, int64_t h, int64_t w, int64_t c, int64_t k, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t task = 0; task < n * h; task++) {
        const int64_t i = task / h;
        float* row = y + task * w * k;
        for (int64_t first = 0; first < w; first += TILE)
            product(std::min(TILE, w - first), k, c, x + (task * w + first) * c, c, 1, weight + i * c * k,
                    row + first * k, b);
        if (image) add_enlarged(image + i * (h / 2) * (w / 2) * k, h / 2, w / 2, k, filter, task % h, row);
    }
}

// dy [n, pixels, k], weight_t [n, k, c] -> dx [n, pixels, c] or null, dweight [n, c, k] and db [n, k] zeroed by the
// caller. What belongs to one latent is written by one thread, so that runs repeat to the bit.
API void rgb_backward(const float* dy, const float* x, const float* weight_t, float* dx, float* dweight, float* db,
                      int64_t n, int64_t pixels, int64_t c, int64_t k, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t i = 0; i < n; i++) {
        for (int64_t first = 0; first < pixels; first += TILE) {
            const int64_t tile = std::min(TILE, pixels - first), at = i * pixels + first;
            if (dx) product(tile, c, k, dy + at * k, k, 1, weight_t + i * k * c, dx + at * c);
            if (!dweight) continue;
            product(c, k, tile, x + at * c, 1, c, dy + at * k, dweight + i * c * k, nullptr, true);
            for (int64_t j = 0; j < k; j += LANES) {
                Vec total = load(db + i * k + j);
                for (int64_t t = 0; t < tile; t++) total += load(dy + (at + t) * k + j);
                store(db + i * k + j, total);
            }
        }
    }
}
