// policy_update_clip: logits to dlogits, one row at a time: its log-probs, the loss of its targets, its gradient. A row stays
// in cache between its two passes.

#include "cpu.h"
#include "logit_gradient.h"
#include "logit_row.h"
#include "policy_loss.h"

namespace SC_ISA {

namespace {

// One row: its log-probabilities, the loss of its targets and its gradient.
template <class Element, class Form>
void update_row(const PolicyUpdateArgs& args, const PolicyLossTargets& targets, const Form& form, int64_t t, bool streamed,
                LossSums* sums) {
  const LogitRow<Element> row = logit_row<Element>(args.rows, t);
  const int64_t first = args.rows.target_offsets[t];
  Element* out = static_cast<Element*>(args.dlogits) + t * args.rows.V;
  const bool counts = row.has_targets();
  const bool wants_entropy = counts && (args.entropy || args.entropy_weights);
  RowTotals totals = {kNoSums, kNoSums};
  if (counts) totals = wants_entropy ? totals_of<true, false>(row) : totals_of<false, false>(row);
  for (int64_t k = 0; k < row.count; ++k) {
    const int64_t n = first + k;
    args.logprobs[n] = target_logprob(row, totals.support, k);
    if (row.ignored(k)) {
      targets.dlogprobs[n] = 0.0f;
      if (targets.ratios) targets.ratios[n] = 0.0f;
    } else {
      targets.dlogprobs[n] = loss_target(targets, form, args.logprobs[n], n, sums);
    }
  }
  if (!counts) {
    memset(out, 0, static_cast<size_t>(row.V) * sizeof(Element));
    return;
  }
  args.lse[t] = row_lse(totals.support, row.chain.scale);
  const float entropy = wants_entropy ? row_entropy(totals.full) : 0.0f;
  if (args.entropy) args.entropy[t] = entropy;
  const float entropy_weight = args.entropy_weights ? args.entropy_weights[t] : 0.0f;
  if (entropy_weight != 0.0f) sums->of[kMetricLoss] -= static_cast<double>(entropy_weight) * static_cast<double>(entropy);
  const RowUpstream upstream = {normaliser_of(totals.support), normaliser_of(totals.full), targets.dlogprobs + first,
                                -entropy_weight, entropy};
  row_gradient(row, upstream, out, streamed);
}

// A loss with one ratio per target needs nothing of another row.
template <class Form>
int32_t update_rows(const PolicyUpdateArgs& args, const PolicyLossTargets& targets, const Form& form, ScError* error,
                    const char* no_memory) {
  const int64_t T = args.rows.T, V = args.rows.V;
  const int64_t rows = V >= 32768 ? 1 : 32768 / (V > 0 ? V : 1);
  const int64_t chunks = (T + rows - 1) / rows;
  int32_t code = 0;
  with_element(args.rows.dtype, [&](auto type) {
    using Element = typename decltype(type)::Element;
    const bool streamed = streams<Element>(args.rows, args.dlogits);
    code = with_loss_sums(chunks, targets.metrics, error, no_memory, [&](int64_t chunk, LossSums* sums) {
      const int64_t end = (chunk + 1) * rows < T ? (chunk + 1) * rows : T;
      for (int64_t t = chunk * rows; t < end; ++t) update_row<Element>(args, targets, form, t, streamed, sums);
      if (streamed) stream_fence();
    });
  });
  return code;
}

}  // namespace

int32_t policy_update_clip(const PolicyUpdateArgs* args, ScStream, ScError* error) {
  return update_rows(*args, args->loss.targets, ClipForm{args->loss}, error,
                     "policy_update_clip: no memory for the partial sums");
}

}  // namespace SC_ISA
