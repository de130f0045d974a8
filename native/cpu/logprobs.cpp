// logprobs, logprobs_backward. A chunk of rows is about as much as a core reads in 50 µs; a row is read from memory once.

#include "cpu.h"
#include "logit_gradient.h"
#include "logit_row.h"
#include "parallel.h"

namespace SC_ISA {

namespace {

int64_t rows_per_chunk(int64_t V) { return V >= 65536 ? 1 : 65536 / (V > 0 ? V : 1); }

template <bool with_entropy, bool with_squares, class Element>
void logprobs_rows(const LogprobsArgs& args, int64_t begin, int64_t end) {
  for (int64_t t = begin; t < end; ++t) {
    const LogitRow<Element> row = logit_row<Element>(args.rows, t);
    float* logprobs = args.logprobs + args.rows.target_offsets[t];
    if (!row.has_targets()) {
      for (int64_t k = 0; k < row.count; ++k) logprobs[k] = 0.0f;
      continue;
    }
    const RowTotals totals = totals_of<with_entropy, with_squares>(row);
    args.lse[t] = row_lse(totals.support, row.chain.scale);
    for (int64_t k = 0; k < row.count; ++k) logprobs[k] = target_logprob(row, totals.support, k);
    if (with_entropy) args.entropy[t] = row_entropy(totals.full);
    if (with_squares) args.sum_squares[t] = row_sum_squares(totals.full);
  }
}

template <class Element>
void gradient_rows(const LogprobsBackwardArgs& args, int64_t begin, int64_t end) {
  const LogitRows& rows = args.rows;
  const bool streamed = streams<Element>(rows, args.dlogits);
  for (int64_t t = begin; t < end; ++t) {
    const LogitRow<Element> row = logit_row<Element>(rows, t);
    Element* out = static_cast<Element*>(args.dlogits) + t * rows.V;
    if (!row.has_targets()) {
      memset(out, 0, static_cast<size_t>(rows.V) * sizeof(Element));
      continue;
    }
    const float dentropy = args.dentropy ? args.dentropy[t] : 0.0f;
    const Normaliser support = {0.0f, args.lse[t]};
    const Normaliser full = row.keep && dentropy != 0.0f ? normaliser_of(sums_of<false, false>(row, false)) : support;
    const RowUpstream upstream = {support, full, args.dlogprobs + rows.target_offsets[t], dentropy,
                                  args.dentropy ? args.entropy[t] : 0.0f};
    row_gradient(row, upstream, out, streamed);
  }
  if (streamed) stream_fence();
}

}  // namespace

int32_t logprobs(const LogprobsArgs* args, ScStream, ScError*) {
  with_element(args->rows.dtype, [&](auto type) {
    using Element = typename decltype(type)::Element;
    parallel_blocks(args->rows.T, rows_per_chunk(args->rows.V), [&](int64_t begin, int64_t end) {
      if (args->entropy && args->sum_squares) return logprobs_rows<true, true, Element>(*args, begin, end);
      if (args->entropy) return logprobs_rows<true, false, Element>(*args, begin, end);
      if (args->sum_squares) return logprobs_rows<false, true, Element>(*args, begin, end);
      logprobs_rows<false, false, Element>(*args, begin, end);
    });
  });
  return 0;
}

int32_t logprobs_backward(const LogprobsBackwardArgs* args, ScStream, ScError*) {
  with_element(args->rows.dtype, [&](auto type) {
    using Element = typename decltype(type)::Element;
    parallel_blocks(args->rows.T, rows_per_chunk(args->rows.V),
                    [&](int64_t begin, int64_t end) { gradient_rows<Element>(*args, begin, end); });
  });
  return 0;
}

}  // namespace SC_ISA
