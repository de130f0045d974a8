// The surrogate and the KL term at one target: plain arithmetic, shared by all forms of the loss and by the fused path.

#ifndef STEPCREDIT_CPU_POLICY_LOSS_H
#define STEPCREDIT_CPU_POLICY_LOSS_H

#include <float.h>
#include <math.h>
#include <string.h>

#include "loss_sums.h"

namespace {

inline float at_most_max(float x) { return x > FLT_MAX ? FLT_MAX : x; }

struct Value {
  float value;
  float slope;  // derivative by the log-prob
};

// The KL estimate of d = ref_logprob − logprob, and its derivative by logprob.
inline Value kl_term(int32_t kind, float logprob, float ref_logprob, float log_ratio_clamp, float value_clamp) {
  const float free = ref_logprob - logprob;
  const bool inside = fabsf(free) <= log_ratio_clamp;
  const float d = inside ? free : copysignf(log_ratio_clamp, free);
  Value kl = {0.0f, 0.0f};
  switch (kind) {
    case kKl1:
    case kKl1Straight:
      kl = {-d, 1.0f};
      break;
    case kKl2:
      kl = {0.5f * d * d, -d};
      break;
    case kKl3:
    case kKl3Straight:
      kl = {expm1f(d) - d, -expm1f(d)};
      break;
    case kKlAbs:
      kl = {fabsf(d), d > 0.0f ? -1.0f : d < 0.0f ? 1.0f : 0.0f};
      break;
    default:
      return kl;
  }
  if (!inside) kl.slope = 0.0f;
  if (fabsf(kl.value) > value_clamp) kl = {copysignf(value_clamp, kl.value), 0.0f};
  if (kind == kKl1Straight || kind == kKl3Straight) kl.slope = -free;
  return kl;
}

// One target as a form of the loss sees it.
struct Target {
  float logprob;
  float old_logprob;
  float log_ratio;
  float ratio;
  bool inside;  // no clamp holds the log ratio: the log-prob moves it
};

// What a form says about a target, for the metrics.
struct Decisions {
  bool clipped, low, high, dual;
};

inline float saturated(float x) { return x > FLT_MAX ? FLT_MAX : x < -FLT_MAX ? -FLT_MAX : x; }

// A form of the loss is l(A) for one sign of the advantage: form(A, target, decisions) gives the value and the derivative by
// the log-prob. This one is policy_loss_clip.
struct ClipForm {
  const PolicyLossArgs& args;

  Value operator()(float advantage, const Target& target, Decisions* decisions) const {
    if (advantage == 0.0f) return {0.0f, 0.0f};
    const float ratio = target.ratio;
    const bool beyond = ratio > args.delta;
    const float reached = beyond ? args.delta : ratio;
    const float low = 1.0f - args.eps_low, high = 1.0f + args.eps_high;
    decisions->low |= advantage < 0.0f && reached < low;
    decisions->high |= advantage > 0.0f && reached > high;
    const float held = ratio < low ? low : ratio > high ? high : ratio;
    const float unclipped = at_most_max(-advantage * reached);
    const float bounded = -advantage * held;
    Value loss;
    if (bounded > unclipped) {
      // Constant outside the bounds; inside them (delta below 1 + eps_high) the same function as without delta.
      loss = {bounded, ratio < low || ratio > high ? 0.0f : bounded};
      decisions->clipped = true;
    } else {
      loss = {unclipped, beyond ? 0.0f : unclipped};
    }
    if (advantage < 0.0f && loss.value > -args.dual_clip * advantage) {
      loss = {-args.dual_clip * advantage, 0.0f};
      decisions->dual = true;
    }
    if (!target.inside) loss.slope = 0.0f;
    return loss;
  }
};

// Counts a present target and what was decided about it into the metrics.
inline void count_target(const Target& target, const Decisions& decisions, LossSums* sums) {
  const float x = target.log_ratio, ratio = target.ratio;
  sums->of[kMetricCount] += 1.0;
  sums->of[kMetricClipped] += decisions.clipped;
  sums->of[kMetricClippedLow] += decisions.low;
  sums->of[kMetricClippedHigh] += decisions.high;
  sums->of[kMetricClippedDual] += decisions.dual;
  sums->of[kMetricNegLogRatio] -= static_cast<double>(x);
  sums->of[kMetricAbsLogRatio] += static_cast<double>(fabsf(x));
  sums->of[kMetricApproxKl] += static_cast<double>(at_most_max(expm1f(x)) - x);
  sums->of[kMetricRatio] += static_cast<double>(ratio);
  if (static_cast<double>(ratio) > sums->of[kMetricRatioMax]) sums->of[kMetricRatioMax] = static_cast<double>(ratio);
}

inline Value multiplied(const PolicyLossTargets& args, int64_t n, Value loss) {
  if (!args.multipliers) return loss;
  const float multiplier = args.multipliers[n];
  return multiplier == 0.0f ? Value{0.0f, 0.0f} : Value{saturated(multiplier * loss.value), saturated(multiplier * loss.slope)};
}

// Both signs of a target's advantage with its multiplier, without weight and KL. Counts into the metrics.
template <class Form>
inline Value surrogate(const PolicyLossTargets& args, const Form& form, const Target& target, int64_t n, LossSums* sums) {
  Decisions decisions = {};
  const Value positive = form(args.advantages[2 * n], target, &decisions);
  const Value negative = form(args.advantages[2 * n + 1], target, &decisions);
  count_target(target, decisions, sums);
  return multiplied(args, n, {positive.value + negative.value, positive.slope + negative.slope});
}

inline float clamped_log_ratio(const PolicyLossTargets& args, float logprob, int64_t n, bool* inside) {
  const float x = logprob - args.old_logprobs[n];
  *inside = fabsf(x) <= args.log_ratio_clamp || x != x;
  return *inside ? x : copysignf(args.log_ratio_clamp, x);
}

inline Target at_log_ratio(const PolicyLossTargets& args, float logprob, int64_t n, float x, bool inside) {
  return {logprob, args.old_logprobs[n], x, at_most_max(expf(x)), inside};
}

// Adds the KL term, and the whole to the loss; gives ∂loss/∂logprob of a present target.
inline float weighted_slope(const PolicyLossTargets& args, const Target& target, int64_t n, Value loss, LossSums* sums) {
  if (args.kl_kind != kKlNone) {
    Value kl = kl_term(args.kl_kind, target.logprob, args.ref_logprobs[n], args.kl_log_ratio_clamp, args.kl_value_clamp);
    if (args.kl_times_ratio)
      kl = {saturated(kl.value * target.ratio), saturated(target.ratio * (kl.slope + (target.inside ? kl.value : 0.0f)))};
    sums->of[kMetricKl] += static_cast<double>(kl.value);
    loss.value += args.kl_coef * kl.value;
    loss.slope += args.kl_coef * kl.slope;
  }
  const float weight = args.weights[n];
  sums->of[kMetricLoss] += static_cast<double>(weight) * static_cast<double>(loss.value);
  return saturated(weight * loss.slope);
}

// Target n of a loss with one ratio per target: adds its loss to the sums and returns ∂loss/∂logprob.
template <class Form>
inline float loss_target(const PolicyLossTargets& args, const Form& form, float logprob, int64_t n, LossSums* sums) {
  if (args.weights[n] == 0.0f) {
    if (args.ratios) args.ratios[n] = 0.0f;
    return 0.0f;
  }
  bool inside;
  const float x = clamped_log_ratio(args, logprob, n, &inside);
  const Target target = at_log_ratio(args, logprob, n, x, inside);
  if (args.ratios) args.ratios[n] = target.ratio;
  return weighted_slope(args, target, n, surrogate(args, form, target, n, sums), sums);
}

// A loss with one ratio per target, over all targets.
template <class Form>
inline int32_t loss_of_targets(const PolicyLossTargets& args, const Form& form, ScError* error, const char* no_memory) {
  const int64_t chunks = (args.N + kTargetBlock - 1) / kTargetBlock;
  return with_loss_sums(chunks, args.metrics, error, no_memory, [&](int64_t chunk, LossSums* sums) {
    const int64_t begin = chunk * kTargetBlock;
    const int64_t end = begin + kTargetBlock < args.N ? begin + kTargetBlock : args.N;
    for (int64_t n = begin; n < end; ++n) args.dlogprobs[n] = loss_target(args, form, args.logprobs[n], n, sums);
  });
}

// The mean log ratio of the present targets of a sequence, and their number.
inline float mean_log_ratio(const PolicyLossTargets& args, int64_t first, int64_t last, int64_t* present) {
  double sum = 0.0;
  *present = 0;
  for (int64_t n = first; n < last; ++n) {
    if (args.weights[n] == 0.0f) continue;
    bool inside;
    sum += static_cast<double>(clamped_log_ratio(args, args.logprobs[n], n, &inside));
    ++*present;
  }
  return *present > 0 ? static_cast<float>(sum / static_cast<double>(*present)) : 0.0f;
}

}  // namespace

#endif
