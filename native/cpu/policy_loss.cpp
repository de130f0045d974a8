// scatter_advantages, kl, policy_loss_clip, policy_loss_sequence_clip, policy_update_clip.

#include "policy_loss.h"

#include <stdlib.h>

#include "cpu.h"
#include "parallel.h"
#include "softmax_row.h"

namespace SC_ISA {

namespace {

// Targets per partial sum: fixed, so that the metrics do not depend on the threads.
constexpr int64_t kTargetBlock = 4096;

int32_t out_of_memory(ScError* error, const char* op) {
  error->code = 1;
  strncpy(error->text, op, sizeof error->text - 1);
  return 1;
}

// Runs body(chunk, sums) for every chunk and adds the partial sums in order.
template <class Body>
int32_t with_loss_sums(int64_t chunks, double* metrics, ScError* error, const char* op, const Body& body) {
  LossSums all;
  clear(&all);
  LossSums* partial = static_cast<LossSums*>(malloc(sizeof(LossSums) * static_cast<size_t>(chunks > 0 ? chunks : 1)));
  if (!partial) return out_of_memory(error, op);
  parallel_chunks(chunks, [&](int64_t chunk) {
    clear(partial + chunk);
    body(chunk, partial + chunk);
  });
  for (int64_t chunk = 0; chunk < chunks; ++chunk) add(&all, partial[chunk]);
  free(partial);
  memcpy(metrics, all.of, sizeof all.of);
  return 0;
}

}  // namespace

int32_t scatter_advantages(const ScatterAdvantagesArgs* args, ScStream, ScError*) {
  parallel_blocks(args->N, 65536, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      const int64_t s = args->step_of[n];
      args->advantages[2 * n] = s < 0 ? 0.0f : args->step_credits[2 * s];
      args->advantages[2 * n + 1] = s < 0 ? 0.0f : args->step_credits[2 * s + 1];
    }
  });
  return 0;
}

int32_t scatter_advantages_backward(const ScatterAdvantagesBackwardArgs* args, ScStream, ScError* error) {
  double* sums = static_cast<double*>(calloc(static_cast<size_t>(2 * args->S + 1), sizeof(double)));
  if (!sums) return out_of_memory(error, "scatter_advantages_backward: no memory for the sums");
  for (int64_t n = 0; n < args->N; ++n) {
    const int64_t s = args->step_of[n];
    if (s < 0) continue;
    sums[2 * s] += static_cast<double>(args->dadvantages[2 * n]);
    sums[2 * s + 1] += static_cast<double>(args->dadvantages[2 * n + 1]);
  }
  for (int64_t i = 0; i < 2 * args->S; ++i) args->dstep_credits[i] = static_cast<float>(sums[i]);
  free(sums);
  return 0;
}

int32_t kl(const KlArgs* args, ScStream, ScError*) {
  parallel_blocks(args->N, kTargetBlock, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      const Value term =
          kl_term(args->kind, args->logprobs[n], args->ref_logprobs[n], args->log_ratio_clamp, args->value_clamp);
      args->kl[n] = term.value;
      args->dlogprobs[n] = args->dkl ? (args->dkl[n] == 0.0f ? 0.0f : args->dkl[n] * term.slope) : term.slope;
    }
  });
  return 0;
}

int32_t policy_loss_clip(const PolicyLossArgs* args, ScStream, ScError* error) {
  const int64_t chunks = (args->N + kTargetBlock - 1) / kTargetBlock;
  return with_loss_sums(chunks, args->metrics, error, "policy_loss_clip: no memory for the partial sums",
                        [&](int64_t chunk, LossSums* sums) {
                          const int64_t begin = chunk * kTargetBlock;
                          const int64_t end = begin + kTargetBlock < args->N ? begin + kTargetBlock : args->N;
                          for (int64_t n = begin; n < end; ++n)
                            args->dlogprobs[n] = clip_loss_target(*args, args->logprobs[n], n, sums);
                        });
}

int32_t policy_loss_sequence_clip(const PolicyLossSequenceArgs* sequence_args, ScStream, ScError* error) {
  const PolicyLossArgs& args = sequence_args->loss;
  return with_loss_sums(
      sequence_args->B, args.metrics, error, "policy_loss_sequence_clip: no memory for the partial sums",
      [&](int64_t b, LossSums* sums) {
        const int64_t first = sequence_args->sequence_offsets[b], last = sequence_args->sequence_offsets[b + 1];
        double sum = 0.0;
        int64_t present = 0;
        for (int64_t n = first; n < last; ++n) {
          if (args.weights[n] == 0.0f) continue;
          bool inside;
          sum += static_cast<double>(clamped_log_ratio(args, args.logprobs[n], n, &inside));
          present++;
        }
        const float x = present > 0 ? static_cast<float>(sum / static_cast<double>(present)) : 0.0f;
        const float ratio = at_most_max(expf(x));
        double shared_slope = 0.0;  // ∂loss/∂x: what every target of the sequence receives 1/present of
        for (int64_t n = first; n < last; ++n) {
          const float weight = args.weights[n];
          args.dlogprobs[n] = 0.0f;
          if (args.ratios) args.ratios[n] = weight == 0.0f ? 0.0f : ratio;
          if (weight == 0.0f) continue;
          Value loss = surrogate(args, args.advantages + 2 * n, x, ratio, sums);
          if (args.multipliers) {
            const float multiplier = args.multipliers[n];
            loss = multiplier == 0.0f ? Value{0.0f, 0.0f} : Value{multiplier * loss.value, multiplier * loss.slope};
          }
          if (args.kl_kind != kKlNone) {
            const Value kl =
                kl_term(args.kl_kind, args.logprobs[n], args.ref_logprobs[n], args.kl_log_ratio_clamp, args.kl_value_clamp);
            const float times = args.kl_times_ratio ? ratio : 1.0f;
            sums->of[kMetricKl] += static_cast<double>(times * kl.value);
            loss.value += args.kl_coef * times * kl.value;
            if (args.kl_times_ratio) loss.slope += args.kl_coef * times * kl.value;
            args.dlogprobs[n] = weight * args.kl_coef * times * kl.slope;
          }
          sums->of[kMetricLoss] += static_cast<double>(weight) * static_cast<double>(loss.value);
          shared_slope += static_cast<double>(weight) * static_cast<double>(loss.slope);
        }
        const float share = present > 0 ? static_cast<float>(shared_slope / static_cast<double>(present)) : 0.0f;
        for (int64_t n = first; n < last; ++n) {
          if (args.weights[n] == 0.0f) continue;
          bool inside;
          clamped_log_ratio(args, args.logprobs[n], n, &inside);
          if (inside) args.dlogprobs[n] += share;
        }
      });
}

int32_t policy_update_clip(const PolicyUpdateArgs* args, ScStream, ScError* error) {
  const float* logits = static_cast<const float*>(args->logits);
  float* dlogits = static_cast<float*>(args->dlogits);
  const int64_t V = args->V;
  const int64_t rows = V >= 32768 ? 1 : 32768 / (V > 0 ? V : 1);
  const int64_t chunks = (args->T + rows - 1) / rows;
  const auto update_rows = [&](int64_t chunk, LossSums* sums) {
    const int64_t begin = chunk * rows;
    const int64_t end = begin + rows < args->T ? begin + rows : args->T;
    for (int64_t t = begin; t < end; ++t) {
      const int64_t first = args->target_offsets[t], last = args->target_offsets[t + 1];
      const float* row = logits + t * V;
      float* out = dlogits + t * V;
      if (first == last) {
        memset(out, 0, static_cast<size_t>(V) * sizeof(float));
        continue;
      }
      const float scale = 1.0f / (args->temperatures ? args->temperatures[t] : args->temperature);
      const bool wants_entropy = args->entropy != nullptr || args->entropy_weights != nullptr;
      const RowSums row_sums = wants_entropy ? sum_row<true, false>(row, V, scale) : sum_row<false, false>(row, V, scale);
      args->lse[t] = row_lse(row_sums, scale);
      const float entropy = wants_entropy ? row_entropy(row_sums) : 0.0f;
      if (args->entropy) args->entropy[t] = entropy;
      for (int64_t n = first; n < last; ++n) {
        args->logprobs[n] = row_logprob(row_sums, row[args->targets[n]], scale);
        args->loss.dlogprobs[n] = clip_loss_target(args->loss, args->logprobs[n], n, sums);
      }
      const float entropy_weight = args->entropy_weights ? args->entropy_weights[t] : 0.0f;
      if (entropy_weight != 0.0f) sums->of[kMetricLoss] -= static_cast<double>(entropy_weight) * static_cast<double>(entropy);
      row_gradient(row, V, scale, row_sums.top, row_sums.log_total(), args->targets + first, args->loss.dlogprobs + first,
                   last - first, -entropy_weight, entropy, out);
    }
  };
  return with_loss_sums(chunks, args->loss.metrics, error, "policy_update_clip: no memory for the partial sums", update_rows);
}

}  // namespace SC_ISA
