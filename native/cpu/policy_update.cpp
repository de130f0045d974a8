// policy_update_clip: logits to dlogits, one row at a time: its log-probs, the loss of its targets, its gradient. A row stays
// in cache between its two passes.

#include "cpu.h"
#include "policy_loss.h"
#include "softmax_row.h"

namespace SC_ISA {

namespace {

// A loss with one ratio per target needs nothing of another row.
template <class Form>
int32_t update_rows(const PolicyUpdateArgs& args, const PolicyLossTargets& targets, const Form& form, ScError* error,
                    const char* no_memory) {
  const float* logits = static_cast<const float*>(args.rows.logits);
  float* dlogits = static_cast<float*>(args.dlogits);
  const int64_t V = args.rows.V;
  const int64_t rows = V >= 32768 ? 1 : 32768 / (V > 0 ? V : 1);
  const int64_t chunks = (args.rows.T + rows - 1) / rows;
  return with_loss_sums(chunks, targets.metrics, error, no_memory, [&](int64_t chunk, LossSums* sums) {
    const int64_t begin = chunk * rows;
    const int64_t end = begin + rows < args.rows.T ? begin + rows : args.rows.T;
    for (int64_t t = begin; t < end; ++t) {
      const int64_t first = args.rows.target_offsets[t], last = args.rows.target_offsets[t + 1];
      const float* row = logits + t * V;
      float* out = dlogits + t * V;
      if (first == last) {
        memset(out, 0, static_cast<size_t>(V) * sizeof(float));
        continue;
      }
      const float scale = 1.0f / (args.rows.temperatures ? args.rows.temperatures[t] : args.rows.temperature);
      const bool wants_entropy = args.entropy != nullptr || args.entropy_weights != nullptr;
      const RowSums row_sums = wants_entropy ? sum_row<true, false>(row, V, scale) : sum_row<false, false>(row, V, scale);
      args.lse[t] = row_lse(row_sums, scale);
      const float entropy = wants_entropy ? row_entropy(row_sums) : 0.0f;
      if (args.entropy) args.entropy[t] = entropy;
      for (int64_t n = first; n < last; ++n) {
        args.logprobs[n] = row_logprob(row_sums, row[args.rows.targets[n]], scale);
        targets.dlogprobs[n] = loss_target(targets, form, args.logprobs[n], n, sums);
      }
      const float entropy_weight = args.entropy_weights ? args.entropy_weights[t] : 0.0f;
      if (entropy_weight != 0.0f) sums->of[kMetricLoss] -= static_cast<double>(entropy_weight) * static_cast<double>(entropy);
      row_gradient(row, V, scale, row_sums.top, row_sums.log_total(), args.rows.targets + first, targets.dlogprobs + first,
                   last - first, -entropy_weight, entropy, out);
    }
  });
}

}  // namespace

int32_t policy_update_clip(const PolicyUpdateArgs* args, ScStream, ScError* error) {
  return update_rows(*args, args->loss.targets, ClipForm{args->loss}, error,
                     "policy_update_clip: no memory for the partial sums");
}

}  // namespace SC_ISA
