// scatter_advantages, scatter_advantages_by_offsets and their transposes. A pair of credits is moved as one 64-bit word.

#include "block.cuh"
#include "launch.cuh"
#include "queue.cuh"
#include "table.cuh"

namespace gpu {

namespace {

constexpr int kThreads = 256;

unsigned blocks_for(int64_t count) { return static_cast<unsigned>((count + kThreads - 1) / kThreads); }

__device__ int64_t first_index() { return static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; }

__device__ float2 pair_at(const float* pairs, int64_t at) { return reinterpret_cast<const float2*>(pairs)[at]; }

__global__ void gather_credits(ScatterAdvantagesArgs args) {
  const int64_t n = first_index();
  if (n >= args.N) return;
  const int64_t s = args.step_of[n];
  reinterpret_cast<float2*>(args.advantages)[n] = s < 0 ? make_float2(0.0f, 0.0f) : pair_at(args.step_credits, s);
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
  reinterpret_cast<float2*>(args.advantages)[n] = s < 0 ? make_float2(0.0f, 0.0f) : pair_at(args.step_credits, s);
}

}  // namespace

int32_t scatter_advantages(const ScatterAdvantagesArgs* args, ScStream stream, ScError* error) {
  Queue& queue = queue_of(stream);
  if (args->N > 0) launch(gather_credits, {blocks_for(args->N), kThreads}, queue.stream, *args);
  return launched(&queue, "scatter_advantages", error);
}

int32_t scatter_advantages_by_offsets(const ScatterByOffsetsArgs* args, ScStream stream, ScError* error) {
  Queue& queue = queue_of(stream);
  if (args->N > 0) launch(gather_by_offsets, {blocks_for(args->N), kThreads}, queue.stream, *args);
  return launched(&queue, "scatter_advantages_by_offsets", error);
}

}  // namespace gpu
