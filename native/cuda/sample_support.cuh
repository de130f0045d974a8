// What cuts the support of a row, a prefix of the order (falling logit, rising id). Its last member is found by closing in on
// its logit: every pass over the row measures what reaches a few levels, until all logits between two of them are equal; of
// those the lower ids are taken.
//
// Order      a level is measured in runs: of each f32 by threads and warps, then f64 by warps and by runs. So its measure
//            neither depends on the other levels nor rises with them, and any way of closing in ends at the same logit.

#ifndef STEPCREDIT_CUDA_SAMPLE_SUPPORT_CUH
#define STEPCREDIT_CUDA_SAMPLE_SUPPORT_CUH

#include "sample_row.cuh"

namespace gpu {

namespace sampling {

constexpr int kLevels = 16;
static_assert(2 * kLevels == kWarp, "two lanes have a level");

// ── measures of an id by its logit

struct One {
  __device__ float operator()(float) const { return 1.0f; }
};

struct Weight {
  const Row& row;

  __device__ float operator()(float x) const { return row.weight(x); }
};

// ── closing in on the last member of the shortest prefix whose measure reaches `needed`

// It ranks first … high − 1, if what ranks from the lowest `first` on reaches `needed` at all.
struct Bracket {
  uint32_t first, high;
  uint32_t ties;  // the ids that rank `first`, once there are no others in the bracket; else 0
  double needed;
  double above;  // the measure of what ranks from `high` on

  __device__ bool is_empty() const { return first == high; }
  __device__ bool is_closed() const { return ties > 0 || is_empty(); }
};

// The k most probable ids, without those of −∞.
__device__ inline Bracket top_k_bracket(const Row& row, int32_t k) {
  return {rank_of(-FLT_MAX), rank_of(row.top) + 1, 0, static_cast<double>(k), 0.0};
}

// The smallest set of the largest p whose sum reaches top_p.
__device__ inline Bracket top_p_bracket(const SampleArgs& args, const Row& row, const Mass& all) {
  // What has p < (1 − top_p) / V adds up to less than 1 − top_p; a factor for rounding.
  const double share = 0.5 * (1.0 - static_cast<double>(args.top_p)) * all.total() / static_cast<double>(args.V);
  const double depth = log(share < 0.5 ? share : 0.5) * static_cast<double>(args.temperature) * 1.000001;
  const float low = static_cast<float>(static_cast<double>(row.top) + depth) - 1e-6f * fabsf(row.top);
  const double needed = static_cast<double>(args.top_p) * all.total();
  return {rank_of(low > -FLT_MAX ? low : -FLT_MAX), rank_of(row.top) + 1, 0, needed, 0.0};
}

// The ranks that a pass measures from, falling, the last one `first`.
struct Levels {
  uint32_t ranks[kLevels];

  // They divide the bracket in the floats, and in the numbers: ranks divide numbers of any size, numbers logits faster.
  __device__ Levels(const Bracket& bracket, int pass) {
    const uint32_t last = bracket.high - 1, span = last - bracket.first;
    const float from = of_rank(last), to = of_rank(bracket.first);
    SC_UNROLL
    for (int i = 0; i < kLevels; ++i) {
      const uint32_t by_rank = last - static_cast<uint32_t>(static_cast<uint64_t>(span) * (i + 1) / kLevels);
      const uint32_t by_number = rank_of(from + (to - from) * (static_cast<float>(i + 1) / kLevels));
      const uint32_t level = pass % 2 == 1 && fabsf(to - from) <= FLT_MAX ? by_number : by_rank;
      ranks[i] = level < bracket.first || i + 1 == kLevels ? bracket.first : level > last ? last : level;
    }
  }
};

// What a pass finds: in thread i < kLevels the measure from level i on, and in all of those the least and the highest rank of
// the ids in the bracket, and how many there are. Nothing in the other threads.
struct Findings {
  double measure = 0.0;
  uint32_t least = UINT32_MAX, highest = 0, count = 0;

  __device__ void add(const Findings& other) {
    measure += other.measure;
    least = other.least < least ? other.least : least;
    highest = other.highest > highest ? other.highest : highest;
    count += other.count;
  }
};

// Σ partial[i] over the lanes, in lanes 2 i and 2 i + 1: lanes swap halves of what they have until each has a sum of its own.
__device__ inline float sum_in_lanes(float (&partial)[kLevels]) {
  SC_UNROLL
  for (int kept = kLevels / 2; kept > 0; kept /= 2) {
    const bool upper = (static_cast<int>(threadIdx.x) & 2 * kept) != 0;
    SC_UNROLL
    for (int i = 0; i < kept; ++i) {
      const float given = upper ? partial[i] : partial[i + kept];
      partial[i] = (upper ? partial[i + kept] : partial[i]) + __shfl_xor_sync(kAllLanes, given, 2 * kept);
    }
  }
  return partial[0] + __shfl_xor_sync(kAllLanes, partial[0], 1);
}

template <class Measure>
__device__ inline Findings search_run(const Row& row, int64_t run, const Bracket& bracket, const Levels& levels,
                                      const Measure& measure) {
  __shared__ float measures[kWarps][kLevels];
  __shared__ uint32_t leasts[kWarps], highests[kWarps], counts[kWarps];
  float partial[kLevels];
  uint32_t least = UINT32_MAX, highest = 0, count = 0;
  sum_run(row, run, partial, [&](int64_t, float x, float(&sums)[kLevels]) {
    const uint32_t rank = rank_of(x);
    if (rank < bracket.first) return;
    const float each = measure(x);
    SC_UNROLL
    for (int i = 0; i < kLevels; ++i) sums[i] += rank >= levels.ranks[i] ? each : 0.0f;
    if (rank >= bracket.high) return;
    least = rank < least ? rank : least;
    highest = rank > highest ? rank : highest;
    ++count;
  });
  const float sum = sum_in_lanes(partial);
  least = reduce_warp(least, [](uint32_t a, uint32_t b) { return a < b ? a : b; });
  highest = reduce_warp(highest, [](uint32_t a, uint32_t b) { return a > b ? a : b; });
  count = reduce_warp(count, Add{});
  __syncthreads();  // those of a call before have been read
  const unsigned own_warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  if (lane % 2 == 0) measures[own_warp][lane / 2] = sum;
  if (lane == 0) leasts[own_warp] = least, highests[own_warp] = highest, counts[own_warp] = count;
  __syncthreads();
  Findings found;
  if (threadIdx.x >= kLevels) return found;
  for (int warp = 0; warp < kWarps; ++warp) {
    const Findings of_warp = {static_cast<double>(measures[warp][threadIdx.x]), leasts[warp], highests[warp], counts[warp]};
    found.add(of_warp);
  }
  return found;
}

// The bracket after a pass, in every thread.
__device__ inline Bracket narrowed(const Bracket& bracket, const Levels& levels, const Findings& found) {
  __shared__ double measures[kLevels];
  __shared__ Bracket narrow;
  __syncthreads();  // the bracket of a call before has been read
  if (threadIdx.x < kLevels) measures[threadIdx.x] = found.measure;
  __syncthreads();
  if (threadIdx.x == 0) {
    Bracket next = bracket;
    bool reached = false;
    SC_UNROLL
    for (int i = 0; i < kLevels; ++i) {
      if (reached) continue;
      reached = measures[i] >= bracket.needed;
      if (reached) {
        next.first = levels.ranks[i];
      } else {
        next.high = levels.ranks[i];
        next.above = measures[i];
      }
    }
    if (reached) {
      if (found.least > next.first) next.first = found.least;
      if (found.highest < next.high) next.high = found.highest + 1;
      if (found.least == found.highest) next.ties = found.count;
    }
    narrow = next;
  }
  __syncthreads();
  return narrow;
}

// Closes a bracket by a block alone, as from that pass.
template <class Measure>
__device__ inline Bracket closed(const Row& row, Bracket bracket, int pass, const Measure& measure) {
  for (; !bracket.is_closed(); ++pass) {
    const Levels levels(bracket, pass);
    Findings found;
    for (int64_t run = 0; run * kRun < row.V; ++run) found.add(search_run(row, run, bracket, levels, measure));
    bracket = narrowed(bracket, levels, found);
  }
  return bracket;
}

// ── the end of a support, from its closed bracket

// How many of the ids that rank `first` belong to it, at least one.
template <class Measure>
__device__ inline double wanted_ties(const Bracket& bracket, const Measure& measure) {
  const double each = static_cast<double>(measure(of_rank(bracket.first)));
  const double ties = each > 0.0 ? ceil((bracket.needed - bracket.above) / each) : 1.0;
  return ties > 1.0 ? ties : 1.0;
}

template <class Measure>
__device__ inline bool leaves_ties(const Bracket& bracket, const Measure& measure) {
  return !bracket.is_empty() && wanted_ties(bracket, measure) < static_cast<double>(bracket.ties);
}

// 1 of an id of that rank.
struct RanksAs {
  const Row& row;
  uint32_t rank;

  __device__ float operator()(int64_t v) const { return rank_of(row.logits[v]) == rank ? 1.0f : 0.0f; }
};

// ties: how many of them the chunks have, where the bracket leaves some; null: they are counted here.
template <class Measure>
__device__ inline Cut cut_at(const Row& row, const Bracket& bracket, const Measure& measure, const double* ties = nullptr) {
  if (!leaves_ties(bracket, measure)) return {bracket.first, INT64_MAX};
  return {bracket.first, draw(row.V, wanted_ties(bracket, measure) - 0.5, RanksAs{row, bracket.first}, ties)};
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

// ── of the options

__host__ __device__ inline bool limits_k(const SampleArgs& args) {
  return args.temperature != 0.0f && args.top_k > 0 && args.top_k < args.V;
}

__host__ __device__ inline bool limits_p(const SampleArgs& args) { return args.temperature != 0.0f && args.top_p < 1.0f; }

// The end of a support that no pass over the row is needed for.
__device__ inline Cut cut_by_top(const SampleArgs& args, const Row& row) {
  return args.temperature != 0.0f && args.min_p > 0.0f ? min_p_cut(args, row.top) : no_cut();
}

// The end of the support, by a block alone.
__device__ inline Cut cut_of(const SampleArgs& args, const Row& row, const Mass& all) {
  Cut cut = cut_by_top(args, row);
  if (limits_k(args)) {
    const One one;
    cut = earlier(cut, cut_at(row, closed(row, top_k_bracket(row, args.top_k), 0, one), one));
  }
  if (limits_p(args)) {
    const Weight weight = {row};
    Bracket bracket = top_p_bracket(args, row, all);
    if (cut.rank > bracket.first) bracket.first = cut.rank;  // what has been cut off need not be searched
    cut = earlier(cut, cut_at(row, closed(row, bracket, 0, weight), weight));
  }
  return cut;
}

}  // namespace sampling

}  // namespace gpu

#endif
