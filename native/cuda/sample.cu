// sample. A block takes a row. What cuts the support is a prefix of the order (falling logit, rising id), and its last member
// is found by closing in on its logit: every pass over the row weighs what lies above a few levels, until the levels are
// neighbouring floats; of equal logits the lower ids are taken. A token is drawn in two steps: the chunk of ids in which the
// cumulative weight crosses the threshold, then the id.

#include <float.h>
#include <math.h>

#include "block.cuh"
#include "launch.cuh"
#include "queue.cuh"
#include "table.cuh"

namespace gpu {

namespace {

constexpr int kThreads = 512;
constexpr int kWarps = kThreads / kWarp;
constexpr int kMostChunks = 1024;
constexpr int kLeastChunk = 1024;  // ids
// Numbers that are summed in f32 before they are added in f64.
constexpr int kRunLength = 32;

// Philox4x32-10: the first two words of the block for counter (stream, position, 0, 0), as a number in [0, 1).
__device__ double uniform(uint64_t seed, int32_t stream, int32_t position) {
  uint32_t c0 = static_cast<uint32_t>(stream), c1 = static_cast<uint32_t>(position), c2 = 0, c3 = 0;
  uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = 0xD2511F53ull * c0, b = 0xCD9E8D57ull * c2;
    c0 = static_cast<uint32_t>(b >> 32) ^ c1 ^ k0;
    c1 = static_cast<uint32_t>(b);
    c2 = static_cast<uint32_t>(a >> 32) ^ c3 ^ k1;
    c3 = static_cast<uint32_t>(a);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return (c0 + c1 * 0x1p-32) * 0x1p-32;
}

// ── the order of ids

// The order of floats as that of integers, −0 among the zeros.
__device__ uint32_t rank_of(float x) {
  const unsigned bits = __float_as_uint(x + 0.0f);
  return bits ^ (static_cast<uint32_t>(static_cast<int32_t>(bits) >> 31) | 0x80000000u);
}

__device__ float of_rank(uint32_t rank) { return __uint_as_float(rank & 0x80000000u ? rank ^ 0x80000000u : ~rank); }

// The end of a support: the ids whose logits rank above `rank`, and of those that have it the ones up to `id`.
struct Cut {
  uint32_t rank;
  int64_t id;

  __device__ bool keeps(float logit, int64_t v) const {
    const uint32_t mine = rank_of(logit);
    return mine > rank || (mine == rank && v <= id);
  }
};

__device__ Cut no_cut() { return {0, INT64_MAX}; }

__device__ Cut earlier(const Cut& a, const Cut& b) {
  if (a.rank != b.rank) return a.rank > b.rank ? a : b;
  return a.id < b.id ? a : b;
}

// ── sums over a row

struct Row {
  const float* logits;
  int64_t V;
  float top;
  float scale;

  __device__ float weight(float x) const { return expf((x - top) * scale); }
};

// sums[i] += Σ over the row of what visit(v, logit, partial) adds to partial[i]; in every thread. The order depends on V alone.
template <int kCount, class Visit>
__device__ void sum_row(const Row& row, double (&sums)[kCount], const Visit& visit) {
  for (int i = 0; i < kCount; ++i) sums[i] = 0.0;
  for (int64_t begin = threadIdx.x; begin < row.V; begin += kRunLength * kThreads) {
    const int64_t limit = begin + kRunLength * kThreads;
    float partial[kCount];
    SC_UNROLL
    for (int i = 0; i < kCount; ++i) partial[i] = 0.0f;
    for (int64_t v = begin; v < row.V && v < limit; v += kThreads) visit(v, row.logits[v], partial);
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

__device__ Mass mass_of(const Row& row, const Cut& cut) {
  double sums[2];
  sum_row(row, sums, [&](int64_t v, float x, float(&partial)[2]) {
    const float weight = cut.keeps(x, v) ? row.weight(x) : 0.0f;
    partial[0] += x == row.top && weight != 0.0f ? 1.0f : 0.0f;
    partial[1] += x == row.top ? 0.0f : weight;
  });
  return {sums[0], sums[1]};
}

// ── drawing

struct Crossing {
  int64_t chunk;
  double carry, threshold;
};

struct Chunks {
  int64_t ids;  // of each
  int count;

  __device__ explicit Chunks(int64_t V) {
    const int64_t least = (V + kMostChunks - 1) / kMostChunks;
    ids = (least + kLeastChunk - 1) / kLeastChunk * kLeastChunk;
    count = static_cast<int>((V + ids - 1) / ids);
  }
};

// The chunk in which the cumulative weight exceeds the threshold; should rounding leave none, the last one of any weight.
// Called by one thread.
__device__ Crossing cross(const double* masses, int count, double threshold) {
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
__device__ double sum_up_to_lane(double value) {
  for (int distance = 1; distance < kWarp; distance *= 2) {
    const double before = __shfl_up_sync(kAllLanes, value, static_cast<unsigned>(distance));
    if (static_cast<int>(threadIdx.x) % kWarp >= distance) value += before;
  }
  return value;
}

// The first id of begin … end − 1 whose cumulative weight exceeds the threshold, else the last one of any weight, else −1.
// Called by a warp; the same in every lane.
template <class Weigh>
__device__ int64_t draw_among(int64_t begin, int64_t end, double carry, double threshold, const Weigh& weigh) {
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

// The first id whose cumulative weight(v), in id order, exceeds the threshold; an id of weight 0 is never drawn. The same in
// every thread.
template <class Weigh>
__device__ int64_t draw(int64_t V, double threshold, const Weigh& weigh) {
  __shared__ double masses[kMostChunks];
  __shared__ Crossing crossing;
  __shared__ int64_t drawn;
  const Chunks chunks(V);
  const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
  __syncthreads();  // what a call before has drawn has been read
  for (int chunk = warp; chunk < chunks.count; chunk += kWarps) {
    const int64_t begin = chunk * chunks.ids, end = begin + chunks.ids < V ? begin + chunks.ids : V;
    double mass = 0.0;
    for (int64_t run = begin + lane; run < end; run += kRunLength * kWarp) {
      const int64_t limit = run + kRunLength * kWarp;
      float partial = 0.0f;
      for (int64_t v = run; v < end && v < limit; v += kWarp) partial += weigh(v);
      mass += static_cast<double>(partial);
    }
    mass = reduce_warp(mass, Add{});
    if (lane == 0) masses[chunk] = mass;
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

// ── the support

constexpr int kLevels = 8;

// The end of the shortest prefix of the order whose measure reaches `needed`; of equal logits each has the measure of one.
// measure(x) ≥ 0 must depend on the logit alone. What ranks below `lowest` is left out.
template <class Measure>
__device__ Cut shortest_prefix(const Row& row, double needed, uint32_t lowest, const Measure& measure) {
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
__device__ Cut top_k_cut(const Row& row, int32_t k) {
  return shortest_prefix(row, static_cast<double>(k), rank_of(-FLT_MAX), [](float) { return 1.0f; });
}

// The end of the smallest set of the largest p whose sum reaches top_p.
__device__ Cut top_p_cut(const SampleArgs& args, const Row& row, const Mass& all, uint32_t lowest) {
  // What has p < (1 − top_p) / V adds up to less than 1 − top_p; a factor for rounding.
  const double share = 0.5 * (1.0 - static_cast<double>(args.top_p)) * all.total() / static_cast<double>(args.V);
  const double depth = log(share < 0.5 ? share : 0.5) * static_cast<double>(args.temperature) * 1.000001;
  const float low = static_cast<float>(static_cast<double>(row.top) + depth) - 1e-6f * fabsf(row.top);
  const uint32_t rank = rank_of(low > -FLT_MAX ? low : -FLT_MAX);
  return shortest_prefix(row, static_cast<double>(args.top_p) * all.total(), rank > lowest ? rank : lowest,
                         [&](float x) { return row.weight(x); });
}

// The end of the ids with p ≥ min_p · max p: p rises with the logit, so that bisection over the floats finds the least one.
__device__ Cut min_p_cut(const SampleArgs& args, float top) {
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

// ── a row

struct Sampled {
  int64_t token;
  float logprob;
  float support_logprob;
};

__device__ Sampled no_token() { return {-1, NAN, NAN}; }

// The same in every thread of the block.
__device__ Sampled sample_row(const SampleArgs& args, int64_t r) {
  const bool greedy = args.temperature == 0.0f;
  const float inverse = 1.0f / args.temperature;
  Row row = {static_cast<const float*>(args.logits) + r * args.V, args.V, -INFINITY,
             greedy              ? 1.0f
             : inverse > FLT_MAX ? FLT_MAX
                                 : inverse};
  for (int64_t v = threadIdx.x; v < row.V; v += kThreads) row.top = Larger{}(row.top, row.logits[v]);
  row.top = reduce_block<kThreads>(row.top, Larger{});
  // NaN, nothing but −∞, or a logit of +∞, where no distribution is left.
  if (!(fabsf(row.top) < INFINITY)) return no_token();

  const Mass all = mass_of(row, no_cut());
  if (greedy) {
    const int64_t token = draw(row.V, 0.5, [&](int64_t v) { return row.logits[v] == row.top ? 1.0f : 0.0f; });
    return {token, all.logprob(row, row.top), 0.0f};
  }
  Cut cut = no_cut();
  if (args.top_k > 0 && args.top_k < args.V) cut = top_k_cut(row, args.top_k);
  if (args.top_p < 1.0f) cut = earlier(cut, top_p_cut(args, row, all, cut.rank));
  if (args.min_p > 0.0f) cut = earlier(cut, min_p_cut(args, row.top));
  const bool cuts = cut.rank != 0;
  const Mass kept = cuts ? mass_of(row, cut) : all;
  const double u = uniform(static_cast<uint64_t>(args.seed), args.streams[r], args.positions[r]);
  const int64_t token = draw(row.V, u * kept.total(), [&](int64_t v) {
    const float x = row.logits[v];
    return cut.keeps(x, v) ? row.weight(x) : 0.0f;
  });
  if (token < 0) return no_token();
  const float logit = row.logits[token];
  return {token, all.logprob(row, logit), kept.logprob(row, logit)};
}

__global__ void __launch_bounds__(kThreads, 1) sample_rows(SampleArgs args) {
  const int64_t r = blockIdx.x;
  const Sampled sampled = sample_row(args, r);
  if (threadIdx.x != 0) return;
  args.tokens[r] = static_cast<int32_t>(sampled.token);
  args.logprobs[r] = sampled.logprob;
  if (args.support_logprobs) args.support_logprobs[r] = sampled.support_logprob;
}

}  // namespace

int32_t sample(const SampleArgs* args, ScStream stream, ScError* error) {
  Queue& queue = queue_of(stream);
  if (args->R > 0) launch(sample_rows, {static_cast<unsigned>(args->R), kThreads}, queue.stream, *args);
  return launched(&queue, "sample", error);
}

}  // namespace gpu
