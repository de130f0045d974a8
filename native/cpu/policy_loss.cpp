// scatter_advantages, kl, policy_loss_clip, policy_loss_sequence_clip.

#include "policy_loss.h"

#include <stdlib.h>

#include "cpu.h"

namespace SC_ISA {

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
  return loss_of_targets(args->targets, ClipForm{*args}, error, "policy_loss_clip: no memory for the partial sums");
}

int32_t policy_loss_sequence_clip(const PolicyLossSequenceArgs* sequence_args, ScStream, ScError* error) {
  const PolicyLossTargets& args = sequence_args->loss.targets;
  const ClipForm form = {sequence_args->loss};
  return with_loss_sums(
      sequence_args->B, args.metrics, error, "policy_loss_sequence_clip: no memory for the partial sums",
      [&](int64_t b, LossSums* sums) {
        const int64_t first = sequence_args->sequence_offsets[b], last = sequence_args->sequence_offsets[b + 1];
        int64_t present;
        const float x = mean_log_ratio(args, first, last, &present);
        double shared_slope = 0.0;  // ∂loss/∂x: what every target of the sequence receives 1/present of
        for (int64_t n = first; n < last; ++n) {
          const float weight = args.weights[n];
          const Target target = at_log_ratio(args, args.logprobs[n], n, x, true);
          args.dlogprobs[n] = 0.0f;
          if (args.ratios) args.ratios[n] = weight == 0.0f ? 0.0f : target.ratio;
          if (weight == 0.0f) continue;
          Value loss = surrogate(args, form, target, n, sums);
          if (args.kl_kind != kKlNone) {
            const Value kl =
                kl_term(args.kl_kind, args.logprobs[n], args.ref_logprobs[n], args.kl_log_ratio_clamp, args.kl_value_clamp);
            const float times = args.kl_times_ratio ? target.ratio : 1.0f;
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

}  // namespace SC_ISA
