// logprobs, logprobs_backward. A chunk of rows is about as much as a core reads in 50 µs; a row is read from memory once: the
// block that was searched for its maximum is still in the first cache when it is summed.

#include "cpu.h"
#include "parallel.h"
#include "softmax_row.h"

namespace SC_ISA {

namespace {

int64_t rows_per_chunk(int64_t V) { return V >= 65536 ? 1 : 65536 / (V > 0 ? V : 1); }

template <bool with_entropy, bool with_squares>
void logprobs_rows(const LogprobsArgs& args, int64_t begin, int64_t end) {
  const float* logits = static_cast<const float*>(args.rows.logits);
  for (int64_t t = begin; t < end; ++t) {
    const int64_t first = args.rows.target_offsets[t], last = args.rows.target_offsets[t + 1];
    if (first == last) continue;
    const float scale = 1.0f / (args.rows.temperatures ? args.rows.temperatures[t] : args.rows.temperature);
    const float* row = logits + t * args.rows.V;
    const RowSums sums = sum_row<with_entropy, with_squares>(row, args.rows.V, scale);
    args.lse[t] = row_lse(sums, scale);
    for (int64_t n = first; n < last; ++n) args.logprobs[n] = row_logprob(sums, row[args.rows.targets[n]], scale);
    if (with_entropy) args.entropy[t] = row_entropy(sums);
    if (with_squares)
      args.sum_squares[t] = sums.top == -INFINITY ? 0.0f : static_cast<float>(sums.squares / (sums.total() * sums.total()));
  }
}

}  // namespace

int32_t logprobs(const LogprobsArgs* args, ScStream, ScError*) {
  parallel_blocks(args->rows.T, rows_per_chunk(args->rows.V), [&](int64_t begin, int64_t end) {
    if (args->entropy && args->sum_squares) return logprobs_rows<true, true>(*args, begin, end);
    if (args->entropy) return logprobs_rows<true, false>(*args, begin, end);
    if (args->sum_squares) return logprobs_rows<false, true>(*args, begin, end);
    logprobs_rows<false, false>(*args, begin, end);
  });
  return 0;
}

int32_t logprobs_backward(const LogprobsBackwardArgs* args, ScStream, ScError*) {
  const float* logits = static_cast<const float*>(args->rows.logits);
  float* dlogits = static_cast<float*>(args->dlogits);
  parallel_blocks(args->rows.T, rows_per_chunk(args->rows.V), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t first = args->rows.target_offsets[t], last = args->rows.target_offsets[t + 1];
      float* out = dlogits + t * args->rows.V;
      if (first == last) {
        memset(out, 0, static_cast<size_t>(args->rows.V) * sizeof(float));
        continue;
      }
      const float scale = 1.0f / (args->rows.temperatures ? args->rows.temperatures[t] : args->rows.temperature);
      row_gradient(logits + t * args->rows.V, args->rows.V, scale, 0.0f, args->lse[t], args->rows.targets + first,
                   args->dlogprobs + first, last - first, args->dentropy ? args->dentropy[t] : 0.0f,
                   args->dentropy ? args->entropy[t] : 0.0f, out);
    }
  });
  return 0;
}

}  // namespace SC_ISA
