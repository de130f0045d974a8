// sample. A block takes a row; of few long rows whose support has no end to be looked for, several blocks do: each has a run of
// ids or some chunks, and leaves the sums of its threads in scratch memory, which who finishes the row adds in the order in
// which a single block would have.

#include "launch.cuh"
#include "queue.cuh"
#include "sample_support.cuh"
#include "scratch_pieces.cuh"
#include "table.cuh"

namespace gpu {

namespace sampling {

namespace {

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

// What blocks that share rows leave for each other.
struct MadeSums {
  int64_t runs;
  int chunks;
  float* tops;     // [R, runs]
  float* weights;  // [R, runs, of all and of what is kept, parts of a mass, threads]
  double* masses;  // [R, chunks]

  __device__ float* weights_of(int64_t r, int64_t run, bool kept) const {
    return weights + ((r * runs + run) * 2 + (kept ? 1 : 0)) * 2 * kThreads;
  }

  __device__ float top_of(int64_t r) const {
    float top = -INFINITY;
    for (int64_t run = 0; run < runs; ++run) top = Larger{}(top, tops[r * runs + run]);
    return top;
  }

  __device__ Mass mass_of(int64_t r, bool kept) const {
    double sums[2] = {};
    for (int64_t run = 0; run < runs; ++run) {
      SC_UNROLL
      for (int i = 0; i < 2; ++i) sums[i] += static_cast<double>(weights_of(r, run, kept)[i * kThreads + threadIdx.x]);
    }
    SC_UNROLL
    for (int i = 0; i < 2; ++i) sums[i] = reduce_block<kThreads>(sums[i], Add{});
    return {sums[0], sums[1]};
  }
};

// ── a row

__device__ Row row_of(const SampleArgs& args, int64_t r, float top) {
  const float inverse = 1.0f / args.temperature;
  const float scale = args.temperature == 0.0f ? 1.0f : inverse > FLT_MAX ? FLT_MAX : inverse;
  return {static_cast<const float*>(args.logits) + r * args.V, args.V, top + 0.0f, scale};
}

// The largest of the ids begin … end − 1, in every thread.
__device__ float largest(const SampleArgs& args, int64_t r, int64_t begin, int64_t end) {
  const float* const logits = static_cast<const float*>(args.logits) + r * args.V;
  float top = -INFINITY;
  for (int64_t v = begin + threadIdx.x; v < end; v += kThreads) top = Larger{}(top, logits[v]);
  return reduce_block<kThreads>(top, Larger{});
}

// Not where there is NaN, nothing but −∞, or a logit of +∞, where no distribution is left.
__device__ bool can_be_drawn_from(const Row& row) { return fabsf(row.top) < INFINITY; }

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

// The end of a support that no pass over the row is needed for.
__device__ Cut cut_by_top(const SampleArgs& args, const Row& row) {
  return args.temperature != 0.0f && args.min_p > 0.0f ? min_p_cut(args, row.top) : no_cut();
}

struct Sampled {
  int64_t token;
  float logprob;
  float support_logprob;
};

__device__ Sampled no_token() { return {-1, NAN, NAN}; }

// The same in every thread of the block. shared: the sums of the row were made by other blocks.
template <bool shared>
__device__ Sampled sample_row(const SampleArgs& args, int64_t r, const MadeSums& made) {
  const Row row = row_of(args, r, shared ? made.top_of(r) : largest(args, r, 0, args.V));
  if (!can_be_drawn_from(row)) return no_token();
  const bool greedy = args.temperature == 0.0f;
  const Mass all = shared ? made.mass_of(r, false) : mass_of(row, no_cut());
  const double* const masses = shared ? made.masses + r * made.chunks : nullptr;
  Cut cut = no_cut();
  if (!shared && !greedy) {
    if (args.top_k > 0 && args.top_k < args.V) cut = top_k_cut(row, args.top_k);
    if (args.top_p < 1.0f) cut = earlier(cut, top_p_cut(args, row, all, cut.rank));
  }
  cut = earlier(cut, cut_by_top(args, row));
  const DrawWeight weigh = {row, cut, greedy};
  if (greedy) return {draw(row.V, 0.5, weigh, masses), all.logprob(row, row.top), 0.0f};
  Mass kept = all;
  if (cut.rank != 0) kept = shared ? made.mass_of(r, true) : mass_of(row, cut);
  const double u = uniform(static_cast<uint64_t>(args.seed), args.streams[r], args.positions[r]);
  const int64_t token = draw(row.V, u * kept.total(), weigh, masses);
  if (token < 0) return no_token();
  const float logit = row.logits[token];
  return {token, all.logprob(row, logit), kept.logprob(row, logit)};
}

template <bool shared>
__global__ void __launch_bounds__(kThreads, 1) sample_rows(SampleArgs args, MadeSums made) {
  const int64_t r = blockIdx.x;
  const Sampled sampled = sample_row<shared>(args, r, made);
  if (threadIdx.x != 0) return;
  args.tokens[r] = static_cast<int32_t>(sampled.token);
  args.logprobs[r] = sampled.logprob;
  if (args.support_logprobs) args.support_logprobs[r] = sampled.support_logprob;
}

// ── rows that blocks share: run or chunks blockIdx.x of row blockIdx.y

__global__ void __launch_bounds__(kThreads) find_tops(SampleArgs args, MadeSums made) {
  const int64_t r = blockIdx.y, begin = blockIdx.x * kRun, end = begin + kRun < args.V ? begin + kRun : args.V;
  const float top = largest(args, r, begin, end);
  if (threadIdx.x == 0) made.tops[r * made.runs + blockIdx.x] = top;
}

__device__ void keep_run(const Row& row, const Cut& cut, float* to) {
  float partial[2];
  sum_run(row, blockIdx.x, partial, MassOf{row, cut});
  to[threadIdx.x] = partial[0];
  to[kThreads + threadIdx.x] = partial[1];
}

__global__ void __launch_bounds__(kThreads) weigh_runs(SampleArgs args, MadeSums made) {
  const int64_t r = blockIdx.y;
  const Row row = row_of(args, r, made.top_of(r));
  if (!can_be_drawn_from(row)) return;
  const Cut cut = cut_by_top(args, row);
  keep_run(row, no_cut(), made.weights_of(r, blockIdx.x, false));
  if (cut.rank != 0) keep_run(row, cut, made.weights_of(r, blockIdx.x, true));
}

__global__ void __launch_bounds__(kThreads) weigh_chunks(SampleArgs args, MadeSums made) {
  const int64_t r = blockIdx.y;
  const Row row = row_of(args, r, made.top_of(r));
  if (!can_be_drawn_from(row)) return;
  const Cut cut = cut_by_top(args, row);
  const int chunk = static_cast<int>(blockIdx.x) * kWarps + static_cast<int>(threadIdx.x) / kWarp;
  if (chunk >= made.chunks) return;
  const double mass = chunk_mass(Chunks(args.V), chunk, args.V, DrawWeight{row, cut, args.temperature == 0.0f});
  if (threadIdx.x % kWarp == 0) made.masses[r * made.chunks + chunk] = mass;
}

// Whether rows are shared by blocks: where they are too few for all multiprocessors, and only the largest logit says where the
// support ends.
bool rows_are_shared(const Queue& queue, const SampleArgs& args) {
  const bool looked_for = args.temperature != 0.0f && ((args.top_k > 0 && args.top_k < args.V) || args.top_p < 1.0f);
  return args.R < queue.multiprocessors && args.V > kRun && !looked_for;
}

bool take(Queue* queue, const SampleArgs& args, MadeSums* made, ScError* error) {
  made->runs = (args.V + kRun - 1) / kRun;
  made->chunks = Chunks(args.V).count;
  ScratchPieces pieces;
  pieces.add(&made->tops, args.R * made->runs);
  pieces.add(&made->weights, args.R * made->runs * 4 * kThreads);
  pieces.add(&made->masses, args.R * made->chunks);
  return pieces.allocate(queue, "sample", error);
}

void enqueue_shared(const SampleArgs& args, const MadeSums& made, cudaStream_t stream) {
  const unsigned rows = static_cast<unsigned>(args.R), chunks = static_cast<unsigned>((made.chunks + kWarps - 1) / kWarps);
  const Shape runs = {dim3(static_cast<unsigned>(made.runs), rows), kThreads};
  launch(find_tops, runs, stream, args, made);
  launch(weigh_runs, runs, stream, args, made);
  launch(weigh_chunks, {dim3(chunks, rows), kThreads}, stream, args, made);
  launch(sample_rows<true>, {rows, kThreads}, stream, args, made);
}

}  // namespace

}  // namespace sampling

int32_t sample(const SampleArgs* args, ScStream stream, ScError* error) {
  Queue& queue = queue_of(stream);
  sampling::MadeSums made = {};
  if (args->R <= 0) return launched(&queue, "sample", error);
  if (sampling::rows_are_shared(queue, *args)) {
    if (!sampling::take(&queue, *args, &made, error)) return 1;
    sampling::enqueue_shared(*args, made, queue.stream);
  } else {
    launch(sampling::sample_rows<false>, {static_cast<unsigned>(args->R), sampling::kThreads}, queue.stream, *args, made);
  }
  return launched(&queue, "sample", error);
}

}  // namespace gpu
