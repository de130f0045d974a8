// sample. A block takes a row; few long rows are shared by several blocks (sample_shared.cuh).

#include "launch.cuh"
#include "sample_shared.cuh"
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

// ── a row

struct Sampled {
  int64_t token;
  float logprob;
  float support_logprob;
};

__device__ Sampled no_token() { return {-1, NAN, NAN}; }

// The same in every thread of the block. shared: the sums of the row were made by other blocks.
template <bool shared>
__device__ Sampled sample_row(const SampleArgs& args, int64_t r, const SharedRows& rows) {
  const Row row = row_of(args, r, shared ? rows.top_of(r) : largest(args, r, 0, args.V));
  if (!can_be_drawn_from(row)) return no_token();
  const bool greedy = args.temperature == 0.0f;
  const Mass all = shared ? rows.mass_of(r, false) : mass_of(row, no_cut());
  const Cut cut = shared ? rows.cuts[r] : cut_of(args, row, all);
  const double* const masses = shared ? rows.masses + r * rows.chunks : nullptr;
  const DrawWeight weigh = {row, cut, greedy};
  if (greedy) return {draw(row.V, 0.5, weigh, masses), all.logprob(row, row.top), 0.0f};
  Mass kept = all;
  if (cut.rank != 0) kept = shared ? rows.mass_of(r, true) : mass_of(row, cut);
  const double u = uniform(static_cast<uint64_t>(args.seed), args.streams[r], args.positions[r]);
  const int64_t token = draw(row.V, u * kept.total(), weigh, masses);
  if (token < 0) return no_token();
  const float logit = row.logits[token];
  return {token, all.logprob(row, logit), kept.logprob(row, logit)};
}

template <bool shared>
__global__ void __launch_bounds__(kThreads, 1) sample_rows(SampleArgs args, SharedRows rows) {
  const int64_t r = blockIdx.x;
  const Sampled sampled = sample_row<shared>(args, r, rows);
  if (threadIdx.x != 0) return;
  args.tokens[r] = static_cast<int32_t>(sampled.token);
  args.logprobs[r] = sampled.logprob;
  if (args.support_logprobs) args.support_logprobs[r] = sampled.support_logprob;
}

// ── rows that blocks share: run or chunks blockIdx.x of row blockIdx.y, search blockIdx.z

__global__ void __launch_bounds__(kThreads) find_tops(SampleArgs args, SharedRows rows) {
  const int64_t r = blockIdx.y, begin = blockIdx.x * kRun, end = begin + kRun < args.V ? begin + kRun : args.V;
  const float top = largest(args, r, begin, end);
  if (threadIdx.x == 0) rows.tops[r * rows.runs + blockIdx.x] = top;
}

__global__ void __launch_bounds__(kThreads) weigh_runs(SampleArgs args, SharedRows rows) {
  const int64_t r = blockIdx.y;
  const Row row = row_of(args, r, rows.top_of(r));
  if (can_be_drawn_from(row)) weigh_run(row, blockIdx.x, no_cut(), rows.weights_of(r, blockIdx.x, false));
}

__global__ void __launch_bounds__(kThreads, 1) narrow_supports(SampleArgs args, SharedRows rows, int pass) {
  const int64_t r = blockIdx.y;
  const int search = static_cast<int>(blockIdx.z);
  const Row row = row_of(args, r, rows.top_of(r));
  if (!can_be_drawn_from(row)) return;
  const Bracket bracket = bracket_before(pass, search, args, row, rows, r);
  if (blockIdx.x == 0 && threadIdx.x == 0) *rows.bracket(pass, search, r) = bracket;
  if (bracket.is_closed()) return;
  with_measure(rows.kind_of(search), row, [&](const auto& measure) {
    const Findings found = search_run(row, blockIdx.x, bracket, Levels(bracket, pass), measure);
    if (threadIdx.x < kLevels) rows.findings(pass, search, r, blockIdx.x)[threadIdx.x] = found;
  });
}

__global__ void __launch_bounds__(kThreads, 1) count_ties(SampleArgs args, SharedRows rows) {
  const int64_t r = blockIdx.y;
  const int search = static_cast<int>(blockIdx.z);
  const Row row = row_of(args, r, rows.top_of(r));
  if (!can_be_drawn_from(row)) return;
  const Bracket last = bracket_before(kSharedPasses, search, args, row, rows, r);
  with_measure(rows.kind_of(search), row, [&](const auto& measure) {
    const Bracket bracket = closed(row, last, kSharedPasses, measure);
    if (blockIdx.x == 0 && threadIdx.x == 0) *rows.bracket(kSharedPasses, search, r) = bracket;
    if (leaves_ties(bracket, measure)) weigh_chunks(row, blockIdx.x, RanksAs{row, bracket.first}, rows.ties_of(search, r));
  });
}

// The first blocks weigh what is kept of runs, the others chunks.
__global__ void __launch_bounds__(kThreads) weigh_supports(SampleArgs args, SharedRows rows) {
  const int64_t r = blockIdx.y;
  const Row row = row_of(args, r, rows.top_of(r));
  if (!can_be_drawn_from(row)) return;
  const Cut cut = shared_cut(args, row, rows, r);
  if (blockIdx.x == 0 && threadIdx.x == 0) rows.cuts[r] = cut;
  if (blockIdx.x >= rows.runs) {
    const DrawWeight weigh = {row, cut, args.temperature == 0.0f};
    weigh_chunks(row, blockIdx.x - rows.runs, weigh, rows.masses + r * rows.chunks);
  } else if (cut.rank != 0) {
    weigh_run(row, blockIdx.x, cut, rows.weights_of(r, blockIdx.x, true));
  }
}

// Whether rows are shared by blocks: where they are too few for all multiprocessors, and so long that it makes up for the
// launches.
bool rows_are_shared(const Queue& queue, const SampleArgs& args) {
  const bool searched = limits_k(args) || limits_p(args);
  return args.R < queue.multiprocessors && args.V > (searched ? kSearchedRuns : 1) * kRun;
}

void enqueue_shared(const SampleArgs& args, const SharedRows& rows, cudaStream_t stream) {
  const unsigned R = static_cast<unsigned>(args.R), runs = static_cast<unsigned>(rows.runs);
  const unsigned chunks = static_cast<unsigned>((rows.chunks + kWarps - 1) / kWarps);
  const unsigned searches = static_cast<unsigned>(rows.searches);
  launch(find_tops, {dim3(runs, R), kThreads}, stream, args, rows);
  launch(weigh_runs, {dim3(runs, R), kThreads}, stream, args, rows);
  if (searches > 0) {
    for (int pass = 0; pass < kSharedPasses; ++pass)
      launch(narrow_supports, {dim3(runs, R, searches), kThreads}, stream, args, rows, pass);
    launch(count_ties, {dim3(chunks, R, searches), kThreads}, stream, args, rows);
  }
  launch(weigh_supports, {dim3(runs + chunks, R), kThreads}, stream, args, rows);
  launch(sample_rows<true>, {R, kThreads}, stream, args, rows);
}

}  // namespace

}  // namespace sampling

int32_t sample(const SampleArgs* args, ScStream stream, ScError* error) {
  Queue& queue = queue_of(stream);
  sampling::SharedRows rows = {};
  if (args->R <= 0) return launched(&queue, "sample", error);
  if (sampling::rows_are_shared(queue, *args)) {
    if (!sampling::allocate(&queue, *args, &rows, error)) return 1;
    sampling::enqueue_shared(*args, rows, queue.stream);
  } else {
    launch(sampling::sample_rows<false>, {static_cast<unsigned>(args->R), sampling::kThreads}, queue.stream, *args, rows);
  }
  return launched(&queue, "sample", error);
}

}  // namespace gpu
