// logprobs, logprobs_backward. A block of threads has one row: the forward
// reads it once; the backward reads and writes it once, and once more reads
// rows that have a support and a gradient of the entropy. Of few long rows a
// block has a segment, and what a row's segments give goes through memory.

#include "launch.cuh"
#include "logit_gradient.cuh"
#include "logprobs.cuh"
#include "shared_rows.cuh"
#include "table.cuh"

namespace gpu {

namespace {

template <int kThreads, bool with_moments, class Element>
__device__ void write_row(const LogprobsArgs& args, const LogitRow<Element>& row, const RowTotals& totals, int64_t t) {
  float* const logprobs = args.logprobs + args.rows.target_offsets[t];
  for (int64_t k = threadIdx.x; k < row.count; k += kThreads) logprobs[k] = target_logprob(row, totals.support, k);
  if (threadIdx.x != 0) return;
  args.lse[t] = row_lse(totals.support, row.chain.scale);
  if (with_moments && args.entropy) args.entropy[t] = row_entropy(totals.full);
  if (with_moments && args.sum_squares) args.sum_squares[t] = row_sum_squares(totals.full);
}

template <int kThreads>
__device__ void write_no_targets(const LogprobsArgs& args, int64_t t) {
  for (int64_t n = args.rows.target_offsets[t] + threadIdx.x; n < args.rows.target_offsets[t + 1]; n += kThreads)
    args.logprobs[n] = 0.0f;
}

template <class Element, int kThreads, bool with_moments>
__global__ void __launch_bounds__(kThreads) logprobs_row(LogprobsArgs args) {
  const int64_t t = blockIdx.x;
  const LogitRow<Element> row = logit_row<Element>(args.rows, t);
  if (!row.has_targets()) return write_no_targets<kThreads>(args, t);
  write_row<kThreads, with_moments>(args, row, totals_of<kThreads, with_moments>(row), t);
}

template <class Element, int kThreads, bool with_moments>
__global__ void __launch_bounds__(kThreads) logprobs_of_segments(LogprobsArgs args, SharedRows shared) {
  const int64_t t = blockIdx.x;
  const LogitRow<Element> row = logit_row<Element>(args.rows, t);
  if (!row.has_targets()) return write_no_targets<kThreads>(args, t);
  write_row<kThreads, with_moments>(args, row, totals_of_segments<kThreads, with_moments>(shared, row, t), t);
}

template <int kThreads, class Element>
__device__ RowUpstream upstream_of(const LogprobsBackwardArgs& args, const LogitRow<Element>& row, float sign, int64_t t) {
  const float dentropy = args.dentropy ? sign * args.dentropy[t] : 0.0f;
  const Normaliser support = {0.0f, args.lse[t]};
  const Normaliser full = row.keep && dentropy != 0.0f ? normaliser_of(sums_of<kThreads, false>(row, false)) : support;
  return {support, full, args.dlogprobs + args.rows.target_offsets[t], dentropy, args.dentropy ? args.entropy[t] : 0.0f,
          kUnknown};
}

template <class Element, int kThreads>
__global__ void __launch_bounds__(kThreads, kResidentThreads / kThreads)
    gradient_row(LogprobsBackwardArgs args, float sign, float* kept_y) {
  const int64_t t = blockIdx.x;
  const LogitRow<Element> row = logit_row<Element>(args.rows, t);
  Element* const out = static_cast<Element*>(args.dlogits) + t * row.V;
  if (!row.has_targets()) return clear_row<kThreads>(out, row.V);
  row_gradient<kThreads>(row, upstream_of<kThreads>(args, row, sign, t), kept_y + args.rows.target_offsets[t], out);
}

template <class Element, int kThreads>
__global__ void __launch_bounds__(kThreads, 1)
    plan_row(LogprobsBackwardArgs args, float sign, float* kept_y, SharedRows shared) {
  const int64_t t = blockIdx.x;
  const LogitRow<Element> row = logit_row<Element>(args.rows, t);
  const GradientPlan plan = row.has_targets() ? gradient_plan<kThreads>(row, upstream_of<kThreads>(args, row, sign, t),
                                                                        kept_y + args.rows.target_offsets[t])
                                              : no_gradient();
  if (threadIdx.x == 0) shared.plans[t] = plan;
}

}  // namespace

void enqueue_logprobs(const LogprobsArgs& args, const Queue& queue, void* memory) {
  if (args.rows.T == 0) return;
  with_element(args.rows.dtype, [&](auto type) {
    using Element = typename decltype(type)::Element;
    with_row_threads(args.rows.V, [&](auto threads) {
      constexpr int kThreads = decltype(threads)::kCount;
      const bool moments = args.entropy || args.sum_squares;
      const Shape shape = {static_cast<unsigned>(args.rows.T), kThreads};
      if (!rows_are_shared(queue, args.rows, kThreads)) {
        const auto kernel = moments ? logprobs_row<Element, kThreads, true> : logprobs_row<Element, kThreads, false>;
        return launch(kernel, shape, queue.stream, args);
      }
      const SharedRows shared = shared_rows_in(memory, args.rows, kThreads);
      enqueue_segment_sums<Element, kThreads>(args.rows, shared, moments, queue.stream);
      const auto kernel =
          moments ? logprobs_of_segments<Element, kThreads, true> : logprobs_of_segments<Element, kThreads, false>;
      launch(kernel, shape, queue.stream, args, shared);
    });
  });
}

void enqueue_logprobs_backward(const LogprobsBackwardArgs& args, float sign, float* kept_y, const Queue& queue, void* memory) {
  if (args.rows.T == 0 || args.rows.V == 0) return;
  with_element(args.rows.dtype, [&](auto type) {
    using Element = typename decltype(type)::Element;
    with_row_threads(args.rows.V, [&](auto threads) {
      constexpr int kThreads = decltype(threads)::kCount;
      const Shape shape = {static_cast<unsigned>(args.rows.T), kThreads};
      if (!rows_are_shared(queue, args.rows, kThreads))
        return launch(gradient_row<Element, kThreads>, shape, queue.stream, args, sign, kept_y);
      const SharedRows shared = shared_rows_in(memory, args.rows, kThreads);
      launch(plan_row<Element, kThreads>, shape, queue.stream, args, sign, kept_y, shared);
      enqueue_shared_gradient<Element, kThreads>(args.rows, shared, kept_y, args.dlogits, queue.stream);
    });
  });
}

int32_t logprobs(const LogprobsArgs* args, ScStream stream, ScError* error) {
  Queue& queue = queue_of(stream);
  const size_t bytes = shared_rows_bytes(queue, args->rows);
  void* const memory = bytes > 0 ? scratch(&queue, bytes, "logprobs", error) : nullptr;
  if (bytes > 0 && !memory) return 1;
  enqueue_logprobs(*args, queue, memory);
  return launched(&queue, "logprobs", error);
}

int32_t logprobs_backward(const LogprobsBackwardArgs* args, ScStream stream, ScError* error) {
  Queue& queue = queue_of(stream);
  const size_t shared = (shared_rows_bytes(queue, args->rows) + 255) / 256 * 256;
  char* const memory = static_cast<char*>(
      scratch(&queue, shared + static_cast<size_t>(args->rows.N + 1) * sizeof(float), "logprobs_backward", error));
  if (!memory) return 1;
  enqueue_logprobs_backward(*args, 1.0f, reinterpret_cast<float*>(memory + shared), queue, memory);
  return launched(&queue, "logprobs_backward", error);
}

}  // namespace gpu
