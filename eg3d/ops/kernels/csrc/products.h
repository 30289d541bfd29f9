// Small matrix products whose second factor stays in the first-level cache.
#pragma once
#include "common.h"

// out[rows, V * LANES] (+)= sum over k of a(row, k) * b[k, ...]; a is at a[row * ra + k * ka].
template <int R, int V>
INLINE void block_product(const float* a, int64_t ra, int64_t ka, const float* b, int64_t ldb, float* out, int64_t ldo,
                          int64_t depth, const float* bias, bool add) {
    Vec total[R][V];
    for (int r = 0; r < R; r++)
        for (int v = 0; v < V; v++)
            total[r][v] = add ? load(out + r * ldo + v * LANES) : bias ? load(bias + v * LANES) : Vec{};
    for (int64_t k = 0; k < depth; k++) {
        Vec row[V];
        for (int v = 0; v < V; v++) row[v] = load(b + k * ldb + v * LANES);
        for (int r = 0; r < R; r++)
            for (int v = 0; v < V; v++) total[r][v] += a[r * ra + k * ka] * row[v];
    }
    for (int r = 0; r < R; r++)
        for (int v = 0; v < V; v++) store(out + r * ldo + v * LANES, total[r][v]);
}

template <int V>
INLINE void columns_product(int64_t rows, const float* a, int64_t ra, int64_t ka, const float* b, int64_t ldb,
                            float* out, int64_t ldo, int64_t depth, const float* bias, bool add) {
    int64_t r = 0;
    constexpr int ROWS = REGISTERS == 32 ? 8 : 5;  // as many as registers hold the sums of; measured
    for (; r + ROWS <= rows; r += ROWS)
        block_product<ROWS, V>(a + r * ra, ra, ka, b, ldb, out + r * ldo, ldo, depth, bias, add);
    for (; r < rows; r++) block_product<1, V>(a + r * ra, ra, ka, b, ldb, out + r * ldo, ldo, depth, bias, add);
}

static void product(int64_t rows, int64_t columns, int64_t depth, const float* a, int64_t ra, int64_t ka,
                    const float* b, float* out, const float* bias = nullptr, bool add = false) {
    int64_t first = 0;
    for (; first + 2 * LANES <= columns; first += 2 * LANES)
        columns_product<2>(rows, a, ra, ka, b + first, columns, out + first, columns, depth,
                           bias ? bias + first : nullptr, add);
    for (; first < columns; first += LANES)
        columns_product<1>(rows, a, ra, ka, b + first, columns, out + first, columns, depth,
                           bias ? bias + first : nullptr, add);
}
