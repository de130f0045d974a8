// policy_update_*: logits to dlogits. A loss with one ratio per target needs nothing of another row: its log-probs, the loss of
// its targets and its gradient are made one after the other, while the row is in cache. A loss that needs its whole sequence
// goes through the three ops.

#include <stdlib.h>

#include "cpu.h"
#include "logit_gradient.h"
#include "logit_row.h"
#include "policy_loss_forms.h"

namespace SC_ISA {

namespace {

template <class Loss>
float entropy_weight(const PolicyUpdateArgs<Loss>& args, int64_t t) {
  return args.entropy_weights ? args.entropy_weights[t] : 0.0f;
}

// The row's passes know nothing of the loss. They stay calls: one copy of them serves every form.
template <class Element>
__attribute__((noinline)) RowTotals measure(const LogitRow<Element>& row, bool wants_entropy, float* logprobs) {
  RowTotals totals = {kNoSums, kNoSums};
  if (row.has_targets()) totals = wants_entropy ? totals_of<true, false>(row) : totals_of<false, false>(row);
  for (int64_t k = 0; k < row.count; ++k) logprobs[k] = target_logprob(row, totals.support, k);
  return totals;
}

template <class Element>
__attribute__((noinline)) void differentiate(const LogitRow<Element>& row, const RowUpstream& upstream, Element* out,
                                             bool streamed) {
  row_gradient(row, upstream, out, streamed);
}

// The loss of a row's targets, in runs between those that are ignored.
template <class Element, class Form>
void loss_of_row(const LogitRow<Element>& row, const PolicyLossTargets& targets, const Form& form, int64_t first,
                 LaneSums* sums) {
  for (int64_t k = 0; k < row.count;) {
    if (row.ignored(k)) {
      targets.dlogprobs[first + k] = 0.0f;
      if (targets.ratios) targets.ratios[first + k] = 0.0f;
      ++k;
      continue;
    }
    int64_t end = k + 1;
    while (end < row.count && !row.ignored(end)) ++end;
    each_group(targets, first + k, first + end, [&](const Group& group) { loss_of_group(targets, form, group, sums); });
    k = end;
  }
}

template <class Element, class Loss, class Form>
void update_row(const PolicyUpdateArgs<Loss>& args, const PolicyLossTargets& targets, const Form& form, int64_t t,
                bool streamed, LaneSums* lanes, LossSums* sums) {
  const LogitRow<Element> row = logit_row<Element>(args.rows, t);
  const int64_t first = args.rows.target_offsets[t];
  Element* out = static_cast<Element*>(args.dlogits) + t * args.rows.V;
  const bool wants_entropy = args.entropy != nullptr || args.entropy_weights != nullptr;
  const RowTotals totals = measure(row, wants_entropy, args.logprobs + first);
  loss_of_row(row, targets, form, first, lanes);
  if (!row.has_targets()) {
    memset(out, 0, static_cast<size_t>(row.V) * sizeof(Element));
    return;
  }
  args.lse[t] = row_lse(totals.support, row.chain.scale);
  const float entropy = wants_entropy ? row_entropy(totals.full) : 0.0f;
  if (args.entropy) args.entropy[t] = entropy;
  const float weight = entropy_weight(args, t);
  if (weight != 0.0f) sums->of[kMetricLoss] -= static_cast<double>(weight) * static_cast<double>(entropy);
  const RowUpstream upstream = {normaliser_of(totals.support), normaliser_of(totals.full), targets.dlogprobs + first, -weight,
                                entropy};
  differentiate(row, upstream, out, streamed);
}

template <class Loss, class Form>
int32_t update_rows(const PolicyUpdateArgs<Loss>& args, const Form& form, ScError* error, const char* no_memory) {
  PolicyLossTargets targets = args.loss.targets;
  targets.logprobs = args.logprobs;
  const int64_t T = args.rows.T, V = args.rows.V;
  const int64_t rows = V >= 32768 ? 1 : 32768 / (V > 0 ? V : 1);
  const int64_t chunks = (T + rows - 1) / rows;
  int32_t code = 0;
  with_element(args.rows.dtype, [&](auto type) {
    using Element = typename decltype(type)::Element;
    const bool streamed = streams<Element>(args.rows, args.dlogits);
    code = with_loss_sums(chunks, targets.metrics, error, no_memory, [&](int64_t chunk, LossSums* sums) {
      const int64_t end = (chunk + 1) * rows < T ? (chunk + 1) * rows : T;
      LaneSums lanes = {};
      for (int64_t t = chunk * rows; t < end; ++t) update_row<Element>(args, targets, form, t, streamed, &lanes, sums);
      reduce(lanes, sums);
      if (streamed) stream_fence();
    });
  });
  return code;
}

// What a loss over sequences needs beside its arguments; null where it does not.
struct Spare {
  float* entropy;   // [T]
  float* dentropy;  // [T]
  float* weights;   // [N] 0 for ignored targets
};

template <class Loss>
using LossOp = int32_t (*)(const Loss*, ScStream, ScError*);

// The three ops one after the other.
template <class Loss>
int32_t update_in_turn(const PolicyUpdateArgs<Loss>& args, LossOp<Loss> loss_op, const Spare& spare, ScError* error) {
  const LogitRows& rows = args.rows;
  float* entropy = args.entropy ? args.entropy : spare.entropy;
  const LogprobsArgs forward = {rows, args.lse, args.logprobs, entropy, nullptr};
  int32_t status = logprobs(&forward, nullptr, error);
  if (status != 0) return status;
  Loss loss = args.loss;
  loss.targets.logprobs = args.logprobs;
  if (spare.weights) {
    for (int64_t n = 0; n < rows.N; ++n)
      spare.weights[n] = rows.targets[n] == rows.ignore_index ? 0.0f : args.loss.targets.weights[n];
    loss.targets.weights = spare.weights;
  }
  status = loss_op(&loss, nullptr, error);
  if (status != 0) return status;
  for (int64_t t = 0; spare.dentropy && t < rows.T; ++t) {
    bool counts = false;
    for (int64_t n = rows.target_offsets[t]; n < rows.target_offsets[t + 1]; ++n)
      counts |= rows.targets[n] != rows.ignore_index;
    const float weight = counts ? entropy_weight(args, t) : 0.0f;
    spare.dentropy[t] = -weight;
    if (weight != 0.0f) loss.targets.metrics[kMetricLoss] -= static_cast<double>(weight) * static_cast<double>(entropy[t]);
  }
  const LogprobsBackwardArgs backward = {rows, args.lse, entropy, loss.targets.dlogprobs, spare.dentropy, args.dlogits};
  return logprobs_backward(&backward, nullptr, error);
}

template <class Loss>
int32_t update_sequences(const PolicyUpdateArgs<Loss>& args, LossOp<Loss> loss_op, ScError* error, const char* no_memory) {
  const bool bonus = args.entropy_weights != nullptr, ignores = args.rows.ignore_index != -1;
  if (!bonus && !ignores) return update_in_turn(args, loss_op, {nullptr, nullptr, nullptr}, error);
  const int64_t T = args.rows.T, N = args.rows.N;
  float* own = static_cast<float*>(malloc(static_cast<size_t>(2 * T + N + 1) * sizeof(float)));
  if (!own) return out_of_memory(error, no_memory);
  const Spare spare = {bonus ? own : nullptr, bonus ? own + T : nullptr, ignores ? own + 2 * T : nullptr};
  const int32_t status = update_in_turn(args, loss_op, spare, error);
  free(own);
  return status;
}

}  // namespace

int32_t policy_update_clip(const PolicyUpdateArgs<PolicyLossClipArgs>* args, ScStream, ScError* error) {
  return update_rows(*args, form_of(args->loss), error, "policy_update_clip: no memory for the partial sums");
}

int32_t policy_update_cispo(const PolicyUpdateArgs<PolicyLossCispoArgs>* args, ScStream, ScError* error) {
  return update_rows(*args, form_of(args->loss), error, "policy_update_cispo: no memory for the partial sums");
}

int32_t policy_update_sapo(const PolicyUpdateArgs<PolicyLossSapoArgs>* args, ScStream, ScError* error) {
  return update_rows(*args, form_of(args->loss), error, "policy_update_sapo: no memory for the partial sums");
}

int32_t policy_update_reinforce(const PolicyUpdateArgs<PolicyLossReinforceArgs>* args, ScStream, ScError* error) {
  return update_rows(*args, form_of(args->loss), error, "policy_update_reinforce: no memory for the partial sums");
}

int32_t policy_update_dppo_tv(const PolicyUpdateArgs<PolicyLossDppoArgs>* args, ScStream, ScError* error) {
  return update_rows(*args, dppo_form<TotalVariation>(args->loss), error,
                     "policy_update_dppo_tv: no memory for the partial sums");
}

int32_t policy_update_dppo_kl(const PolicyUpdateArgs<PolicyLossDppoArgs>* args, ScStream, ScError* error) {
  return update_rows(*args, dppo_form<BinaryKl>(args->loss), error, "policy_update_dppo_kl: no memory for the partial sums");
}

int32_t policy_update_sequence_clip(const PolicyUpdateArgs<PolicyLossSequenceClipArgs>* args, ScStream, ScError* error) {
  return update_sequences(*args, policy_loss_sequence_clip, error,
                          "policy_update_sequence_clip: no memory for entropies and weights");
}

int32_t policy_update_gspo_token(const PolicyUpdateArgs<PolicyLossGspoTokenArgs>* args, ScStream, ScError* error) {
  return update_sequences(*args, policy_loss_gspo_token, error,
                          "policy_update_gspo_token: no memory for entropies and weights");
}

int32_t policy_update_gmpo(const PolicyUpdateArgs<PolicyLossGmpoArgs>* args, ScStream, ScError* error) {
  return update_sequences(*args, policy_loss_gmpo, error, "policy_update_gmpo: no memory for entropies and weights");
}

int32_t policy_update_vespo(const PolicyUpdateArgs<PolicyLossVespoArgs>* args, ScStream, ScError* error) {
  return update_sequences(*args, policy_loss_vespo, error, "policy_update_vespo: no memory for entropies and weights");
}

}  // namespace SC_ISA
