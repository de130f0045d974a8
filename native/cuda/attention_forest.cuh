// What attention needs to know of a forest beside subtree_end: the depth of every position, and for every 64 positions side
// by side where the last of their subtrees ends.

#ifndef STEPCREDIT_CUDA_ATTENTION_FOREST_CUH
#define STEPCREDIT_CUDA_ATTENTION_FOREST_CUH

#include "attention_tile.cuh"
#include "launch.cuh"

namespace gpu {

struct Forest {
  int64_t T;
  const int32_t* subtree_end;
  int32_t* depth;       // [T]
  int32_t* latest_end;  // [⌈T / 64⌉]

  static int64_t tiles(int64_t T) { return (T + kTile - 1) / kTile; }
  static size_t bytes(int64_t T) { return static_cast<size_t>((T + tiles(T)) * 4 + 255) / 256 * 256; }
  Forest(int64_t count, const int32_t* ends, void* memory)
      : T(count), subtree_end(ends), depth(static_cast<int32_t*>(memory)), latest_end(depth + count) {}
};

struct Most {
  __device__ int operator()(int a, int b) const { return a > b ? a : b; }
};

constexpr int kForestWarps = 8;

__device__ inline int64_t forest_warp() { return static_cast<int64_t>(blockIdx.x) * kForestWarps + threadIdx.x / kWarp; }

// A warp for every 64 positions.
static __global__ void find_ends(Forest forest) {
  const int64_t tile = forest_warp();
  if (tile >= (forest.T + kTile - 1) / kTile) return;
  int latest = 0;
  for (int64_t j = tile * kTile + threadIdx.x % kWarp; j < forest.T && j < (tile + 1) * kTile; j += kWarp)
    latest = Most{}(latest, forest.subtree_end[j]);
  latest = reduce_warp(latest, Most{});
  if (threadIdx.x % kWarp == 0) forest.latest_end[tile] = latest;
}

// A warp for every position: its depth is the number of positions before it whose subtrees it lies in.
static __global__ void find_depths(Forest forest) {
  const int64_t i = forest_warp();
  if (i >= forest.T) return;
  const int lane = threadIdx.x % kWarp;
  int depth = 0;
  for (int64_t first = 0; first * kTile < i; first += kWarp) {
    const int64_t mine = first + lane;
    unsigned open = __ballot_sync(kAllLanes, mine * kTile < i && forest.latest_end[mine] > i);
    for (; open != 0; open &= open - 1) {
      const int64_t tile = first + __ffs(static_cast<int>(open)) - 1;
      for (int64_t j = tile * kTile + lane; j < i && j < (tile + 1) * kTile; j += kWarp) depth += forest.subtree_end[j] > i;
    }
  }
  depth = reduce_warp(depth, Add{});
  if (lane == 0) forest.depth[i] = depth;
}

inline void explore(const Forest& forest, cudaStream_t stream) {
  const auto blocks = [](int64_t warps) { return static_cast<unsigned>((warps + kForestWarps - 1) / kForestWarps); };
  launch(find_ends, {blocks(Forest::tiles(forest.T)), kForestWarps * kWarp}, stream, forest);
  launch(find_depths, {blocks(forest.T), kForestWarps * kWarp}, stream, forest);
}

}  // namespace gpu

#endif
