// policy_loss_gspo_token, policy_loss_cispo, policy_loss_sapo, policy_loss_reinforce, policy_loss_dppo_tv,
// policy_loss_dppo_kl, policy_loss_gmpo: every one is a form of l(A) in the frame of policy_loss.h.

#include "cpu.h"
#include "policy_loss.h"

namespace SC_ISA {

namespace {

// −weight · A · logprob, the weight held constant.
Value weighted_logprob(float weight, float advantage, float logprob) {
  const float slope = saturated(-weight * advantage);
  return {saturated(slope * logprob), slope};
}

struct ReinforceForm {
  Value operator()(float advantage, const Target& target, Decisions*) const {
    return advantage == 0.0f ? Value{0.0f, 0.0f} : weighted_logprob(1.0f, advantage, target.logprob);
  }
};

struct CispoForm {
  float ratio_min, ratio_max;

  Value operator()(float advantage, const Target& target, Decisions* decisions) const {
    const bool low = target.ratio<ratio_min, high = target.ratio> ratio_max;
    decisions->clipped |= low || high;
    if (advantage == 0.0f) return {0.0f, 0.0f};
    decisions->low |= low && advantage < 0.0f;
    decisions->high |= high && advantage > 0.0f;
    return weighted_logprob(low ? ratio_min : high ? ratio_max : target.ratio, advantage, target.logprob);
  }
};

struct SapoForm {
  float tau_positive, tau_negative;

  Value operator()(float advantage, const Target& target, Decisions*) const {
    if (advantage == 0.0f) return {0.0f, 0.0f};
    const float tau = advantage > 0.0f ? tau_positive : tau_negative;
    const float z = tau * (target.ratio - 1.0f);
    const float e = expf(-fabsf(z));  // σ(z) = 1 / (1 + e) or e / (1 + e);  σ (1 − σ) = e / (1 + e)²
    const float gate = (z < 0.0f ? e : 1.0f) / (1.0f + e);
    const float steepness = e / ((1.0f + e) * (1.0f + e));
    const float slope = target.inside ? saturated(-4.0f * steepness * target.ratio * advantage) : 0.0f;
    return {saturated(-4.0f / tau * gate * advantage), slope};
  }
};

// Whether q → p goes further than the bound of its direction allows.
struct TotalVariation {
  static bool drops(const Target& target, float advantage, float eps_low, float eps_high) {
    const float moved = expf(target.logprob) - expf(target.old_logprob);
    return advantage > 0.0f ? moved > eps_high : moved < -eps_low;
  }
};

struct BinaryKl {
  static bool drops(const Target& target, float advantage, float eps_low, float eps_high) {
    const float p = expf(target.logprob), q = expf(target.old_logprob);
    if (advantage > 0.0f ? p <= q : p >= q) return false;
    const float rest_p = -expm1f(target.logprob), rest_q = -expm1f(target.old_logprob);
    const float taken = q == 0.0f ? 0.0f : q * (target.old_logprob - target.logprob);
    const float kl = taken + rest_q * logf((rest_q + 1e-8f) / (rest_p + 1e-8f));
    return kl > (advantage > 0.0f ? eps_high : eps_low);
  }
};

template <class Divergence>
struct DppoForm {
  float eps_low, eps_high, ratio_cap;

  Value operator()(float advantage, const Target& target, Decisions* decisions) const {
    if (advantage == 0.0f) return {0.0f, 0.0f};
    if (Divergence::drops(target, advantage, eps_low, eps_high)) {
      decisions->clipped = true;
      decisions->low |= advantage < 0.0f;
      decisions->high |= advantage > 0.0f;
      return {0.0f, 0.0f};
    }
    const bool capped = target.ratio > ratio_cap;
    decisions->dual |= capped;
    return weighted_logprob(capped ? ratio_cap : target.ratio, advantage, target.logprob);
  }
};

template <class Divergence>
int32_t dppo(const PolicyLossDppoArgs& args, ScError* error, const char* no_memory) {
  return loss_of_targets(args.targets, DppoForm<Divergence>{args.eps_low, args.eps_high, args.ratio_cap}, error, no_memory);
}

}  // namespace

int32_t policy_loss_gspo_token(const PolicyLossGspoTokenArgs* gspo, ScStream, ScError* error) {
  const PolicyLossTargets& args = gspo->loss.targets;
  const ClipForm form = {gspo->loss};
  return with_loss_sums(
      gspo->B, args.metrics, error, "policy_loss_gspo_token: no memory for the partial sums", [&](int64_t b, LossSums* sums) {
        const int64_t first = gspo->sequence_offsets[b], last = gspo->sequence_offsets[b + 1];
        int64_t present;
        const float mean = mean_log_ratio(args, first, last, &present);
        const bool held = mean > gspo->sequence_log_ratio_max;
        for (int64_t n = first; n < last; ++n) {
          const bool absent = args.weights[n] == 0.0f;
          bool inside;
          clamped_log_ratio(args, args.logprobs[n], n, &inside);
          const float x = held ? gspo->sequence_log_ratio_max : mean;
          const Target target = at_log_ratio(args, args.logprobs[n], n, x, inside && !held);
          if (args.ratios) args.ratios[n] = absent ? 0.0f : target.ratio;
          args.dlogprobs[n] = absent ? 0.0f : weighted_slope(args, target, n, surrogate(args, form, target, n, sums), sums);
        }
      });
}

int32_t policy_loss_cispo(const PolicyLossCispoArgs* args, ScStream, ScError* error) {
  return loss_of_targets(args->targets, CispoForm{args->ratio_min, args->ratio_max}, error,
                         "policy_loss_cispo: no memory for the partial sums");
}

int32_t policy_loss_sapo(const PolicyLossSapoArgs* args, ScStream, ScError* error) {
  return loss_of_targets(args->targets, SapoForm{args->tau_positive, args->tau_negative}, error,
                         "policy_loss_sapo: no memory for the partial sums");
}

int32_t policy_loss_reinforce(const PolicyLossReinforceArgs* args, ScStream, ScError* error) {
  return loss_of_targets(args->targets, ReinforceForm{}, error, "policy_loss_reinforce: no memory for the partial sums");
}

int32_t policy_loss_dppo_tv(const PolicyLossDppoArgs* args, ScStream, ScError* error) {
  return dppo<TotalVariation>(*args, error, "policy_loss_dppo_tv: no memory for the partial sums");
}

int32_t policy_loss_dppo_kl(const PolicyLossDppoArgs* args, ScStream, ScError* error) {
  return dppo<BinaryKl>(*args, error, "policy_loss_dppo_kl: no memory for the partial sums");
}

int32_t policy_loss_gmpo(const PolicyLossGmpoArgs* gmpo, ScStream, ScError* error) {
  const PolicyLossTargets& args = gmpo->targets;
  const auto advantage_of = [&](int64_t n) { return args.advantages[2 * n] + args.advantages[2 * n + 1]; };
  const auto bound_holds = [&](float advantage, float x) {
    return advantage > 0.0f ? x > gmpo->eps_high : advantage < 0.0f ? x < -gmpo->eps_low : true;
  };
  return with_loss_sums(gmpo->B, args.metrics, error, "policy_loss_gmpo: no memory for the partial sums",
                        [&](int64_t b, LossSums* sums) {
                          const int64_t first = gmpo->sequence_offsets[b], last = gmpo->sequence_offsets[b + 1];
                          double advantage_sum = 0.0, log_sum = 0.0;
                          int64_t present = 0;
                          for (int64_t n = first; n < last; ++n) {
                            if (args.weights[n] == 0.0f) continue;
                            const float advantage = advantage_of(n);
                            bool inside;
                            const float x = clamped_log_ratio(args, args.logprobs[n], n, &inside);
                            const float held = advantage > 0.0f ? gmpo->eps_high : advantage < 0.0f ? -gmpo->eps_low : 0.0f;
                            advantage_sum += static_cast<double>(advantage);
                            log_sum += static_cast<double>(bound_holds(advantage, x) ? held : x);
                            present++;
                          }
                          const double count = static_cast<double>(present > 0 ? present : 1);
                          const float mean = at_most_max(expf(static_cast<float>(log_sum / count)));
                          const float loss = saturated(-static_cast<float>(advantage_sum / count) * mean);
                          double carried = 0.0;  // Σ weights · multipliers: how often the loss of the sequence counts
                          for (int64_t n = first; n < last; ++n) {
                            args.dlogprobs[n] = 0.0f;
                            if (args.ratios) args.ratios[n] = 0.0f;
                            if (args.weights[n] == 0.0f) continue;
                            const float advantage = advantage_of(n);
                            bool inside;
                            const float x = clamped_log_ratio(args, args.logprobs[n], n, &inside);
                            const Target target = at_log_ratio(args, args.logprobs[n], n, x, inside);
                            if (args.ratios) args.ratios[n] = target.ratio;
                            const bool outside = x < -gmpo->eps_low || x > gmpo->eps_high;
                            const Decisions decisions = {advantage != 0.0f && bound_holds(advantage, x),
                                                         outside && advantage < 0.0f, outside && advantage > 0.0f, false};
                            count_target(target, decisions, sums);
                            const Value share = multiplied(args, n, {loss, 1.0f});
                            args.dlogprobs[n] = weighted_slope(args, target, n, {share.value, 0.0f}, sums);
                            carried += static_cast<double>(args.weights[n]) * static_cast<double>(share.slope);
                          }
                          const float slope = static_cast<float>(carried * static_cast<double>(loss) / count);
                          for (int64_t n = first; n < last; ++n) {
                            if (args.weights[n] == 0.0f) continue;
                            bool inside;
                            const float x = clamped_log_ratio(args, args.logprobs[n], n, &inside);
                            if (inside && !bound_holds(advantage_of(n), x)) args.dlogprobs[n] += slope;
                          }
                        });
}

}  // namespace SC_ISA
