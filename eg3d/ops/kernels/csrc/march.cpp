// Along a ray: densities -> where to look again, and densities -> weights of the samples, with its gradient.
// LANES rays go side by side. A ray's samples come in two parts, coarse and fine, [rays, samples] each, in any order.
// The number of threads is the caller's.
#include <algorithm>
#include <cmath>

#include "common.h"

constexpr int MOST = 256;  // samples of a ray, both parts together
constexpr float LEAK = 1e-10f;
#define APART static __attribute__((noinline))  // else compiled over and over, which takes seconds

typedef float Lanes[LANES];

struct Interval {
    Vec density_slope, delta, passed, alpha;  // slope of the density, width, exp(-density width), 1 - that
};

APART Interval interval(Vec sigma, Vec next_sigma, Vec depth, Vec next_depth) {
    const Vec x = 0.5f * (sigma + next_sigma) - 1.0f, density = softplus(x);
    Interval here;
    here.delta = next_depth - depth;
    here.passed = exp_of_negative(-density * here.delta);
    here.alpha = 1.0f - here.passed;
    here.density_slope = 1.0f - exp_of_negative(-density);
    return here;
}

// rows[sample][lane] of `count` rays from `ray` on; the rest of the lanes repeat the first
APART void gather(const float* from, int64_t ray, int64_t count, int64_t samples, Lanes* rows) {
    for (int64_t lane = 0; lane < LANES; lane++) {
        const float* row = from + (ray + (lane < count ? lane : 0)) * samples;
        for (int64_t s = 0; s < samples; s++) rows[s][lane] = row[s];
    }
}

APART void scatter(const Lanes* rows, int64_t ray, int64_t count, int64_t samples, float* to) {
    for (int64_t lane = 0; lane < count; lane++)
        for (int64_t s = 0; s < samples; s++) to[(ray + lane) * samples + s] = rows[s][lane];
}

struct Rays {
    const float *sigma[2], *depth[2];  // coarse and fine
    int64_t samples[2];
    int64_t all() const { return samples[0] + samples[1]; }
};

// order[place][lane]: which sample of a ray stands where. Each part is sorted by insertion, which costs little where it
// is sorted already: coarse depths mostly are, but not in a range given far end first, or steps of disparity beyond far.
APART void sort_samples(const Lanes* depth, int64_t coarse, int64_t all, int32_t (*order)[LANES]) {
    const int64_t ends[] = {0, coarse, all};
    for (int64_t lane = 0; lane < LANES; lane++) {
        int32_t sorted[MOST];
        for (int part = 0; part < 2; part++)
            for (int64_t s = ends[part]; s < ends[part + 1]; s++) {
                int64_t place = s;
                for (; place > ends[part] && depth[sorted[place - 1]][lane] > depth[s][lane]; place--)
                    sorted[place] = sorted[place - 1];
                sorted[place] = (int32_t)s;
            }
        int64_t a = 0, b = coarse;
        for (int64_t place = 0; place < all; place++) {
            const bool first = b == all || (a < coarse && depth[sorted[a]][lane] <= depth[sorted[b]][lane]);
            order[place][lane] = sorted[first ? a++ : b++];
        }
    }
}

struct Sorted {
    alignas(64) Lanes sigma[MOST], depth[MOST];
    int32_t order[MOST][LANES];

    __attribute__((noinline)) void read(const Rays& r, int64_t ray, int64_t count) {
        alignas(64) Lanes given_sigma[MOST], given_depth[MOST];
        for (int part = 0, at = 0; part < 2; at += r.samples[part++]) {
            gather(r.sigma[part], ray, count, r.samples[part], given_sigma + at);
            gather(r.depth[part], ray, count, r.samples[part], given_depth + at);
        }
        sort_samples(given_depth, r.samples[0], r.all(), order);
        for (int64_t s = 0; s < r.all(); s++)
            for (int64_t lane = 0; lane < LANES; lane++) {
                sigma[s][lane] = given_sigma[order[s][lane]][lane];
                depth[s][lane] = given_depth[order[s][lane]][lane];
            }
    }
    Interval at(int64_t s) const {
        return interval(load(sigma[s]), load(sigma[s + 1]), load(depth[s]), load(depth[s + 1]));
    }
    __attribute__((noinline)) void unsort(const Lanes* rows, int64_t all, Lanes* to) const {
        for (int64_t s = 0; s < all; s++)
            for (int64_t lane = 0; lane < LANES; lane++) to[order[s][lane]][lane] = rows[s][lane];
    }
};

// weights [rays, samples] of both parts: half the weights of the two intervals a sample borders; total and depth [rays].
API void march(const float* sigma, const float* depth, int64_t samples, const float* fine_sigma,
               const float* fine_depth, int64_t fine, float* weights, float* fine_weights, float* total, float* mean_depth,
               int64_t rays, int threads) {
    const Rays r{{sigma, fine_sigma}, {depth, fine_depth}, {samples, fine}};
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t ray = 0; ray < rays; ray += LANES) {
        const int64_t count = std::min<int64_t>(LANES, rays - ray), all = r.all();
        Sorted s;
        s.read(r, ray, count);
        alignas(64) Lanes half[MOST], out[MOST];
        Vec light = splat(1), sum_weight = Vec{}, sum_depth = Vec{}, before = Vec{};
        for (int64_t i = 0; i + 1 < all; i++) {
            const Interval here = s.at(i);
            const Vec weight = here.alpha * light;
            light *= here.passed + LEAK;
            store(half[i], 0.5f * (before + weight));
            before = weight;
            sum_weight += weight;
            sum_depth += weight * (0.5f * (load(s.depth[i]) + load(s.depth[i + 1])));
        }
        store(half[all - 1], 0.5f * before);
        s.unsort(half, all, out);
        scatter(out, ray, count, samples, weights);
        if (fine) scatter(out + samples, ray, count, fine, fine_weights);
        const Vec low = load(s.depth[0]), high = load(s.depth[all - 1]);
        Vec mean = sum_depth / sum_weight;
        mean = mean < high ? mean : high;  // a ray that meets nothing has no mean, but its last depth
        alignas(64) Lanes sums[1], means[1];
        store(sums[0], sum_weight);
        store(means[0], mean > low ? mean : low);
        scatter(sums, ray, count, 1, total);
        scatter(means, ray, count, 1, mean_depth);
    }
}

// Gradients of `march` to the densities; any of the incoming ones may be null.
API void march_backward(const float* sigma, const float* depth, int64_t samples, const float* fine_sigma,
                        const float* fine_depth, int64_t fine, const float* dweights, const float* dfine_weights,
                        const float* dtotal, const float* ddepth, float* dsigma, float* dfine_sigma, int64_t rays,
                        int threads) {
    const Rays r{{sigma, fine_sigma}, {depth, fine_depth}, {samples, fine}};
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t ray = 0; ray < rays; ray += LANES) {
        const int64_t count = std::min<int64_t>(LANES, rays - ray), all = r.all();
        Sorted s;
        s.read(r, ray, count);
        alignas(64) Lanes given[MOST], dhalf[MOST], light[MOST], out[MOST];
        for (int64_t i = 0; i < all; i++) store(given[i], Vec{});
        if (dweights) gather(dweights, ray, count, samples, given);
        if (dfine_weights) gather(dfine_weights, ray, count, fine, given + samples);
        for (int64_t i = 0; i < all; i++)
            for (int64_t lane = 0; lane < LANES; lane++) dhalf[i][lane] = given[s.order[i][lane]][lane];

        Interval intervals[MOST];
        Vec passed = splat(1), sum_weight = Vec{}, sum_depth = Vec{};
        for (int64_t i = 0; i + 1 < all; i++) {
            intervals[i] = s.at(i);
            store(light[i], passed);
            const Vec weight = intervals[i].alpha * passed;
            passed *= intervals[i].passed + LEAK;
            sum_weight += weight;
            sum_depth += weight * (0.5f * (load(s.depth[i]) + load(s.depth[i + 1])));
        }
        alignas(64) Lanes whole[1] = {}, far[1] = {};  // gradients to the total and to the mean depth
        if (dtotal) gather(dtotal, ray, count, 1, whole);
        if (ddepth) gather(ddepth, ray, count, 1, far);
        const VecInt met = sum_weight > Vec{};
        const Vec to_total = load(whole[0]), to_mean = met ? load(far[0]) / sum_weight : Vec{};
        const Vec mean = met ? sum_depth / sum_weight : Vec{};
        Vec dlight = Vec{}, after = Vec{};
        for (int64_t i = all - 2; i >= 0; i--) {
            const Interval& here = intervals[i];
            const Vec middle = 0.5f * (load(s.depth[i]) + load(s.depth[i + 1]));
            const Vec dweight = 0.5f * (load(dhalf[i]) + load(dhalf[i + 1])) + to_total + to_mean * (middle - mean);
            const Vec dalpha = (dweight - dlight) * load(light[i]);
            dlight = dweight * here.alpha + dlight * (here.passed + LEAK);
            const Vec dx = 0.5f * dalpha * here.delta * here.passed * here.density_slope;
            store(given[i + 1], after + dx);
            after = dx;
        }
        store(given[0], after);
        s.unsort(given, all, out);
        scatter(out, ray, count, samples, dsigma);
        if (fine) scatter(out + samples, ray, count, fine, dfine_sigma);
    }
}

// Fine depths [rays, fine] from coarse densities and depths [rays, samples] and u [rays, fine] in [0, 1);
// `importance_depths` of eg3d/rendering/sampling.py says what is computed.
API void fine_depths(const float* sigma, const float* depth, const float* u, float* result, int64_t rays,
                     int64_t samples, int64_t fine, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t ray = 0; ray < rays; ray += LANES) {
        const int64_t count = std::min<int64_t>(LANES, rays - ray), bins = samples - 1, edges = samples - 2;
        alignas(64) Lanes s[MOST], d[MOST], weight[MOST], middle[MOST], cdf[MOST], at[MOST];
        gather(sigma, ray, count, samples, s);
        gather(depth, ray, count, samples, d);
        gather(u, ray, count, fine, at);
        Vec light = splat(1);
        for (int64_t i = 0; i < bins; i++) {
            const Interval here = interval(load(s[i]), load(s[i + 1]), load(d[i]), load(d[i + 1]));
            store(weight[i], here.alpha * light);
            light *= here.passed + LEAK;
            store(middle[i], 0.5f * (load(d[i]) + load(d[i + 1])));
        }
        // the larger of two neighbours, averaged over two neighbours; the outermost bins are not used
        Vec total = Vec{};
        store(cdf[0], Vec{});
        for (int64_t i = 1; i < edges; i++) {
            const Vec left = load(weight[i - 1]), here = load(weight[i]), right = load(weight[i + 1]);
            total += 0.5f * ((left > here ? left : here) + (right > here ? right : here)) + 0.01f + 1e-5f;
            store(cdf[i], total);
        }
        for (int64_t i = 1; i < edges; i++) store(cdf[i], load(cdf[i]) / total);
        for (int64_t i = 0; i < fine; i++) {
            const Vec target = load(at[i]);
            Vec low = load(cdf[0]), low_bin = load(middle[0]);
            Vec high = load(cdf[edges - 1]), high_bin = load(middle[edges - 1]);
            for (int64_t j = 1; j < edges; j++) {
                const VecInt below = load(cdf[j]) <= target;
                low = below ? load(cdf[j]) : low;
                low_bin = below ? load(middle[j]) : low_bin;
                const int64_t k = edges - 1 - j;
                const VecInt above = load(cdf[k]) > target;
                high = above ? load(cdf[k]) : high;
                high_bin = above ? load(middle[k]) : high_bin;
            }
            Vec span = high - low;
            span = span < splat(1e-5f) ? splat(1) : span;
            store(at[i], low_bin + (target - low) / span * (high_bin - low_bin));
        }
        scatter(at, ray, count, fine, result);
    }
}
