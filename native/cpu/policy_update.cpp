// policy_update_*: logits to dlogits. A loss with one ratio per target needs nothing of another row: when a row has been
// summed, the loss of its targets is known, and its gradient is written while the next row is summed. A row that is capped or
// masked is summed and written by itself. A loss that needs its whole sequence goes through the three ops.

#include <stdlib.h>

#include <optional>

#include "cpu.h"
#include "logit_pipeline.h"
#include "policy_loss_forms.h"
#include "scratch.h"

namespace SC_ISA {

namespace {

template <class Loss>
float entropy_weight(const PolicyUpdateArgs<Loss>& args, int64_t t) {
  return args.entropy_weights ? args.entropy_weights[t] : 0.0f;
}

template <class Element>
void write_logprobs(const LogitRow<Element>& row, const RowSums& support, float* logprobs) {
  for (int64_t k = 0; k < row.count; ++k) logprobs[k] = target_logprob(row, support, k);
}

// The passes over a row that goes by itself know nothing of the loss. They stay calls: one copy of them serves every form.
template <class Element>
__attribute__((noinline)) RowTotals measure(const LogitRow<Element>& row, bool wants_entropy) {
  return wants_entropy ? totals_of<true, false>(row) : totals_of<false, false>(row);
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
    loss_of_span(targets, form, first + k, first + end, sums);
    k = end;
  }
}

// A run of rows, one after the other, of which one may be pending.
template <class Element, class Loss, class Form>
class Rows {
 public:
  Rows(const PolicyUpdateArgs<Loss>& args, const PolicyLossTargets& targets, const Form& form, void* memory)
      : args_(args),
        targets_(targets),
        form_(form),
        e_(memory, args.rows.V),
        bonus_(args.entropy_weights != nullptr),
        wants_entropy_(bonus_ || args.entropy != nullptr),
        streamed_(streams<Element>(args.rows, args.dlogits)) {}

  void update(int64_t begin, int64_t end, LossSums* sums) {
    LaneSums lanes = {};
    for (int64_t t = begin; t < end; ++t) update_row(t, &lanes, sums);
    reduce(lanes, sums);
  }

  void finish() {
    if (pending_) write_pending();
    if (streamed_) stream_fence();
  }

 private:
  void update_row(int64_t t, LaneSums* lanes, LossSums* sums) {
    const LogitRow<Element> row = logit_row<Element>(args_.rows, t);
    const int64_t first = args_.rows.target_offsets[t];
    Element* const out = static_cast<Element*>(args_.dlogits) + t * row.V;
    const bool present = row.has_targets(), piped = present && pipelined(row);
    RowTotals totals = {kNoSums, kNoSums};
    if (piped)
      totals.support = totals.full = sum(row);
    else if (present)
      totals = measure(row, wants_entropy_);
    write_logprobs(row, totals.support, args_.logprobs + first);
    loss_of_row(row, targets_, form_, first, lanes);
    if (!present) {
      memset(out, 0, static_cast<size_t>(row.V) * sizeof(Element));
      return;
    }
    args_.lse[t] = row_lse(totals.support, row.chain.scale);
    const float entropy = wants_entropy_ ? row_entropy(totals.full) : 0.0f;
    if (args_.entropy) args_.entropy[t] = entropy;
    const float weight = entropy_weight(args_, t);
    if (weight != 0.0f) sums->of[kMetricLoss] -= static_cast<double>(weight) * static_cast<double>(entropy);
    const RowUpstream upstream = {normaliser_of(totals.support), normaliser_of(totals.full), targets_.dlogprobs + first,
                                  -weight, entropy};
    if (!piped) {
      differentiate(row, upstream, out, streamed_);
      return;
    }
    pending_.emplace(row, totals.support, upstream, out);
    if (pending_->has_gradient()) return;
    memset(out, 0, static_cast<size_t>(row.V) * sizeof(Element));
    pending_.reset();
  }

  // Sums a row that can be pipelined, and writes the pending one.
  RowSums sum(const LogitRow<Element>& row) {
    const PendingRow<Element>* const pending = pending_ ? &*pending_ : nullptr;
    RowSums sums;
    with_constant(streamed_, [&](auto streamed) {
      if (bonus_)
        sums = advance<true, true, streamed.value>(row, pending, e_);
      else if (wants_entropy_)
        sums = advance<true, false, streamed.value>(row, pending, e_);
      else
        sums = advance<false, false, streamed.value>(row, pending, e_);
    });
    pending_.reset();
    return sums;
  }

  void write_pending() {
    with_constant(streamed_, [&](auto streamed) {
      with_constant(bonus_, [&](auto bonus) { finish_row<bonus.value, streamed.value>(*pending_, e_); });
    });
    pending_.reset();
  }

  const PolicyUpdateArgs<Loss>& args_;
  const PolicyLossTargets& targets_;
  const Form& form_;
  const Exponentials e_;
  const bool bonus_, wants_entropy_, streamed_;
  std::optional<PendingRow<Element>> pending_;
};

template <class Loss, class Form>
int32_t update_rows(const PolicyUpdateArgs<Loss>& args, const Form& form, ScError* error, const char* no_memory) {
  PolicyLossTargets targets = args.loss.targets;
  targets.logprobs = args.logprobs;
  const int64_t T = args.rows.T, V = args.rows.V;
  // Rows per partial sum, which the bits depend on; partial sums per run, which only lets rows follow each other.
  const int64_t rows = V >= 32768 ? 1 : 32768 / (V > 0 ? V : 1);
  const int64_t chunks = (T + rows - 1) / rows;
  const int64_t even = chunks / (8 * sc_num_threads());
  const int64_t run = even < 1 ? 1 : even > 16 ? 16 : even;
  const PartialSums partial(chunks);
  if (partial.none()) return out_of_memory(error, no_memory);
  int32_t code = 0;
  with_element(args.rows.dtype, [&](auto type) {
    using Element = typename decltype(type)::Element;
    code = parallel_with_scratch((chunks + run - 1) / run, Exponentials::bytes(V), error, [&](int64_t item, void* memory) {
      Rows<Element, Loss, Form> of(args, targets, form, memory);
      for (int64_t chunk = item * run; chunk < (item + 1) * run && chunk < chunks; ++chunk)
        of.update(chunk * rows, (chunk + 1) * rows < T ? (chunk + 1) * rows : T, partial.of(chunk));
      of.finish();
    });
  });
  if (code == 0) partial.total(targets.metrics);
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
