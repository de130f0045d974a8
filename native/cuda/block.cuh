// What the threads of a block do together. Every reduction has a fixed order, which depends on the number of threads alone.

#ifndef STEPCREDIT_CUDA_BLOCK_CUH
#define STEPCREDIT_CUDA_BLOCK_CUH

#include <cuda_runtime.h>
#include <string.h>

#include "unroll.cuh"

namespace gpu {

constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffu;

struct Add {
  template <class Value>
  __device__ Value operator()(Value a, Value b) const {
    return a + b;
  }
};

// The larger; a NaN stays.
struct Larger {
  __device__ float operator()(float a, float b) const { return a > b || a != a ? a : b; }
};

// The value of the lane whose number differs from this one's by the bits of `distance`. Value is trivially copyable, of whole
// 32-bit words.
template <class Value>
__device__ inline Value shuffled_xor(Value value, int distance) {
  static_assert(sizeof(Value) % sizeof(unsigned) == 0, "shuffles move words");
  unsigned words[sizeof(Value) / sizeof(unsigned)];
  memcpy(words, &value, sizeof value);
  for (unsigned& word : words) word = __shfl_xor_sync(kAllLanes, word, distance);
  memcpy(&value, words, sizeof value);
  return value;
}

// The same value in every lane, if `combine` is symmetric.
template <class Value, class Combine>
__device__ inline Value reduce_warp(Value value, Combine combine) {
  for (int distance = kWarp / 2; distance > 0; distance /= 2) value = combine(value, shuffled_xor(value, distance));
  return value;
}

// The same value in every thread of the block; kThreads is a multiple of 32, and all of its threads call.
template <int kThreads, class Value, class Combine>
__device__ inline Value reduce_block(Value value, Combine combine) {
  constexpr int kWarps = kThreads / kWarp;
  __shared__ Value of_warp[kWarps];
  value = reduce_warp(value, combine);
  if (kWarps == 1) return value;
  __syncthreads();  // the values of a call before have been read
  if (threadIdx.x % kWarp == 0) of_warp[threadIdx.x / kWarp] = value;
  __syncthreads();
  Value total = of_warp[0];
  for (int warp = 1; warp < kWarps; ++warp) total = combine(total, of_warp[warp]);
  return total;
}

}  // namespace gpu

#endif
