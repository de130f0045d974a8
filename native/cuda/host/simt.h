// Device code on the host: every thread of a block is a fiber of the calling thread, and blocks run one after another. It is
// there to test kernels where no device is, so it is strict: a barrier that not all threads of a block reach, a shuffle from a
// lane that takes no part in it, or a collective call of a warp whose lanes disagree about its mask ends the process with the
// name of what was called, and so does a load or a store at an address that is no multiple of what its type asks for.
// STEPCREDIT_SIMT_ORDER=backward runs the threads and the blocks in the opposite order: results that depend on it show a race.

#ifndef STEPCREDIT_CUDA_HOST_SIMT_H
#define STEPCREDIT_CUDA_HOST_SIMT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <functional>

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

namespace simt {

// Where the running fiber is.
struct Place {
  dim3 thread, block, threads, blocks;
};
extern thread_local Place here;

// Runs a kernel with `shared_bytes` of dynamic shared memory, which starts as NaNs.
void run(dim3 blocks, dim3 threads, size_t shared_bytes, const std::function<void()>& kernel);

void* dynamic_shared();
void block_barrier();
// Of the threads that reach the barrier, those that vote.
int block_count(bool vote);
void warp_barrier(unsigned mask);
unsigned ballot(unsigned mask, bool vote);

// The value that the lane `source` brings to the same call; `bytes` ≤ 16.
void shuffle(unsigned mask, void* value, size_t bytes, unsigned source);
unsigned lane();

// What the lanes of a warp bring to the same call, by lane, all of them as they are: each lane looks at what it wants of the
// others. body(of), of(lane) → const Value&.
const void* const* brought(const void* value);
template <class Value, class Body>
inline void among_lanes(const Value& mine, const Body& body) {
  const void* const* const all = brought(&mine);
  body([&](int lane) -> const Value& { return *static_cast<const Value*>(all[lane]); });
  warp_barrier(0xffffffffu);  // nobody goes on, and changes what is his, before all have looked
}

template <class Value>
inline Value shuffled(unsigned mask, Value value, unsigned source) {
  static_assert(sizeof(Value) <= 16, "a shuffled value has 16 bytes at most");
  shuffle(mask, &value, sizeof value, source);
  return value;
}

}  // namespace simt

#define __global__
#define __device__
#define __host__
#define __constant__ static const
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ static thread_local

#define threadIdx (simt::here.thread)
#define blockIdx (simt::here.block)
#define blockDim (simt::here.threads)
#define gridDim (simt::here.blocks)

inline void __syncthreads() { simt::block_barrier(); }
inline int __syncthreads_count(int vote) { return simt::block_count(vote != 0); }
inline int __syncthreads_or(int vote) { return simt::block_count(vote != 0) > 0; }
inline void __syncwarp(unsigned mask = 0xffffffffu) { simt::warp_barrier(mask); }
inline unsigned __ballot_sync(unsigned mask, int vote) { return simt::ballot(mask, vote != 0); }
inline int __any_sync(unsigned mask, int vote) { return simt::ballot(mask, vote != 0) != 0; }
inline int __all_sync(unsigned mask, int vote) { return simt::ballot(mask, vote == 0) == 0; }

// Lanes beyond the group of `width` keep their own value, as on the device.
template <class Value>
inline Value __shfl_sync(unsigned mask, Value value, int source, int width = 32) {
  const unsigned group = simt::lane() & ~static_cast<unsigned>(width - 1);
  return simt::shuffled(mask, value, group + (static_cast<unsigned>(source) & static_cast<unsigned>(width - 1)));
}
template <class Value>
inline Value __shfl_xor_sync(unsigned mask, Value value, int with, int width = 32) {
  const unsigned source = simt::lane() ^ static_cast<unsigned>(with);
  const unsigned group = simt::lane() & ~static_cast<unsigned>(width - 1);
  return simt::shuffled(mask, value, source < group + static_cast<unsigned>(width) ? source : simt::lane());
}
template <class Value>
inline Value __shfl_down_sync(unsigned mask, Value value, unsigned by, int width = 32) {
  const unsigned group = simt::lane() & ~static_cast<unsigned>(width - 1), source = simt::lane() + by;
  return simt::shuffled(mask, value, source < group + static_cast<unsigned>(width) ? source : simt::lane());
}
template <class Value>
inline Value __shfl_up_sync(unsigned mask, Value value, unsigned by, int width = 32) {
  const unsigned group = simt::lane() & ~static_cast<unsigned>(width - 1);
  return simt::shuffled(mask, value, simt::lane() >= group + by ? simt::lane() - by : simt::lane());
}

template <class Value>
inline Value __ldg(const Value* from) {
  return *from;
}
inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
inline int __ffs(int bits) { return __builtin_ffs(bits); }
inline int __clz(int bits) { return bits == 0 ? 32 : __builtin_clz(static_cast<unsigned>(bits)); }
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>(static_cast<uint64_t>(a) * b >> 32); }
inline float __int_as_float(int bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}
inline int __float_as_int(float value) {
  int bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}
inline unsigned __float_as_uint(float value) { return static_cast<unsigned>(__float_as_int(value)); }
inline float __uint_as_float(unsigned bits) { return __int_as_float(static_cast<int>(bits)); }

// Products and sums that are not fused with what comes before or after.
inline float __fmul_rn(float a, float b) { return a * b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }

struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

#endif
