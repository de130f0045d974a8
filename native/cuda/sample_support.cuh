// What cuts the support of a row, a prefix of the order (falling logit, rising id). Its last member is found by closing in on
// its logit: every pass over the row weighs what lies above a few levels, until the levels are neighbouring floats; of equal
// logits the lower ids are taken.

#ifndef STEPCREDIT_CUDA_SAMPLE_SUPPORT_CUH
#define STEPCREDIT_CUDA_SAMPLE_SUPPORT_CUH

#include <float.h>

#include "sample_row.cuh"

namespace gpu {

namespace sampling {

constexpr int kLevels = 8;

// The end of the shortest prefix of the order whose measure reaches `needed`; of equal logits each has the measure of one.
// measure(x) ≥ 0 must depend on the logit alone. What ranks below `lowest` is left out.
template <class Measure>
__device__ inline Cut shortest_prefix(const Row& row, double needed, uint32_t lowest, const Measure& measure) {
  // The last member ranks low … high − 1; `above`: the measure of what ranks higher.
  uint32_t low = lowest, high = rank_of(row.top) + 1;
  double above = 0.0;
  for (int pass = 0; high - low > 1; ++pass) {
    // Levels divide the bracket in the numbers, and in the floats: ranks divide numbers of any size, numbers logits faster.
    uint32_t levels[kLevels];
    const float from = of_rank(high - 1), to = of_rank(low);
    SC_UNROLL
    for (int i = 0; i < kLevels; ++i) {
      const float share = static_cast<float>(i + 1) / static_cast<float>(kLevels + 1);
      const uint32_t by_rank =
          high - 1 - static_cast<uint32_t>(static_cast<uint64_t>(high - 1 - low) * (i + 1) / (kLevels + 1));
      const uint32_t by_number = rank_of(from + (to - from) * share);
      const uint32_t level = pass % 2 == 0 && fabsf(to - from) <= FLT_MAX ? by_number : by_rank;
      levels[i] = level <= low ? low + 1 : level >= high ? high - 1 : level;
    }
    double measures[kLevels];
    sum_row(row, measures, [&](int64_t, float x, float(&partial)[kLevels]) {
      const uint32_t rank = rank_of(x);
      if (rank <= low) return;
      const float each = measure(x);
      SC_UNROLL
      for (int i = 0; i < kLevels; ++i) partial[i] += rank >= levels[i] ? each : 0.0f;
    });
    // From the highest level on, in the order of ranks: by number they fall, but clamped ones may be equal.
    SC_UNROLL
    for (int i = 0; i < kLevels; ++i) {
      if (levels[i] <= low || levels[i] >= high) continue;
      if (measures[i] >= needed) {
        low = levels[i];
      } else {
        high = levels[i];
        above = measures[i];
      }
    }
  }
  // Of the ids whose logits rank `low` the first few, at least one.
  const double each = static_cast<double>(measure(of_rank(low)));
  const double ties = each > 0.0 ? ceil((needed - above) / each) : 1.0;
  const int64_t id =
      draw(row.V, (ties > 1.0 ? ties : 1.0) - 0.5, [&](int64_t v) { return rank_of(row.logits[v]) == low ? 1.0f : 0.0f; });
  return {low, id < 0 ? INT64_MAX : id};
}

// The end of the k most probable ids, without those of −∞.
__device__ inline Cut top_k_cut(const Row& row, int32_t k) {
  return shortest_prefix(row, static_cast<double>(k), rank_of(-FLT_MAX), [](float) { return 1.0f; });
}

// The end of the smallest set of the largest p whose sum reaches top_p.
__device__ inline Cut top_p_cut(const SampleArgs& args, const Row& row, const Mass& all, uint32_t lowest) {
  // What has p < (1 − top_p) / V adds up to less than 1 − top_p; a factor for rounding.
  const double share = 0.5 * (1.0 - static_cast<double>(args.top_p)) * all.total() / static_cast<double>(args.V);
  const double depth = log(share < 0.5 ? share : 0.5) * static_cast<double>(args.temperature) * 1.000001;
  const float low = static_cast<float>(static_cast<double>(row.top) + depth) - 1e-6f * fabsf(row.top);
  const uint32_t rank = rank_of(low > -FLT_MAX ? low : -FLT_MAX);
  return shortest_prefix(row, static_cast<double>(args.top_p) * all.total(), rank > lowest ? rank : lowest,
                         [&](float x) { return row.weight(x); });
}

// The end of the ids with p ≥ min_p · max p: p rises with the logit, so that bisection over the floats finds the least one.
__device__ inline Cut min_p_cut(const SampleArgs& args, float top) {
  __shared__ uint32_t least;
  __syncthreads();  // that of a call before has been read
  if (threadIdx.x == 0) {
    uint32_t out = rank_of(-FLT_MAX) - 1, in = rank_of(top);
    while (args.min_p < 1.0f && in - out > 1) {
      const uint32_t middle = out + (in - out) / 2;
      const double depth = static_cast<double>(of_rank(middle)) - static_cast<double>(top);
      if (exp(depth / static_cast<double>(args.temperature)) >= static_cast<double>(args.min_p)) {
        in = middle;
      } else {
        out = middle;
      }
    }
    least = in;
  }
  __syncthreads();
  return {least, INT64_MAX};
}

}  // namespace sampling

}  // namespace gpu

#endif
