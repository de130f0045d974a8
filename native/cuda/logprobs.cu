// logprobs, logprobs_backward. A block of threads has one row: the forward
// reads it once; the backward reads and writes it once, and once more reads
// rows that have a support and a gradient of the entropy.

#include "launch.cuh"
#include "logit_gradient.cuh"
#include "logprobs.cuh"
#include "table.cuh"

namespace gpu {

namespace {

template <class Element, int kThreads, bool with_moments>
__global__ void __launch_bounds__(kThreads) logprobs_row(LogprobsArgs args) {
  const int64_t t = blockIdx.x;
  const LogitRow<Element> row = logit_row<Element>(args.rows, t);
  float* const logprobs = args.logprobs + args.rows.target_offsets[t];
  if (!row.has_targets()) {
    for (int64_t k = threadIdx.x; k < row.count; k += kThreads) logprobs[k] = 0.0f;
    return;
  }
  const RowTotals totals = totals_of<kThreads, with_moments>(row);
  for (int64_t k = threadIdx.x; k < row.count; k += kThreads) logprobs[k] = target_logprob(row, totals.support, k);
  if (threadIdx.x != 0) return;
  args.lse[t] = row_lse(totals.support, row.chain.scale);
  if (with_moments && args.entropy) args.entropy[t] = row_entropy(totals.full);
  if (with_moments && args.sum_squares) args.sum_squares[t] = row_sum_squares(totals.full);
}

template <class Element, int kThreads>
__global__ void __launch_bounds__(kThreads, 1) gradient_row(LogprobsBackwardArgs args, float sign, float* kept_y) {
  const int64_t t = blockIdx.x, first = args.rows.target_offsets[t];
  const LogitRow<Element> row = logit_row<Element>(args.rows, t);
  Element* const out = static_cast<Element*>(args.dlogits) + t * row.V;
  if (!row.has_targets()) {
    clear_row<kThreads>(out, row.V);
    return;
  }
  const float dentropy = args.dentropy ? sign * args.dentropy[t] : 0.0f;
  const Normaliser support = {0.0f, args.lse[t]};
  const Normaliser full = row.keep && dentropy != 0.0f ? normaliser_of(sums_of<kThreads, false>(row, false)) : support;
  const RowUpstream upstream = {support, full, args.dlogprobs + first, dentropy, args.dentropy ? args.entropy[t] : 0.0f,
                                kUnknown};
  row_gradient<kThreads>(row, upstream, kept_y + first, out);
}

}  // namespace

void enqueue_logprobs(const LogprobsArgs& args, cudaStream_t stream) {
  if (args.rows.T == 0) return;
  with_element(args.rows.dtype, [&](auto type) {
    using Element = typename decltype(type)::Element;
    with_row_threads(args.rows.V, [&](auto threads) {
      constexpr int kThreads = decltype(threads)::kCount;
      const bool moments = args.entropy || args.sum_squares;
      const auto kernel = moments ? logprobs_row<Element, kThreads, true> : logprobs_row<Element, kThreads, false>;
      launch(kernel, {static_cast<unsigned>(args.rows.T), kThreads}, stream, args);
    });
  });
}

void enqueue_logprobs_backward(const LogprobsBackwardArgs& args, float sign, float* kept_y, cudaStream_t stream) {
  if (args.rows.T == 0 || args.rows.V == 0) return;
  with_element(args.rows.dtype, [&](auto type) {
    using Element = typename decltype(type)::Element;
    with_row_threads(args.rows.V, [&](auto threads) {
      constexpr int kThreads = decltype(threads)::kCount;
      launch(gradient_row<Element, kThreads>, {static_cast<unsigned>(args.rows.T), kThreads}, stream, args, sign, kept_y);
    });
  });
}

int32_t logprobs(const LogprobsArgs* args, ScStream stream, ScError* error) {
  Queue& queue = queue_of(stream);
  enqueue_logprobs(*args, queue.stream);
  return launched(&queue, "logprobs", error);
}

int32_t logprobs_backward(const LogprobsBackwardArgs* args, ScStream stream, ScError* error) {
  Queue& queue = queue_of(stream);
  void* const kept_y = scratch(&queue, static_cast<size_t>(args->rows.N + 1) * sizeof(float), "logprobs_backward", error);
  if (!kept_y) return 1;
  enqueue_logprobs_backward(*args, 1.0f, static_cast<float*>(kept_y), queue.stream);
  return launched(&queue, "logprobs_backward", error);
}

}  // namespace gpu
