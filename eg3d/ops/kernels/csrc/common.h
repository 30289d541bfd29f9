// Small vectors in the compiler's own notation, so that one source serves every CPU the compiler knows.
#pragma once
#include <cstdint>
#include <cstring>

#define API extern "C" __attribute__((visibility("default")))
#define INLINE static inline __attribute__((always_inline))

// As many numbers as one register of the processor holds. More would leave it short of registers: with 16 lanes on AVX2
// everything took two to four times as long.
#if defined(__AVX512F__) && defined(__AVX512DQ__)
#define INSTRUCTIONS "AVX-512"
constexpr int LANES = 16, REGISTERS = 32;
#elif defined(__AVX2__) && defined(__FMA__)
#define INSTRUCTIONS "AVX2"
constexpr int LANES = 8, REGISTERS = 16;
#elif defined(__aarch64__)
#define INSTRUCTIONS "NEON"
constexpr int LANES = 4, REGISTERS = 32;
#else
#ifdef __SSE2__
#define INSTRUCTIONS "SSE2"
#else
#define INSTRUCTIONS "portable"
#endif
constexpr int LANES = 4, REGISTERS = 16;
#endif

typedef float Vec __attribute__((vector_size(4 * LANES)));
typedef int32_t VecInt __attribute__((vector_size(4 * LANES)));

INLINE Vec load(const float* p) { Vec v; std::memcpy(&v, p, sizeof v); return v; }
INLINE void store(float* p, Vec v) { std::memcpy(p, &v, sizeof v); }
INLINE Vec splat(float x) { return x - Vec{}; }
INLINE float sum(Vec v) {  // in halves, which is quicker than lane after lane
    typedef float Four __attribute__((vector_size(16)));
    Four part[LANES / 4];
    std::memcpy(part, &v, sizeof v);
    for (int half = LANES / 8; half > 0; half /= 2)
        for (int i = 0; i < half; i++) part[i] += part[i + half];
    return (part[0][0] + part[0][1]) + (part[0][2] + part[0][3]);
}

// e^x to about 1 ulp for x <= 0; 0 below -87. Not-a-number stays one, here and below: training looks for them.
INLINE Vec exp_of_negative(Vec x) {
    const Vec low = splat(-87.0f);
    const VecInt nothing = x <= low;
    x = nothing ? low : x;
    const Vec shifted = x * 1.44269504f + 12582912.0f;  // 1.5 * 2^23: rounds to an integer in the last bits
    const Vec n = shifted - 12582912.0f;
    const Vec r = x - n * 0.693359375f + n * 2.12194440e-4f;  // n ln 2 in two parts; |r| <= ln 2 / 2
    Vec p = splat(1.0f / 5040);
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    VecInt bits;
    std::memcpy(&bits, &shifted, sizeof bits);
    bits = (bits - 0x4B400000 + 127) << 23;  // 2^n
    Vec power;
    std::memcpy(&power, &bits, sizeof power);
    const Vec result = p * power;
    return nothing ? Vec{} : result;
}

INLINE Vec magnitude(Vec x) { return x < Vec{} ? -x : x; }

INLINE Vec softplus(Vec x) {  // max(x, 0) + log(1 + e^-|x|)
    const Vec t = exp_of_negative(-magnitude(x));
    // log(1 + t) / t on [0, 1], a least largest relative error of 3e-8: no division
    Vec p = splat(0.005232691f);
    p = p * t - 0.029505226f;
    p = p * t + 0.078225933f;
    p = p * t - 0.136632442f;
    p = p * t + 0.191060066f;
    p = p * t - 0.248429820f;
    p = p * t + 0.333190978f;
    p = p * t - 0.499994934f;
    p = p * t + 0.999999940f;
    return (x > Vec{} ? x : Vec{}) + t * p;
}

INLINE Vec sigmoid(Vec x) {
    const Vec t = exp_of_negative(-magnitude(x));
    return (x < Vec{} ? t : splat(1.0f)) / (t + 1.0f);
}
