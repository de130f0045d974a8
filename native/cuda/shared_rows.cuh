// Few long rows: several blocks share one, a segment each. The sums of a row's segments and the plan of its gradient go through
// scratch memory; who reads them adds them as a block that has the row for itself does, so both give the same bits.

#ifndef STEPCREDIT_CUDA_SHARED_ROWS_CUH
#define STEPCREDIT_CUDA_SHARED_ROWS_CUH

#include "launch.cuh"
#include "logit_gradient.cuh"
#include "queue.cuh"

namespace gpu {

// Whether rows are shared by blocks: where they are too few for all multiprocessors.
inline bool rows_are_shared(const Queue& queue, const LogitRows& rows, int threads) {
  return !rows.keep && rows.T < queue.multiprocessors && segments_of(rows.V, threads) > 1;
}

// What blocks that share rows leave for each other.
struct SharedRows {
  int64_t segments;
  GradientPlan* plans;   // [T]
  double* others;        // [T, segments, threads]
  RowSums<float>* sums;  // [T, segments, threads]

  template <int kThreads>
  __device__ int64_t first_of(int64_t t) const {
    return t * segments * kThreads;
  }
};

namespace shared_rows {

inline size_t bytes_of(int64_t T, int64_t segments, int threads) {
  const size_t per_thread = sizeof(double) + sizeof(RowSums<float>);
  return static_cast<size_t>(T) * (sizeof(GradientPlan) + static_cast<size_t>(segments * threads) * per_thread);
}

}  // namespace shared_rows

// Scratch memory of rows that are shared; 0 for others.
inline size_t shared_rows_bytes(const Queue& queue, const LogitRows& rows) {
  size_t bytes = 0;
  with_row_threads(rows.V, [&](auto threads) {
    constexpr int kThreads = decltype(threads)::kCount;
    if (rows_are_shared(queue, rows, kThreads)) bytes = shared_rows::bytes_of(rows.T, segments_of(rows.V, kThreads), kThreads);
  });
  return bytes;
}

// `memory`: shared_rows_bytes, aligned to 16.
inline SharedRows shared_rows_in(void* memory, const LogitRows& rows, int threads) {
  const int64_t segments = segments_of(rows.V, threads);
  GradientPlan* const plans = static_cast<GradientPlan*>(memory);
  double* const others = reinterpret_cast<double*>(plans + rows.T);
  return {segments, plans, others, reinterpret_cast<RowSums<float>*>(others + rows.T * segments * threads)};
}

// The sums of segment blockIdx.x of row blockIdx.y.
template <class Element, int kThreads, bool with_moments>
static __global__ void __launch_bounds__(kThreads) sum_segment(LogitRows rows, SharedRows shared) {
  const int64_t s = blockIdx.x, t = blockIdx.y;
  const LogitRow<Element> row = logit_row<Element>(rows, t);
  if (!row.has_targets()) return;
  shared.sums[shared.first_of<kThreads>(t) + s * kThreads + threadIdx.x] = segment_sums<kThreads, with_moments>(row, false, s);
}

// What totals_of gives, from the sums of a row's segments.
template <int kThreads, bool with_moments, class Element>
__device__ inline RowTotals totals_of_segments(const SharedRows& shared, const LogitRow<Element>& row, int64_t t) {
  const RowSums<float>* const made = shared.sums + shared.first_of<kThreads>(t) + threadIdx.x;
  RowSums<float> sums = no_sums<float>();
  for (int64_t s = 0; s < shared.segments; ++s) sums = joined(sums, made[s * kThreads], row.chain.scale);
  const RowSums<double> all = sum_threads<kThreads, with_moments>(sums, row.chain.scale);
  return {all, all};
}

// Segment blockIdx.x of the gradient of row blockIdx.y, by its plan.
template <class Element, int kThreads>
static __global__ void __launch_bounds__(kThreads) write_shared_segment(LogitRows rows, SharedRows shared, void* dlogits) {
  const int64_t s = blockIdx.x, t = blockIdx.y;
  const LogitRow<Element> row = logit_row<Element>(rows, t);
  const GradientPlan plan = shared.plans[t];
  Element* const out = static_cast<Element*>(dlogits) + t * row.V;
  const Segment<kThreads> segment(s, row.V);
  if (plan.clear) return clear_part<kThreads>(out, row.V, segment.begin, segment.end);
  shared.others[shared.first_of<kThreads>(t) + s * kThreads + threadIdx.x] =
      write_part<kThreads>(row, plan, segment.begin, segment.end, out);
}

// The targets' entries of row blockIdx.x, when its segments have been written.
template <class Element, int kThreads>
static __global__ void __launch_bounds__(kThreads)
    write_shared_targets(LogitRows rows, SharedRows shared, const float* kept_y, void* dlogits) {
  const int64_t t = blockIdx.x;
  const LogitRow<Element> row = logit_row<Element>(rows, t);
  const GradientPlan plan = shared.plans[t];
  if (plan.clear) return;
  const double* const others = shared.others + shared.first_of<kThreads>(t) + threadIdx.x;
  double mine = 0.0;
  for (int64_t s = shared.segments - 1; s >= 0; --s) mine += others[s * kThreads];
  write_targets<kThreads>(row, plan, mine, kept_y + rows.target_offsets[t], static_cast<Element*>(dlogits) + t * row.V);
}

// A plan of a row without a gradient.
__device__ inline GradientPlan no_gradient() {
  GradientPlan plan = {};
  plan.clear = 1;
  return plan;
}

template <class Element, int kThreads>
inline void enqueue_segment_sums(const LogitRows& rows, const SharedRows& shared, bool moments, cudaStream_t stream) {
  const dim3 blocks(static_cast<unsigned>(shared.segments), static_cast<unsigned>(rows.T));
  const auto kernel = moments ? sum_segment<Element, kThreads, true> : sum_segment<Element, kThreads, false>;
  launch(kernel, {blocks, kThreads}, stream, rows, shared);
}

// The gradients of rows whose plans have been enqueued.
template <class Element, int kThreads>
inline void enqueue_shared_gradient(const LogitRows& rows, const SharedRows& shared, const float* kept_y, void* dlogits,
                                    cudaStream_t stream) {
  const dim3 blocks(static_cast<unsigned>(shared.segments), static_cast<unsigned>(rows.T));
  launch(write_shared_segment<Element, kThreads>, {blocks, kThreads}, stream, rows, shared, dlogits);
  launch(write_shared_targets<Element, kThreads>, {static_cast<unsigned>(rows.T), kThreads}, stream, rows, shared, kept_y,
         dlogits);
}

}  // namespace gpu

#endif
