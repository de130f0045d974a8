// scatter_advantages, scatter_advantages_by_offsets and their transposes. A pair of credits is moved as one 64-bit word, where
// the array lies at one. The transposes add in f64 and without atomics, in an order that follows from the shape.

#include "block.cuh"
#include "launch.cuh"
#include "queue.cuh"
#include "table.cuh"

namespace gpu {

namespace {

constexpr int kThreads = 256;

unsigned blocks_for(int64_t count) { return static_cast<unsigned>((count + kThreads - 1) / kThreads); }

__device__ int64_t first_index() { return static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; }

__device__ bool lies_in_pairs(const float* pairs) { return reinterpret_cast<uintptr_t>(pairs) % sizeof(float2) == 0; }

__device__ float2 pair_at(const float* pairs, int64_t at) {
  if (lies_in_pairs(pairs)) return reinterpret_cast<const float2*>(pairs)[at];
  return make_float2(pairs[2 * at], pairs[2 * at + 1]);
}

__device__ void put_pair(float* pairs, int64_t at, float2 pair) {
  if (lies_in_pairs(pairs)) {
    reinterpret_cast<float2*>(pairs)[at] = pair;
  } else {
    pairs[2 * at] = pair.x;
    pairs[2 * at + 1] = pair.y;
  }
}

__global__ void gather_credits(ScatterAdvantagesArgs args) {
  const int64_t n = first_index();
  if (n >= args.N) return;
  const int64_t s = args.step_of[n];
  put_pair(args.advantages, n, s < 0 ? make_float2(0.0f, 0.0f) : pair_at(args.step_credits, s));
}

// The step that owns n, by bisection; −1 where none does.
__device__ int64_t owner(const int32_t* offsets, int64_t S, int64_t n) {
  int64_t low = 0, high = S;  // the first step that ends behind n
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    if (offsets[middle + 1] <= n) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low < S && offsets[low] <= n ? low : -1;
}

__global__ void gather_by_offsets(ScatterByOffsetsArgs args) {
  const int64_t n = first_index();
  if (n >= args.N) return;
  const int64_t s = owner(args.step_offsets, args.S, n);
  put_pair(args.advantages, n, s < 0 ? make_float2(0.0f, 0.0f) : pair_at(args.step_credits, s));
}

// The f64 credits of a step.
struct Pair {
  double positive, negative;
};

struct AddPairs {
  __device__ Pair operator()(const Pair& a, const Pair& b) const { return {a.positive + b.positive, a.negative + b.negative}; }
};

__device__ Pair wide_pair_at(const float* pairs, int64_t at) {
  const float2 pair = pair_at(pairs, at);
  return {static_cast<double>(pair.x), static_cast<double>(pair.y)};
}

__device__ void write_pair(float* pairs, int64_t at, const Pair& sum) {
  put_pair(pairs, at, make_float2(static_cast<float>(sum.positive), static_cast<float>(sum.negative)));
}

// The targets are cut into chunks of equal length; each has a sum per step, in a table of its own. The tables take 128 MiB at
// most, and their number follows from the shape.
int64_t scatter_chunks(int64_t N, int64_t S) {
  const int64_t by_length = (N + 1023) / 1024, by_memory = (int64_t{128} << 20) / (static_cast<int64_t>(sizeof(Pair)) * S);
  const int64_t chunks = by_length < by_memory ? by_length : by_memory;
  return chunks < 1 ? 1 : chunks > 256 ? 256 : chunks;
}

// A warp has a chunk and takes 32 targets at a time, in order. Of the lanes with the same step the first adds them all, in the
// order of the lanes, so no two lanes write one sum.
__global__ void __launch_bounds__(kWarp) sum_chunk(ScatterAdvantagesBackwardArgs args, int64_t per_chunk, Pair* tables) {
  Pair* const table = tables + static_cast<int64_t>(blockIdx.x) * args.S;
  for (int64_t s = threadIdx.x; s < args.S; s += kWarp) table[s] = {0.0, 0.0};
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * per_chunk;
  const int64_t end = begin + per_chunk < args.N ? begin + per_chunk : args.N;
  const unsigned lane = threadIdx.x;
  for (int64_t n = begin; n < end; n += kWarp) {
    const bool here = n + lane < end;
    const int32_t s = here ? args.step_of[n + lane] : -1;
    const float2 mine = here ? pair_at(args.dadvantages, n + lane) : make_float2(0.0f, 0.0f);
    __syncwarp();  // what the lanes wrote before is read now, by other lanes
    Pair sum = {0.0, 0.0};
    bool first = s >= 0;
    if (first) sum = table[s];
    for (unsigned other = 0; other < kWarp; ++other) {
      const int32_t step = __shfl_sync(kAllLanes, s, static_cast<int>(other));
      const float positive = __shfl_sync(kAllLanes, mine.x, static_cast<int>(other));
      const float negative = __shfl_sync(kAllLanes, mine.y, static_cast<int>(other));
      if (step != s) continue;
      if (other < lane) first = false;
      sum = {sum.positive + static_cast<double>(positive), sum.negative + static_cast<double>(negative)};
    }
    if (first) table[s] = sum;
  }
}

__global__ void add_chunks(ScatterAdvantagesBackwardArgs args, int64_t chunks, const Pair* tables) {
  const int64_t s = first_index();
  if (s >= args.S) return;
  Pair sum = {0.0, 0.0};
  for (int64_t chunk = 0; chunk < chunks; ++chunk) sum = AddPairs{}(sum, tables[chunk * args.S + s]);
  write_pair(args.dstep_credits, s, sum);
}

// A warp has a step.
__global__ void __launch_bounds__(kWarp) sum_step(ScatterByOffsetsBackwardArgs args) {
  const int64_t s = blockIdx.x;
  Pair sum = {0.0, 0.0};
  for (int64_t n = args.step_offsets[s] + static_cast<int64_t>(threadIdx.x); n < args.step_offsets[s + 1]; n += kWarp)
    sum = AddPairs{}(sum, wide_pair_at(args.dadvantages, n));
  sum = reduce_warp(sum, AddPairs{});
  if (threadIdx.x == 0) write_pair(args.dstep_credits, s, sum);
}

}  // namespace

int32_t scatter_advantages(const ScatterAdvantagesArgs* args, ScStream stream, ScError* error) {
  Queue& queue = queue_of(stream);
  if (args->N > 0) launch(gather_credits, {blocks_for(args->N), kThreads}, queue.stream, *args);
  return launched(&queue, "scatter_advantages", error);
}

int32_t scatter_advantages_backward(const ScatterAdvantagesBackwardArgs* args, ScStream stream, ScError* error) {
  Queue& queue = queue_of(stream);
  if (args->S > 0) {
    const int64_t chunks = scatter_chunks(args->N, args->S);
    const size_t bytes = static_cast<size_t>(chunks * args->S) * sizeof(Pair);
    Pair* const tables = static_cast<Pair*>(scratch(&queue, bytes, "scatter_advantages_backward", error));
    if (!tables) return 1;
    const int64_t per_chunk = (args->N + chunks - 1) / chunks;
    launch(sum_chunk, {static_cast<unsigned>(chunks), kWarp}, queue.stream, *args, per_chunk, tables);
    launch(add_chunks, {blocks_for(args->S), kThreads}, queue.stream, *args, chunks, static_cast<const Pair*>(tables));
  }
  return launched(&queue, "scatter_advantages_backward", error);
}

int32_t scatter_advantages_by_offsets(const ScatterByOffsetsArgs* args, ScStream stream, ScError* error) {
  Queue& queue = queue_of(stream);
  if (args->N > 0) launch(gather_by_offsets, {blocks_for(args->N), kThreads}, queue.stream, *args);
  return launched(&queue, "scatter_advantages_by_offsets", error);
}

int32_t scatter_advantages_by_offsets_backward(const ScatterByOffsetsBackwardArgs* args, ScStream stream, ScError* error) {
  Queue& queue = queue_of(stream);
  if (args->S > 0) launch(sum_step, {static_cast<unsigned>(args->S), kWarp}, queue.stream, *args);
  return launched(&queue, "scatter_advantages_by_offsets_backward", error);
}

}  // namespace gpu
