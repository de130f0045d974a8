// A row of logits that a token is drawn from: the order of its ids, sums of weights over what a cut keeps, and the draw itself,
// in two steps: the chunk of ids in which the cumulative weight crosses the threshold, then the id. A block of threads has a
// row.

#ifndef STEPCREDIT_CUDA_SAMPLE_ROW_CUH
#define STEPCREDIT_CUDA_SAMPLE_ROW_CUH

#include <float.h>
#include <math.h>

#include "../ops.h"
#include "block.cuh"
#include "unroll.cuh"

namespace gpu {

namespace sampling {

constexpr int kThreads = 512;
constexpr int kWarps = kThreads / kWarp;
constexpr int kMostChunks = 1024;
constexpr int kLeastChunk = 1024;  // ids
// Numbers that are summed in f32 before they are added in f64, and the ids of which a block sums so many each.
constexpr int kRunLength = 32;
constexpr int64_t kRun = kRunLength * kThreads;

// ── the order of ids

// The order of floats as that of integers, −0 among the zeros.
__device__ inline uint32_t rank_of(float x) {
  const unsigned bits = __float_as_uint(x + 0.0f);
  return bits ^ (static_cast<uint32_t>(static_cast<int32_t>(bits) >> 31) | 0x80000000u);
}

__device__ inline float of_rank(uint32_t rank) { return __uint_as_float(rank & 0x80000000u ? rank ^ 0x80000000u : ~rank); }

// The end of a support: the ids whose logits rank above `rank`, and of those that have it the ones up to `id`.
struct Cut {
  uint32_t rank;
  int64_t id;

  __device__ bool keeps(float logit, int64_t v) const {
    const uint32_t mine = rank_of(logit);
    return mine > rank || (mine == rank && v <= id);
  }
};

__device__ inline Cut no_cut() { return {0, INT64_MAX}; }

__device__ inline Cut earlier(const Cut& a, const Cut& b) {
  if (a.rank != b.rank) return a.rank > b.rank ? a : b;
  return a.id < b.id ? a : b;
}

// ── a row and sums over it

struct Row {
  const float* logits;
  int64_t V;
  float top;
  float scale;

  __device__ float weight(float x) const { return expf((x - top) * scale); }
};

__device__ inline Row row_of(const SampleArgs& args, int64_t r, float top) {
  const float inverse = 1.0f / args.temperature;
  const float scale = args.temperature == 0.0f ? 1.0f : inverse > FLT_MAX ? FLT_MAX : inverse;
  return {static_cast<const float*>(args.logits) + r * args.V, args.V, top + 0.0f, scale};
}

// The largest of the ids begin … end − 1, in every thread.
__device__ inline float largest(const SampleArgs& args, int64_t r, int64_t begin, int64_t end) {
  const float* const logits = static_cast<const float*>(args.logits) + r * args.V;
  float top = -INFINITY;
  for (int64_t v = begin + threadIdx.x; v < end; v += kThreads) top = Larger{}(top, logits[v]);
  return reduce_block<kThreads>(top, Larger{});
}

// Not where there is NaN, nothing but −∞, or a logit of +∞, where no distribution is left.
__device__ inline bool can_be_drawn_from(const Row& row) { return fabsf(row.top) < INFINITY; }

// partial[i]: Σ of what visit(v, logit, partial) adds to it, of the ids of a run that are the thread's.
template <int kCount, class Visit>
__device__ inline void sum_run(const Row& row, int64_t run, float (&partial)[kCount], const Visit& visit) {
  SC_UNROLL
  for (int i = 0; i < kCount; ++i) partial[i] = 0.0f;
  const int64_t end = (run + 1) * kRun < row.V ? (run + 1) * kRun : row.V;
  for (int64_t v = run * kRun + threadIdx.x; v < end; v += kThreads) visit(v, row.logits[v], partial);
}

// The same over the whole row, run by run, in every thread. The order depends on V alone.
template <int kCount, class Visit>
__device__ inline void sum_row(const Row& row, double (&sums)[kCount], const Visit& visit) {
  SC_UNROLL
  for (int i = 0; i < kCount; ++i) sums[i] = 0.0;
  for (int64_t run = 0; run * kRun < row.V; ++run) {
    float partial[kCount];
    sum_run(row, run, partial, visit);
    SC_UNROLL
    for (int i = 0; i < kCount; ++i) sums[i] += static_cast<double>(partial[i]);
  }
  SC_UNROLL
  for (int i = 0; i < kCount; ++i) sums[i] = reduce_block<kThreads>(sums[i], Add{});
}

// Σ of the weights of what a cut keeps, with the logits that equal the row's maximum (weight 1) kept apart, so that log(Σ) =
// log1p(rest) keeps its relative accuracy where one logit towers over the others.
struct Mass {
  double tops, rest;

  __device__ double total() const { return tops + rest; }
  __device__ float log_total() const { return static_cast<float>(tops == 1.0 ? log1p(rest) : log(total())); }
  __device__ float logprob(const Row& row, float logit) const { return (logit - row.top) * row.scale - log_total(); }
};

// What an id that a cut keeps adds to the tops and to the rest of a mass.
struct MassOf {
  const Row& row;
  const Cut& cut;

  __device__ void operator()(int64_t v, float x, float (&partial)[2]) const {
    const float weight = cut.keeps(x, v) ? row.weight(x) : 0.0f;
    partial[0] += x == row.top && weight != 0.0f ? 1.0f : 0.0f;
    partial[1] += x == row.top ? 0.0f : weight;
  }
};

__device__ inline Mass mass_of(const Row& row, const Cut& cut) {
  double sums[2];
  sum_row(row, sums, MassOf{row, cut});
  return {sums[0], sums[1]};
}

// ── drawing

// What a draw goes by: of a greedy one, the largest alone.
struct DrawWeight {
  const Row& row;
  const Cut& cut;
  bool greedy;

  __device__ float operator()(int64_t v) const {
    const float x = row.logits[v];
    if (greedy) return x == row.top ? 1.0f : 0.0f;
    return cut.keeps(x, v) ? row.weight(x) : 0.0f;
  }
};

struct Crossing {
  int64_t chunk;
  double carry, threshold;
};

struct Chunks {
  int64_t ids;  // of each
  int count;

  __host__ __device__ explicit Chunks(int64_t V) {
    const int64_t least = (V + kMostChunks - 1) / kMostChunks;
    ids = (least + kLeastChunk - 1) / kLeastChunk * kLeastChunk;
    count = static_cast<int>((V + ids - 1) / ids);
  }
};

// The chunk in which the cumulative weight exceeds the threshold; should rounding leave none, the last one of any weight.
// Called by one thread.
__device__ inline Crossing cross(const double* masses, int count, double threshold) {
  Crossing last = {-1, 0.0, INFINITY};
  double carry = 0.0;
  for (int chunk = 0; chunk < count; ++chunk) {
    if (carry + masses[chunk] > threshold) return {chunk, carry, threshold};
    if (masses[chunk] > 0.0) last = {chunk, carry, INFINITY};
    carry += masses[chunk];
  }
  return last;
}

// Σ of `value` over this lane and those before.
__device__ inline double sum_up_to_lane(double value) {
  for (int distance = 1; distance < kWarp; distance *= 2) {
    const double before = __shfl_up_sync(kAllLanes, value, static_cast<unsigned>(distance));
    if (static_cast<int>(threadIdx.x) % kWarp >= distance) value += before;
  }
  return value;
}

// The first id of begin … end − 1 whose cumulative weight exceeds the threshold, else the last one of any weight, else −1.
// Called by a warp; the same in every lane.
template <class Weigh>
__device__ inline int64_t draw_among(int64_t begin, int64_t end, double carry, double threshold, const Weigh& weigh) {
  int64_t last = -1;
  for (int64_t base = begin; base < end; base += kWarp) {
    const int64_t v = base + threadIdx.x % kWarp;
    const float weight = v < end ? weigh(v) : 0.0f;
    const double sum = sum_up_to_lane(static_cast<double>(weight));
    const unsigned crossed = __ballot_sync(kAllLanes, weight > 0.0f && carry + sum > threshold);
    if (crossed != 0) return base + __ffs(static_cast<int>(crossed)) - 1;
    const unsigned present = __ballot_sync(kAllLanes, weight > 0.0f);
    if (present != 0) last = base + kWarp - 1 - __clz(static_cast<int>(present));
    carry += __shfl_sync(kAllLanes, sum, kWarp - 1);
  }
  return last;
}

// The weight of a chunk, by a warp.
template <class Weigh>
__device__ inline double chunk_mass(const Chunks& chunks, int chunk, int64_t V, const Weigh& weigh) {
  const int64_t begin = chunk * chunks.ids, end = begin + chunks.ids < V ? begin + chunks.ids : V;
  double mass = 0.0;
  for (int64_t run = begin + threadIdx.x % kWarp; run < end; run += kRunLength * kWarp) {
    const int64_t limit = run + kRunLength * kWarp;
    float partial = 0.0f;
    for (int64_t v = run; v < end && v < limit; v += kWarp) partial += weigh(v);
    mass += static_cast<double>(partial);
  }
  return reduce_warp(mass, Add{});
}

// The first id whose cumulative weight(v), in id order, exceeds the threshold; an id of weight 0 is never drawn. The same in
// every thread. made: the weights of the chunks; null: they are summed here.
template <class Weigh>
__device__ inline int64_t draw(int64_t V, double threshold, const Weigh& weigh, const double* made = nullptr) {
  __shared__ double masses[kMostChunks];
  __shared__ Crossing crossing;
  __shared__ int64_t drawn;
  const Chunks chunks(V);
  const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
  __syncthreads();  // what a call before has drawn has been read
  if (made) {
    for (int chunk = static_cast<int>(threadIdx.x); chunk < chunks.count; chunk += kThreads) masses[chunk] = made[chunk];
  } else {
    for (int chunk = warp; chunk < chunks.count; chunk += kWarps) {
      const double mass = chunk_mass(chunks, chunk, V, weigh);
      if (lane == 0) masses[chunk] = mass;
    }
  }
  __syncthreads();
  if (threadIdx.x == 0) crossing = cross(masses, chunks.count, threshold);
  __syncthreads();
  if (warp == 0) {
    const int64_t begin = crossing.chunk * chunks.ids, end = begin + chunks.ids < V ? begin + chunks.ids : V;
    const int64_t found = crossing.chunk < 0 ? -1 : draw_among(begin, end, crossing.carry, crossing.threshold, weigh);
    if (lane == 0) drawn = found;
  }
  __syncthreads();
  return drawn;
}

}  // namespace sampling

}  // namespace gpu

#endif
