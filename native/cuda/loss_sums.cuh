// Sums of a loss and its metrics over targets, in an order that depends on shapes alone: a block of threads sums a fixed number
// of targets, or a sequence, into a partial sum, and one block adds the partial sums.

#ifndef STEPCREDIT_CUDA_LOSS_SUMS_CUH
#define STEPCREDIT_CUDA_LOSS_SUMS_CUH

#include "../ops.h"
#include "block.cuh"
#include "launch.cuh"

namespace gpu {

constexpr int kLossThreads = 256;

// Targets of a thread, which are read before the first is used, and of a block.
constexpr int kThreadTargets = 4;
constexpr int kTargetBlock = kLossThreads * kThreadTargets;

inline int64_t target_blocks(int64_t N) { return (N + kTargetBlock - 1) / kTargetBlock; }

// In the order of ScLossMetric.
struct LossSums {
  double of[kLossMetrics];
};

// In the order of ScValueLossMetric.
struct ValueSums {
  double of[kValueLossMetrics];
};

struct AddSums {
  __device__ LossSums operator()(LossSums a, const LossSums& b) const {
    for (int metric = 0; metric < kLossMetrics; ++metric)
      if (metric != kMetricRatioMax) a.of[metric] += b.of[metric];
    if (b.of[kMetricRatioMax] > a.of[kMetricRatioMax]) a.of[kMetricRatioMax] = b.of[kMetricRatioMax];
    return a;
  }
  __device__ ValueSums operator()(ValueSums a, const ValueSums& b) const {
    for (int metric = 0; metric < kValueLossMetrics; ++metric) a.of[metric] += b.of[metric];
    return a;
  }
};

// The sums of a block of threads become partial sum `at`.
template <class Sums>
__device__ inline void keep_sums(const Sums& own, int64_t at, Sums* partial) {
  const Sums all = reduce_block<kLossThreads>(own, AddSums{});
  if (threadIdx.x == 0) partial[at] = all;
}

namespace {

template <class Sums>
__global__ void __launch_bounds__(kLossThreads) add_partial_sums(const Sums* partial, int64_t count, double* metrics) {
  Sums own = {};
  for (int64_t i = threadIdx.x; i < count; i += kLossThreads) own = AddSums{}(own, partial[i]);
  const Sums all = reduce_block<kLossThreads>(own, AddSums{});
  if (threadIdx.x == 0) memcpy(metrics, all.of, sizeof all.of);
}

}  // namespace

// metrics = Σ of the partial sums; zeros where there are none.
template <class Sums>
inline void enqueue_sum(const Sums* partial, int64_t count, double* metrics, cudaStream_t stream) {
  launch(add_partial_sums<Sums>, {1, kLossThreads}, stream, partial, count, metrics);
}

}  // namespace gpu

#endif
